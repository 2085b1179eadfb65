"""Transcribe some clips of the public corpora again, and compare the texts with the published predictions."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from escoita.cards.verify.check import Check, skipped
from escoita.data.clips import read_clip
from escoita.data.readers import read_corpus
from escoita.data.rows import Utterance
from escoita.errors import AudioError, CorpusError, EscoitaError
from escoita.evaluation.predictions import Provenance, hashed, predictions_path, public_ids, read_predictions
from escoita.metrics.wer import word_edits
from escoita.models.base_model import resolve_base
from escoita.recipe.schema import Corpus, Recipe
from escoita.records.evaluation import ADAPTER_SYSTEM
from escoita.run_directory import RunDirectory
from escoita.utils.formatting import percent
from escoita.utils.processes import device_name


if TYPE_CHECKING:
    from escoita.inference.transcriber import Transcriber

# A fixed seed, so that the same clips are drawn on every machine.
SEED = 0


def check_reproduction(run: RunDirectory, recipe: Recipe, count: int) -> Iterator[Check]:
    """
    Transcribe clips of each test corpus again, if its recordings are available: from a dataset of the Hub, or from the
    path in the recipe, relative to the current folder.

    Args:
        run ([`RunDirectory`]): Published files, laid out as a run directory.
        recipe ([`Recipe`]): Published recipe with base and corpora.
        count (`int`): Number of clips of each corpus, drawn with a fixed seed.
    """
    transcriber = None
    for corpus in recipe.corpora.test:
        what = f"{corpus.name} transcribed again"
        if not corpus.remote and (Path(corpus.path).is_absolute() or ".." in Path(corpus.path).parts):
            yield skipped(what, f"{corpus.path} is outside of the current folder")
            continue
        if not corpus.remote and not Path(corpus.path).exists():
            yield skipped(what, f"recordings not found: no {corpus.path} in the current folder")
            continue
        try:
            found = _drawn(run, corpus, recipe.language, count)
            if not found:
                yield skipped(what, f"{corpus.path} has none of the published clips")
                continue
            transcriber = transcriber or _loaded(run, recipe)
        except CorpusError as error:
            yield skipped(what, str(error))
            continue
        except EscoitaError as error:
            yield Check(what, "differs", [f"cannot be loaded: {error}"])
            return
        yield _compared(what, run, corpus, found, transcriber)


def _drawn(run: RunDirectory, corpus: Corpus, language: str, count: int) -> list[tuple[Utterance, str]]:
    """Draw clips with the same id and transcript as published, with their published hypotheses."""
    table, provenance = read_predictions(predictions_path(run.eval, corpus.name, ADAPTER_SYSTEM))
    clips, _ = read_corpus(corpus, language)
    ids = public_ids(clips.column("id"), clips.column("speaker"))
    texts = clips.column("text")
    if provenance.references == "hashed":
        texts = [hashed(text) for text in texts]
    rows_by_clip = {pair: row for row, pair in enumerate(zip(ids, texts, strict=True))}
    rows = zip(*(table[name].to_pylist() for name in ("id", "reference", "hypothesis")), strict=True)
    known = [(rows_by_clip[id, text], hypothesis) for id, text, hypothesis in rows if (id, text) in rows_by_clip]
    chosen = random.Random(SEED).sample(known, min(count, len(known)))  # noqa: S311  # not for secrets
    return [(clips[row], hypothesis) for row, hypothesis in chosen]


def _loaded(run: RunDirectory, recipe: Recipe) -> "Transcriber":
    from escoita.inference.transcriber import Transcriber

    system = read_predictions(next(iter(sorted(run.eval.glob("*/predictions.parquet")))))[1].system
    other = system.expected_base_sha256 is not None
    base = resolve_base(
        system.base if other else recipe.base,
        [str(run.path)],
        system.base_commit if other else None,
        recipe.base_revision,
        allow_other=other,
    )
    return Transcriber.load(
        base.name,
        adapter=str(run.path),
        revision=base.revision,
        allow_other_base=other,
        dtype=recipe.dtype,
        batch_seconds=system.batch_seconds,
    )


def _compared(
    what: str, run: RunDirectory, corpus: Corpus, found: Sequence[tuple[Utterance, str]], transcriber: "Transcriber"
) -> Check:
    try:
        texts = [each.text for each in transcriber.transcribe([read_clip(clip) for clip, _ in found])]
    except AudioError as error:
        return skipped(what, str(error))
    published = [hypothesis for _, hypothesis in found]
    different = [row for row, (ours, theirs) in enumerate(zip(published, texts, strict=True)) if ours != theirs]
    if not different:
        return Check(what, "holds", [f"{len(found)} clips, all as published"])
    edits = word_edits(published, texts)
    between = int(edits.total.sum()) / max(1, int(edits.reference.sum()))
    equal = len(found) - len(different)
    summary = f"{equal} of {len(found)} clips as published; WER between both transcripts {percent(between)}"
    provenance = read_predictions(predictions_path(run.eval, corpus.name, ADAPTER_SYSTEM))[1]
    if machine := _other_machine(provenance, transcriber):
        return skipped(what, f"{summary}; {machine}, which may change transcripts")
    first = different[0]
    return Check(
        what,
        "differs",
        [summary, f"{found[first][0].id}: published {published[first]!r}, transcribed {texts[first]!r}"],
    )


def _other_machine(provenance: Provenance, transcriber: "Transcriber") -> str:
    """Return the device and dtype of the record and of this machine if they differ."""
    current = device_name(str(transcriber.model.device)), str(transcriber.model.dtype).removeprefix("torch.")
    recorded = provenance.system.device, provenance.system.dtype
    return "" if current == recorded else f"evaluated on {' in '.join(recorded)}, now on {' in '.join(current)}"
