"""Write baselines of the original classes with a few thousand random weights, one for each family."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig

from tests.models.bases import bytes_tokenizer


ENCODER: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_mel_bins": 16,
    "subsampling_conv_channels": 4,
    "scale_input": False,
}
DECODER: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 16,
    "head_dim": 8,
    "max_position_embeddings": 64,
}


def _parakeet_tokenizer(blank: str) -> Any:
    """Return a tokenizer of letters, with a blank that is not the padding if it is given."""
    from transformers import ParakeetTokenizer

    letters = ["<unk>", *(chr(code) for code in range(97, 123)), "▁"]
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return ParakeetTokenizer(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        extra_special_tokens=[blank] if blank != "<pad>" else [],
    )


def write_parakeet(folder: Path, kind: str) -> str:
    """Write a Parakeet with a CTC head (`ctc`), or with a transducer (`rnnt`, `tdt`)."""
    import transformers
    from transformers import ParakeetFeatureExtractor, ParakeetProcessor

    blank = "<pad>" if kind == "ctc" else "<blank>"
    tokenizer = _parakeet_tokenizer(blank)
    ids = tokenizer.convert_tokens_to_ids
    extractor = ParakeetFeatureExtractor(feature_size=16)
    ParakeetProcessor(extractor, tokenizer, blank_token=blank, decoder_type=kind).save_pretrained(folder)
    head: dict[str, Any] = {"pad_token_id": ids("<pad>")}
    if kind != "ctc":
        head |= {"decoder_hidden_size": 16, "num_decoder_layers": 1, "blank_token_id": ids(blank)}
    name = {"ctc": "CTC", "rnnt": "RNNT", "tdt": "TDT"}[kind]
    config = getattr(transformers, f"Parakeet{name}Config")(vocab_size=len(tokenizer), encoder_config=ENCODER, **head)
    start: dict[str, Any] = {}
    if kind != "ctc":
        start = {"decoder_start_token_id": ids(blank), "pad_token_id": ids("<pad>")}
    if kind == "tdt":  # the outputs for durations are not tokens
        start["suppress_tokens"] = list(range(len(tokenizer), len(tokenizer) + len(config.durations)))
    model = getattr(transformers, f"ParakeetFor{name}")(config)
    if kind != "ctc":  # otherwise every frame has the most letters
        model.joint.head.bias.data[ids(blank)] = 0.4
    _write(model, folder, **start)
    return str(folder)


def _write(model: Any, folder: Path, **tokens: Any) -> None:
    """Save a model with random weights that are large enough for the output to depend on the audio."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, parameter.shape[1:].numel() ** -0.5, generator=generator)
    model.generation_config = GenerationConfig(**tokens)
    model.save_pretrained(folder)


CANARY_TEMPLATE = (
    "{% for turn in messages %}{% for part in turn.content if part.type == 'text' %}<|startofcontext|>"
    "<|{{ part.source_language }}|><|{{ part.target_language }}|>{% endfor %}{% endfor %}"
)


def write_canary(folder: Path) -> str:
    """Write a Canary with bytes, Spanish and English."""
    from transformers import CanaryConfig, CanaryForConditionalGeneration, CanaryProcessor, ParakeetFeatureExtractor

    marks = ["<pad>", "<|endoftext|>", "<|startofcontext|>", "<|es|>", "<|en|>"]
    tokenizer = bytes_tokenizer(marks, pad="<pad>", eos="<|endoftext|>")
    ids = tokenizer.convert_tokens_to_ids
    extractor = ParakeetFeatureExtractor(feature_size=16)
    CanaryProcessor(extractor, tokenizer, chat_template=CANARY_TEMPLATE).save_pretrained(folder)
    tokens = {"pad_token_id": ids("<pad>"), "eos_token_id": ids("<|endoftext|>"), "bos_token_id": ids("<|es|>")}
    decoder = DECODER | tokens | {"vocab_size": len(tokenizer)}
    config = CanaryConfig(
        encoder_config=ENCODER | {"model_type": "parakeet_encoder"},
        decoder_config=decoder,
        vocab_size=len(tokenizer),
        decoder_start_token_id=ids("<|startofcontext|>"),
        **tokens,
    )
    start = ids("<|startofcontext|>")
    _write(CanaryForConditionalGeneration(config), folder, decoder_start_token_id=start, **tokens)
    return str(folder)


def write_cohere_asr(folder: Path) -> str:
    """Write a model with the class of Cohere's, with bytes, Spanish and English."""
    from transformers import (
        CohereAsrConfig,
        CohereAsrFeatureExtractor,
        CohereAsrForConditionalGeneration,
        CohereAsrProcessor,
    )

    marks = ["<pad>", "<|endoftext|>", "<|startoftranscript|>", "▁", "<|startofcontext|>", "<|emo:undefined|>"]
    marks += ["<|es|>", "<|en|>", "<|pnc|>", "<|nopnc|>", "<|noitn|>", "<|notimestamp|>", "<|nodiarize|>"]
    tokenizer = bytes_tokenizer(marks, pad="<pad>", eos="<|endoftext|>")
    ids = tokenizer.convert_tokens_to_ids
    start = ids("<|startoftranscript|>")
    CohereAsrProcessor(CohereAsrFeatureExtractor(feature_size=16), tokenizer).save_pretrained(folder)
    config = CohereAsrConfig(
        encoder_config=ENCODER | {"model_type": "parakeet_encoder"},
        vocab_size=len(tokenizer),
        pad_token_id=ids("<pad>"),
        eos_token_id=ids("<|endoftext|>"),
        bos_token_id=start,
        decoder_start_token_id=start,
        **DECODER,
    )
    tokens = {"decoder_start_token_id": start, "eos_token_id": ids("<|endoftext|>"), "pad_token_id": ids("<pad>")}
    _write(CohereAsrForConditionalGeneration(config), folder, **tokens)
    return str(folder)


def write_moonshine(folder: Path) -> str:
    """Write a Moonshine with bytes."""
    from transformers import MoonshineConfig, MoonshineForConditionalGeneration, Wav2Vec2FeatureExtractor

    tokenizer = bytes_tokenizer(["<unk>", "<s>", "</s>"], pad="</s>", eos="</s>")
    ids = tokenizer.convert_tokens_to_ids
    tokenizer.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False).save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Wav2Vec2Processor"}))
    config = MoonshineConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=1,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=ids("<s>"),
        decoder_start_token_id=ids("<s>"),
        eos_token_id=ids("</s>"),
        pad_token_id=ids("</s>"),
    )
    end = ids("</s>")
    _write(
        MoonshineForConditionalGeneration(config),
        folder,
        decoder_start_token_id=ids("<s>"),
        eos_token_id=end,
        pad_token_id=end,
    )
    return str(folder)
