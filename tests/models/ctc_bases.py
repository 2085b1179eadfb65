"""Write encoders of the original classes with random weights, without head and tokenizer, as they are published."""

from pathlib import Path
from typing import Any

import torch

from tests.models.samples import write_mms


SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "output_hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "pad_token_id": 0,
    **dict.fromkeys(["hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"], 0.0),
    "mask_time_prob": 0.02,
}
# One vector per 20 ms, as in the published models, from two convolutions.
CONVOLUTIONS: dict[str, Any] = {
    "conv_dim": (64, 64),
    "conv_kernel": (40, 16),
    "conv_stride": (20, 16),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}


def write_wav2vec2(folder: Path, norm: str = "layer") -> str:
    """Write a wav2vec 2.0 as XLS-R is published; with `group`, its norm and extractor are those of wav2vec2-base."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForPreTraining

    Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer").save_pretrained(folder)
    config = Wav2Vec2Config(
        **SIZES,
        **CONVOLUTIONS,
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
        codevector_dim=16,
        proj_codevector_dim=16,
    )
    return _saved(Wav2Vec2ForPreTraining(config), folder)


def write_hubert(folder: Path) -> str:
    """Write a HuBERT."""
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    sizes = {key: value for key, value in SIZES.items() if key != "output_hidden_size"}
    config = HubertConfig(**sizes, **CONVOLUTIONS, feat_extract_norm="layer", do_stable_layer_norm=True)
    return _saved(HubertModel(config), folder)


def write_w2v_bert(folder: Path) -> str:
    """Write a w2v-BERT 2.0."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

    SeamlessM4TFeatureExtractor(padding_value=1).save_pretrained(folder)
    return _saved(Wav2Vec2BertModel(Wav2Vec2BertConfig(**SIZES, conv_depthwise_kernel_size=7)), folder)


BASES = {
    "wav2vec2": write_wav2vec2,
    "mms": write_mms,
    "hubert": write_hubert,
    "wav2vec2-bert": write_w2v_bert,
}


def _saved(model: Any, folder: Path) -> str:
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "original" not in name:  # not the norm of weights
            parameter.data.normal_(0, parameter.shape[1:].numel() ** -0.5, generator=generator)
    model.save_pretrained(folder)
    return str(folder)
