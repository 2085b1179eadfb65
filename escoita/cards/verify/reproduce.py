"""Some clips of the public corpora transcribed again with what was published, and compared with what stands there."""

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
from escoita.records.evaluation import SUBJECT
from escoita.run_directory import RunDirectory
from escoita.utils.formatting import percent
from escoita.utils.processes import device_name


if TYPE_CHECKING:
    from escoita.inference.transcriber import Transcriber

# The same clips whoever draws them.
SEED = 0


def check_reproduction(run: RunDirectory, recipe: Recipe, count: int) -> Iterator[Check]:
    """
    Hears clips of each test corpus again, where its recordings can be had: those of a dataset of the Hub, or of files
    that stand where the recipe says, from where the command runs.

    Args:
        run ([`RunDirectory`]): What was published.
        recipe ([`Recipe`]): Published with it; names base and corpora.
        count (`int`): Clips of each corpus, drawn by a fixed seed.
    """
    transcriber = None
    for corpus in recipe.corpora.test:
        what = f"{corpus.name} transcribed again"
        if corpus.reader != "hub" and (Path(corpus.path).is_absolute() or ".." in Path(corpus.path).parts):
            yield skipped(what, f"the recipe names {corpus.path}, which is outside of the current folder")
            continue
        if corpus.reader != "hub" and not Path(corpus.path).exists():
            yield skipped(what, f"its recordings are not here: there is no {corpus.path} where the command runs")
            continue
        try:
            found = _drawn(run, corpus, recipe.language, count)
            if not found:
                yield skipped(what, f"none of its published clips is among those of {corpus.path}")
                continue
            transcriber = transcriber or _loaded(run, recipe)
        except CorpusError as error:
            yield skipped(what, str(error))
            continue
        except EscoitaError as error:
            yield Check(what, "differs", [f"what was published cannot be loaded: {error}"])
            return
        yield _heard(what, run, corpus, found, transcriber)


def _drawn(run: RunDirectory, corpus: Corpus, language: str, count: int) -> list[tuple[Utterance, str]]:
    """Clips with what was published of them: those whose id and transcript are the same."""
    table, provenance = read_predictions(predictions_path(run.eval, corpus.name, SUBJECT))
    clips, _ = read_corpus(corpus, language)
    ids = public_ids(clips.column("id"), clips.column("speaker"))
    texts = clips.column("text")
    if provenance.references == "hashed":
        texts = [hashed(text) for text in texts]
    places = {pair: place for place, pair in enumerate(zip(ids, texts, strict=True))}
    rows = zip(*(table[name].to_pylist() for name in ("id", "reference", "hypothesis")), strict=True)
    known = [(places[id, text], heard) for id, text, heard in rows if (id, text) in places]
    chosen = random.Random(SEED).sample(known, min(count, len(known)))  # noqa: S311  # no secret
    return [(clips[place], heard) for place, heard in chosen]


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


def _heard(
    what: str, run: RunDirectory, corpus: Corpus, found: Sequence[tuple[Utterance, str]], transcriber: "Transcriber"
) -> Check:
    try:
        texts = [each.text for each in transcriber.transcribe([read_clip(clip) for clip, _ in found])]
    except AudioError as error:
        return skipped(what, str(error))
    published = [heard for _, heard in found]
    other = [place for place, (ours, theirs) in enumerate(zip(published, texts, strict=True)) if ours != theirs]
    if not other:
        return Check(what, "holds", [f"{len(found)} clips, all as was published"])
    edits = word_edits(published, texts)
    between = int(edits.total.sum()) / max(1, int(edits.reference.sum()))
    said = f"{len(found) - len(other)} of {len(found)} clips as was published; WER between the two {percent(between)}"
    told = read_predictions(predictions_path(run.eval, corpus.name, SUBJECT))[1]
    if machine := _other_machine(told, transcriber):
        return skipped(what, f"{said}; {machine}, which may decide between close words")
    first = other[0]
    return Check(
        what, "differs", [said, f"{found[first][0].id}: published {published[first]!r}, heard {texts[first]!r}"]
    )


def _other_machine(told: Provenance, transcriber: "Transcriber") -> str:
    """In what this machine is another than that of the record."""
    here = device_name(str(transcriber.model.device)), str(transcriber.model.dtype).removeprefix("torch.")
    there = told.system.device, told.system.dtype
    return "" if here == there else f"measured on {' in '.join(there)}, here on {' in '.join(here)}"
