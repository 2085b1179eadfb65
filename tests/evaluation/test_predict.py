from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState

from escoita.data.rows import Utterances
from escoita.evaluation.predict import batches_of, transcribe_all
from escoita.evaluation.predictions import predictions_path, read_predictions
from escoita.evaluation.request import Candidate, EvaluationData
from escoita.inference.transcriber import Transcriber
from escoita.models.whisper_ctc import WhisperFamily
from escoita.records.training import AdapterRecord, Prompt
from tests.evaluation.samples import clip
from tests.models.samples import MMS_LETTERS, write_ctc, write_mms, write_whisper
from tests.samples import tone


SPOKEN = AdapterRecord(language="gl", prompt=Prompt(user=""), max_new_tokens=6)


def material(languages: Sequence[str]) -> EvaluationData:
    rows = [clip("ola", row, language=code, audio_seconds=0.5) for row, code in enumerate(languages, start=1)]
    return EvaluationData(Utterances.of(rows), lambda index: tone(300 + 100 * index))


def test_whisper_is_told_the_language_of_each_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def generate(
        self: WhisperFamily,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: None,
    ) -> Any:
        told.append(settings.language)
        return torch.zeros(len(inputs["input_features"]), 1, dtype=torch.long)

    monkeypatch.setattr(WhisperFamily, "generate", generate)
    whisper = Candidate("whisper", write_whisper(tmp_path / "whisper"), SPOKEN)
    transcribe_all(
        [whisper], {"es": material(["es", "es"]), "gl": material(["gl"])}, tmp_path, 60, PartialState(cpu=True)
    )
    assert told == ["gl", "es", "gl"]  # the first of the warm-up
    table, _ = read_predictions(predictions_path(tmp_path, "es", "whisper"))
    assert table["id"].to_pylist() == ["clips-1", "clips-2"] and set(table["hypothesis"].to_pylist()) == {"a"}


def test_each_row_of_several_languages_is_transcribed_in_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    generate = WhisperFamily.generate

    def listening(self: WhisperFamily, model: Any, inputs: Any, settings: AdapterRecord, watch: Any = None) -> Any:
        asked.append((settings.language, len(inputs["input_features"])))
        return generate(self, model, inputs, settings, watch)

    monkeypatch.setattr(WhisperFamily, "generate", listening)
    whisper = Candidate("whisper", write_whisper(tmp_path / "whisper"), SPOKEN, own_limit=True)
    mms = Candidate("mms", write_mms(tmp_path / "mms"), SPOKEN, own_limit=True)
    tests = {"clips": material(["es", "gl", "es", "gl", "gl"])}
    transcribe_all([whisper], tests, tmp_path, 60, PartialState(cpu=True))
    assert asked[1:] == [("es", 2), ("gl", 3)]
    table, provenance = read_predictions(predictions_path(tmp_path, "clips", "whisper"))
    assert table["id"].to_pylist() == [f"clips-{row}" for row in range(1, 6)]
    assert provenance.system.max_new_tokens == 12 and max(table["tokens"].to_pylist()) == 12
    assert all(table["truncated"].to_pylist())  # by its own limit, not by the 6 tokens of the adapter
    uzbek = {"clips": material(["en", "gl", "uz", "gl", "en"])}
    transcribe_all([mms], uzbek, tmp_path, 60, PartialState(cpu=True))
    table, provenance = read_predictions(predictions_path(tmp_path, "clips", "mms"))
    assert provenance.system.max_new_tokens is None and not any(table["truncated"].to_pylist())
    codes = {"en": "eng", "gl": "glg", "uz": "uzb-script_latin"}
    for language, text in zip(table["language"].to_pylist(), table["hypothesis"].to_pylist(), strict=True):
        assert text and set(text) <= set(MMS_LETTERS[codes[language]])


def test_a_model_that_is_given_no_language_hears_all_rows_in_the_same_batches(tmp_path: Path) -> None:
    transcriber = Transcriber.load(write_ctc(tmp_path), settings=SPOKEN, batch_seconds=60)
    (batch,) = batches_of(transcriber, material(["es", "gl", "es"]).clips)
    assert batch == ("gl", [0, 1, 2])


@pytest.mark.parametrize(
    "change, carried",
    [({}, True), ({"revision": "v2"}, False), ({"base": "b"}, False), ({"dtype": "float16"}, False)],
)
def test_a_base_is_loaded_once_for_its_adapter(change: dict[str, str], carried: bool) -> None:
    known: dict[str, Any] = {"name": "adapter", "base": "a", "generation_settings": SPOKEN, "adapter": "x"}
    adapter = Candidate(**known | change)
    assert Candidate("base", "a", SPOKEN).is_base_of(adapter) is carried
    assert not adapter.is_base_of(adapter)  # another adapter may not be merged on top
    assert not Candidate("base", "a", SPOKEN.model_copy(update={"max_new_tokens": 9})).is_base_of(adapter)
