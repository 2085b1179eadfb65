"""Whether the corpora can be read, told from a few clips of each: decoding all may take hours."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from escoita.data.clips import Noticed, check_clips
from escoita.data.loading import refuse_over_share, refuse_silence
from escoita.data.readers import read_corpus
from escoita.data.rows import Rejected, Utterance, Utterances
from escoita.recipe.recipe import Corpus, Recipe
from escoita.training.preflight.finding import Finding, findings_of
from escoita.training.preflight.settings import asked


DECODED = 50
_SHOWN = 3


@dataclass
class Sampled:
    """
    What was heard of the training corpora.

    Args:
        clips (`list[Utterance]`): Decoded and usable.
        claimed (`float`): Longest length in seconds that a corpus claims of a usable clip; 0 where none does.
        all_known (`bool`): Of each clip either the corpus claims a length, or it was decoded.
        in_epoch (`int`): Clips of an epoch, by the weights of the corpora.
    """

    clips: list[Utterance] = field(default_factory=list)
    claimed: float = 0.0
    all_known: bool = True
    in_epoch: int = 0

    @property
    def longest(self) -> float:
        """In seconds."""
        return max([self.claimed, *(clip.audio_seconds for clip in self.clips)])


def find_corpora(
    recipe: Recipe, max_audio_seconds: float, marks: Collection[str], trained: Sampled
) -> Iterator[Finding]:
    """
    Reads all rows of each corpus, and decodes a few clips of it.

    Args:
        recipe ([`Recipe`]): Lists them.
        max_audio_seconds (`float`): Longest clip that the model hears whole, in seconds.
        marks (`Collection[str]`): Special tokens of the model, which no transcript may hold.
        trained ([`Sampled`]): Takes what is heard of the training split.
    """
    heard = "eval_strategy" not in recipe.training or asked(recipe, "eval_strategy") != "no"
    read = {"train", "validation"} if heard else {"train"}
    for split in ("train", "validation", "test"):
        for corpus in getattr(recipe.corpora, split):
            limit = max_audio_seconds if split != "test" else None  # in evaluation longer ones are cut
            into = trained if split == "train" else Sampled()
            about = f"{split} {corpus.name}"
            for finding in findings_of(about, partial(_find_corpus, about, corpus, recipe, limit, marks, into)):
                yield finding if split in read else _not_read(finding)
    if trained.clips and not trained.in_epoch:
        yield Finding("refusal", "train", "by the weights of corpora.train, an epoch holds no clip", "raise weight")


def spread(rows: Utterances, count: int) -> np.ndarray:
    """
    Indices of rows that are looked at: from first to last at even steps, the longest by claim among them.

    Args:
        rows ([`Utterances`]): Of a corpus.
        count (`int`): Of them.
    """
    even = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)
    claims = np.array([claim or 0.0 for claim in rows.each("duration")])
    return np.unique(np.append(even, claims.argmax())) if len(rows) else even


def _find_corpus(
    about: str, corpus: Corpus, recipe: Recipe, limit: float | None, marks: Collection[str], into: Sampled
) -> Iterator[Finding]:
    rows, malformed = read_corpus(corpus, recipe.language)
    refuse_over_share(len(rows), malformed, recipe.corpora.max_rejected_share)
    chosen = spread(rows, DECODED)
    noticed = Noticed()
    heard, broken = check_clips(rows.take(chosen), limit, marks, f"Hearing {corpus.name}", noticed)
    refuse_silence(noticed)
    claims = [claim or 0.0 for claim in rows.each("duration")]
    into.clips.extend(heard)
    into.in_epoch += round(corpus.weight * len(rows))
    into.claimed = max([into.claimed, *(claim for claim in claims if limit is None or claim <= limit)])
    into.all_known &= len(chosen) == len(rows) or all(claims)
    said = f"{len(rows):,} rows{_hours(claims)}; {len(chosen)} of them decoded"
    if malformed:
        said += f"; {len(malformed):,} rows without recording or text"
    for line in noticed.lines():
        yield Finding("warning", about, line, "listen to them; escoita data lists all")
    if not broken:
        yield Finding("warning" if malformed else "ok", about, said, details=_first(malformed))
        return
    said += f", of which {len(broken)} cannot be used"
    # As training judges where all were heard; a single bad one of a sample may be the only one.
    unusable = len(malformed) + len(broken) * len(rows) / len(chosen)
    too_many = unusable > recipe.corpora.max_rejected_share * (len(rows) + len(malformed))
    if not heard or (too_many and (len(broken) > 1 or len(chosen) == len(rows))):
        advice = "mend or leave them out, or raise corpora.max_rejected_share; escoita data lists all"
        yield Finding("refusal", about, said, advice, _first(broken))
    else:
        yield Finding("warning", about, said, "escoita data lists all", _first(broken))


def _not_read(finding: Finding) -> Finding:
    """Training survives what it does not read."""
    if finding.mark != "refusal":
        return finding
    return replace(finding, mark="warning", found=f"{finding.found}; training does not read it, evaluation would fail")


def _first(rejected: list[Rejected]) -> tuple[str, ...]:
    more = (f"and {len(rejected) - _SHOWN} more",) if len(rejected) > _SHOWN else ()
    return (*map(str, rejected[:_SHOWN]), *more)


def _hours(claims: list[float]) -> str:
    """Together, where the corpus claims the length of every clip."""
    return f", {sum(claims) / 3600:,.1f} h by their own account" if claims and all(claims) else ""
