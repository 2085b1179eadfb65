"""Compare the record of the data with recipe, training and predictions."""

from collections import Counter
from pathlib import Path
from typing import Any

from escoita.cards.verify.recompute import Differences, differing, same
from escoita.evaluation.predictions import Provenance
from escoita.recipe.schema import Corpus, Recipe
from escoita.records.data import CorpusData, DataRecord
from escoita.records.evaluation import PROBES
from escoita.records.training import TrainingRecord


# Sums of durations in another order differ in the last digits.
SECONDS = 1e-3


def training_splits(recipe: Recipe) -> dict[str, list[Corpus]]:
    """Return the corpora of the splits that training reads."""
    return {"train": recipe.corpora.train, "validation": recipe.corpora.validation}


def corpora_differences(recipe: Recipe, training: TrainingRecord, data: DataRecord) -> Differences:
    """Compare the corpora, their clips and their durations with recipe and training."""
    yield from differing(
        {"name": (recipe.name, data.name), "normalizer": (recipe.eval.normalizer, data.normalizer)},
        "recipe.yaml",
        "data.json",
    )
    recorded = {(str(each.split), each.name) for each in data.corpora}
    recorded |= {(str(each.split), each.name) for each in data.missing}
    expected = {(split, corpus.name) for split, corpora in training_splits(recipe).items() for corpus in corpora}
    expected |= {("test", corpus.name) for corpus in recipe.corpora.test}
    for split, name in sorted(expected ^ recorded):
        where = "data.json, not in recipe.yaml" if (split, name) in recorded else "recipe.yaml, not in data.json"
        yield f"corpus {name} ({split}): in {where}"
    for use in training.corpora:
        measured = _of(data, use.split, use.name)
        if measured is None:
            continue
        # Clips that are too long for the model count as rejected in training, and as usable in data.json.
        if use.utterances + use.rejected != measured.clips + measured.rejected:
            yield (
                f"{use.name} ({use.split}): {use.utterances + use.rejected} rows in training.json,"
                f" {measured.clips + measured.rejected} in data.json"
            )
        if use.utterances > measured.clips:
            yield f"{use.name} ({use.split}): {use.utterances} clips in training.json, {measured.clips} in data.json"
        exact = use.utterances == measured.clips
        more = use.audio_seconds - measured.audio_seconds
        # NaN is not within the tolerance either.
        if not more <= SECONDS * measured.clips or (exact and not abs(more) <= SECONDS * (1 + measured.clips)):
            yield (
                f"{use.name} ({use.split}): {use.audio_seconds:.1f} seconds in training.json,"
                f" {measured.audio_seconds:.1f} in data.json"
            )


def _of(data: DataRecord, split: str, name: str) -> CorpusData | None:
    return next((each for each in data.corpora if (each.split, each.name) == (split, name)), None)


def prediction_differences(data: DataRecord, files: list[tuple[Path, Any, Provenance]]) -> Differences:
    """Compare clips, durations, speakers and references with the predictions."""
    for path, table, provenance in files:
        name = f"{path.parent.name}/{path.name}"
        measured = _of(data, "test", path.parent.name)
        if measured is None or path.parent.name == PROBES:
            continue
        rows = len(table)
        if rows + provenance.rejected != measured.clips + measured.rejected:
            yield (
                f"{name}: {rows} clips and {provenance.rejected} rejected rows, {measured.clips} and"
                f" {measured.rejected} in data.json"
            )
            continue
        seconds = table["audio_seconds"].to_pylist()
        if not abs(sum(seconds) - measured.audio_seconds) <= SECONDS * (1 + rows):
            yield f"{name}: {sum(seconds):.1f} seconds of audio, {measured.audio_seconds:.1f} in data.json"
        elif _histogram(seconds, data.duration_edges) != measured.histogram:
            yield f"{name}: the durations differ from the histogram in data.json"
        speakers = Counter(table["speaker"].to_pylist())
        genders = Counter(gender for gender in table["gender"].to_pylist() if gender)
        pairs = {
            "speakers": (len(speakers.keys() - {""}), measured.speakers),
            "clips without a speaker": (speakers.get("", 0), measured.without_speaker),
            "genders": (dict(genders), measured.genders),
        }
        yield from (f"{name}: {line}" for line in differing(pairs, "the predictions", "data.json"))
        texts = table["reference"].to_pylist()
        if provenance.references == "open" and sum(map(len, texts)) != measured.characters:
            yield (
                f"{name}: {sum(map(len, texts)):,} characters in the references, {measured.characters:,} in data.json"
            )


def overlap_differences(data: DataRecord) -> Differences:
    """Check the train/test overlap in data.json against the corpora in data.json."""
    kinds = [(leak.split, leak.corpus, leak.by) for leak in data.leaks]
    splits = {each.split for each in data.corpora} & {"train", "validation"}
    for corpus in data.of("test") if splits and not data.missing else []:
        for by in ("transcript", "speaker", "audio"):
            if kinds.count(("test", corpus.name, by)) != 1:
                yield f"{corpus.name} (test): expected one entry for the overlap by {by} in data.json"
    for leak in data.leaks:
        measured = _of(data, leak.split, leak.corpus)
        if measured is None:
            continue
        ordered = 0 <= leak.distinct <= leak.clips <= leak.compared <= measured.clips
        if (
            not ordered
            or bool(leak.distinct) != bool(leak.clips)
            or not same(leak.share, leak.clips / max(1, measured.clips))
        ):
            yield f"{leak.corpus} ({leak.split}): the overlap by {leak.by} in data.json is inconsistent"


def _histogram(seconds: list[float], edges: list[float]) -> list[int]:
    import numpy as np

    counts, _ = np.histogram(seconds, [*edges, float("inf")])
    return [int(count) for count in counts]
