"""Test untrusted adapters: valid ones give the same output as plain PEFT, and nothing of others is executed."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from escoita.errors import EscoitaError
from escoita.models import family_of
from escoita.models.adapter_files import AdapterSettings, lora_config, read_settings
from escoita.models.adapters import attached
from escoita.models.errors import IncompatibleAdapterError
from escoita.records.training import Prompt
from escoita.training.callbacks import save_weights
from tests.adapter_samples import GEMMA4_LORA, PHI4_LORA, PHI4_MODULES
from tests.samples import tone


BASE = "quickstart/gemma4"
LANGUAGE = r".*language_model.*\.(q|v|up)_proj"
Q_PROJ = "model.language_model.layers.0.self_attn.q_proj"
LORA_A = f"{Q_PROJ}.lora_A.weight"
VALID: dict[str, tuple[str, dict[str, Any]]] = {
    "expression": (BASE, GEMMA4_LORA),
    "list": (BASE, {"target_modules": ["o_proj", "down_proj"]}),
    "bias of all": (BASE, GEMMA4_LORA | {"bias": "all"}),
    "bias of layers": (BASE, GEMMA4_LORA | {"bias": "lora_only"}),
    "rslora": (BASE, GEMMA4_LORA | {"use_rslora": True, "lora_alpha": 5}),
    "dora": (BASE, {"target_modules": LANGUAGE, "use_dora": True}),
    "bias of lora": (BASE, {"target_modules": LANGUAGE, "lora_bias": True}),
    "dropout": (BASE, GEMMA4_LORA | {"lora_dropout": 0.5}),
    "ranks": (BASE, {"target_modules": LANGUAGE, "rank_pattern": {f"^{Q_PROJ}": 7, "q_proj": 2}}),
    "alphas": (BASE, {"target_modules": LANGUAGE, "alpha_pattern": {"self_attn.q_proj": 3, "up_proj": 16}}),
    "convolution": (BASE, {"target_modules": ["layer0.conv", "up_proj"]}),
    "modules and lora": (BASE, {"target_modules": LANGUAGE, "modules_to_save": ["embed_audio"]}),
    "head": (BASE, {"target_modules": r".*\.o_proj|lm_head"}),
    "embeddings": (BASE, {"target_modules": r".*language_model\.embed_tokens"}),
    "layers": (BASE, {"target_modules": ["up_proj"], "layers_to_transform": [0], "layers_pattern": "layers"}),
    "phi4": ("quickstart/phi4", PHI4_LORA),
    "modules": ("quickstart/phi4", PHI4_MODULES),
}


def load(base: str, **options: Any) -> Any:
    return family_of(base).load_model(base, dtype="float32", **options).eval()


def logits(model: Any, base: str) -> torch.Tensor:
    family = family_of(base)
    inputs = family.encode(family.load_processor(base), [tone(seconds=0.8)], Prompt(user="Listen."))
    with torch.inference_mode():
        return model.eval()(**inputs).logits


def write(base: str, folder: Path, settings: dict[str, Any], **options: Any) -> Path:
    """Write an adapter with random changes of its parameters."""
    torch.manual_seed(0)
    model = get_peft_model(load(base, **options), LoraConfig(**{"r": 4, "task_type": "CAUSAL_LM"} | settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    save_weights(model, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", VALID)
def test_valid_adapter_gives_the_same_logits_as_peft(kind: str, tmp_path: Path) -> None:
    base, settings = VALID[kind]
    folder = write(base, tmp_path / "adapter", settings)
    expected = logits(PeftModel.from_pretrained(load(base), folder), base)
    assert not torch.equal(expected, logits(load(base), base))
    assert torch.equal(logits(attached(load(base), str(folder)), base), expected)


@pytest.mark.slow
def test_valid_adapter_gives_the_same_logits_as_peft_in_4_bits(tmp_path: Path) -> None:
    folder = write(BASE, tmp_path / "adapter", GEMMA4_LORA, load_in_4bit=True)
    expected = logits(PeftModel.from_pretrained(load(BASE, load_in_4bit=True), folder), BASE)
    assert torch.equal(logits(attached(load(BASE, load_in_4bit=True), str(folder)), BASE), expected)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(BASE, tmp_path_factory.mktemp("valid") / "adapter", {"target_modules": LANGUAGE})


@pytest.fixture
def spoilt(valid: Path, tmp_path: Path) -> Callable[..., str]:
    """Copy the adapter with changed settings, or tensors changed by a function."""

    def make(change: Callable[[dict[str, torch.Tensor]], object] = len, **settings: Any) -> str:
        config = json.loads((valid / "adapter_config.json").read_text("utf-8"))
        (tmp_path / "adapter_config.json").write_text(json.dumps(config | settings), "utf-8")
        weights = load_file(valid / "adapter_model.safetensors")
        change(weights)
        save_file({name: each.contiguous() for name, each in weights.items()}, tmp_path / "adapter_model.safetensors")
        return str(tmp_path)

    return make


@pytest.mark.parametrize(
    "settings, key",
    [
        ({"r": 10**9}, "r"),
        ({"r": 8}, ".lora_A.weight"),
        ({"r": "x", "lora_alpha": [1]}, "r"),
        ({"r": True}, "r"),
        ({"lora_alpha": -1}, "lora_alpha"),
        ({"use_rslora": "yes"}, "use_rslora"),
        ({"peft_type": "PROMPT_TUNING", "tokenizer_kwargs": {"trust_remote_code": True}}, "peft_type"),
        ({"peft_type": None}, "peft_type"),
        ({"task_type": "SEQ_CLS"}, "task_type"),
        ({"init_lora_weights": "pissa_niter_9999999"}, "init_lora_weights"),
        ({"layer_replication": [[0, 2]] * 2000}, "layer_replication"),
        ({"megatron_config": {"x": 1}, "megatron_core": "tests.hub_double.__main__"}, "megatron_config"),
        ({"target_parameters": ["weight"]}, "target_parameters"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"zzz": 1}, "zzz"),
        ({"\x1b]0;own": 1}, "\x1b]0;own"),
        ({"rank_pattern": {"(([a-z_.0-9]+)+)+Q": 4}}, "rank_pattern"),
        ({"alpha_pattern": {".*q_proj": 4}}, "alpha_pattern"),
        ({"rank_pattern": {"q_proj": 5}}, ".lora_A.weight"),
        ({"rank_pattern": [1]}, "rank_pattern"),
        ({"modules_to_save": ["embed_audio"]}, "modules_to_save"),
        ({"modules_to_save": ["nothing_such"]}, "modules_to_save"),
        ({"target_modules": ["q_proj", "v_proj"]}, "target_modules"),
        ({"target_modules": ["q_proj", "v_proj", "up_proj", "o_proj"]}, "target_modules"),
        ({"target_modules": {"a": 1}}, "target_modules"),
        ({"use_dora": True}, ".lora_magnitude_vector"),
        ({"lora_bias": True}, ".lora_B.bias"),
    ],
)
def test_invalid_or_contradictory_settings_are_refused(
    spoilt: Callable[..., str], settings: dict[str, Any], key: str
) -> None:
    adapter = spoilt(**settings)
    with pytest.raises(EscoitaError) as error:
        attached(load(BASE), adapter)
    compared = isinstance(error.value, IncompatibleAdapterError)
    assert error.value.path == (adapter if compared else f"{adapter}/adapter_config.json")
    assert str(error.value.key).endswith(key) if compared else error.value.key == key
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"auto_mapping": {"base_model_class": "X", "parent_library": "antigravity"}},
        {"init_lora_weights": "eva", "eva_config": {"rho": 2.0}},
        {"a_key_of_tomorrow": None},
        {"lora_dropout": "x", "base_model_name_or_path": ["x"]},
    ],
)
def test_unused_settings_are_ignored(spoilt: Callable[..., str], settings: dict[str, Any]) -> None:
    attached(load(BASE), spoilt(**settings))


def test_regular_expressions_of_an_adapter_are_not_executed(
    spoilt: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The expression would take years; a patched `re` records that it is never compiled."""
    foreign = "(.*.*.*.*.*.*.*.*)*[0-9]{9}x"
    compiled: list[Any] = []
    compile_ = re._compile  # type: ignore[attr-defined]

    def noted(pattern: Any, flags: int) -> Any:
        compiled.append(pattern)
        return compile_(pattern, flags)

    monkeypatch.setattr(re, "_compile", noted)
    attached(load(BASE), spoilt(target_modules=foreign, exclude_modules=foreign, layers_pattern=[foreign]))
    assert any(Q_PROJ in str(pattern).replace("\\", "") for pattern in compiled)
    assert not any(foreign in str(pattern) for pattern in compiled)


def test_peft_does_not_read_the_files(spoilt: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peft.PeftConfig.from_pretrained", lambda *_, **__: pytest.fail("PEFT read the file"))
    monkeypatch.setattr("peft.PeftModel.load_adapter", lambda *_, **__: pytest.fail("PEFT read the folder"))
    attached(load(BASE), spoilt())


def key(part: str) -> str:
    return f"base_model.model.{Q_PROJ}.{part}"


def put(name: str, tensor: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda weights: weights.update({name: tensor})


@pytest.mark.parametrize(
    "change, expected",
    [
        (put(key("lora_A.weight"), torch.full((4, 128), torch.nan)), key("lora_A.weight")),
        (put(key("lora_B.weight"), torch.full((128, 4), -torch.inf)), key("lora_B.weight")),
        (put(key("lora_A.weight"), torch.ones(2**20, 0)), LORA_A),
        (put(key("lora_A.weight"), torch.ones(())), LORA_A),
        (put(key("lora_A.weight"), torch.ones(5_000, 1)), LORA_A),
        (put(key("lora_embedding_A"), torch.ones(4, 4)), LORA_A),
        (put("base_model.model.model.nothing.lora_A.weight", torch.ones(4, 4)), "model.nothing"),
        (
            put("base_model.model.model.language_model.lora_A.weight", torch.ones(4, 4)),
            "model.language_model.lora_B.weight",
        ),
        (put("model.language_model.norm.weight", torch.ones(4)), None),
        (put("base_model.model.model.language_model.norm.weight", torch.ones(64)), None),
        (lambda weights: weights.pop(key("lora_B.weight")), f"{Q_PROJ}.lora_B.weight"),
        (lambda weights: weights.clear(), None),
    ],
)
def test_incompatible_tensors_are_refused(
    spoilt: Callable[..., str], change: Callable[[dict[str, torch.Tensor]], object], expected: str | None
) -> None:
    model = load(BASE)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    adapter = spoilt(change)
    with pytest.raises(EscoitaError) as error:
        attached(model, adapter)
    assert (error.value.path, error.value.key) == (adapter, expected)
    after = {name.replace("base_layer.", ""): each for name, each in model.state_dict().items()}
    assert all(torch.equal(after[name], each) for name, each in before.items())


class Small(nn.Module):
    """Define modules whose names end alike, and a layer that cannot have LoRA."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.norm = nn.Linear(3, 2), nn.LayerNorm(3)
        self.inner = nn.ModuleDict({"head": nn.Linear(3, 2), "xhead": nn.Linear(3, 2)})


def config_of(names: Mapping[str, tuple[int, ...]], **settings: Any) -> LoraConfig:
    found = AdapterSettings.model_validate({"peft_type": "LORA", "r": 1, "lora_alpha": 2} | settings)
    return lora_config(
        Small(), found, {f"base_model.model.{name}": shape for name, shape in names.items()}, "user/name"
    )


def test_modules_are_matched_exactly() -> None:
    config = config_of({"head.lora_A.weight": (1, 3), "head.lora_B.weight": (2, 1)})
    model = get_peft_model(Small(), config)
    assert [name for name, _ in model.named_modules() if name.endswith("lora_A")] == ["base_model.model.head.lora_A"]


def test_patterns_match_full_names() -> None:
    shapes = {f"{name}.lora_{half}.weight": shape for name in ("head", "inner.head", "inner.xhead")
              for half, shape in (("A", (1, 3)), ("B", (2, 1)))}  # fmt: skip
    model = get_peft_model(Small(), config_of(shapes, alpha_pattern={"^head": 5, "head": 7}))
    assert [model.get_submodule(f"base_model.model.{name}").scaling["default"] for name in
            ("head", "inner.head", "inner.xhead")] == [5, 7, 2]  # fmt: skip


def test_unsupported_layer_is_refused() -> None:
    with pytest.raises(IncompatibleAdapterError) as error:
        config_of({"norm.lora_A.weight": (1, 3), "norm.lora_B.weight": (3, 1)})
    assert error.value.key == "norm"


def test_valid_settings_are_read(tmp_path: Path, valid: Path) -> None:
    settings = read_settings(valid / "adapter_config.json", "user/name")
    assert (settings.r, settings.lora_alpha, settings.bias, settings.use_rslora) == (4, 8.0, "none", False)


def test_number_of_patterns_is_limited() -> None:
    """PEFT compiles each pattern again for every module."""
    model = nn.ModuleDict({f"l{n}": nn.Linear(3, 2) for n in range(200)})
    shapes = {f"base_model.model.{name}.{half}": shape for name in model for half, shape in
              (("lora_A.weight", (1, 3)), ("lora_B.weight", (2, 1)))}  # fmt: skip
    alphas = {name: float(value) for value, name in enumerate(model, 1)}
    settings = AdapterSettings.model_validate({"peft_type": "LORA", "r": 1, "alpha_pattern": alphas})
    with pytest.raises(EscoitaError) as error:
        lora_config(model, settings, shapes, "user/name")
    assert error.value.key == "alpha_pattern"
