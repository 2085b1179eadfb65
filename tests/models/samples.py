"""Write baselines with a few thousand random weights."""

import json
from pathlib import Path

import torch


def write_whisper(folder: Path, width: int = 16, positions: int = 16, seconds: int = 30, learns: bool = False) -> str:
    """
    Write a Whisper with letters, Galician and Spanish.

    Args:
        folder (`Path`): The folder.
        width (`int`, *optional*, defaults to 16): The width of its layers.
        positions (`int`, *optional*, defaults to 16): The number of positions of its decoder.
        seconds (`int`, *optional*, defaults to 30): The length to which every clip is padded.
        learns (`bool`, *optional*, defaults to `False`): Whether to initialize it so that a few steps of training
            suffice, to let it end a transcript, and to have a token for each byte; else it transcribes letters up to
            its limit.
    """
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder.mkdir(parents=True, exist_ok=True)
    marks = ["<|endoftext|>", "<|startoftranscript|>", "<|gl|>", "<|es|>", "<|transcribe|>", "<|notimestamps|>"]
    letters = [*bytes_to_unicode().values()] if learns else [*map(chr, range(97, 123)), "Ġ"]
    vocabulary = {token: index for index, token in enumerate([*letters, *marks])}
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=[], unk_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": marks[1:]})
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=16, chunk_length=seconds).save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "WhisperProcessor"}))
    torch.manual_seed(0)
    sizes = {"d_model": width, "encoder_ffn_dim": width, "decoder_ffn_dim": width, "max_target_positions": positions}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    sizes |= {"encoder_layers": 1, "decoder_layers": 1, "max_source_positions": 50 * seconds}
    end = vocabulary["<|endoftext|>"]
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=16,
        **sizes,
        **heads,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=vocabulary["<|startoftranscript|>"],
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    model = WhisperForConditionalGeneration(config)
    for name, weight in model.named_parameters():
        if learns and name.endswith("embed_tokens.weight"):
            torch.nn.init.normal_(weight, std=0.3)  # the output layer, too
        elif learns and weight.ndim == 2 and "embed" not in name:
            torch.nn.init.xavier_uniform_(weight)
    known = {
        "is_multilingual": True,
        "lang_to_id": {"<|gl|>": vocabulary["<|gl|>"], "<|es|>": vocabulary["<|es|>"]},
        "task_to_id": {"transcribe": vocabulary["<|transcribe|>"]},
        "no_timestamps_token_id": vocabulary["<|notimestamps|>"],
        "max_length": positions,
        "suppress_tokens": [vocabulary[mark] for mark in marks[learns:]],  # so that letters are transcribed
        "begin_suppress_tokens": [],
        "_from_model_config": False,  # otherwise it is made from the configuration when it is loaded
    }
    for name, value in known.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    return str(folder)


MMS_LETTERS = {"eng": "abcdefgh", "glg": "aeiouñx", "uzb-script_cyrillic": "абвгд", "uzb-script_latin": "oʻqgyz"}


def write_mms(folder: Path) -> str:
    """Write an MMS: a wav2vec 2.0 with an adapter and letters for each of four languages."""
    from safetensors.torch import save_file
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    folder.mkdir(parents=True, exist_ok=True)
    marks = ["<pad>", "<s>", "</s>", "<unk>", "|"]
    vocabulary = {
        code: {token: index for index, token in enumerate([*marks, *letters])} for code, letters in MMS_LETTERS.items()
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), target_lang="eng").save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Wav2Vec2Processor"}))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    layers = {"conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (20, 16), "feat_extract_norm": "layer"}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    adapters = {"do_stable_layer_norm": True, "adapter_attn_dim": 4, "pad_token_id": 0}
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(vocab_size=len(vocabulary["eng"]), **sizes, **layers, **positions, **adapters)
    )
    model.save_pretrained(folder)
    for code, tokens in vocabulary.items():
        model.lm_head = torch.nn.Linear(16, len(tokens))
        model.lm_head.bias.data[: len(marks)] = -9.0  # so that letters are transcribed
        weights = {name: weight.detach().clone().contiguous() for name, weight in model._get_adapters().items()}
        save_file(weights, folder / f"adapter.{code}.safetensors")
    return str(folder)


def write_ctc(folder: Path, norm: str = "layer") -> str:
    """Write a wav2vec 2.0 with eight letters; its norm is that of large models or, with `group`, of wav2vec2-base."""
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefgh"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer").save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Wav2Vec2Processor"}))
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(tokens),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            conv_dim=(8, 8),
            conv_kernel=(10, 8),
            conv_stride=(20, 16),
            feat_extract_norm=norm,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            pad_token_id=0,
        )
    )
    model.lm_head.bias.data[:4] = -1.0  # so that letters are transcribed
    model.save_pretrained(folder)
    return str(folder)
