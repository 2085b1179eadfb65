"""Check the corpora of a recipe: read all rows, and decode some of the clips."""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from escoita.data.clips import ClipWarnings, cached_seconds, check_clips
from escoita.data.loading import refuse_over_share, refuse_silence
from escoita.data.readers import read_corpus
from escoita.data.rows import Rejected, Utterance, Utterances
from escoita.data.token_lengths import over_limit
from escoita.recipe.schema import Corpus, Recipe
from escoita.training.preflight.checks import Finding, findings_of, training_value
from escoita.training.preflight.language import find_texts


DECODED = 50
# Rows whose lengths are looked up in the cache, which takes a few seconds for so many.
MOST_LOOKED_UP = 200_000
_SHOWN = 3


@dataclass
class Sampled:
    """
    Hold the sample of the training corpora.

    Args:
        clips (`list[Utterance]`): The decoded and usable clips.
        claimed (`float`): The longest duration in seconds that a corpus states for a usable clip; 0 if none does.
        all_known (`bool`): Whether the duration of each clip is stated by its corpus, or known from decoding, now or
            by an earlier command.
        rows (`list[Utterances]`): All rows, also those that were not decoded.
        in_epoch (`int`): The number of clips in an epoch, by the weights of the corpora.
    """

    clips: list[Utterance] = field(default_factory=list)
    claimed: float = 0.0
    all_known: bool = True
    rows: list[Utterances] = field(default_factory=list)
    in_epoch: int = 0

    @property
    def longest(self) -> float:
        """Return the longest duration in seconds."""
        return max([self.claimed, *(clip.audio_seconds for clip in self.clips)])


def find_corpora(
    recipe: Recipe,
    max_audio_seconds: float,
    marks: Collection[str],
    trained: Sampled,
    row_problem: Callable[[str, float], str] | None = None,
    tokenizer: Any = None,
    tested: list[Utterances] | None = None,
) -> Iterator[Finding]:
    """
    Read all rows of each corpus, and decode some of its clips.

    Args:
        recipe ([`Recipe`]): The recipe, with the corpora.
        max_audio_seconds (`float`): The longest clip that the model accepts, in seconds.
        marks (`Collection[str]`): The special tokens of the model, which transcripts must not contain.
        trained ([`Sampled`]): The sample of the training split, which is filled.
        row_problem (`Callable[[str, float], str]`, *optional*): See [`~escoita.data.clips.check_clips`].
        tokenizer (`PreTrainedTokenizer`, *optional*): The tokenizer of the base, if it is known; all transcripts are
            compared with `eval.max_new_tokens`.
        tested (`list[Utterances]`, *optional*): The list that receives the rows of the test corpora.
    """
    validated = "eval_strategy" not in recipe.training or training_value(recipe, "eval_strategy") != "no"
    read = {"train", "validation"} if validated else {"train"}
    for split in ("train", "validation", "test"):
        for corpus in getattr(recipe.corpora, split):
            limit = max_audio_seconds if split != "test" else None  # evaluation splits longer clips
            into = trained if split == "train" else Sampled()
            problem = row_problem if split != "test" else None
            about = f"{split} {corpus.name}"
            found = findings_of(about, partial(_find_corpus, about, corpus, recipe, limit, marks, into, problem))
            if tested is not None and split == "test":
                tested += into.rows
            if tokenizer is not None and into.rows:
                rows = into.rows[-1]
                found += findings_of(
                    about, partial(find_over_limit, recipe, about, rows, max_audio_seconds, tokenizer)
                )
            for finding in found:
                yield finding if split in read else _not_read(finding)
    if trained.clips and not trained.in_epoch:
        yield Finding("refusal", "train", "with the weights of corpora.train, an epoch has no clip", "raise weight")


def find_over_limit(
    recipe: Recipe, about: str, rows: Utterances, max_audio_seconds: float, tokenizer: Any
) -> Iterator[Finding]:
    """
    Compare the transcripts of a corpus with the token limit of a transcript.

    Args:
        recipe ([`Recipe`]): The recipe, with the limit.
        about (`str`): The split and the name of the corpus.
        rows ([`~escoita.data.rows.Utterances`]): The rows; longer clips are left out, as each segment has the limit.
        max_audio_seconds (`float`): The longest clip that the model accepts, in seconds.
        tokenizer (`PreTrainedTokenizer`): The tokenizer of the base.
    """
    whole = rows.where(~(known_seconds(rows) > max_audio_seconds))
    if over := over_limit(whole, tokenizer, recipe.eval.max_new_tokens):
        yield Finding("warning", about, str(over), f"raise eval.max_new_tokens above {over.most_tokens}")


def spread(rows: Utterances, count: int) -> np.ndarray:
    """
    Return the indices of the rows to decode: equally spaced from first to last, and the longest stated duration.

    Args:
        rows ([`Utterances`]): The rows of a corpus.
        count (`int`): The number of equally spaced rows.
    """
    even = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)
    claims = np.array([claim or 0.0 for claim in rows.each("duration")])
    return np.unique(np.append(even, claims.argmax())) if len(rows) else even


def _find_corpus(
    about: str,
    corpus: Corpus,
    recipe: Recipe,
    limit: float | None,
    marks: Collection[str],
    into: Sampled,
    row_problem: Callable[[str, float], str] | None,
) -> Iterator[Finding]:
    rows, malformed = read_corpus(corpus, recipe.language)
    refuse_over_share(len(rows), malformed, recipe.corpora.max_rejected_share)
    chosen = spread(rows, DECODED)
    known = known_seconds(rows)
    noticed = ClipWarnings()
    usable, broken = check_clips(rows.take(chosen), limit, marks, f"Decoding {corpus.name}", noticed, row_problem)
    refuse_silence(noticed)
    claims = [claim or 0.0 for claim in rows.each("duration")]
    into.clips.extend(usable)
    into.in_epoch += round(corpus.weight * len(rows))
    accepted = known[known <= (math.inf if limit is None else limit)]  # training rejects longer clips
    into.claimed = max([into.claimed, *accepted.tolist()])
    into.all_known &= len(chosen) == len(rows) or not np.isnan(known).any()
    into.rows.append(rows)
    found = f"{len(rows):,} rows{_hours(claims)}; {len(chosen)} of them decoded"
    if malformed:
        found += f"; {len(malformed):,} rows without recording or text"
    for line in noticed.lines():
        yield Finding("warning", about, line, "check these recordings; escoita data lists all")
    yield from find_texts(recipe, about, rows)
    if not broken:
        yield Finding("warning" if malformed else "ok", about, found, details=_first(malformed))
        return
    found += f", {len(broken)} of them unusable"
    # The same rule as in training if all clips were decoded; a single unusable clip of a sample may be the only one.
    unusable = len(malformed) + len(broken) * len(rows) / len(chosen)
    too_many = unusable > recipe.corpora.max_rejected_share * (len(rows) + len(malformed))
    if not usable or (too_many and (len(broken) > 1 or len(chosen) == len(rows))):
        advice = "correct them or leave them out, or raise corpora.max_rejected_share; escoita data lists all"
        yield Finding("refusal", about, found, advice, _first(broken))
    else:
        yield Finding("warning", about, found, "escoita data lists all", _first(broken))


def known_seconds(rows: Utterances) -> np.ndarray:
    """
    Return the lengths that earlier commands measured, or else those that the corpus states; nothing is decoded.

    Args:
        rows ([`Utterances`]): The rows of a corpus.

    Returns:
        `np.ndarray`: The lengths in seconds, of shape `(rows,)`; NaN for an unknown length.
    """
    stated = np.array([claim or math.nan for claim in rows.each("duration")], np.float64)
    if not np.isnan(stated).any() or len(rows) > MOST_LOOKED_UP:
        return stated
    measured = cached_seconds(rows)
    return np.where(np.isnan(measured), stated, measured)


def _not_read(finding: Finding) -> Finding:
    """Return a finding about a corpus that training does not read, where a refusal becomes a warning."""
    if finding.mark != "refusal":
        return finding
    return replace(finding, mark="warning", found=f"{finding.found}; training does not read it, evaluation would fail")


def _first(rejected: list[Rejected]) -> tuple[str, ...]:
    more = (f"and {len(rejected) - _SHOWN} more",) if len(rejected) > _SHOWN else ()
    return (*map(str, rejected[:_SHOWN]), *more)


def _hours(claims: list[float]) -> str:
    """Return the total duration, if the corpus states the duration of every clip."""
    return f", {sum(claims) / 3600:,.1f} h according to the corpus" if claims and all(claims) else ""
