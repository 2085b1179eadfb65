"""Build a w2v-BERT 2.0 with 0.6 million parameters and a CTC head: the original classes and log-mel features."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from alphabet import LETTERS
from transformers import (
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
    Wav2Vec2BertProcessor,
    Wav2Vec2CTCTokenizer,
)


BLANK, UNKNOWN, DELIMITER = "<pad>", "<unk>", "|"


def build_tokenizer() -> Wav2Vec2CTCTokenizer:
    """Return a tokenizer of the letters of all languages; training replaces it by that of the corpus."""
    entries = [BLANK, UNKNOWN, DELIMITER, *dict.fromkeys(LETTERS)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps({entry: index for index, entry in enumerate(entries)}), "utf-8")
        return Wav2Vec2CTCTokenizer(
            str(path),
            bos_token=None,
            eos_token=None,
            unk_token=UNKNOWN,
            pad_token=BLANK,
            word_delimiter_token=DELIMITER,
        )


def build_processor() -> Wav2Vec2BertProcessor:
    """Return the processor of w2v-BERT 2.0: frames of 80 mel bands, two of which are one input, and the letters."""
    return Wav2Vec2BertProcessor(SeamlessM4TFeatureExtractor(), build_tokenizer())


def frames_of(extractor: SeamlessM4TFeatureExtractor, audio: np.ndarray) -> np.ndarray:
    """Return the inputs of a clip, of shape `(inputs, 160)`; a top-level function, which can be pickled."""
    return extractor(audio, sampling_rate=extractor.sampling_rate, return_tensors="np")["input_features"][0]


def build_model(processor: Wav2Vec2BertProcessor, hidden: int = 96, seed: int = 0) -> Wav2Vec2BertForCTC:
    """Build the untrained model in float32, with 4 conformer layers."""
    extractor = processor.feature_extractor
    config = Wav2Vec2BertConfig(
        vocab_size=len(processor.tokenizer),
        pad_token_id=processor.tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=None,
        hidden_size=hidden,
        output_hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=4,
        num_attention_heads=3,
        feature_projection_input_dim=extractor.feature_size * extractor.stride,
        conv_depthwise_kernel_size=15,
        conformer_conv_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        # For fine-tuning, as 800 clips of few voices are soon known: masks of 5 inputs (100 ms), and of 8 features.
        apply_spec_augment=True,
        mask_time_prob=0.1,
        mask_time_length=5,
        mask_feature_prob=0.1,
        mask_feature_length=8,
        ctc_zero_infinity=True,
    )
    torch.manual_seed(seed)
    return initialize(Wav2Vec2BertForCTC(config))


@torch.no_grad()
def initialize(model: Wav2Vec2BertForCTC) -> Wav2Vec2BertForCTC:
    """Initialize with deviation 1/sqrt(fan in) and damped residual branches; training is slow with 0.02."""
    damped = ("linear_out.weight", "output_dense.weight", "pointwise_conv2.weight")
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or "embed" in name:
            continue
        scale = 0.5 if name.endswith(damped) else 1.0
        torch.nn.init.normal_(parameter, 0, scale * parameter[0].numel() ** -0.5)
    return model
