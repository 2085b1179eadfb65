"""Build a Phi-4-multimodal with 1.2 million parameters: original classes, a speech LoRA, a minimal vision tower."""

import numpy as np
import torch
from alphabet import CHARACTERS, UNSEEN_LANGUAGES, USER_BY_LANGUAGE
from bank import LANGUAGES
from peft import LoraConfig
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import (
    GenerationConfig,
    Phi4MultimodalAudioConfig,
    Phi4MultimodalConfig,
    Phi4MultimodalFeatureExtractor,
    Phi4MultimodalForCausalLM,
    Phi4MultimodalVisionConfig,
    PreTrainedTokenizerFast,
)

from escoita.models.phi4 import Phi4AudioProcessor


END_OF_TEXT, END, UNKNOWN = "<|endoftext|>", "<|end|>", "<unk>"
SPECIALS = (
    END_OF_TEXT,
    END,
    *"<|user|> <|assistant|> <|system|> <|tool|> <|/tool|> <|image|> <|audio|>".split(),
    UNKNOWN,
)
# Each is one token, so that prompts are short.
PHRASES = tuple(USER_BY_LANGUAGE.split("{}"))
NAMES = (*LANGUAGES, *UNSEEN_LANGUAGES)
# 8 in the real model: CTC cannot train this one with fewer frames than letters.
FRAMES_PER_TOKEN = 4

CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|' + message['role'] + '|>' -}}
    {%- if message['content'] is string -%}
        {{- message['content'] | trim -}}
    {%- else -%}
        {%- for part in message['content'] -%}
            {{- '<|audio|>' if part['type'] == 'audio' else part['text'] -}}
        {%- endfor -%}
    {%- endif -%}
    {{- '<|end|>' -}}
{%- endfor -%}
{{- '<|assistant|>' if add_generation_prompt else eos_token -}}
"""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of characters, bytes and Phi-4's special tokens; phrases of prompts are one token each."""
    entries = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256)), *dict.fromkeys(CHARACTERS)]
    vocabulary = {entry: index for index, entry in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN, byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(special, normalized=False, special=True) for special in SPECIALS])
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in PHRASES])
    tokenizer.add_tokens([AddedToken(name, normalized=False, single_word=True) for name in NAMES])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=UNKNOWN,
        padding_side="left",
        model_specific_special_tokens={"audio_token": "<|audio|>", "image_token": "<|image|>"},
    )


def build_processor() -> Phi4AudioProcessor:
    """Return the audio processor of Phi-4-multimodal with the tiny tokenizer."""
    return Phi4AudioProcessor(
        audio_processor=Phi4MultimodalFeatureExtractor(audio_compression_rate=FRAMES_PER_TOKEN),
        tokenizer=build_tokenizer(),
        chat_template=CHAT_TEMPLATE,
    )


def frames_of(extractor: Phi4MultimodalFeatureExtractor, audio: np.ndarray) -> np.ndarray:
    """Return the log-mel frames of a clip, of shape `(frames, bands)`; a top-level function, which can be pickled."""
    features = extractor([audio], sampling_rate=extractor.sampling_rate, return_tensors="np")
    return features["audio_input_features"][0]


def build_model(processor: Phi4AudioProcessor, hidden: int = 128, audio_hidden: int = 96, seed: int = 0):
    """
    Build the untrained model: 3 text layers, 3 conformer layers, and a minimal vision tower, which the class requires.

    Returns:
        `Phi4MultimodalForCausalLM`: Model in float32, initialized so that a small model learns within minutes.
    """
    tokenizer = processor.tokenizer
    audio = Phi4MultimodalAudioConfig(
        hidden_size=audio_hidden,
        intermediate_size=2 * audio_hidden,
        num_blocks=3,
        num_attention_heads=4,
        ext_pw_out_channel=audio_hidden,
        depthwise_separable_out_channel=audio_hidden,
        nemo_conv_channels=32,
        input_size=processor.audio_processor.feature_size,
        time_reduction=FRAMES_PER_TOKEN,
        bias_max_distance=100,
        audio_token_id=tokenizer.audio_token_id,
    )
    vision = Phi4MultimodalVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        crop_size=28,
        image_token_id=tokenizer.image_token_id,
    )
    config = Phi4MultimodalConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=2048,
        original_max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(END)],
        pad_token_id=tokenizer.pad_token_id,
        audio_config=audio,
        vision_config=vision,
    )
    torch.manual_seed(seed)
    model = Phi4MultimodalForCausalLM(config)
    model.generation_config = GenerationConfig(
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        do_sample=False,
        max_new_tokens=64,
    )
    return initialize(model)


@torch.no_grad()
def initialize(model: Phi4MultimodalForCausalLM) -> Phi4MultimodalForCausalLM:
    """Initialize with deviation 1/sqrt(fan in) and damped residual branches; training is slow with 0.02."""
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or "image_embed" in name or "bias_values" in name or not name.endswith("weight"):
            continue
        scale = 0.5 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
        if ".embed.conv." in name:
            scale = 2**0.5  # a ReLU follows
        torch.nn.init.normal_(parameter, 0, scale * parameter[0].numel() ** -0.5)
    return model


def speech_lora(r: int = 8) -> LoraConfig:
    """Return the configuration of the speech LoRA, which is on the linear layers of the language tower only."""
    return LoraConfig(
        r=r,
        lora_alpha=2 * r,
        target_modules=r"model\.layers\.\d+\.(self_attn\.(qkv|o)_proj|mlp\.(gate_up|down)_proj)",
        task_type="CAUSAL_LM",
    )
