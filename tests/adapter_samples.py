"""Write adapters of both kinds with randomly changed weights."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from escoita.models import family_of
from escoita.records.training import AdapterRecord
from escoita.training.callbacks import save_weights


PHI4_MODULES: dict[str, Any] = {
    "target_modules": "dummy-target-modules",
    "modules_to_save": ["audio_embed.encoder", "audio_embed.up_proj_for_speech", "audio_embed.down_proj_for_speech"],
}
PHI4_LORA: dict[str, Any] = {
    "target_modules": r".*\.layers\.\d+\.self_attn\.(qkv|o)_proj|.*audio_embed\.encoder\..*\.[qv]_proj"
}
GEMMA4_LORA: dict[str, Any] = {
    "target_modules": r".*language_model.*\.(q|v|up)_proj|.*audio_tower.*\.ffw_layer_1\.linear"
}


def write_adapter(base: str, folder: Path, generation_settings: AdapterRecord, seed: int = 0, **settings: Any) -> str:
    """Write an adapter of a base, with its generation settings."""
    torch.manual_seed(seed)
    family = family_of(base)
    config = LoraConfig(r=4, task_type=family.task_type, **settings)
    model = get_peft_model(family.load_model(base, dtype="float32"), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1 * max(0.1, float(parameter.std(correction=0))))
    save_weights(model, folder)
    generation_settings.write(folder / "escoita.json")
    return str(folder)
