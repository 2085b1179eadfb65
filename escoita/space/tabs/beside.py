"""A recording heard by two models, one after the other, from one base that is loaded once."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from escoita.inference.fairness import Client
from escoita.inference.streaming import Partial
from escoita.space.differences import compare, too_long
from escoita.space.listening import listen


if TYPE_CHECKING:
    from escoita.space.demo import Demo

# What programs call the base alone.
BASE = "base"


@dataclass(frozen=True)
class Both:
    """
    What two models have heard so far.

    Args:
        names (`tuple[str, str]`): `base`, or the name of an adapter.
        partials (`tuple[Partial | None, Partial | None]`): The first is asked first; none before it is.
    """

    names: tuple[str, str]
    partials: tuple[Partial | None, Partial | None] = (None, None)

    @property
    def texts(self) -> tuple[str, str]:
        """What each has heard so far."""
        first, second = (heard.text if heard else "" for heard in self.partials)
        return first, second


def both(demo: "Demo", recording: str | None, names: tuple[str, str], client: Client | None = None) -> Iterator[Both]:
    """
    Hears a recording with two models, one after the other.

    Args:
        demo ([`~escoita.space.demo.Demo`]): What the page is about.
        recording (`str`, *optional*): As the visitor sent it.
        names (`tuple[str, str]`): `base`, or the name of an adapter. The base is told the prompt of the other.
        client ([`~escoita.inference.fairness.Client`], *optional*): Who asks.

    Raises:
        EscoitaError: See [`~escoita.space.listening.listen`].
    """
    started, first = time.monotonic(), None
    for place, name in enumerate(names):
        other = names[1 - place]
        adapter, beside = (None, None if other == BASE else other) if name == BASE else (name, None)
        left = demo.settings.max_seconds - (time.monotonic() - started)
        for heard in listen(demo, recording, adapter, beside, left, client):
            yield Both(names, (heard, None) if place == 0 else (first, heard))
        first = heard


def answered(heard: Both, reference: str, normalizer: str) -> dict[str, Any]:
    """
    What programs are told.

    Args:
        heard ([`Both`]): So far.
        reference (`str`): What was said; may be empty.
        normalizer (`str`): What makes texts alike before edits are counted.

    Returns:
        `dict`: `done`; and `models`, for each its `name`, its `text`, and where there is a reference `wer` and `cer`,
        fractions, under `normalizer`.
    """
    models: list[dict[str, Any]] = [
        {"name": name, "text": text} for name, text in zip(heard.names, heard.texts, strict=True)
    ]
    done = all(each is not None and each.transcript is not None for each in heard.partials)
    if done and reference.strip() and not too_long(reference, *heard.texts):
        for model in models:
            rated = compare(reference, model["text"], normalizer, reference=True)
            model |= {"wer": rated.wer, "cer": rated.cer}
    return {"done": done, "models": models, "normalizer": normalizer}
