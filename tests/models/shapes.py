"""Create models with the sizes of published bases on the meta device, where tensors have shapes but no values."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch

from escoita.models import trained_family
from tests.conftest import ROOT


CONFIGURATIONS = ROOT / "tests/fixtures/configurations"
# The modules that Unsloth's 4-bit bases keep in 16 bits, without the prefixes of module names.
UNSLOTH_SKIPS = ["lm_head", "multi_modal_projector", "merger", "modality_projection", "mlp.gate"]
UNSLOTH_SKIPS += ["audio_tower", "vision_tower", "embed_vision", "embed_audio"]


def published_config(name: str) -> Any:
    """Return a configuration in `tests/fixtures/configurations`, or the default of a model type."""
    from transformers import AutoConfig

    path = CONFIGURATIONS / f"{name}.json"
    if path.exists():
        return AutoConfig.for_model(**json.loads(path.read_text("utf-8")))
    towers: dict[str, Any] = {"text_config": {}, "audio_config": {}, "vision_config": {}} if name == "gemma3n" else {}
    return AutoConfig.for_model(name, **towers)


@cache
def adapted(name: str) -> tuple[Any, Any]:
    """Return the family and the model of a base, with the adapter that the documentation recommends."""
    from peft import LoraConfig, get_peft_model
    from peft.utils.constants import DUMMY_TARGET_MODULES

    config = published_config(name)
    family = trained_family(config.model_type)
    assert family is not None
    if family.info.modules:
        adapter = LoraConfig(
            target_modules=DUMMY_TARGET_MODULES, modules_to_save=list(family.info.modules), task_type="CAUSAL_LM"
        )
    else:
        target = family.info.target_modules
        adapter = LoraConfig(r=8, lora_alpha=16, target_modules=target, task_type="CAUSAL_LM")
    with torch.device("meta"):
        return family, get_peft_model(family.from_config(config), adapter)


def write_e4b(folder: Path, four_bit: bool = False, **text: Any) -> None:
    """
    Write the processor and the configuration of E4B with a tokenizer of bytes, but no weights.

    Args:
        folder (`Path`): The folder, which is created.
        four_bit (`bool`): Whether the configuration states that the base is stored in 4 bits, as by Unsloth.
        text (`Any`): Changed fields of `text_config`.
    """
    from transformers import Gemma4AudioFeatureExtractor

    from escoita.models.gemma4 import Gemma4AudioProcessor
    from tests.models.bases import GEMMA4, gemma4_tokenizer

    tokenizer = gemma4_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    Gemma4AudioProcessor(Gemma4AudioFeatureExtractor(), tokenizer, chat_template=GEMMA4).save_pretrained(folder)
    config = json.loads((CONFIGURATIONS / "gemma-4-E4B-it.json").read_text("utf-8"))
    config |= {"audio_token_id": ids("<|audio|>"), "image_token_id": ids("<|image|>")}
    config |= {"video_token_id": ids("<|video|>"), "eos_token_id": ids("<turn|>"), "pad_token_id": ids("<pad>")}
    config["text_config"] |= text
    if four_bit:
        config["quantization_config"] = {
            "quant_method": "bitsandbytes",
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": "bfloat16",
            "llm_int8_skip_modules": UNSLOTH_SKIPS,
        }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
