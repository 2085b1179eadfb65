"""Phi-4-multimodal: its audio encoder, and a processor that needs no torchvision."""

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    Phi4MultimodalConfig,
    Phi4MultimodalFeatureExtractor,
    Phi4MultimodalForCausalLM,
    Phi4MultimodalProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalAudioModel
from transformers.processing_utils import ProcessorMixin

from escoita.audio.loading import SAMPLING_RATE
from escoita.errors import EscoitaError
from escoita.hub.files import SPEECH_LORA, local_file
from escoita.models.chat import ChatFamily
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.loading import load
from escoita.models.phi4_checkpoint import (
    AUDIO_TOKEN,
    MERGED,
    OLD_TYPE,
    OldLayout,
    merge_speech_lora,
    native_config,
    speech_lora,
)
from escoita.models.processor_files import check_processor_files
from escoita.models.small_copy import LAYERS, TEXT, WIDTH, Sizes
from escoita.records.training import Prompt


class ApartAudioModel(Phi4MultimodalAudioModel):
    """
    [`Phi4MultimodalAudioModel`] that never sees padding.

    The library's convolutions and attention take padding for audio, so that a clip is heard otherwise beside a longer
    one. A batch with a clip for which it has not enough places, mostly of more than 40 s, fails; see
    [`~escoita.models.phi4.Phi4Family.longest_clip`]. Here rows of one length go through together and others apart,
    as if each were alone.
    """

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor | None, **kwargs) -> torch.Tensor:
        """
        Encodes frames.

        Args:
            hidden_states (`torch.Tensor`): Log-mel frames of shape `(batch, frames, bands)`, padded on the right.
            mask (`torch.Tensor`, *optional*): Of shape `(batch, frames)`, true where there is audio; all unless given.

        Returns:
            `torch.Tensor`: Of shape `(batch, ceil(frames / time_reduction), width)`; zeros where there is no audio.
        """
        if mask is None:
            return super().forward(hidden_states, None, **kwargs)
        lengths = mask.sum(dim=1).tolist()
        groups = [[row for row, other in enumerate(lengths) if other == length] for length in dict.fromkeys(lengths)]
        heard = [
            super(ApartAudioModel, self).forward(hidden_states[rows, : lengths[rows[0]]], None, **kwargs)
            for rows in groups
        ]
        longest = max(frames.shape[1] for frames in heard)
        order = torch.tensor([row for rows in groups for row in rows], device=hidden_states.device)
        return torch.cat([pad(frames, (0, 0, 0, longest - frames.shape[1])) for frames in heard])[order.argsort()]


def hear_apart(model: torch.nn.Module) -> None:
    """
    Makes the audio encoder of a model one of [`ApartAudioModel`]; weights, and their names, stay what they are.

    Args:
        model ([`Phi4MultimodalForCausalLM`]): Changed in place.
    """
    model.model.embed_tokens_extend.audio_embed.encoder.__class__ = ApartAudioModel


# How a prompt may say where the clip stands: `<|audio_1|>` is of the old code, and refused by the native processor.
AUDIO_MARK = re.compile(r"<\|audio(_\d+)?\|>")
# `max_seq_len` in the forward of the library's encoder, which no configuration states.
PLACES = 500
ENDS = ("<|end|>", "<|endoftext|>")


class Phi4AudioProcessor(Phi4MultimodalProcessor):
    """
    [`Phi4MultimodalProcessor`] for audio and text alone.

    The image processor of the library needs torchvision; speech does not.

    Args:
        audio_processor ([`Phi4MultimodalFeatureExtractor`]): Turns samples at 16 kHz into log-mel frames.
        tokenizer ([`PreTrainedTokenizerFast`]): With the audio token of Phi-4-multimodal.
        chat_template (`str`, *optional*): Jinja source of the chat format.
    """

    def __init__(self, audio_processor, tokenizer, chat_template=None, **kwargs):
        self.image_token = self.image_token_id = None
        self.audio_token, self.audio_token_id = tokenizer.audio_token, tokenizer.audio_token_id
        ProcessorMixin.__init__(
            self, audio_processor=audio_processor, tokenizer=tokenizer, chat_template=chat_template
        )


class Phi4Family(ChatFamily):
    """
    Phi-4-multimodal in the native classes of Transformers, whichever of its two layouts a base is stored in.

    The encoder makes one frame of `time_reduction` frames of the extractor, mostly 80 ms, and has [`PLACES`] places
    for them. The library cuts what is longer into pieces that do not attend to each other, and fails on several clips
    of one such length.
    """

    max_audio_seconds = 40.0
    auto_model = "Phi4MultimodalForCausalLM"
    info = BY_MODEL_TYPE["phi4_multimodal"]
    end_of_target = "".join(ENDS)
    audio_features = "audio_input_features"
    towers: ClassVar[dict[str, str]] = {"audio": r"audio_embed", "vision": r"image_embed", "language": r""}
    small_sizes: ClassVar[Sizes] = {
        "phi4_multimodal": TEXT | {"hidden_size": 2 * WIDTH},
        "phi4_multimodal_audio": {
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_blocks": LAYERS,
            "num_attention_heads": 2,
            "ext_pw_out_channel": WIDTH,
            "depthwise_separable_out_channel": WIDTH,
            "nemo_conv_channels": 8,
        },
        "phi4_multimodal_vision": {
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 2,
        },
    }

    def longest_clip(self, processor: Any) -> float:
        """Return the seconds that the places of the encoder hold."""
        if self.config.get("model_type") == OLD_TYPE:
            reduction = native_config(self.config, "").audio_config.time_reduction
        else:
            reduction = (self.config.get("audio_config") or {}).get("time_reduction", 8)
        extractor = processor.audio_processor
        frames = PLACES * reduction // extractor.audio_feat_stride
        return frames * extractor.hop_length / extractor.sampling_rate

    def read_processor(self, source: str, revision: str | None = None) -> Phi4AudioProcessor:
        """The audio and text parts alone, from wherever the full processor is stored, in either layout."""
        # By its own class: AutoTokenizer would split words in the way of GPT-2, whose class is named there.
        old = _config_of(source, revision).get("model_type") == OLD_TYPE
        named = {"extra_special_tokens": {"audio_token": AUDIO_TOKEN}} if old else {}
        tokenizer = PreTrainedTokenizerFast.from_pretrained(source, revision=revision, **named)
        if not old:
            extractor = Phi4MultimodalFeatureExtractor.from_pretrained(source, revision=revision)
        else:
            settings = json.loads(local_file(source, "preprocessor_config.json", revision).read_text("utf-8"))
            kept = ("audio_compression_rate", "audio_downsample_rate", "audio_feat_stride")
            extractor = Phi4MultimodalFeatureExtractor(**{key: settings[key] for key in kept if key in settings})
        return Phi4AudioProcessor(extractor, tokenizer, chat_template=tokenizer.chat_template)

    def load_model(
        self,
        base: str,
        revision: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        load_in_4bit: bool = False,
    ) -> Phi4MultimodalForCausalLM:
        """
        Loads the base model, its speech LoRA merged into it.

        Args:
            base (`str`): A folder, or a repository of the Hub, in either layout.
            revision (`str`, *optional*): Of the repository.
            dtype (`str`, *optional*, defaults to `"auto"`): As the weights are stored, or a type of torch by name.
            device (`str`, *optional*): Where to; the CPU unless given.
            load_in_4bit (`bool`, *optional*, defaults to `False`): Linear layers in 4 bits; only where the speech LoRA
                was merged before.

        Raises:
            EscoitaError: There is no speech LoRA, or it does not fit or does nothing.
        """
        written = _config_of(base, revision)
        old = written if written["model_type"] == OLD_TYPE else {}
        merged = bool(written.get(MERGED))
        if load_in_4bit and not merged:
            raise EscoitaError(f"model {base}: its {SPEECH_LORA} cannot be merged in 4 bits; leave out load_in_4bit")
        loader, options = (OldLayout, {"config": native_config(old, base)}) if old else (Phi4MultimodalForCausalLM, {})
        model = load(loader, base, revision, dtype, device, load_in_4bit, self.whole_in_4bit, self.complete, **options)
        if not merged:
            found = speech_lora(base, revision, old)
            if found is None:
                raise EscoitaError(
                    f"model {base}: holds no {SPEECH_LORA}, without which Phi-4-multimodal is not meant to hear; where"
                    f' it is in the weights already, write "{MERGED}": true into its config.json'
                )
            merge_speech_lora(model, base, *found)
            setattr(model.config, MERGED, True)
        self.adjust(model)
        check_processor_files(base, revision)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(base, revision=revision)
        # Not all that was published says that the end of a turn is an end.
        model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(list(ENDS))
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        return model

    def read_config(self, base: str, revision: str | None = None) -> Phi4MultimodalConfig:
        """Read the configuration of a base in either layout."""
        written = _config_of(base, revision)
        old = written["model_type"] == OLD_TYPE
        return native_config(written, base) if old else Phi4MultimodalConfig.from_pretrained(base, revision=revision)

    def from_config(self, config: Phi4MultimodalConfig) -> Phi4MultimodalForCausalLM:
        """Make a model with random weights in the shape of a configuration."""
        return Phi4MultimodalForCausalLM(config)

    def adjust(self, model: Any) -> None:
        """Let the encoder never see padding."""
        hear_apart(model)

    def render(self, processor: Any, prompt: Prompt) -> str:
        """
        The prompt up to where the transcript begins; the clip stands where the user's text marks it, else before it.

        Written out here, as the template that came with the published weights takes no parts.

        Raises:
            EscoitaError: It marks several clips.
        """
        marks = AUDIO_MARK.findall(prompt.user)
        if len(marks) > 1:
            raise EscoitaError(f"prompt.user marks {len(marks)} clips; a transcript is of one")
        user = AUDIO_MARK.sub(processor.audio_token, prompt.user) if marks else processor.audio_token + prompt.user
        system = f"<|system|>{prompt.system}<|end|>" if prompt.system else ""
        return f"{system}<|user|>{user}<|end|><|assistant|>"

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Token ids and masks of shape `(batch, length)`, padded on the left; audio features, padded on the right."""
        text, token = self.render(processor, prompt), processor.audio_token
        # Clip by clip: the library's extractor fails on clips of almost the same length.
        clips = [self._features(processor.audio_processor, clip) for clip in audio]
        frames = torch.tensor([len(clip["audio_input_features"]) for clip in clips])
        sizes = [int(clip["audio_embed_sizes"]) for clip in clips]
        texts = [text.replace(token, token * size) for size in sizes]
        rows = [torch.tensor(row) for row in processor.tokenizer(texts, add_special_tokens=False)["input_ids"]]
        ids = pad_sequence(rows, batch_first=True, padding_value=processor.tokenizer.pad_token_id, padding_side="left")
        lengths = torch.tensor([len(row) for row in rows])
        return {
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1]).flip(0) < lengths[:, None]).long(),
            "audio_input_features": pad_sequence([clip["audio_input_features"] for clip in clips], batch_first=True),
            "audio_attention_mask": torch.arange(int(frames.max())) < frames[:, None],
            "audio_embed_sizes": torch.tensor(sizes),
        }

    @staticmethod
    def _features(extractor: Phi4MultimodalFeatureExtractor, clip: np.ndarray) -> dict[str, torch.Tensor]:
        """Frames of shape `(frames, bands)`, and how many tokens they become."""
        clip = np.pad(clip, (0, max(0, extractor.win_length - len(clip))))  # a frame at least
        found = extractor([clip], sampling_rate=SAMPLING_RATE, return_tensors="pt")
        return {key: found[key][0] for key in ("audio_input_features", "audio_embed_sizes")}


def _config_of(source: str, revision: str | None) -> dict[str, Any]:
    """A base's configuration as it is written; empty of a folder that holds none, such as an adapter's."""
    return PreTrainedConfig.get_config_dict(source, revision=revision)[0]
