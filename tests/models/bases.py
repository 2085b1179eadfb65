"""Write bases of the original classes with random weights, one for each family without its own module here."""

import base64
import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast

from escoita.models import family_of
from escoita.models.chat import ChatFamily


TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 1024,
}
WHISPER: dict[str, Any] = {"num_mel_bins": 16}
CHATML = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n"
    "{% for part in turn.content %}{% if part.type == 'audio' %}AUDIO{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat_family_of(base: str) -> ChatFamily:
    """Return the family of a base that is a chat model."""
    family = family_of(base)
    assert isinstance(family, ChatFamily)
    return family


def bytes_tokenizer(marks: list[str], pad: str, eos: str, **named: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes and special tokens."""
    letters = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(letters, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, eos_token=eos, extra_special_tokens=named
    )


def save(model: torch.nn.Module, folder: Path, ends: int | list[int], pad: int) -> None:
    """Save a model with random weights that are large enough for the output to depend on the audio."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, parameter.shape[1:].numel() ** -0.5, generator=generator)
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=pad)
    model.save_pretrained(folder)


def gemma4_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes with the special tokens of Gemma 4."""
    return bytes_tokenizer(
        ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>"]
        + ["<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>"],
        pad="<pad>",
        eos="<eos>",
        boa_token="<|audio>",
        eoa_token="<audio|>",
        audio_token="<|audio|>",
        boi_token="<|image>",
        eoi_token="<image|>",
        image_token="<|image|>",
    )


GEMMA4 = (
    "<bos>{% for turn in messages %}<|turn>{{ 'model' if turn.role == 'assistant' else turn.role }}\n"
    "{% if turn.content is string %}{{ turn.content }}{% else %}{% for part in turn.content %}"
    "{% if part.type == 'audio' %}<|audio|>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<turn|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|turn>model\n{% endif %}"
)


def write_gemma4_unified(folder: Path) -> None:
    """Write a Gemma 4 without an audio tower, whose full attention layers use their keys as values."""
    from transformers import (
        Gemma4UnifiedAudioFeatureExtractor,
        Gemma4UnifiedConfig,
        Gemma4UnifiedForConditionalGeneration,
    )

    from escoita.models.gemma4_unified import Gemma4UnifiedAudioProcessor

    tokenizer = gemma4_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    extractor = Gemma4UnifiedAudioFeatureExtractor()
    Gemma4UnifiedAudioProcessor(extractor, tokenizer, chat_template=GEMMA4).save_pretrained(folder)
    text = TEXT | {
        "vocab_size": len(tokenizer),
        "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window": 512,
        "global_head_dim": 16,
        "num_global_key_value_heads": 1,
        "attention_k_eq_v": True,
        "final_logit_softcapping": 30.0,
    }
    config = Gemma4UnifiedConfig(
        text_config=text,
        audio_config={},
        vision_config={"patch_size": 2, "mm_embed_dim": 32, "mm_posemb_size": 4, "output_proj_dims": 32},
        audio_token_id=ids("<|audio|>"),
        image_token_id=ids("<|image|>"),
        video_token_id=ids("<|video|>"),
    )
    model = Gemma4UnifiedForConditionalGeneration(config)
    save(model, folder, [ids("<eos>"), ids("<turn|>")], ids("<pad>"))


def write_gemma4_shared(folder: Path) -> None:
    """Write a Gemma 4 with shared keys and values, per-layer embeddings and logit softcapping, as the E4B base has."""
    from transformers import Gemma4AudioFeatureExtractor, Gemma4Config, Gemma4ForConditionalGeneration

    from escoita.models.gemma4 import Gemma4AudioProcessor

    tokenizer = gemma4_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    extractor = Gemma4AudioFeatureExtractor(feature_size=16)
    Gemma4AudioProcessor(extractor, tokenizer, chat_template=GEMMA4).save_pretrained(folder)
    text = TEXT | {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "sliding_window": 512,
        "global_head_dim": 32,
        "vocab_size": len(tokenizer),
        "vocab_size_per_layer_input": len(tokenizer),
        "hidden_size_per_layer_input": 8,
        "final_logit_softcapping": 30.0,
    }
    audio = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "output_proj_dims": 32,
        "subsampling_conv_channels": [16, 4],
        "use_clipped_linears": True,
    }
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"num_key_value_heads": 2, "head_dim": 8, "global_head_dim": 8, "position_embedding_size": 16}
    config = Gemma4Config(
        text_config=text,
        audio_config=audio,
        vision_config=vision,
        audio_token_id=ids("<|audio|>"),
        image_token_id=ids("<|image|>"),
        video_token_id=ids("<|video|>"),
    )
    model = Gemma4ForConditionalGeneration(config)
    save(model, folder, [ids("<eos>"), ids("<turn|>")], ids("<pad>"))


def write_gemma3n(folder: Path) -> None:
    """Write a Gemma 3n with its turns, audio tokens and extractor; its configuration only names a vision tower."""
    from transformers import Gemma3nAudioFeatureExtractor, Gemma3nConfig

    from escoita.models.gemma3n import Gemma3nAudioProcessor, Gemma3nSpeechForConditionalGeneration

    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    marks += ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]
    marks += ["<start_of_audio>", "<end_of_audio>", "<audio_soft_token>"]
    tokenizer = bytes_tokenizer(
        marks,
        pad="<pad>",
        eos="<eos>",
        boa_token="<start_of_audio>",
        eoa_token="<end_of_audio>",
        audio_token="<audio_soft_token>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    ids = tokenizer.convert_tokens_to_ids
    template = (
        "<bos>{% for turn in messages %}<start_of_turn>{{ 'model' if turn.role == 'assistant' else turn.role }}\n"
        "{% for part in turn.content %}{% if part.type == 'audio' %}<audio_soft_token>{% else %}{{ part.text }}"
        "{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    )
    extractor = Gemma3nAudioFeatureExtractor(feature_size=16)
    Gemma3nAudioProcessor(extractor, tokenizer, chat_template=template).save_pretrained(folder)
    text = TEXT | {
        "vocab_size": len(tokenizer),
        "vocab_size_per_layer_input": len(tokenizer),
        "hidden_size_per_layer_input": 4,
        "intermediate_size": [32, 32],
        "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window": 512,
        "num_kv_shared_layers": 0,
        "laurel_rank": 4,
        "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.0, 0.0],
    }
    audio = {
        "vocab_size": 3,
        "vocab_offset": len(tokenizer) - 3,
        "hidden_size": 16,
        "input_feat_size": 16,
        "conf_num_attention_heads": 2,
        "conf_num_hidden_layers": 1,
        "sscp_conv_channel_size": [8, 4],
    }
    vision = {"vocab_size": 3, "vocab_offset": len(tokenizer) - 6, "hidden_size": 16, "label_names": ["a", "b"]}
    config = Gemma3nConfig(
        text_config=text,
        audio_config=audio,
        vision_config=vision,
        audio_token_id=ids("<audio_soft_token>"),
        image_token_id=ids("<image_soft_token>"),
        audio_soft_tokens_per_image=188,
    )
    save(Gemma3nSpeechForConditionalGeneration(config), folder, [ids("<eos>"), ids("<end_of_turn>")], ids("<pad>"))


def write_qwen2_audio(folder: Path) -> None:
    """Write a Qwen2-Audio with numbered clips and a Whisper encoder of 30 s."""
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]
    tokenizer = bytes_tokenizer(marks, pad="<|endoftext|>", eos="<|im_end|>")
    ids = tokenizer.convert_tokens_to_ids
    template = CHATML.replace("AUDIO", "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n")
    Qwen2AudioProcessor(WhisperFeatureExtractor(16), tokenizer, chat_template=template).save_pretrained(folder)
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": 16,
            "d_model": 16,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 16,
            "encoder_layerdrop": 0.0,
        },
        text_config=TEXT | {"model_type": "qwen2", "vocab_size": len(tokenizer)},
        audio_token_index=ids("<|AUDIO|>"),
    )
    model = Qwen2AudioForConditionalGeneration(config)
    save(model, folder, [ids("<|endoftext|>"), ids("<|im_end|>")], ids("<|endoftext|>"))


def write_qwen3_asr(folder: Path) -> None:
    """Write a Qwen3-ASR, whose template renders only the audio of a user turn; `<asr_text>` is not a special token."""
    from transformers import (
        Qwen3ASRConfig,
        Qwen3ASRFeatureExtractor,
        Qwen3ASRForConditionalGeneration,
        Qwen3ASRProcessor,
    )

    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_pad|>", "<|audio_start|>", "<|audio_end|>"]
    tokenizer = bytes_tokenizer(
        marks,
        pad="<|endoftext|>",
        eos="<|im_end|>",
        audio_token="<|audio_pad|>",
        audio_bos_token="<|audio_start|>",
        audio_eos_token="<|audio_end|>",
    )
    tokenizer.add_tokens([AddedToken("<asr_text>", special=False)])
    ids = tokenizer.convert_tokens_to_ids
    template = (
        "<|im_start|>system\n{% for turn in messages if turn.role == 'system' %}{{ turn.content[0].text }}{% endfor %}"
        "<|im_end|>\n<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    Qwen3ASRProcessor(Qwen3ASRFeatureExtractor(16), tokenizer, chat_template=template).save_pretrained(folder)
    config = Qwen3ASRConfig(
        audio_config={
            "model_type": "qwen3_asr_encoder",
            "num_mel_bins": 16,
            "d_model": 16,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 16,
            "downsample_hidden_size": 4,
            "output_dim": 32,
        },
        text_config=TEXT | {"model_type": "qwen3", "vocab_size": len(tokenizer)},
        audio_token_id=ids("<|audio_pad|>"),
        pad_token_id=ids("<|endoftext|>"),
        eos_token_id=[ids("<|endoftext|>"), ids("<|im_end|>")],
    )
    model = Qwen3ASRForConditionalGeneration(config)
    save(model, folder, [ids("<|endoftext|>"), ids("<|im_end|>")], ids("<|endoftext|>"))


def write_granite_speech(folder: Path, own_lora: bool = False) -> None:
    """Write a Granite Speech with turns of plain text and a LoRA for speech in a separate file, like older bases."""
    from peft import LoraConfig
    from transformers import GraniteSpeechConfig, GraniteSpeechForConditionalGeneration, GraniteSpeechProcessor

    from escoita.models.granite_speech import GraniteSpeechFeatureExtractor

    marks = ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|audio|>"]
    tokenizer = bytes_tokenizer(marks, pad="<|end_of_text|>", eos="<|end_of_text|>")
    ids = tokenizer.convert_tokens_to_ids
    tokenizer.chat_template = (
        "{% for turn in messages %}<|start_of_role|>{{ turn.role }}<|end_of_role|>{{ turn.content }}<|end_of_text|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
    )
    GraniteSpeechProcessor(GraniteSpeechFeatureExtractor(n_mels=16), tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    encoder = {"input_dim": 32, "num_layers": 2, "hidden_dim": 16, "feedforward_mult": 2, "num_heads": 2}
    encoder |= {"output_dim": 8, "context_size": 30, "max_pos_emb": 64, "conv_kernel_size": 3}
    projector = {"model_type": "blip_2_qformer", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    projector |= {"intermediate_size": 16, "encoder_hidden_size": 16, "cross_attention_frequency": 1, "vocab_size": 8}
    config = GraniteSpeechConfig(
        encoder_config=encoder,
        projector_config=projector,
        text_config=TEXT | {"model_type": "granite", "vocab_size": len(tokenizer)},
        audio_token_index=ids("<|audio|>"),
        has_lora_adapter=own_lora,
    )
    model = GraniteSpeechForConditionalGeneration(config)
    save(model, folder, ids("<|end_of_text|>"), ids("<|end_of_text|>"))
    if own_lora:
        model.add_adapter(LoraConfig(r=2, target_modules=r".*language_model.*\.(q|v)_proj", init_lora_weights=False))
        model.peft_config["default"].base_model_name_or_path = str(folder)
        super(type(model), model).save_pretrained(str(folder))  # its own method would use other names


def write_voxtral(folder: Path) -> None:
    """Write a Voxtral with `tekken.json` and without a template: its own package renders the turns."""
    from transformers import VoxtralConfig, VoxtralForConditionalGeneration, WhisperFeatureExtractor

    marks = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>", "[TRANSCRIBE]"]
    marks += [f"<SPECIAL_{number}>" for number in range(len(marks), 24)]
    marks += ["[AUDIO]", "[BEGIN_AUDIO]"]
    tekken = {
        "config": {
            "pattern": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+",
            "num_vocab_tokens": 256 + len(marks),
            "default_vocab_size": 256 + len(marks),
            "default_num_special_tokens": len(marks),
            "version": "v13",
        },
        "vocab": [
            {"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode(), "token_str": None}
            for byte in range(256)
        ],
        "special_tokens": [{"rank": rank, "token_str": mark, "is_control": True} for rank, mark in enumerate(marks)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tekken.json").write_text(json.dumps(tekken), "utf-8")
    WhisperFeatureExtractor(16, processor_class="VoxtralProcessor").save_pretrained(folder)
    config = VoxtralConfig(
        audio_config={
            "model_type": "voxtral_encoder",
            "num_mel_bins": 16,
            "hidden_size": 16,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
        text_config=TEXT | {"model_type": "llama", "vocab_size": 256 + len(marks)},
        audio_token_id=marks.index("[AUDIO]"),
    )
    save(VoxtralForConditionalGeneration(config), folder, marks.index("</s>"), marks.index("<pad>"))
