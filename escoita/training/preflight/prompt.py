"""What the model is shown of one clip, and what of it carries loss."""

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from escoita.data.rows import SCHEMA, Utterance
from escoita.errors import AudioError
from escoita.models.chat import IGNORED, ChatFamily
from escoita.recipe.recipe import Recipe
from escoita.utils.visible import visible
from escoita.training.checks import check_batch
from escoita.training.data_collator import SpeechCollator
from escoita.training.preflight.finding import Finding


TRAINED = "⟦", "⟧"
REPEATED = 4


def find_prompt(recipe: Recipe, family: ChatFamily, processor: Any, clip: Utterance) -> Iterator[Finding]:
    """
    Makes a batch of one clip as training does, checks it, and writes it out.

    Args:
        recipe ([`Recipe`]): Its prompt.
        family ([`ChatFamily`]): Of the base.
        processor: The family's processor.
        clip ([`Utterance`]): Of a training corpus.
    """
    row = {name: getattr(clip, name) for name in SCHEMA.names}
    try:
        batch = SpeechCollator(family, processor, recipe.prompt)([row])
    except AudioError as error:  # it went away since it was heard
        yield Finding("warning", "prompt", str(error))
        return
    check_batch(family, processor, batch, [clip.text])
    tokens, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    trained = sum(label != IGNORED for label in labels)
    found = f"{len(tokens)} tokens for {clip.audio_seconds:.1f} s, of which {trained} carry loss"
    names = processor.tokenizer.convert_ids_to_tokens(tokens)
    shown = written(names, [label != IGNORED for label in labels], processor.tokenizer.convert_tokens_to_string)
    details = (f"what {TRAINED[0]} {TRAINED[1]} hold carries loss:", *shown.split("\n"))
    yield Finding("ok", "prompt", found, details=details)


def written(tokens: list[str], trained: list[bool], join: Callable[[list[str]], str]) -> str:
    """
    Tokens as text: what carries loss in marks, and a token that repeats, such as that of audio, written once.

    Args:
        tokens (`list[str]`): As the vocabulary has them.
        trained (`list[bool]`): Which of them carry loss.
        join (`Callable[[list[str]], str]`): Makes text of tokens, as the tokenizer does.
    """
    text = ""
    for carries, pairs in groupby(zip(tokens, trained, strict=True), key=lambda pair: pair[1]):
        runs = [list(run) for _, run in groupby(token for token, _ in pairs)]
        parts = [
            part
            for often, together in groupby(runs, key=lambda run: len(run) >= REPEATED)
            for part in _parts([*together], often, join)
        ]
        text += "".join([TRAINED[0], *parts, TRAINED[1]] if carries else parts)
    return "\n".join(visible(line) for line in text.split("\n"))


def _parts(runs: list[list[str]], often: bool, join: Callable[[list[str]], str]) -> list[str]:
    if often:
        return [f"{join(run[:1])}×{len(run)} " for run in runs]
    return [join([token for run in runs for token in run])]
