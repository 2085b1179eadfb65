import json
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState

from escoita.audio.speech_detection import speech_detector
from escoita.data.rows import Utterances
from escoita.errors import WriteError
from escoita.evaluation.predict import append_batches, batches_of, decoding_of, read_journals, transcribe_all
from escoita.evaluation.predictions import predictions_path, read_predictions
from escoita.evaluation.request import EvaluationData, SystemSpec
from escoita.inference.transcriber import Transcriber
from escoita.models.whisper import WhisperFamily
from escoita.records.training import AdapterRecord, Prompt
from escoita.records.transcript import Segment, Transcript
from tests.evaluation.samples import clip
from tests.models.samples import MMS_LETTERS, write_ctc, write_mms, write_whisper
from tests.samples import melody, tone


SETTINGS = AdapterRecord(language="gl", prompt=Prompt(user=""), max_new_tokens=6)


def data_of(languages: Sequence[str]) -> EvaluationData:
    rows = [clip("ola", row, language=code, audio_seconds=0.5) for row, code in enumerate(languages, start=1)]
    return EvaluationData(Utterances.of(rows), lambda index: tone(300 + 100 * index))


def test_whisper_gets_the_language_of_each_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    languages: list[str] = []

    def generate(
        self: WhisperFamily,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: None,
    ) -> Any:
        languages.append(settings.language)
        return torch.zeros(len(inputs["input_features"]), 1, dtype=torch.long)

    monkeypatch.setattr(WhisperFamily, "generate", generate)
    whisper = SystemSpec("whisper", write_whisper(tmp_path / "whisper"), SETTINGS)
    transcribe_all(
        [whisper], {"es": data_of(["es", "es"]), "gl": data_of(["gl"])}, tmp_path, 60, PartialState(cpu=True)
    )
    assert languages == ["gl", "es", "gl"]  # the first one is the warm-up
    table, _ = read_predictions(predictions_path(tmp_path, "es", "whisper"))
    assert table["id"].to_pylist() == ["clips-1", "clips-2"] and set(table["hypothesis"].to_pylist()) == {"a"}


def test_each_row_of_several_languages_is_transcribed_in_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int]] = []
    generate = WhisperFamily.generate

    def recording(self: WhisperFamily, model: Any, inputs: Any, settings: AdapterRecord, watch: Any = None) -> Any:
        calls.append((settings.language, len(inputs["input_features"])))
        return generate(self, model, inputs, settings, watch)

    monkeypatch.setattr(WhisperFamily, "generate", recording)
    whisper = SystemSpec("whisper", write_whisper(tmp_path / "whisper"), SETTINGS, own_limit=True)
    mms = SystemSpec("mms", write_mms(tmp_path / "mms"), SETTINGS, own_limit=True)
    tests = {"clips": data_of(["es", "gl", "es", "gl", "gl"])}
    transcribe_all([whisper], tests, tmp_path, 60, PartialState(cpu=True))
    assert calls[1:] == [("es", 2), ("gl", 3)]
    table, provenance = read_predictions(predictions_path(tmp_path, "clips", "whisper"))
    assert table["id"].to_pylist() == [f"clips-{row}" for row in range(1, 6)]
    assert provenance.system.max_new_tokens == 12 and max(table["tokens"].to_pylist()) == 12
    assert all(table["truncated"].to_pylist())  # by its own limit, not by the 6 tokens of the adapter
    uzbek = {"clips": data_of(["en", "gl", "uz", "gl", "en"])}
    transcribe_all([mms], uzbek, tmp_path, 60, PartialState(cpu=True))
    table, provenance = read_predictions(predictions_path(tmp_path, "clips", "mms"))
    assert provenance.system.max_new_tokens is None and not any(table["truncated"].to_pylist())
    codes = {"en": "eng", "gl": "glg", "uz": "uzb-script_latin"}
    for language, text in zip(table["language"].to_pylist(), table["hypothesis"].to_pylist(), strict=True):
        assert text and set(text) <= set(MMS_LETTERS[codes[language]])


def test_decoding_is_in_the_record_of_each_system(tmp_path: Path) -> None:
    whisper = SystemSpec("whisper", write_whisper(tmp_path / "whisper"), SETTINGS, own_limit=True, num_beams=3)
    ctc = SystemSpec("ctc", write_ctc(tmp_path / "ctc"), SETTINGS, own_limit=True, num_beams=3)
    transcribe_all([whisper, ctc], {"clips": data_of(["gl", "gl"])}, tmp_path, 60, PartialState(cpu=True))
    found = [read_predictions(predictions_path(tmp_path, "clips", name))[1].system for name in ("whisper", "ctc")]
    beams, greedy = (system.decoding for system in found)
    assert (beams.num_beams, beams.language, beams.segment_seconds) == (3, "clip", 30)
    assert (greedy.num_beams, greedy.language) == (1, "none")


def test_the_beams_of_a_stored_generation_configuration_are_not_used(tmp_path: Path) -> None:
    whisper = Path(write_whisper(tmp_path))
    config = json.loads((whisper / "generation_config.json").read_text("utf-8"))
    changed = config | {"num_beams": 4, "length_penalty": 0.5}
    (whisper / "generation_config.json").write_text(json.dumps(changed), "utf-8")
    transcriber = Transcriber.load(str(whisper), settings=SETTINGS)
    assert decoding_of(transcriber).num_beams == 1 and decoding_of(transcriber).penalties == {"length_penalty": 0.5}
    transcriber.use_beams(2)
    assert decoding_of(transcriber).num_beams == transcriber.model.generation_config.num_beams == 2


@pytest.mark.parametrize("seconds, detector", [(29.0, None), (31.0, speech_detector())], ids=["short", "long"])
def test_the_speech_detector_of_long_recordings_is_recorded(
    tmp_path: Path, seconds: float, detector: str | None
) -> None:
    rows = Utterances.of([clip("ola", 1, audio_seconds=seconds)])
    whisper = SystemSpec("whisper", write_whisper(tmp_path / "whisper"), SETTINGS)
    tests = {"clips": EvaluationData(rows, lambda index: melody(seconds))}
    short = Utterances.of([clip("ola", 1, audio_seconds=2.0)])
    tests["short"] = EvaluationData(short, lambda index: melody(2.0))
    transcribe_all([whisper], tests, tmp_path, 60, PartialState(cpu=True))
    system, of_short = (
        read_predictions(predictions_path(tmp_path, name, "whisper"))[1].system for name in ("clips", "short")
    )
    assert system.speech_detector == detector and of_short.speech_detector is None
    assert ("speech_detector" in system.model_dump()) == (detector is not None)


def test_a_model_without_a_language_setting_transcribes_all_rows_in_the_same_batches(tmp_path: Path) -> None:
    transcriber = Transcriber.load(write_ctc(tmp_path), settings=SETTINGS, batch_seconds=60)
    (batch,) = batches_of(transcriber, data_of(["es", "gl", "es"]).clips)
    assert batch == ("gl", [0, 1, 2])


def transcripts(text: str) -> list[Transcript]:
    return [Transcript(text, 2.0, 0.1, 3, False, (Segment(0.0, 2.0, text),)), Transcript("", 1.0, 0.1)]


def test_batches_can_be_read_again(tmp_path: Path) -> None:
    append_batches(tmp_path / "0.jsonl", "k", [(0, transcripts("toʻrt\n\u2028")), (2, transcripts("b"))])
    append_batches(tmp_path / "1.jsonl", "k", [(1, transcripts("c"))])
    assert read_journals(tmp_path, "k") == {0: transcripts("toʻrt\n\u2028"), 2: transcripts("b"), 1: transcripts("c")}


def test_a_process_appends_to_its_journal(tmp_path: Path) -> None:
    append_batches(tmp_path / "0.jsonl", "k", [(0, transcripts("a"))])
    append_batches(tmp_path / "0.jsonl", "k", [(1, transcripts("b"))])
    assert read_journals(tmp_path, "k") == {0: transcripts("a"), 1: transcripts("b")}


@pytest.mark.parametrize("left", [1, 10, 60])
def test_an_incomplete_line_is_ignored(tmp_path: Path, left: int) -> None:
    path = tmp_path / "0.jsonl"
    append_batches(path, "k", [(0, transcripts("a")), (1, transcripts("b"))])
    last = path.read_bytes().splitlines(keepends=True)[-1]
    path.write_bytes(path.read_bytes()[: -len(last) + left])
    assert read_journals(tmp_path, "k") == {0: transcripts("a")}
    append_batches(path, "k", [(1, transcripts("c"))])
    assert read_journals(tmp_path, "k") == {0: transcripts("a"), 1: transcripts("c")}


@pytest.mark.parametrize("corrupt", [b"\0" * 40, b'{"batch": 1, "hea\0\0', b"\xff\xfe"])
def test_a_corrupt_line_is_ignored(tmp_path: Path, corrupt: bytes) -> None:
    path = tmp_path / "0.jsonl"
    append_batches(path, "k", [(0, transcripts("a"))])
    path.write_bytes(path.read_bytes() + corrupt + b"\n")
    assert read_journals(tmp_path, "k") == {0: transcripts("a")}


def test_a_full_disk_is_reported_and_keeps_earlier_batches(tmp_path: Path) -> None:
    path = tmp_path / "0.jsonl"
    append_batches(path, "k", [(0, transcripts("a"))])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
        with pytest.raises(WriteError) as refusal:
            append_batches(path, "k", [(1, transcripts("b"))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refusal.value.path == path and read_journals(tmp_path, "k") == {0: transcripts("a")}
    assert list(tmp_path.iterdir()) == [path]


def test_a_journal_with_another_key_is_ignored(tmp_path: Path) -> None:
    append_batches(tmp_path / "0.jsonl", "before", [(0, transcripts("a"))])
    assert read_journals(tmp_path, "now") == {}
    append_batches(tmp_path / "0.jsonl", "now", [(1, transcripts("b"))])
    assert read_journals(tmp_path, "now") == {1: transcripts("b")}


def test_an_error_keeps_earlier_batches(tmp_path: Path) -> None:
    def batches():
        yield 0, transcripts("a")
        raise MemoryError

    with pytest.raises(MemoryError):
        append_batches(tmp_path / "0.jsonl", "k", batches())
    assert read_journals(tmp_path, "k") == {0: transcripts("a")}
    assert read_journals(tmp_path / "nothing", "k") == {}
