"""Test the evaluation with a baseline of each family."""

import json
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.evaluation.evaluate import evaluate_manifests
from escoita.records.evaluation import EvaluationRecord
from tests.conftest import write_manifest
from tests.models.bases import write_qwen3_asr
from tests.models.samples import write_ctc, write_mms, write_whisper
from tests.models.test_baselines import WRITERS


def evaluated(folder: Path, language: str, baselines: list[str], num_beams: int = 1) -> EvaluationRecord:
    rows = write_manifest(folder / "mine.jsonl", "test", 3).read_text("utf-8").splitlines()
    manifest = folder / "mine.jsonl"
    manifest.write_text("".join(json.dumps(json.loads(row) | {"lang": language}) + "\n" for row in rows), "utf-8")
    base = write_whisper(folder / "tiny-whisper")
    return evaluate_manifests(
        base, None, [manifest], folder / "out", language, baselines, normalizer="raw", num_beams=num_beams
    )


@pytest.mark.slow
def test_a_baseline_of_each_family_is_evaluated(tmp_path: Path) -> None:
    models = {name: write(tmp_path / name) for name, write in WRITERS.items()}
    models |= {"mms": write_mms(tmp_path / "mms"), "ctc": write_ctc(tmp_path / "ctc")}
    write_qwen3_asr(tmp_path / "qwen3_asr")
    models["qwen3_asr"] = str(tmp_path / "qwen3_asr")
    record = evaluated(tmp_path, "en", [model for name, model in models.items() if name != "mms"], num_beams=2)
    found = {system.name: system for system in record.systems}
    assert found.keys() == {"base", *models} - {"mms"} and record.pooled.n == 3
    beams = {name: system.decoding.num_beams for name, system in found.items()}
    greedy = {"ctc", "parakeet_ctc", "parakeet_rnnt", "parakeet_tdt"}
    assert {name for name, count in beams.items() if count == 1} == greedy
    languages = {name: system.decoding.language for name, system in found.items()}
    assert {name for name, source in languages.items() if source == "clip"} == {"base", "canary", "cohere_asr"}
    assert languages["qwen3_asr"] == "prompt"
    assert [system.name for system in evaluated(tmp_path, "en", [models["mms"]]).systems] == ["base", "mms"]


@pytest.mark.parametrize("name", ["mms", "canary"])
def test_a_baseline_without_the_language_is_refused_before_the_evaluation(tmp_path: Path, name: str) -> None:
    model = (write_mms if name == "mms" else WRITERS[name])(tmp_path / name)
    with pytest.raises(EscoitaError) as refusal:
        evaluated(tmp_path, "ka", [model])
    assert (refusal.value.path, refusal.value.key, refusal.value.value) == (model, "language", "ka")
    assert not list(tmp_path.rglob("*.parquet")) and not list(tmp_path.rglob("*.jsonl*/*"))
