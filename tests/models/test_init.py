import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from escoita.errors import EscoitaError
from escoita.models import check_sizes, family_for_evaluation, family_of
from escoita.models.families import BY_MODEL_TYPE


KNOWN = ", ".join(BY_MODEL_TYPE)


@pytest.mark.parametrize("model_type", BY_MODEL_TYPE)
def test_family_is_selected_by_model_type(model_type: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}), "utf-8")
    assert model_type in family_of(str(tmp_path)).info.model_types


def test_only_the_module_of_the_family_is_imported(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_audio"}), "utf-8")
    code = (
        "import sys; from escoita.models import family_of; family_of(sys.argv[1]);"
        "print([name for name in sys.modules if name.startswith('escoita.models.')])"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert set(json.loads(result.stdout.replace("'", '"'))) == {
        f"escoita.models.{module}"
        for module in (
            "base",
            "chat",
            "chat_templates",
            "errors",
            "families",
            "qwen2_audio",
            "small_copy",
            "template_process",
            "trainable",
        )
    }


@pytest.mark.parametrize(
    "config, model_type",
    [
        (None, None),
        ('{"model_type": "bert"}', "bert"),
        ('{"model_type": "no-such-model"}', "no-such-model"),
        ('{"architectures": []}', None),
        ("{", None),
    ],
)
def test_folder_without_a_supported_base_is_refused(
    tmp_path: Path, config: str | None, model_type: str | None
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config, "utf-8")
    with pytest.raises(EscoitaError) as refusal:
        family_of(str(tmp_path))
    path = str(tmp_path) if model_type else tmp_path / "config.json"
    assert (refusal.value.path, refusal.value.value) == (path, model_type)


@pytest.mark.parametrize("model_type", ["bert", "lasr_ctc"])
def test_model_that_cannot_be_evaluated_is_refused(tmp_path: Path, model_type: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}), "utf-8")
    with pytest.raises(EscoitaError) as refusal:
        family_for_evaluation(str(tmp_path))
    assert (refusal.value.key, refusal.value.value) == ("model_type", model_type)


def test_missing_package_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "voxtral"}), "utf-8")
    monkeypatch.setitem(sys.modules, "escoita.models.voxtral", None)
    with pytest.raises(EscoitaError) as error:
        family_of(str(tmp_path))
    assert (error.value.key, error.value.value) == ("model_type", "voxtral")
    assert isinstance(error.value.__cause__, ImportError)


@pytest.mark.parametrize(
    "key, config",
    [
        ("num_hidden_layers", {"num_hidden_layers": 1001.0}),
        ("num_hidden_layers", {"num_hidden_layers": -1}),
        ("num_attention_heads", {"num_attention_heads": 10**9}),
        ("intermediate_size", {"text_config": {"intermediate_size": 10**9}}),
        ("encoder_ffn_dim", {"encoder_ffn_dim": 10**9}),
        ("conv_dim", {"conv_dim": [512, 10**9]}),
        ("conv_dim", {"conv_dim": [1] * 100_000}),
        ("num_hidden_layers", {"towers": [{"num_hidden_layers": 10**6}]}),
    ],
)
def test_impossible_sizes_are_refused_before_a_model_is_built(
    key: str, config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2"} | config), "utf-8")
    with pytest.raises(EscoitaError) as refusal:
        family_of(str(tmp_path))
    assert (refusal.value.path, refusal.value.key) == (str(tmp_path / "config.json"), key)


def test_indices_of_layers_are_no_sizes() -> None:
    check_sizes({"cat_hidden_layers": [3, -1], "num_hidden_layers": 0, "some_layers": ["full"] * 48}, "config.json")
