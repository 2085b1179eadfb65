"""Support Granite Speech with a feature extractor that does not need torchaudio."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer, BatchFeature, GraniteSpeechProcessor, SequenceFeatureExtractor
from transformers import GraniteSpeechFeatureExtractor as TorchaudioExtractor
from transformers.audio_utils import mel_filter_bank

from escoita.hub.files import file_if_any, local_file
from escoita.models.adapter_files import read_settings
from escoita.models.adapters import attach
from escoita.models.base import Watch, watch_of_row
from escoita.models.chat import ChatFamily, pad_with_silence
from escoita.models.errors import SpeechLoraError
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.loading import load
from escoita.models.small_copy import LAYERS, TEXT, WIDTH, Sizes
from escoita.records.training import AdapterRecord, Prompt


class GraniteSpeechFeatureExtractor(TorchaudioExtractor):
    """
    Extract the features of the library with torch alone, because torchaudio does not have builds for every torch.

    Args:
        sampling_rate (`int`, *optional*, defaults to 16000): The sampling rate in hertz.
        n_fft (`int`, *optional*, defaults to 512): The number of samples of a transform.
        win_length (`int`, *optional*, defaults to 400): The number of samples of a window.
        hop_length (`int`, *optional*, defaults to 160): The number of samples between two frames.
        n_mels (`int`, *optional*, defaults to 80): The number of bands of a frame; an encoder step has two frames.
        projector_window_size (`int`, *optional*, defaults to 15): The number of steps in a window of the projector.
        projector_downsample_rate (`int`, *optional*, defaults to 5): The number of steps per audio token.
        padding_value (`float`, *optional*, defaults to 0.0): The value of padding samples.
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
        self.melspec_kwargs = {"hop_length": hop_length}  # the library counts frames with it
        self.projector_window_size, self.projector_downsample_rate = projector_window_size, projector_downsample_rate
        self.mel_filters = mel_filter_bank(
            n_fft // 2 + 1, bands, 0.0, sampling_rate / 2, sampling_rate, norm=None, mel_scale="htk"
        )

    def __call__(self, audios: Sequence[np.ndarray], device: str | None = "cpu") -> BatchFeature:
        """Return frames of shape `(batch, steps, 2 * n_mels)`, the number of audio tokens per clip, and their mask."""
        samples, lengths = self._get_audios_and_audio_lengths(audios)
        sizes = self._get_num_audio_features(lengths)
        mask = torch.arange(max(sizes))[None] < torch.tensor(sizes)[:, None]
        features = self._extract_mel_spectrograms(samples)
        return BatchFeature({"input_features": features, "audio_embed_sizes": sizes, "input_features_mask": mask})

    def _extract_mel_spectrograms(self, audio: torch.Tensor, device: str | None = "cpu") -> torch.Tensor:
        window = torch.hann_window(self.win_length)
        spectrum = torch.stft(audio.float(), self.n_fft, self.hop_length, self.win_length, window, return_complex=True)
        power = spectrum.abs().square().transpose(1, 2)
        frames = (power @ torch.from_numpy(self.mel_filters).float()).clip(min=1e-10).log10()
        loudest = frames.amax(dim=(1, 2), keepdim=True)
        frames = torch.maximum(frames, loudest - 8.0) / 4 + 1
        return frames[:, : frames.shape[1] // 2 * 2].reshape(len(frames), -1, 2 * frames.shape[2])


class GraniteSpeechFamily(ChatFamily):
    """Support Granite Speech, whose encoder takes no mask, so that padding would change its output."""

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
        """Create the processor of the library with the extractor of this module."""
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
        Load the base, and merge the LoRA for speech that some bases include.

        The arguments are those of [`~escoita.models.base.Family.load_model`].

        Raises:
            SpeechLoraError: The LoRA is missing, has no effect, or cannot be merged in 4 bits.
        """
        if load_in_4bit and AutoConfig.from_pretrained(base, revision=revision).has_lora_adapter:
            problem = "the LoRA for speech cannot be merged in 4 bits"
            raise SpeechLoraError(problem, path=base, key="load_in_4bit", hint="leave it out")
        model = load(
            self.loader, base, revision, dtype, device, load_in_4bit, self.unquantized_modules, self.complete, True
        )
        may_have_lora = Path(base).is_dir() or model.config.has_lora_adapter
        weights = file_if_any(base, "adapter_model.safetensors", revision) if may_have_lora else None
        if weights is not None:
            model = merge_own_lora(model, base, weights, local_file(base, "adapter_config.json", revision))
        elif model.config.has_lora_adapter:
            problem = "the LoRA for speech is missing; the model cannot transcribe without it"
            raise SpeechLoraError(problem, path=f"{base}/adapter_model.safetensors")
        self.adjust(model)
        return model

    def adjust(self, model: Any) -> None:
        """Freeze the statistics of batch norms, and disable the LoRA calls of the library."""
        model.config.has_lora_adapter = False
        keep_statistics(model)

    def render(self, processor: Any, prompt: Prompt) -> str:
        """Return the prompt from the chat template, which takes plain text with the audio token in it."""
        messages = [{"role": "system", "content": prompt.system}] if prompt.system else []
        messages.append({"role": "user", "content": processor.audio_token + prompt.user})
        return self.templated(processor, prompt, messages)

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Pad each clip with silence to a multiple of the projector window, and encode the batch."""
        extractor = processor.audio_processor
        window = 2 * extractor.hop_length * extractor.projector_window_size
        # The last transform extends beyond the clip by half its length.
        clips = [pad_with_silence(clip, extractor.n_fft // 2, window) for clip in audio]
        return super().encode(processor, clips, prompt)

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        settings: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """Transcribe the rows one by one without padding; see [`~escoita.models.base.Family.generate`]."""
        rows = []
        for row, mask in enumerate(inputs["attention_mask"].bool()):
            audio_mask = inputs["input_features_mask"][row]
            tokens = int(audio_mask.sum())
            unpadded = {
                "input_ids": inputs["input_ids"][row][mask],
                "attention_mask": inputs["attention_mask"][row][mask],
                "input_features": inputs["input_features"][row][: tokens * model.config.downsample_rate],
                "input_features_mask": audio_mask[:tokens],
            }
            batch = {key: value[None] for key, value in unpadded.items()}
            rows.append(super().generate(model, batch, settings, watch and watch_of_row(watch, row))[0])
        padding = model.generation_config.pad_token_id
        padding = padding if padding is not None else model.config.get_text_config().pad_token_id
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding or 0)


def merge_own_lora(model: Any, base: str, weights: Path, settings: Path) -> Any:
    """
    Merge the LoRA that is stored next to the weights, because two PEFT adapters on one model disable each other.

    Args:
        model (`torch.nn.Module`): The loaded base.
        base (`str`): The folder or repository of the base, for errors.
        weights (`Path`): The weights of the LoRA.
        settings (`Path`): The `adapter_config.json` of the LoRA.

    Returns:
        `torch.nn.Module`: The model with the merged LoRA.

    Raises:
        EscoitaError: The LoRA does not fit.
        SpeechLoraError: The LoRA has no effect.
    """
    from peft.tuners.lora import LoraLayer

    adapted = attach(model, read_settings(settings, base), weights, base, renamed=_renamed)
    for name, layer in adapted.get_base_model().named_modules():
        if isinstance(layer, LoraLayer) and not all(matrix.weight.any() for matrix in layer.lora_B.values()):
            raise SpeechLoraError("the LoRA for speech is zero", path=f"{base}/{weights.name}", key=name)
    model = adapted.merge_and_unload()
    model.__dict__.pop("peft_config", None)  # otherwise PEFT would load the next adapter as a second one
    return model


def _renamed(tensor: str) -> str:
    """Return the name of a LoRA tensor in Transformers 5, which renamed the language model of this family."""
    return re.sub(r"^base_model\.model\.language_model\.model\.", "base_model.model.model.language_model.", tensor)


def keep_statistics(model: torch.nn.Module) -> None:
    """
    Keep batch norms in evaluation mode during training.

    Their running statistics are not parameters, and would not be published with an adapter.

    Args:
        model (`torch.nn.Module`): The model, which is changed in place.
    """
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm1d):
            norm.eval()
            norm.train = lambda mode=True, norm=norm: norm
