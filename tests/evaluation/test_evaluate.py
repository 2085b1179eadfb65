from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.evaluation.evaluate import evaluate_manifests
from escoita.records.training import AdapterRecord, Prompt
from tests.conftest import write_manifest


def test_an_adapter_with_another_prompt_is_refused_before_anything_is_transcribed(
    tmp_path: Path,
) -> None:
    base, prompt = "quickstart/gemma4", Prompt(user="Transcribe.")
    AdapterRecord(language="uz", prompt=prompt, rendered_prompt="<bos>old").write(tmp_path / "adapter/escoita.json")
    manifest = write_manifest(tmp_path / "test.jsonl", "test", 2)
    with pytest.raises(EscoitaError):
        evaluate_manifests(base, str(tmp_path / "adapter"), [manifest], tmp_path / "out")
    assert not list(tmp_path.glob("out/**/*.parquet"))
