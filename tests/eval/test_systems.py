from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState

from escoita.corpora.rows import Utterances
from escoita.families.baselines import WhisperFamily
from escoita.predictions import predictions_path, read_predictions
from escoita.records import AdapterRecord, Prompt
from eval.material import Material
from eval.systems import Candidate, hear_all, spoken_in
from tests.escoita.families.samples import write_whisper
from tests.escoita.samples import tone
from tests.eval.samples import clip


SPOKEN = AdapterRecord(language="gl", prompt=Prompt(user=""), max_new_tokens=6)


def material(languages: Sequence[str]) -> Material:
    rows = [clip("ola", row, language=code, audio_seconds=0.5) for row, code in enumerate(languages, start=1)]
    return Material(Utterances.of(rows), lambda index: tone(300 + 100 * index))


@pytest.mark.parametrize("languages, told", [(["es", "es"], "es"), (["gl"], "gl"), (["es", "gl"], ""), ([], "gl")])
def test_clips_tell_their_language(languages: list[str], told: str) -> None:
    assert spoken_in(SPOKEN, material(languages).clips) == SPOKEN.model_copy(update={"language": told})


def test_whisper_is_told_the_language_of_each_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def generate(
        self: WhisperFamily, model: Any, inputs: dict[str, torch.Tensor], spoken: AdapterRecord, watch: None
    ) -> Any:
        told.append(spoken.language)
        return torch.zeros(len(inputs["input_features"]), 1, dtype=torch.long)

    monkeypatch.setattr(WhisperFamily, "generate", generate)
    whisper = Candidate("whisper", write_whisper(tmp_path / "whisper"), SPOKEN)
    hear_all([whisper], {"es": material(["es", "es"]), "gl": material(["gl"])}, tmp_path, 60, PartialState(cpu=True))
    assert told == ["gl", "es", "gl"]  # the first of the warm-up
    table, _ = read_predictions(predictions_path(tmp_path, "es", "whisper"))
    assert table["id"].to_pylist() == ["clips-1", "clips-2"] and set(table["hypothesis"].to_pylist()) == {"a"}


@pytest.mark.parametrize(
    "change, carried",
    [({}, True), ({"revision": "v2"}, False), ({"base": "b"}, False), ({"dtype": "float16"}, False)],
)
def test_a_base_is_loaded_once_for_its_adapter(change: dict[str, str], carried: bool) -> None:
    known: dict[str, Any] = {"name": "adapter", "base": "a", "spoken": SPOKEN, "adapter": "x"}
    adapter = Candidate(**known | change)
    assert Candidate("base", "a", SPOKEN).carries(adapter) is carried
    assert not adapter.carries(adapter)  # another adapter may not be merged on top
    assert not Candidate("base", "a", SPOKEN.model_copy(update={"max_new_tokens": 9})).carries(adapter)
