"""Transcribe the clips of every corpus with every system, and keep what was done after each batch."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from escoita.data.rows import Utterances
from escoita.evaluation.predictions import Provenance, predictions_path, predictions_table, write_predictions
from escoita.evaluation.request import Candidate, EvaluationData
from escoita.evaluation.shards import WHOLE, Shard, ShardProvenance, write_shard
from escoita.hub.files import weights_digest
from escoita.inference.batching import batches_by_language
from escoita.inference.transcriber import Transcriber
from escoita.models.base_model import Base, resolve_base
from escoita.records.evaluation import System
from escoita.records.training import AdapterRecord
from escoita.records.transcript import Note, Segment, Transcript
from escoita.utils.files import clear_write_errors, public_name, write_atomically
from escoita.utils.processes import device_name, each_says_why, forget_peak_memory, gathered, peak_memory_bytes, track


if TYPE_CHECKING:
    from accelerate import PartialState


# Transcripts of a batch, in its order.
Transcripts = dict[int, list[Transcript]]


def read_journals(folder: Path, key: str) -> Transcripts:
    """
    Reads what all processes wrote so far.

    Args:
        folder (`Path`): Of one corpus and system; one file for each process.
        key (`str`): What the transcripts depend on. A file that was written under another is not believed.

    Returns:
        `dict[int, list[Transcript]]`: Transcripts by number of the batch. A line that was cut off by a kill is left
        out, and its batch heard again.
    """
    heard: Transcripts = {}
    for path in sorted(folder.glob("*.jsonl")):
        heard |= _read(path, key)
    return heard


def append_batches(path: Path, key: str, batches: Iterable[tuple[int, list[Transcript]]]) -> None:
    """
    Writes each batch as soon as it is heard, behind what this process wrote before it was killed.

    Args:
        path (`Path`): The file of this process.
        key (`str`): See [`read_journals`].
        batches (`Iterable[tuple[int, list[Transcript]]]`): Number of the batch, and its transcripts.
    """
    before = _read(path, key).items() if path.is_file() else ()
    write_atomically(path, "".join([json.dumps({"key": key}) + "\n", *(_line(*batch) for batch in before)]))
    # Without a buffer: closing the file would try once more to write what did not fit on the disk.
    with path.open("ab", buffering=0) as journal:
        for batch in batches:
            left = memoryview(_line(*batch).encode())
            with clear_write_errors(path):
                while left:  # a disk that is nearly full takes a part of it
                    left = left[journal.write(left) :]


def _line(number: int, transcripts: list[Transcript]) -> str:
    return json.dumps({"batch": number, "heard": [asdict(transcript) for transcript in transcripts]}) + "\n"


def _read(path: Path, key: str) -> Transcripts:
    heard: Transcripts = {}
    first, *lines = path.read_bytes().split(b"\n")
    if first != json.dumps({"key": key}).encode():
        return heard
    for line in lines[:-1]:  # behind the last newline stands nothing, or half a line
        try:
            entry = json.loads(line)
        except ValueError:  # the machine lost power before this was on the disk
            break
        heard[entry["batch"]] = [_transcript(**fields) for fields in entry["heard"]]
    return heard


def _transcript(segments: list[dict], notes: Sequence[Note] = (), **fields: object) -> Transcript:
    parts = tuple(Segment(**segment) for segment in segments)
    return Transcript(**fields, segments=parts, notes=tuple(notes))  # type: ignore[arg-type]


# Folders of what was heard so far, until all is scored.
JOURNAL = ".unfinished-"


def located(candidates: Sequence[Candidate]) -> list[Candidate]:
    """
    Find the commits of all bases, and compare the digests of their weights with the records of the adapters.

    Args:
        candidates (`Sequence[Candidate]`): Those that are about to be loaded.

    Raises:
        EscoitaError: A base cannot be found, or has other weights than its adapter was trained on.
    """
    found: dict[tuple[str, str | None, str | None], Base] = {}
    for each in candidates:
        key = each.base, each.revision, each.trained
        if key not in found:
            adapters = [each.trained] if each.trained else []
            found[key] = resolve_base(each.base, adapters, each.revision, each.recipe_revision, each.allow_other_base)
    bases = [found[each.base, each.revision, each.trained] for each in candidates]
    return [replace(each, revision=base.revision, resolved=base) for each, base in zip(candidates, bases, strict=True)]


def transcribe_all(
    candidates: Sequence[Candidate],
    tests: dict[str, EvaluationData],
    out: Path,
    batch_seconds: float,
    state: "PartialState",
    shard: Shard = WHOLE,
) -> None:
    """
    Lets every candidate hear every corpus, and writes its predictions.

    Args:
        candidates (`Sequence[Candidate]`): A base stands right before its adapter, and is loaded once for both.
        tests (`dict[str, Material]`): By the name of the corpus.
        out (`Path`): Where the predictions go.
        batch_seconds (`float`): Most audio in a batch.
        state (`PartialState`): The processes that share the work, of accelerate.
        shard ([`~escoita.evaluation.shards.Shard`], *optional*): The part that is heard here; everything unless given.
    """
    digests: dict[str, str] = {}
    loaded: Candidate | None = None
    transcriber: Transcriber | None = None
    for candidate in candidates:
        if transcriber is None or loaded is None or not loaded.carries(candidate):
            transcriber = None  # before the next is loaded, so that there are never two models in memory
            forget_peak_memory()
            transcriber = Transcriber.load(
                candidate.base, None, candidate.generation_settings, candidate.revision, candidate.dtype, batch_seconds
            )
            resolved = candidate.resolved or Base(candidate.base, candidate.revision)
            digests = {candidate.base: resolved.digest()}
        if candidate.adapter:
            transcriber.merge_adapter(candidate.adapter)
        transcriber.generation_settings = settings_of(candidate, transcriber)
        transcriber.warm_up()
        system = _system(candidate, transcriber, digests[candidate.base], state.num_processes)
        for name, test in tests.items():
            heard = predict(
                transcriber, name, test, system, out if shard == WHOLE else shard.folder(out), state, shard
            )
            peak = max(gathered(peak_memory_bytes(), state))
            if state.is_main_process:
                made = Provenance(
                    corpus=name,
                    rejected=test.rejected,
                    system=system.model_copy(update={"peak_memory_bytes": peak}),
                )
                places = sorted(heard)
                clips = Utterances(test.clips.table, test.clips.order[np.array(places, np.int64)])
                table = predictions_table(clips, [heard[place] for place in places], made)
                if shard == WHOLE:
                    write_predictions(table, predictions_path(out, name, candidate.name))
                else:
                    key = _key(transcriber, system, test.clips)
                    part = ShardProvenance(index=shard.index, of=shard.of, key=key, rows=len(test.clips))
                    write_shard(out, table, places, made, part)
        loaded = candidate


def settings_of(candidate: Candidate, transcriber: Transcriber) -> AdapterRecord:
    """Return prompt, language and limit of tokens of a candidate whose model is loaded."""
    if not candidate.own_limit:
        return candidate.generation_settings
    limit = transcriber.family.own_limit(transcriber.model)
    return candidate.generation_settings.model_copy(update={"max_new_tokens": limit})


def batches_of(transcriber: Transcriber, clips: Utterances) -> list[tuple[str, list[int]]]:
    """
    Return the batches of a corpus with the language that each is transcribed in: those of the clips for a model that
    is given a language, else the language of the candidate.

    Args:
        transcriber ([`~escoita.inference.transcriber.Transcriber`]): With the settings of the candidate.
        clips ([`~escoita.data.rows.Utterances`]): The corpus.
    """
    languages = clips.column("language")
    if not transcriber.family.per_language(transcriber.model, transcriber.processor):
        languages = [transcriber.generation_settings.language] * len(languages)
    return list(batches_by_language(clips.column("audio_seconds"), languages, transcriber.batch_seconds))


def predict(
    transcriber: Transcriber,
    corpus: str,
    test: EvaluationData,
    system: System,
    out: Path,
    state: "PartialState",
    shard: Shard = WHOLE,
) -> dict[int, Transcript]:
    """
    Transcribes a corpus in batches of like length, each written as soon as it is heard.

    Every process takes its share of the same batches as one alone would make, so that the texts are the same.

    Returns:
        `dict[int, Transcript]`: What all processes heard, by the index of the clip; of a shard its clips alone.
    """
    parted = batches_of(transcriber, test.clips)
    batches = [indices for _, indices in parted]
    folder, key = out / corpus / f"{JOURNAL}{system.name}", _key(transcriber, system, test.clips)
    known = read_journals(folder, key) if folder.is_dir() else {}
    # By the place of the batch alone, whatever is known already, as processes may start at different times.
    numbers = shard.numbers(len(batches))
    mine = [number for number in numbers[state.process_index :: state.num_processes] if number not in known]
    heard = _in_languages(transcriber, test, [parted[number] for number in mine])
    told = track(heard, total=len(mine), title=f"Transcribing {corpus}, {system.name}: batches")
    with each_says_why(state):
        append_batches(folder / f"{state.process_index}.jsonl", key, _numbered(mine, told))
    state.wait_for_everyone()
    known = read_journals(folder, key)
    return {
        index: transcript
        for number in numbers
        for index, transcript in zip(batches[number], known[number], strict=True)
    }


def _in_languages(
    transcriber: Transcriber, test: EvaluationData, parted: Sequence[tuple[str, list[int]]]
) -> Iterator[tuple[list[int], list[Transcript]]]:
    """Transcribe batches, those of each language with settings of this language."""
    for language, some in groupby(parted, key=itemgetter(0)):
        told = transcriber.with_settings(transcriber.generation_settings.model_copy(update={"language": language}))
        yield from told.in_batches(test.load, [indices for _, indices in some])


def _numbered(
    numbers: Sequence[int], heard: Iterator[tuple[list[int], list[Transcript]]]
) -> Iterator[tuple[int, list[Transcript]]]:
    for number, (_, transcripts) in zip(numbers, heard, strict=True):
        yield number, transcripts


def _system(candidate: Candidate, transcriber: Transcriber, base_sha256: str, processes: int) -> System:
    adapter = candidate.adapter
    most = transcriber.family.most_tokens(transcriber.model, transcriber.generation_settings)
    return System(
        name=candidate.name,
        base=public_name(candidate.base),
        base_sha256=base_sha256,
        base_commit=candidate.resolved.revision if candidate.resolved else None,
        expected_base_sha256=candidate.resolved.expected_sha256 if candidate.resolved else None,
        adapter=candidate.adapter_name or (public_name(adapter) if adapter else None),
        adapter_sha256=weights_digest(adapter) if adapter else None,
        max_new_tokens=None if most == math.inf else int(most),
        batch_seconds=transcriber.batch_seconds,
        processes=processes,
        device=device_name(str(transcriber.model.device)),
        dtype=str(transcriber.model.dtype).removeprefix("torch."),
        peak_memory_bytes=0,
    )


def _key(transcriber: Transcriber, system: System, clips: Utterances) -> str:
    """Digest of what the texts depend on: model, prompt, batches, clips, and the libraries that hear them."""
    told: dict[str, Any] = {
        "system": system.model_dump(exclude={"processes", "device", "peak_memory_bytes"}),
        "spoken": transcriber.generation_settings.model_dump(),
        "clips": [clips.column("id"), clips.column("audio_seconds")],
        "batches": batches_of(transcriber, clips),
        "versions": [version(library) for library in ("torch", "transformers", "peft")],
    }
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
