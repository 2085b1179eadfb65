import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState

from escoita.data.rows import Utterances
from escoita.evaluation import reuse
from escoita.evaluation.predict import resolve_bases, transcribe_all
from escoita.evaluation.predictions import predictions_path, public, read_predictions
from escoita.evaluation.request import EvaluationData, SystemSpec
from escoita.inference.transcriber import Transcriber
from escoita.records.training import AdapterRecord, Prompt
from tests.evaluation.samples import clip
from tests.models.samples import write_ctc, write_whisper
from tests.samples import tone


SETTINGS = AdapterRecord(language="gl", prompt=Prompt(user=""), max_new_tokens=4)


def data_of(texts: Sequence[str], **known: Any) -> EvaluationData:
    rows = [
        clip(text, row, language="gl", **{"audio_seconds": 0.5} | known) for row, text in enumerate(texts, start=1)
    ]
    return EvaluationData(Utterances.of(rows), lambda index: tone(300 + 100 * index))


@pytest.fixture
def whisper(tmp_path: Path) -> SystemSpec:
    return SystemSpec("whisper", write_whisper(tmp_path / "whisper"), SETTINGS, own_limit=True)


Evaluate = Callable[..., list[str]]


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """Return a function that evaluates systems, and returns the models that were loaded."""
    load = Transcriber.load

    def run(systems: Sequence[SystemSpec], tests: dict[str, EvaluationData] | None = None) -> list[str]:
        loaded: list[str] = []

        def recording(base: str, *arguments: Any) -> Transcriber:
            loaded.append(Path(base).name)
            return load(base, *arguments)

        monkeypatch.setattr(Transcriber, "load", recording)
        tests = tests or {"clips": data_of(["ola", "adeus"])}
        transcribe_all(resolve_bases(systems), tests, tmp_path / "out", 60, PartialState(cpu=True))
        return loaded

    return run


def test_only_a_new_baseline_is_transcribed(evaluate: Evaluate, whisper: SystemSpec, tmp_path: Path) -> None:
    assert evaluate([whisper]) == ["whisper"]
    path = predictions_path(tmp_path / "out", "clips", "whisper")
    before = path.read_bytes()
    ctc = SystemSpec("ctc", write_ctc(tmp_path / "ctc"), SETTINGS, own_limit=True)
    assert evaluate([whisper, ctc]) == ["ctc"] and path.read_bytes() == before
    assert evaluate([whisper, ctc]) == []
    path.write_bytes(before[:-20])
    assert evaluate([whisper, ctc]) == ["whisper"]
    assert read_predictions(path)[0].num_rows == 2


def test_only_a_new_corpus_is_transcribed(evaluate: Evaluate, whisper: SystemSpec, tmp_path: Path) -> None:
    tests = {"clips": data_of(["ola", "adeus"])}
    evaluate([whisper], tests)
    before = predictions_path(tmp_path / "out", "clips", "whisper").read_bytes()
    assert evaluate([whisper], tests | {"more": data_of(["si"])}) == ["whisper"]
    assert predictions_path(tmp_path / "out", "clips", "whisper").read_bytes() == before
    assert predictions_path(tmp_path / "out", "more", "whisper").is_file()


def test_changed_conditions_are_transcribed_again(evaluate: Evaluate, whisper: SystemSpec, tmp_path: Path) -> None:
    assert evaluate([whisper]) == ["whisper"]
    for other in (replace(whisper, num_beams=2), replace(whisper, own_limit=False)):
        assert evaluate([other]) == ["whisper"]
    audio = tmp_path / "clip.wav"
    audio.write_bytes(b"one")
    tests = {"clips": data_of(["ola", "adeus"], audio=str(audio))}
    assert evaluate([whisper], tests) == ["whisper"] and evaluate([whisper], tests) == []
    audio.write_bytes(b"another")
    assert evaluate([whisper], tests) == ["whisper"]
    assert evaluate([whisper], {"clips": data_of(["ola", "deica"], audio=str(audio))}) == ["whisper"]


def test_a_changed_configuration_of_a_folder_is_noticed(evaluate: Evaluate, whisper: SystemSpec) -> None:
    evaluate([whisper])
    path = Path(whisper.base, "generation_config.json")
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"length_penalty": 0.5}), "utf-8")
    assert evaluate([whisper]) == ["whisper"]


def test_predictions_of_another_version_are_not_used(
    evaluate: Evaluate, whisper: SystemSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate([whisper])
    monkeypatch.setattr(reuse, "__version__", "0.0.1")
    assert evaluate([whisper]) == ["whisper"]


def test_published_predictions_have_no_key(evaluate: Evaluate, whisper: SystemSpec, tmp_path: Path) -> None:
    evaluate([whisper])
    table, provenance = read_predictions(predictions_path(tmp_path / "out", "clips", "whisper"))
    assert len(provenance.key) == 64
    assert public(table, provenance, withheld=False)[1].key == ""
