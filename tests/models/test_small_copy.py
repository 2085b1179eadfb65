"""Test copies with two layers of bases with their published sizes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from escoita.errors import EscoitaError
from escoita.models import trained_family
from escoita.models.ctc_training import TrainableCtcFamily
from escoita.models.families import FAMILIES
from escoita.models.phi4 import Phi4Family
from escoita.models.small_copy import small_config
from tests.models.phi4_samples import OLD_CONFIG
from tests.training.preflight.e4b import TEXT


def full_configs() -> dict[str, Any]:
    """Return the default configurations of the library, which are those of published bases."""
    import transformers

    towers: dict[str, Any] = {"text_config": {}, "audio_config": {}, "vision_config": {}}
    experts = {"enable_moe_block": True, "num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 64}
    long = {"rope_type": "longrope", "partial_rotary_factor": 0.75, "rope_theta": 1e4}
    long |= {"long_factor": [1.5] * 36, "short_factor": [1.0] * 36}
    others = {info.name: transformers.AutoConfig.for_model(info.name) for info in FAMILIES if info.name != "mms"}
    return others | {
        "mms": transformers.Wav2Vec2Config(adapter_attn_dim=16),
        "gemma4": transformers.Gemma4Config(**towers),
        "gemma4 E4B": transformers.Gemma4Config(**towers | {"text_config": TEXT}),
        "gemma4 with experts": transformers.Gemma4Config(**towers | {"text_config": experts}),
        "gemma3n": transformers.Gemma3nConfig(**towers),
        "phi4_multimodal": transformers.Phi4MultimodalConfig(rope_parameters=long, max_position_embeddings=131_072),
    }


def family_of_type(model_type: str) -> Any:
    return trained_family(model_type)


@pytest.mark.parametrize("name", full_configs())
def test_small_config_keeps_the_vocabulary(name: str) -> None:
    config = full_configs()[name]
    family = trained_family(config.model_type, config.to_dict())
    assert family is not None
    small = small_config(config, family.small_sizes)
    with torch.device("meta"):
        whole_model, model = family.from_config(config), family.from_config(small)
    if not isinstance(family, TrainableCtcFamily):  # their head is new in each training
        tables = [each.get_input_embeddings().num_embeddings for each in (whole_model, model)]
        assert tables[0] == tables[1]
    size = sum(parameter.numel() for parameter in model.parameters())
    assert size < 30_000_000 < sum(parameter.numel() for parameter in whole_model.parameters())
    kinds = {name.rpartition(".")[2] for name, _ in whole_model.named_parameters()}
    assert kinds == {name.rpartition(".")[2] for name, _ in model.named_parameters()}


def test_published_layout_of_phi4(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(OLD_CONFIG), "utf-8")
    family = family_of_type("phi4mm")
    config = small_config(family.read_config(str(tmp_path)), family.small_sizes)
    assert len(config.rope_parameters["long_factor"]) == 12
    with torch.device("meta"):
        family.from_config(config)


def test_invalid_configuration_is_refused_in_one_line() -> None:
    class Broken:
        name_or_path = "a/base"

        def to_dict(self) -> dict[str, Any]:
            return {"model_type": "phi4_multimodal", "rope_parameters": {"long_factor": 3}}

    with pytest.raises(EscoitaError) as error:
        small_config(Broken(), Phi4Family.small_sizes)
    assert error.value.path == "a/base"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", full_configs())
def test_all_sections_have_sizes(name: str) -> None:
    config = full_configs()[name]
    types = {section.model_type for section in _sections(config) if not section.sub_configs}
    assert types <= family_of_type(config.model_type).small_sizes.keys()


def _sections(config: Any) -> list[Any]:
    return [config, *(getattr(config, name) for name in config.sub_configs if getattr(config, name, None) is not None)]
