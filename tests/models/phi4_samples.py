"""Write a Phi-4-multimodal with a few thousand random weights, in the native layout and in the published one."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file


MARKS = ["<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|endoftext10|>", "<|endoftext11|>"]
AUDIO, IMAGE = "model.embed_tokens_extend.audio_embed.", "model.embed_tokens_extend.image_embed."
LORA_LAYERS = [
    f"model.layers.{layer}.{module}"
    for layer in range(2)
    for module in ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
]
RANK, ALPHA = 2, 6
FACTORS = {"long_factor": [1.0, 2.5, 9.0], "short_factor": [1.0, 1.5, 2.0]}
VISION = {
    "hidden_size": 8,
    "image_size": 28,
    "intermediate_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "patch_size": 14,
}


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Return a clip in which every frame is different."""
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16000)).astype(np.float32)


def tokenizer() -> Any:
    """Return a tokenizer of letters and the special tokens of the published tokenizer."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    letters = [*(chr(code) for code in range(97, 123)), *"TGáéíóúñ.,", "▁", "<unk>"]
    made = Tokenizer(
        models.BPE(vocab={token: i for i, token in enumerate([*MARKS, *letters])}, merges=[], unk_token="<unk>")
    )
    made.normalizer, made.decoder = normalizers.Replace(" ", "▁"), decoders.Replace("▁", " ")
    made.add_special_tokens(MARKS)
    names = {"audio_token": "<|endoftext11|>", "image_token": "<|endoftext10|>"}
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=end,
        eos_token=end,
        pad_token=end,
        unk_token="<unk>",
        model_specific_special_tokens=names,
    )


def tiny_config(**changes: Any) -> Any:
    from transformers import Phi4MultimodalAudioConfig, Phi4MultimodalConfig, Phi4MultimodalVisionConfig

    tokens = tokenizer()
    audio = Phi4MultimodalAudioConfig(
        hidden_size=16,
        intermediate_size=24,
        num_blocks=2,
        num_attention_heads=2,
        ext_pw_out_channel=16,
        depthwise_separable_out_channel=16,
        nemo_conv_channels=8,
        bias_max_distance=50,
        audio_token_id=tokens.audio_token_id,
    )
    vision = Phi4MultimodalVisionConfig(**VISION, crop_size=28, image_token_id=tokens.image_token_id)
    return Phi4MultimodalConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=[0, 1],
        pad_token_id=0,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, **FACTORS},
        sliding_window=2048,
        audio_config=audio,
        vision_config=vision,
        **changes,
    )


def speech_lora_tensors(seed: int = 1) -> dict[str, torch.Tensor]:
    """Return the matrices of the layers, with names like `….lora_A.weight`."""
    random = torch.Generator().manual_seed(seed)
    sizes = {"self_attn.qkv_proj": (32, 64), "self_attn.o_proj": (32, 32)}
    sizes |= {"mlp.gate_up_proj": (32, 64), "mlp.down_proj": (32, 32)}
    found = {}
    for layer in LORA_LAYERS:
        width, height = sizes[".".join(layer.split(".")[-2:])]
        found[f"{layer}.lora_A.weight"] = torch.randn(RANK, width, generator=random) * 0.1
        found[f"{layer}.lora_B.weight"] = torch.randn(height, RANK, generator=random) * 0.1
    return found


def write_speech_lora(
    folder: Path, prefix: str = "base_model.model.", zero: str | None = None, **settings: Any
) -> None:
    """Write `speech-lora/`; `zero` is a layer whose second matrix is zero."""
    folder = folder / "speech-lora"
    folder.mkdir(exist_ok=True)
    tensors = {prefix + name: tensor for name, tensor in speech_lora_tensors().items()}
    if zero:
        tensors[f"{prefix}{zero}.lora_B.weight"].zero_()
    save_file(tensors, folder / "adapter_model.safetensors")
    target = r"model.layers.\d+.((self_attn.(qkv|o)_proj)|(mlp.(gate_up|down)_proj))"
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": target, "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config | settings))


def write_phi4(folder: Path, lora: bool = True) -> str:
    """Write a base in the native layout."""
    from transformers import Phi4MultimodalFeatureExtractor, Phi4MultimodalForCausalLM

    from escoita.models.phi4 import Phi4AudioProcessor

    torch.manual_seed(0)
    model = Phi4MultimodalForCausalLM(tiny_config(dtype="float32"))
    with torch.no_grad():  # large enough for different texts of different clips
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn_like(parameter) / parameter[0].numel() ** 0.5)
            elif "bias" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
        encoder = model.model.embed_tokens_extend.audio_embed.encoder
        encoder.encoder_embedding.global_mean.fill_(5.0)
        encoder.encoder_embedding.global_invstd.fill_(0.3)
    model.save_pretrained(folder)
    Phi4AudioProcessor(Phi4MultimodalFeatureExtractor(), tokenizer()).save_pretrained(folder)
    if lora:
        write_speech_lora(folder)
    return str(folder)


def old_name(name: str) -> str:
    """Return the published name of a native weight; layers with a speech LoRA are one level deeper there."""
    name = re.sub(r"(feed_forward_(?:in|out))\.gate_up_proj", r"\1.net.0.linear", name)
    name = re.sub(r"(feed_forward_(?:in|out))\.down_proj", r"\1.net.2", name)
    if name.startswith(AUDIO):
        name = re.sub(r"self_attn\.([qkv])_proj", r"self_attn.linear_\1", name)
        name = name.replace("self_attn.o_proj", "self_attn.linear_out")
    for native, old in {
        f"{AUDIO}up_proj_for_speech": f"{AUDIO}audio_projection.speech.0",
        f"{AUDIO}down_proj_for_speech": f"{AUDIO}audio_projection.speech.2",
        f"{AUDIO}up_proj_for_vision_speech": f"{AUDIO}audio_projection.vision.0",
        f"{AUDIO}down_proj_for_vision_speech": f"{AUDIO}audio_projection.vision.2",
        f"{IMAGE}img_projection_up": f"{IMAGE}img_projection.0",
        f"{IMAGE}img_projection_down": f"{IMAGE}img_projection.2",
        f"{IMAGE}global_img_feature_extensor": f"{IMAGE}glb_GN",
        f"{IMAGE}sub_img_feature_extensor": f"{IMAGE}sub_GN",
    }.items():
        name = name.replace(native, old)
    layer, dot, last = name.rpartition(".")
    return f"{layer}.base_layer{dot}{last}" if layer in LORA_LAYERS else name


def write_published_layout(folder: Path, native: Path, inside: bool = True, beside: bool = False) -> str:
    """Write a native base in the published layout: two shards, and the speech LoRA in them, next to them, or both."""
    folder.mkdir()
    weights = {old_name(name): tensor for name, tensor in load_file(native / "model.safetensors").items()}
    if inside:
        for name, tensor in speech_lora_tensors().items():
            named = name.replace(".weight", ".speech.weight")
            weights[named], weights[named.replace("speech", "vision")] = tensor, torch.ones_like(tensor)
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: weights[name] for name in held}, folder / shard, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: shard for shard, held in shards.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    if beside:
        write_speech_lora(folder)
    (folder / "config.json").write_text(json.dumps(OLD_CONFIG))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 0}))
    tokenizer().save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config = {key: value for key, value in config.items() if key.endswith(("os_token", "ad_token", "nk_token"))}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "GPT2TokenizerFast"}))
    rates = {"audio_compression_rate": 8, "audio_downsample_rate": 1, "audio_feat_stride": 1, "dynamic_hd": 36}
    (folder / "preprocessor_config.json").write_text(
        json.dumps(rates | {"auto_map": {"AutoProcessor": "processing_phi4mm.Phi4MMProcessor"}})
    )
    return str(folder)


# Like the published configuration.
OLD_CONFIG: dict[str, Any] = {
    "_name_or_path": "somewhere",
    "architectures": ["Phi4MMForCausalLM"],
    "attention_bias": False,
    "audio_processor": {
        "name": "cascades",
        "config": {
            "activation": "swish",
            "activation_checkpointing": {"interval": 1, "module": "transformer", "offload": False},
            "attention_dim": 16,
            "attention_heads": 2,
            "batch_norm": False,
            "bias_in_glu": True,
            "causal": True,
            "chunk_size": -1,
            "cnn_layer_norm": True,
            "conv_activation": "swish",
            "conv_glu_type": "swish",
            "depthwise_multiplier": 1,
            "depthwise_seperable_out_channel": 16,
            "dropout_rate": 0.0,
            "encoder_embedding_config": {"input_size": 80},
            "ext_pw_kernel_size": 1,
            "ext_pw_out_channel": 16,
            "input_layer": "nemo_conv",
            "input_size": 80,
            "kernel_size": 3,
            "left_chunk": 18,
            "linear_units": 24,
            "nemo_conv_settings": {"conv_channels": 8},
            "num_blocks": 2,
            "relative_attention_bias_args": {"t5_bias_max_distance": 50, "type": "t5"},
            "time_reduction": 8,
        },
    },
    "auto_map": {"AutoModelForCausalLM": "modeling_phi4mm.Phi4MMForCausalLM"},
    "audio_token_id": MARKS.index("<|endoftext11|>"),
    "image_token_id": MARKS.index("<|endoftext10|>"),
    "bos_token_id": 0,
    "embd_layer": {
        "embedding_cls": "image_audio",
        "audio_embd_layer": {"compression_rate": 8, "downsample_rate": 1, "projection_cls": "mlp"},
        "image_embd_layer": {"crop_size": 28, "hd_transform_order": "sub_glb", "use_hd_transform": True},
    },
    "eos_token_id": 0,
    "full_attn_mod": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "max_position_embeddings": 4096,
    "model_type": "phi4mm",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "original_max_position_embeddings": 4096,
    "pad_token_id": 0,
    "partial_rotary_factor": 0.75,
    "rope_scaling": {"type": "longrope", **FACTORS},
    "rope_theta": 10000.0,
    "sliding_window": 2048,
    "speech_lora": {"dp": 0.01, "layer": "…", "lora_alpha": ALPHA, "r": RANK},
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "vision_lora": {"dp": 0.0, "layer": "…", "lora_alpha": 4, "r": RANK},
    "vocab_size": len(tokenizer()),
}
