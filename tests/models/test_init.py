import json
import subprocess
import sys
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.models import family_of
from escoita.models.families import BY_MODEL_TYPE


KNOWN = ", ".join(BY_MODEL_TYPE)


@pytest.mark.parametrize("model_type", BY_MODEL_TYPE)
def test_the_family_is_found_by_the_model_type(model_type: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}), "utf-8")
    assert model_type in family_of(str(tmp_path)).info.model_types


def test_a_base_imports_no_other_family(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_audio"}), "utf-8")
    code = (
        "import sys; from escoita.models import family_of; family_of(sys.argv[1]);"
        "print([name for name in sys.modules if name.startswith('escoita.models.')])"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert set(json.loads(result.stdout.replace("'", '"'))) == {
        f"escoita.models.{module}"
        for module in ("base", "chat", "chat_templates", "families", "qwen2_audio", "small_copy", "template_process")
    }


@pytest.mark.parametrize(
    "config, said",
    [
        (None, "the folder holds no model configuration"),
        ('{"model_type": "bert"}', f"its type 'bert' is not one of {KNOWN}"),
        ('{"model_type": "no-such-model"}', f"its type 'no-such-model' is not one of {KNOWN}"),
        ('{"architectures": []}', "the folder holds no model configuration"),
        ("{", "the folder holds no model configuration"),
    ],
)
def test_a_folder_that_is_no_base(tmp_path: Path, config: str | None, said: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config, "utf-8")
    with pytest.raises(EscoitaError) as refusal:
        family_of(str(tmp_path))
    assert str(refusal.value) == f"model {tmp_path}: {said}"


def test_what_a_family_needs_and_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "voxtral"}), "utf-8")
    monkeypatch.setitem(sys.modules, "escoita.models.voxtral", None)
    with pytest.raises(EscoitaError, match="for its type 'voxtral' something is not installed: import of"):
        family_of(str(tmp_path))
