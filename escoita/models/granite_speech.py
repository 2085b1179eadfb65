"""Granite Speech: a conformer, a projector and a Granite, with features that need no torchaudio."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer, BatchFeature, GraniteSpeechProcessor, SequenceFeatureExtractor
from transformers import GraniteSpeechFeatureExtractor as TorchaudioExtractor
from transformers.audio_utils import mel_filter_bank

from escoita.errors import EscoitaError
from escoita.hub.files import file_if_any, local_file
from escoita.models.adapter_files import read_settings
from escoita.models.adapters import attach
from escoita.models.base import Watch, of_row
from escoita.models.chat import ChatFamily, filled
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.loading import load
from escoita.models.small_copy import LAYERS, TEXT, WIDTH, Sizes
from escoita.records.training import AdapterRecord, Prompt


class GraniteSpeechFeatureExtractor(TorchaudioExtractor):
    """
    The extractor of the library, whose spectrogram is torch's own: of torchaudio there are not builds for every torch.

    Args:
        sampling_rate (`int`, *optional*, defaults to 16000): In hertz.
        n_fft (`int`, *optional*, defaults to 512): Samples of a transform.
        win_length (`int`, *optional*, defaults to 400): Samples of a window.
        hop_length (`int`, *optional*, defaults to 160): Samples from one frame to the next.
        n_mels (`int`, *optional*, defaults to 80): Bands of a frame; a step of the encoder is two frames.
        projector_window_size (`int`, *optional*, defaults to 15): Steps that the projector sees at once.
        projector_downsample_rate (`int`, *optional*, defaults to 5): Steps in one audio token.
        padding_value (`float`, *optional*, defaults to 0.0): Fills clips up.
    """

    def __init__(
        self,
        sampling_rate=16_000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        n_mels=80,
        projector_window_size=15,
        projector_downsample_rate=5,
        padding_value=0.0,
        **kwargs,
    ):
        bands = kwargs.pop("feature_size", None) or n_mels
        kwargs.pop("melspec_kwargs", None)
        SequenceFeatureExtractor.__init__(
            self, feature_size=bands, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs
        )
        self.n_fft, self.win_length, self.hop_length = n_fft, win_length, hop_length
        self.melspec_kwargs = {"hop_length": hop_length}  # what the library counts frames by
        self.projector_window_size, self.projector_downsample_rate = projector_window_size, projector_downsample_rate
        self.mel_filters = mel_filter_bank(
            n_fft // 2 + 1, bands, 0.0, sampling_rate / 2, sampling_rate, norm=None, mel_scale="htk"
        )

    def __call__(self, audios: Sequence[np.ndarray], device: str | None = "cpu") -> BatchFeature:
        """Frames of shape `(batch, steps, 2 * n_mels)`, how many tokens each clip has, and which of them it has."""
        samples, lengths = self._get_audios_and_audio_lengths(audios)
        sizes = self._get_num_audio_features(lengths)
        heard = torch.arange(max(sizes))[None] < torch.tensor(sizes)[:, None]
        features = self._extract_mel_spectrograms(samples)
        return BatchFeature({"input_features": features, "audio_embed_sizes": sizes, "input_features_mask": heard})

    def _extract_mel_spectrograms(self, audio: torch.Tensor, device: str | None = "cpu") -> torch.Tensor:
        window = torch.hann_window(self.win_length)
        spectrum = torch.stft(audio.float(), self.n_fft, self.hop_length, self.win_length, window, return_complex=True)
        power = spectrum.abs().square().transpose(1, 2)
        frames = (power @ torch.from_numpy(self.mel_filters).float()).clip(min=1e-10).log10()
        loudest = frames.amax(dim=(1, 2), keepdim=True)
        frames = torch.maximum(frames, loudest - 8.0) / 4 + 1
        return frames[:, : frames.shape[1] // 2 * 2].reshape(len(frames), -1, 2 * frames.shape[2])


class GraniteSpeechFamily(ChatFamily):
    """Granite Speech; its encoder sees no mask, so that beside a longer clip it would hear otherwise."""

    info = BY_MODEL_TYPE["granite_speech"]
    end_of_target = "<|end_of_text|>"
    towers: ClassVar[dict[str, str]] = {"audio": r"(^|\.)(encoder|projector)\.", "language": r""}
    small_sizes: ClassVar[Sizes] = {
        "granite_speech_encoder": {
            "num_layers": LAYERS,
            "hidden_dim": WIDTH,
            "feedforward_mult": 2,
            "num_heads": 2,
            "dim_head": 16,
        },
        "blip_2_qformer": {
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 2,
            "encoder_hidden_size": WIDTH,
        },
        "granite": TEXT,
    }

    def read_processor(self, source: str, revision: str | None = None) -> GraniteSpeechProcessor:
        """The library's, with our extractor."""
        extractor = GraniteSpeechFeatureExtractor.from_pretrained(source, revision=revision)
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        return GraniteSpeechProcessor(extractor, tokenizer, chat_template=tokenizer.chat_template)

    def load_model(
        self,
        base: str,
        revision: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        load_in_4bit: bool = False,
    ) -> Any:
        """
        Loads the base; the LoRA for speech that some bases come with becomes part of it.

        Raises:
            EscoitaError: The base should come with one and does not, or with one that is to go into 4 bits.
        """
        if load_in_4bit and AutoConfig.from_pretrained(base, revision=revision).has_lora_adapter:
            raise EscoitaError(f"model {base}: its LoRA for speech cannot be merged in 4 bits; leave out load_in_4bit")
        model = load(self.loader, base, revision, dtype, device, load_in_4bit, self.whole_in_4bit, self.complete, True)
        beside = Path(base).is_dir() or model.config.has_lora_adapter
        weights = file_if_any(base, "adapter_model.safetensors", revision) if beside else None
        if weights is not None:
            model = merge_own_lora(model, base, weights, local_file(base, "adapter_config.json", revision))
        elif model.config.has_lora_adapter:
            raise EscoitaError(f"model {base}: its LoRA for speech is not there, without which it does not listen")
        self.adjust(model)
        return model

    def adjust(self, model: Any) -> None:
        """Keep the statistics of batch norms; the model calls no LoRA of its own."""
        model.config.has_lora_adapter = False
        keep_statistics(model)

    def render(self, processor: Any, prompt: Prompt) -> str:
        """Its template takes turns of plain text, with the audio token in it."""
        messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
        messages.append({"role": "user", "content": processor.audio_token + prompt.user})
        return self.templated(processor, prompt, messages)

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """As any family, of clips that are filled up with silence until the projector sees nothing beyond them."""
        extractor = processor.audio_processor
        step = 2 * extractor.hop_length * extractor.projector_window_size
        # A transform reaches over the end of a clip by half its length.
        return super().encode(processor, [filled(clip, extractor.n_fft // 2, step) for clip in audio], prompt)

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """One by one, each without its padding."""
        heard = []
        for row, seen in enumerate(inputs["attention_mask"].bool()):
            sizes = inputs["input_features_mask"][row]
            tokens = int(sizes.sum())
            alone = {
                "input_ids": inputs["input_ids"][row][seen],
                "attention_mask": inputs["attention_mask"][row][seen],
                "input_features": inputs["input_features"][row][: tokens * model.config.downsample_rate],
                "input_features_mask": sizes[:tokens],
            }
            batch = {key: value[None] for key, value in alone.items()}
            heard.append(super().generate(model, batch, settings, watch and of_row(watch, row))[0])
        end = model.generation_config.pad_token_id
        end = end if end is not None else model.config.get_text_config().pad_token_id
        return torch.nn.utils.rnn.pad_sequence(heard, batch_first=True, padding_value=end or 0)


def merge_own_lora(model: Any, base: str, weights: Path, settings: Path) -> Any:
    """
    Merges the LoRA that lies beside the weights: of two adapters of PEFT on one model each switches the other off.

    Args:
        model: The base, loaded.
        base (`str`): Its name, for errors.
        weights (`Path`): Of the LoRA.
        settings (`Path`): Its `adapter_config.json`.

    Returns:
        The model with the LoRA in it.

    Raises:
        EscoitaError: It does not fit, or would change nothing.
    """
    from peft.tuners.lora import LoraLayer

    what = f"model {base}: its LoRA for speech"
    adapted = attach(model, read_settings(settings, what), weights, what, renamed=_renamed)
    for name, layer in adapted.get_base_model().named_modules():
        if isinstance(layer, LoraLayer) and not all(matrix.weight.any() for matrix in layer.lora_B.values()):
            raise EscoitaError(f"{what} is zero in {name}")
    model = adapted.merge_and_unload()
    model.__dict__.pop("peft_config", None)  # by which PEFT would take the next adapter for a second one
    return model


def _renamed(tensor: str) -> str:
    """The name of a tensor of the LoRA in Transformers 5, which calls the language model of this family otherwise."""
    return re.sub(r"^base_model\.model\.language_model\.model\.", "base_model.model.model.language_model.", tensor)


def keep_statistics(model: torch.nn.Module) -> None:
    """
    Keeps batch norms as they are in evaluation while the rest trains.

    What they would learn of the clips is no parameter, and would not be published with an adapter.
    """
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm1d):
            norm.eval()
            norm.train = lambda mode=True, norm=norm: norm
