"""Build a Whisper with one million parameters: the original classes, 80 mel bands and all special tokens."""

import numpy as np
import torch
from alphabet import CHARACTERS
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.whisper.tokenization_whisper import LANGUAGES


END, START, TRANSCRIBE, NO_TIMESTAMPS = "<|endoftext|>", "<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>"
# The order of the multilingual Whisper before large-v3, which added Cantonese.
SPECIALS = (
    START,
    *(f"<|{code}|>" for code in LANGUAGES if code != "yue"),
    "<|translate|>",
    TRANSCRIBE,
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    NO_TIMESTAMPS,
)
TIMESTAMPS = tuple(f"<|{0.02 * step:.2f}|>" for step in range(1501))
# 30 in the real model, for which training would take many times longer.
SECONDS = 4


def build_tokenizer() -> WhisperTokenizer:
    """
    Return a tokenizer of bytes and letters, and of Whisper's special tokens in their order.

    256 bytes and one token for each letter of several bytes replace Whisper's 50,257 tokens of text.
    """
    of_byte = bytes_to_unicode()
    letters = dict.fromkeys(
        "".join(of_byte[byte] for byte in letter.encode()) for letter in CHARACTERS if not letter.isascii()
    )
    merges: dict[tuple[str, str], None] = {}
    for letter in letters:
        for length in range(1, len(letter)):
            merges[letter[:length], letter[length]] = None
    entries = [*of_byte.values(), *("".join(pair) for pair in merges), END]
    tokenizer = WhisperTokenizer(
        vocab={entry: index for index, entry in enumerate(entries)}, merges=list(merges), pad_token=END
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIALS)})
    tokenizer.add_tokens(list(TIMESTAMPS))
    return tokenizer


def build_processor() -> WhisperProcessor:
    """Return Whisper's processor with the tiny tokenizer."""
    return WhisperProcessor(WhisperFeatureExtractor(feature_size=80, chunk_length=SECONDS), build_tokenizer())


def frames_of(extractor: WhisperFeatureExtractor, audio: np.ndarray) -> np.ndarray:
    """Return the log-mel frames of a clip, of shape `(frames, bands)`; a top-level function, which can be pickled."""
    frames = extractor(audio, sampling_rate=extractor.sampling_rate, return_tensors="np")["input_features"][0].T
    return frames[: len(audio) // extractor.hop_length + 1]


def build_model(processor: WhisperProcessor, hidden: int = 96, seed: int = 0) -> WhisperForConditionalGeneration:
    """Build the untrained model in float32, with 4 encoder layers, as in Whisper tiny, and 2 decoder layers."""
    tokenizer = processor.tokenizer
    end = tokenizer.eos_token_id
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=processor.feature_extractor.feature_size,
        d_model=hidden,
        encoder_layers=4,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=4 * hidden,
        decoder_ffn_dim=4 * hidden,
        max_source_positions=processor.feature_extractor.nb_max_frames // 2,
        max_target_positions=448,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=tokenizer.convert_tokens_to_ids(START),
        mask_time_prob=0.1,
        mask_feature_prob=0.1,
        mask_feature_length=8,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    model.generation_config = generation_config(tokenizer, config)
    # Fine-tuning with a small corpus needs both, which the untrained model does not: its layers were built without.
    model.config.dropout = 0.1
    model.config.apply_spec_augment = True
    return initialize(model)


def generation_config(tokenizer: WhisperTokenizer, config: WhisperConfig) -> GenerationConfig:
    """Return the generation configuration with the ids of special tokens, which `generate` looks up in it."""
    ids = dict(zip(SPECIALS, tokenizer.convert_tokens_to_ids(list(SPECIALS)), strict=True))
    return GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        is_multilingual=True,
        lang_to_id={token: ids[token] for token in SPECIALS if token.strip("<|>") in LANGUAGES},
        task_to_id={"transcribe": ids[TRANSCRIBE], "translate": ids["<|translate|>"]},
        no_timestamps_token_id=ids[NO_TIMESTAMPS],
        prev_sot_token_id=ids["<|startofprev|>"],
        max_initial_timestamp_index=50,
        alignment_heads=[[config.decoder_layers - 1, head] for head in range(config.decoder_attention_heads)],
        suppress_tokens=[index for token, index in ids.items() if token != NO_TIMESTAMPS],
        # Not the space, as in the original: it is the first token of each transcript if there are no longer tokens.
        begin_suppress_tokens=[config.eos_token_id],
        max_length=config.max_target_positions,
        do_sample=False,
    )


@torch.no_grad()
def initialize(model: WhisperForConditionalGeneration) -> WhisperForConditionalGeneration:
    """
    Initialize with deviation 1/sqrt(fan in) and damped residual branches; training is slow with 0.02.

    The projections of queries and keys of the encoder are equal at first, so that it attends to near positions.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or "embed_positions" in name:
            continue
        scale = 0.5 if name.endswith(("out_proj.weight", "fc2.weight")) else 1.0
        torch.nn.init.normal_(parameter, 0, scale * parameter[0].numel() ** -0.5)
    for layer in model.model.encoder.layers:
        layer.self_attn.q_proj.weight.mul_(0.7)
        layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)
    return model
