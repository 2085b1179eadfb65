"""Transcribe the clips of every corpus with every system, and save the transcripts after each batch."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from escoita.audio.speech_detection import speech_detector
from escoita.data.rows import Utterances
from escoita.data.token_lengths import over_limit
from escoita.evaluation.predictions import Provenance, predictions_path, predictions_table, write_predictions
from escoita.evaluation.request import EvaluationData, SystemSpec, transcribes
from escoita.evaluation.reuse import LIBRARIES, reuse_keys, stored
from escoita.evaluation.shards import WHOLE, Shard, ShardProvenance, write_shard
from escoita.hub.files import weights_digest
from escoita.inference.batching import batches_by_language
from escoita.inference.transcriber import Transcriber
from escoita.models.base_model import Base, resolve_base
from escoita.records.evaluation import Decoding, System, today
from escoita.records.training import AdapterRecord
from escoita.records.transcript import Note, Segment, Transcript
from escoita.utils.files import convert_write_errors, public_name, write_atomically
from escoita.utils.limits import VOCABULARY_CHARACTERS
from escoita.utils.processes import (
    device_name,
    gathered,
    main_only,
    peak_memory_bytes,
    print_process_error,
    reset_peak_memory,
    say,
    track,
)


if TYPE_CHECKING:
    from accelerate import PartialState


# Transcripts by number of the batch, in the order of the batch.
Transcripts = dict[int, list[Transcript]]


def read_journals(folder: Path, key: str) -> Transcripts:
    """
    Read the batches that all processes have written so far.

    Args:
        folder (`Path`): Folder of one corpus and system, with one file for each process.
        key (`str`): Digest of all that the transcripts depend on. A file with another key is ignored.

    Returns:
        `dict[int, list[Transcript]]`: Transcripts by number of the batch. An incomplete line is ignored, so that its
        batch is transcribed again.
    """
    transcripts: Transcripts = {}
    for path in sorted(folder.glob("*.jsonl")):
        transcripts |= _read(path, key)
    return transcripts


def append_batches(path: Path, key: str, batches: Iterable[tuple[int, list[Transcript]]]) -> None:
    """
    Append each batch as soon as it is transcribed, after those that this process wrote before an interruption.

    Args:
        path (`Path`): File of this process.
        key (`str`): Digest as in [`read_journals`].
        batches (`Iterable[tuple[int, list[Transcript]]]`): Number and transcripts of each batch.
    """
    before = _read(path, key).items() if path.is_file() else ()
    write_atomically(path, "".join([json.dumps({"key": key}) + "\n", *(_line(*batch) for batch in before)]))
    # Without a buffer, because closing the file would try again to write data that did not fit on the disk.
    with path.open("ab", buffering=0) as journal:
        for batch in batches:
            remaining = memoryview(_line(*batch).encode())
            with convert_write_errors(path):
                while remaining:  # a nearly full disk accepts a part of it
                    remaining = remaining[journal.write(remaining) :]


def _line(number: int, transcripts: list[Transcript]) -> str:
    heard = [asdict(transcript) for transcript in transcripts]
    for segment in (segment for transcript in heard for segment in transcript["segments"]):
        del segment["characters"]  # predictions do not contain times
    return json.dumps({"batch": number, "heard": heard}) + "\n"


def _read(path: Path, key: str) -> Transcripts:
    transcripts: Transcripts = {}
    first, *lines = path.read_bytes().split(b"\n")
    if first != json.dumps({"key": key}).encode():
        return transcripts
    for line in lines[:-1]:  # the last one is empty or incomplete
        try:
            entry = json.loads(line)
        except ValueError:  # the machine lost power before the line was on the disk
            break
        transcripts[entry["batch"]] = [_transcript(**fields) for fields in entry["heard"]]
    return transcripts


def _transcript(segments: list[dict], notes: Sequence[Note] = (), **fields: object) -> Transcript:
    parts = tuple(Segment(**segment) for segment in segments)
    return Transcript(**fields, segments=parts, notes=tuple(notes))  # type: ignore[arg-type]


# Settings of a generation configuration that change the scores of tokens or of hypotheses.
PENALTIES = ("repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size", "length_penalty")
# Folders of the journals, which are removed after the report is written.
JOURNAL = ".unfinished-"


def resolve_bases(systems: Sequence[SystemSpec]) -> list[SystemSpec]:
    """
    Find the commits of all bases, and compare the digests of their weights with the records of the adapters.

    Args:
        systems (`Sequence[SystemSpec]`): The systems.

    Raises:
        EscoitaError: A base cannot be found, or has other weights than its adapter was trained on.
    """
    found: dict[tuple[str, str | None, str | None], Base] = {}
    for each in systems:
        key = each.base, each.revision, each.trained
        if key not in found:
            adapters = [each.trained] if each.trained else []
            found[key] = resolve_base(each.base, adapters, each.revision, each.recipe_revision, each.allow_other_base)
    bases = [found[each.base, each.revision, each.trained] for each in systems]
    return [replace(each, revision=base.revision, resolved=base) for each, base in zip(systems, bases, strict=True)]


def transcribe_all(
    systems: Sequence[SystemSpec],
    tests: dict[str, EvaluationData],
    out: Path,
    batch_seconds: float,
    state: "PartialState",
    shard: Shard = WHOLE,
) -> None:
    """
    Transcribe every corpus with every system, and write the predictions.

    Predictions of an earlier evaluation of the same systems and clips are not computed again.

    Args:
        systems (`Sequence[SystemSpec]`): The systems. A base directly before its adapter is loaded only once.
        tests (`dict[str, EvaluationData]`): Clips of each corpus, by name.
        out (`Path`): Folder for the predictions.
        batch_seconds (`float`): Maximum seconds of audio in a batch.
        state (`PartialState`): State of the processes that share the work, of accelerate.
        shard ([`~escoita.evaluation.shards.Shard`], *optional*): The shard to transcribe. Defaults to all batches.
    """
    digests: dict[str, str] = {}
    loaded: SystemSpec | None = None
    transcriber: Transcriber | None = None
    keys = reuse_keys(systems, tests, batch_seconds) if shard == WHOLE else {}
    existing = main_only(lambda: stored(out, keys), state)
    for spec in systems:
        needed = {name: test for name, test in tests.items() if transcribes(spec, test)}
        new = {name: test for name, test in needed.items() if (spec.name, name) not in existing}
        if state.is_main_process and (known := [name for name in needed if name not in new]):
            say(f"{spec.name} on {', '.join(known)}: the existing predictions are used")
        if not new:
            continue
        if transcriber is None or loaded is None or not loaded.is_base_of(spec):
            transcriber = None  # before the next is loaded, so that only one model is in memory
            reset_peak_memory()
            transcriber = Transcriber.load(
                spec.base, None, spec.generation_settings, spec.revision, spec.dtype, batch_seconds
            )
            resolved = spec.resolved or Base(spec.base, spec.revision)
            digests = {spec.base: resolved.digest()}
        if spec.adapter:
            transcriber.merge_adapter(spec.adapter)
        transcriber.generation_settings = settings_of(spec, transcriber)
        transcriber.use_beams(spec.num_beams)
        transcriber.warm_up()
        system = _system(spec, transcriber, digests[spec.base], state.num_processes)
        if state.is_main_process:
            _warn_of_limit(transcriber, spec.name, new)
        settings = transcriber.generation_settings
        for name, test in new.items():
            own_prompt = {"prompt": test.prompt} if test.prompt else {}
            transcriber.generation_settings = settings.model_copy(update=own_prompt)
            long = max(test.clips.column("audio_seconds"), default=0.0) > transcriber.family.max_audio_seconds
            system = system.model_copy(update={"speech_detector": speech_detector() if long else None})
            folder = out if shard == WHOLE else shard.folder(out)
            transcripts = predict(transcriber, name, test, system, folder, state, shard)
            peak = max(gathered(peak_memory_bytes(), state))
            if state.is_main_process:
                made = Provenance(
                    corpus=name,
                    rejected=test.rejected,
                    system=system.model_copy(update={"peak_memory_bytes": peak, "evaluated": today()}),
                    use="retention" if test.retention else "test",
                    key=keys.get((spec.name, name), ""),
                )
                places = sorted(transcripts)
                clips = Utterances(test.clips.table, test.clips.order[np.array(places, np.int64)])
                table = predictions_table(clips, [transcripts[place] for place in places], made)
                if shard == WHOLE:
                    write_predictions(table, predictions_path(out, name, spec.name))
                else:
                    key = _key(transcriber, system, test.clips)
                    part = ShardProvenance(index=shard.index, of=shard.of, key=key, rows=len(test.clips))
                    write_shard(out, table, places, made, part)
        loaded = spec


def _warn_of_limit(transcriber: Transcriber, system: str, tests: Mapping[str, EvaluationData]) -> None:
    """Print how many references of each corpus are longer than the token limit; of clips that are not cut."""
    limit = transcriber.family.most_tokens(transcriber.model, transcriber.generation_settings)
    if limit == math.inf:
        return
    for name, test in tests.items():
        seconds = np.array(test.clips.column("audio_seconds"))
        whole = test.clips.where(seconds <= transcriber.family.max_audio_seconds)
        if over := over_limit(whole, transcriber.processor.tokenizer, limit):
            say(f"{name}, {system}: {over}; raise max_new_tokens above {over.most_tokens}")


def settings_of(spec: SystemSpec, transcriber: Transcriber) -> AdapterRecord:
    """Return prompt, language and token limit of a system whose model is loaded."""
    if not spec.own_limit:
        return spec.generation_settings
    limit = transcriber.family.own_limit(transcriber.model)
    return spec.generation_settings.model_copy(update={"max_new_tokens": limit})


def batches_of(transcriber: Transcriber, clips: Utterances) -> list[tuple[str, list[int]]]:
    """
    Return the batches of a corpus, each with its language: for a model with a language setting, the language of the
    clips; for other models, the language of the system.

    Args:
        transcriber ([`~escoita.inference.transcriber.Transcriber`]): The transcriber with the settings of the system.
        clips ([`~escoita.data.rows.Utterances`]): The corpus.
    """
    languages = clips.column("language")
    if not transcriber.per_language:
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
    Transcribe a corpus in batches of similar length, and write each batch as soon as it is transcribed.

    All processes share the batches that a single process would make, so that the hypotheses are the same.

    Returns:
        `dict[int, Transcript]`: Transcripts of all processes by the index of the clip; for a shard, only of its clips.
    """
    with_language = batches_of(transcriber, test.clips)
    batches = [indices for _, indices in with_language]
    folder, key = out / corpus / f"{JOURNAL}{system.name}", _key(transcriber, system, test.clips)
    known = read_journals(folder, key) if folder.is_dir() else {}
    # Divided by the number of the batch, not by what is missing, because processes may start at different times.
    numbers = shard.numbers(len(batches))
    own = [number for number in numbers[state.process_index :: state.num_processes] if number not in known]
    results = _in_languages(transcriber, test, [with_language[number] for number in own])
    tracked = track(results, total=len(own), title=f"Transcribing {corpus}, {system.name}: batches")
    with print_process_error(state):
        append_batches(folder / f"{state.process_index}.jsonl", key, _numbered(own, tracked))
    state.wait_for_everyone()
    known = read_journals(folder, key)
    return {
        index: transcript
        for number in numbers
        for index, transcript in zip(batches[number], known[number], strict=True)
    }


def _in_languages(
    transcriber: Transcriber, test: EvaluationData, batches: Sequence[tuple[str, list[int]]]
) -> Iterator[tuple[list[int], list[Transcript]]]:
    """Transcribe batches with the settings of their language."""
    for language, group in groupby(batches, key=itemgetter(0)):
        settings = transcriber.generation_settings.model_copy(update={"language": language})
        yield from transcriber.with_settings(settings).transcribe_batches(test.load, [indices for _, indices in group])


def _numbered(
    numbers: Sequence[int], results: Iterator[tuple[list[int], list[Transcript]]]
) -> Iterator[tuple[int, list[Transcript]]]:
    for number, (_, transcripts) in zip(numbers, results, strict=True):
        yield number, transcripts


def _system(spec: SystemSpec, transcriber: Transcriber, base_sha256: str, processes: int) -> System:
    adapter = spec.adapter
    most = transcriber.family.most_tokens(transcriber.model, transcriber.generation_settings)
    characters = transcriber.family.characters(transcriber.processor, spec.generation_settings.language)
    return System(
        name=spec.name,
        base=public_name(spec.base),
        base_sha256=base_sha256,
        base_commit=spec.resolved.revision if spec.resolved else None,
        expected_base_sha256=spec.resolved.expected_sha256 if spec.resolved else None,
        adapter=spec.adapter_name or (public_name(adapter) if adapter else None),
        adapter_sha256=weights_digest(adapter) if adapter else None,
        max_new_tokens=None if most == math.inf else int(most),
        batch_seconds=transcriber.batch_seconds,
        processes=processes,
        device=device_name(str(transcriber.model.device)),
        dtype=str(transcriber.model.dtype).removeprefix("torch."),
        peak_memory_bytes=0,
        decoding=decoding_of(transcriber),
        characters=characters if len(characters or "") <= VOCABULARY_CHARACTERS else None,  # with added tokens
    )


def decoding_of(transcriber: Transcriber) -> Decoding:
    """Return the settings of decoding of a loaded model."""
    from transformers import GenerationConfig

    from escoita.models.chat import ChatFamily

    family, config = transcriber.family, getattr(transcriber.model, "generation_config", None)
    per_language = family.per_language(transcriber.model, transcriber.processor)
    defaults = GenerationConfig()._get_default_generation_params()
    found = {name: getattr(config, name, None) for name in PENALTIES}
    return Decoding(
        num_beams=getattr(config, "num_beams", None) or 1,
        language="clip" if per_language else "prompt" if isinstance(family, ChatFamily) else "none",
        segment_seconds=family.max_audio_seconds,
        penalties={name: value for name, value in found.items() if value not in (None, defaults.get(name))},
    )


def _key(transcriber: Transcriber, system: System, clips: Utterances) -> str:
    """Return the digest of all that the hypotheses depend on: model, prompt, batches, clips, and libraries."""
    conditions: dict[str, Any] = {
        "system": system.model_dump(exclude={"processes", "device", "peak_memory_bytes"}),
        "spoken": transcriber.generation_settings.model_dump(),
        "clips": [clips.column("id"), clips.column("audio_seconds")],
        "batches": batches_of(transcriber, clips),
        "versions": [version(library) for library in LIBRARIES],
    }
    return hashlib.sha256(json.dumps(conditions).encode()).hexdigest()
