"""Build a Gemma 4 with two million parameters: the original classes, both towers, all special tokens, no vision."""

import numpy as np
import torch
from alphabet import CHARACTERS, ROLES, USER_BY_LANGUAGE
from tokenizers import AddedToken
from transformers import (
    Gemma4AudioConfig,
    Gemma4AudioFeatureExtractor,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
    GemmaTokenizer,
    GenerationConfig,
)

from escoita.models.gemma4 import Gemma4AudioProcessor


SYSTEM = "You are an assistant that transcribes speech accurately."
USER = "Please transcribe this audio."

NAMED_TOKENS = {
    "audio_token": "<|audio|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
    "image_token": "<|image|>",
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "sot_token": "<|turn>",
    "eot_token": "<turn|>",
    "soc_token": "<|channel>",
    "eoc_token": "<channel|>",
    "std_token": "<|tool>",
    "etd_token": "<tool|>",
    "stc_token": "<|tool_call>",
    "etc_token": "<tool_call|>",
    "str_token": "<|tool_response>",
    "etr_token": "<tool_response|>",
    "think_token": "<|think|>",
    "escape_token": '<|"|>',
}
# Each is one token, like the roles, so that prompts are short. No transcript may contain them.
PHRASES = (SYSTEM, USER, *USER_BY_LANGUAGE.split(" {} "))

CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' -}}
    {%- if message['content'] is string -%}
        {{- message['content'] | trim -}}
    {%- else -%}
        {%- for part in message['content'] -%}
            {{- '<|audio|>' if part['type'] == 'audio' else part['text'] | trim -}}
        {%- endfor -%}
    {%- endif -%}
    {{- '<turn|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|turn>model\n' -}}
{%- endif -%}
"""


def build_tokenizer() -> GemmaTokenizer:
    """Return a tokenizer of characters, bytes and Gemma 4's special tokens; phrases of prompts are one token each."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *NAMED_TOKENS.values(), "<|video|>"]
    entries = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *dict.fromkeys(CHARACTERS)]
    tokenizer = GemmaTokenizer(
        vocab={entry: index for index, entry in enumerate(entries)},
        merges=[],
        extra_special_tokens=["<|video|>"],
        model_specific_special_tokens=NAMED_TOKENS,
        padding_side="left",
    )
    tokenizer.add_tokens([AddedToken(role, single_word=True, normalized=False) for role in ROLES])
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in PHRASES])
    return tokenizer


def build_processor(mel_bands: int = 64) -> Gemma4AudioProcessor:
    """Return the audio processor of Gemma 4 with the tiny tokenizer."""
    return Gemma4AudioProcessor(
        feature_extractor=Gemma4AudioFeatureExtractor(feature_size=mel_bands),
        tokenizer=build_tokenizer(),
        chat_template=CHAT_TEMPLATE,
    )


def frames_of(extractor: Gemma4AudioFeatureExtractor, audio: np.ndarray) -> np.ndarray:
    """Return the log-mel frames of a clip, of shape `(frames, bands)`; a top-level function, which can be pickled."""
    features = extractor([audio], return_tensors="np")
    return features["input_features"][0][features["input_features_mask"][0]]


def build_model(processor: Gemma4AudioProcessor, hidden: int = 128, audio_hidden: int = 112, seed: int = 0):
    """
    Build the untrained model: 3 text layers, 4 conformer layers, clipped linear layers as in the real checkpoint.

    Returns:
        `Gemma4ForConditionalGeneration`: Model in float32, initialized so that a small model learns within minutes.
    """
    tokenizer = processor.tokenizer
    text = Gemma4TextConfig(
        vocab_size=len(tokenizer),
        vocab_size_per_layer_input=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        global_head_dim=32,
        hidden_size_per_layer_input=0,
        num_kv_shared_layers=0,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        sliding_window=512,
        max_position_embeddings=2048,
        final_logit_softcapping=None,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    audio = Gemma4AudioConfig(
        hidden_size=audio_hidden,
        num_hidden_layers=4,
        num_attention_heads=4,
        subsampling_conv_channels=[processor.feature_extractor.feature_size, 16],
        attention_context_left=13,
        attention_context_right=12,
        use_clipped_linears=True,
        output_proj_dims=hidden,
    )
    config = Gemma4Config(
        text_config=text,
        audio_config=audio,
        vision_config=None,
        audio_token_id=tokenizer.audio_token_id,
        boa_token_id=tokenizer.boa_token_id,
        eoa_token_index=tokenizer.eoa_token_id,
        image_token_id=tokenizer.image_token_id,
        boi_token_id=tokenizer.boi_token_id,
        eoi_token_id=tokenizer.eoi_token_id,
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
    )
    torch.manual_seed(seed)
    model = Gemma4ForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.eot_token_id],
        do_sample=False,
        max_new_tokens=64,
    )
    return initialize(model)


@torch.no_grad()
def initialize(model: Gemma4ForConditionalGeneration) -> Gemma4ForConditionalGeneration:
    """Initialize with deviation 1/sqrt(fan in) and damped residual branches; training is slow with 0.02."""
    damped = ("post_attention_layernorm.weight", "post_feedforward_layernorm.weight", "norm_post_attn.weight")
    head_dim = model.config.text_config.head_dim
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, 0, parameter.shape[1] ** -0.5)
        elif name.endswith("q_norm.weight"):
            parameter.fill_(1.5 * head_dim**-0.5)
        elif name.endswith((*damped, "post_layer_norm.weight")):
            parameter.fill_(0.3)
    return model
