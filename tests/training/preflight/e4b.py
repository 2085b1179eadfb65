"""Build Gemma 4 E4B in its real size, without weights."""

from typing import Any

import torch


# The configuration of google/gemma-4-E4B-it, from the tests of Megatron Bridge. Audio and vision tower have the
# defaults of the library. The number of parameters is that on the Hub, 8B.
TEXT = {
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "num_hidden_layers": 42,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "global_head_dim": 512,
    "num_kv_shared_layers": 18,
    "hidden_size_per_layer_input": 256,
    "vocab_size": 262144,
    "vocab_size_per_layer_input": 262144,
    "sliding_window": 512,
    "final_logit_softcapping": 30.0,
}
TARGETS = (
    r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
    r"|.*audio_tower.*\.(post|linear_start|linear_end|ffw_layer_1|ffw_layer_2)\.linear"
    r"|.*audio_tower\.output_proj|.*embed_audio\.embedding_projection"
)


def e4b() -> Any:
    """Return the model with the adapter of the Uzbek recipe."""
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration

    with torch.device("meta"):
        base = Gemma4ForConditionalGeneration(Gemma4Config(text_config=TEXT, audio_config={}, vision_config={}))
        return get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS, task_type="CAUSAL_LM"))


def batch(clips: int, seconds: float) -> dict[str, torch.Tensor]:
    """Return a batch of clips of one length, with a token for each 40 ms of audio and the usual other tokens."""
    frames = round(seconds * 100)
    ids = torch.zeros((clips, -(-frames // 4) + 45 + round(4 * seconds)), dtype=torch.long, device="meta")
    return {
        "input_ids": ids,
        "attention_mask": ids,
        "mm_token_type_ids": ids,
        "input_features": torch.zeros((clips, frames, 128), device="meta"),
        "input_features_mask": torch.ones((clips, frames), dtype=torch.bool, device="meta"),
    }
