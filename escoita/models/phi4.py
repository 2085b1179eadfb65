"""Support Phi-4-multimodal: its audio encoder, and a processor that does not need torchvision."""

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
from escoita.models.errors import SpeechLoraError
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


class UnpaddedAudioModel(Phi4MultimodalAudioModel):
    """
    Encode audio like [`Phi4MultimodalAudioModel`], but without padding.

    The convolutions and the attention of the library process padding like audio, so that the output for a clip depends
    on longer clips in the batch. A batch with a clip over the number of positions, mostly 40 s, fails; see
    [`~escoita.models.phi4.Phi4Family.longest_clip`]. This class encodes rows of different lengths separately.
    """

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor | None, **kwargs) -> torch.Tensor:
        """
        Encode frames.

        Args:
            hidden_states (`torch.Tensor`): The log-mel frames, of shape `(batch, frames, bands)`, padded on the right.
            mask (`torch.Tensor`, *optional*): The mask of the audio, of shape `(batch, frames)`. Defaults to all ones.
            kwargs (`Any`): Further arguments of the library.

        Returns:
            `torch.Tensor`: The encoded frames, of shape `(batch, ceil(frames / time_reduction), width)`, padded with
            zeros.
        """
        if mask is None:
            return super().forward(hidden_states, None, **kwargs)
        lengths = mask.sum(dim=1).tolist()
        groups = [[row for row, other in enumerate(lengths) if other == length] for length in dict.fromkeys(lengths)]
        encoded = [
            super(UnpaddedAudioModel, self).forward(hidden_states[rows, : lengths[rows[0]]], None, **kwargs)
            for rows in groups
        ]
        longest = max(frames.shape[1] for frames in encoded)
        order = torch.tensor([row for rows in groups for row in rows], device=hidden_states.device)
        return torch.cat([pad(frames, (0, 0, 0, longest - frames.shape[1])) for frames in encoded])[order.argsort()]


def use_unpadded_encoder(model: torch.nn.Module) -> None:
    """
    Change the class of a model's audio encoder to [`UnpaddedAudioModel`], with the same weights and names.

    Args:
        model ([`Phi4MultimodalForCausalLM`]): The model, which is changed in place.
    """
    model.model.embed_tokens_extend.audio_embed.encoder.__class__ = UnpaddedAudioModel


# The audio placeholders of a prompt: `<|audio_1|>` is from the old code, and the native processor refuses it.
AUDIO_MARK = re.compile(r"<\|audio(_\d+)?\|>")
# The constant `max_seq_len` in the forward function of the library's encoder.
PLACES = 500
ENDS = ("<|end|>", "<|endoftext|>")


class Phi4AudioProcessor(Phi4MultimodalProcessor):
    """
    Process audio and text like [`Phi4MultimodalProcessor`], without its image processor, which needs torchvision.

    Args:
        audio_processor ([`Phi4MultimodalFeatureExtractor`]): The extractor of log-mel frames from samples at 16 kHz.
        tokenizer ([`PreTrainedTokenizerFast`]): The tokenizer with the audio token of Phi-4-multimodal.
        chat_template (`str`, *optional*): The Jinja source of the chat template.
    """

    def __init__(self, audio_processor, tokenizer, chat_template=None, **kwargs):
        self.image_token = self.image_token_id = None
        self.audio_token, self.audio_token_id = tokenizer.audio_token, tokenizer.audio_token_id
        ProcessorMixin.__init__(
            self, audio_processor=audio_processor, tokenizer=tokenizer, chat_template=chat_template
        )


class Phi4Family(ChatFamily):
    """
    Support both stored layouts of Phi-4-multimodal with the native classes of Transformers.

    The encoder reduces `time_reduction` frames of the extractor to one, mostly of 80 ms, and has [`PLACES`] positions.
    The library splits longer clips into pieces that do not attend to each other, and fails on several clips of the
    same such length.
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
        """Return the length in seconds of the positions of the encoder."""
        if self.config.get("model_type") == OLD_TYPE:
            reduction = native_config(self.config, "").audio_config.time_reduction
        else:
            reduction = (self.config.get("audio_config") or {}).get("time_reduction", 8)
        extractor = processor.audio_processor
        frames = PLACES * reduction // extractor.audio_feat_stride
        return frames * extractor.hop_length / extractor.sampling_rate

    def read_processor(self, source: str, revision: str | None = None) -> Phi4AudioProcessor:
        """Create the audio and text processor from the files of the full processor, in either layout."""
        # AutoTokenizer would use the pre-tokenizer of GPT-2, whose class the files name.
        old = _config_of(source, revision).get("model_type") == OLD_TYPE
        named = {"extra_special_tokens": {"audio_token": AUDIO_TOKEN}} if old else {}
        tokenizer = PreTrainedTokenizerFast.from_pretrained(source, revision=revision, **named)
        if not old:
            extractor = Phi4MultimodalFeatureExtractor.from_pretrained(source, revision=revision)
        else:
            settings = json.loads(local_file(source, "preprocessor_config.json", revision).read_text("utf-8"))
            keys = ("audio_compression_rate", "audio_downsample_rate", "audio_feat_stride")
            extractor = Phi4MultimodalFeatureExtractor(**{key: settings[key] for key in keys if key in settings})
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
        Load the base model in either layout, and merge its speech LoRA.

        The arguments are those of [`~escoita.models.base.Family.load_model`]; 4 bits are possible only if the stored
        weights include the merged speech LoRA.

        Raises:
            SpeechLoraError: The speech LoRA is missing, does not fit, has no effect, or cannot be merged in 4 bits.
        """
        written = _config_of(base, revision)
        old = written if written["model_type"] == OLD_TYPE else {}
        merged = bool(written.get(MERGED))
        if load_in_4bit and not merged:
            problem = f"the {SPEECH_LORA} cannot be merged in 4 bits"
            raise SpeechLoraError(problem, path=base, key="load_in_4bit", hint="leave it out")
        loader, options = (OldLayout, {"config": native_config(old, base)}) if old else (Phi4MultimodalForCausalLM, {})
        model = load(
            loader, base, revision, dtype, device, load_in_4bit, self.unquantized_modules, self.complete, **options
        )
        if not merged:
            found = speech_lora(base, revision, old)
            if found is None:
                problem = "missing; Phi-4-multimodal cannot transcribe without it"
                hint = f'if it is merged into the weights, add "{MERGED}": true to config.json'
                raise SpeechLoraError(problem, path=f"{base}/{SPEECH_LORA}", hint=hint)
            merge_speech_lora(model, base, *found)
            setattr(model.config, MERGED, True)
        self.adjust(model)
        check_processor_files(base, revision)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(base, revision=revision)
        # Some published configurations do not list the end of a turn as an end token.
        model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(list(ENDS))
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        return model

    def read_config(self, base: str, revision: str | None = None) -> Phi4MultimodalConfig:
        """Read the configuration of a base in either layout."""
        written = _config_of(base, revision)
        old = written["model_type"] == OLD_TYPE
        return native_config(written, base) if old else Phi4MultimodalConfig.from_pretrained(base, revision=revision)

    def from_config(self, config: Phi4MultimodalConfig) -> Phi4MultimodalForCausalLM:
        """Create a model with random weights from a configuration."""
        return Phi4MultimodalForCausalLM(config)

    def adjust(self, model: Any) -> None:
        """Encode rows of different lengths separately."""
        use_unpadded_encoder(model)

    def render(self, processor: Any, prompt: Prompt) -> str:
        """
        Return the prompt up to the start of the transcript.

        The clip is at the placeholder in the user's text, or before the text if there is none. The published chat
        template is not used, because it does not accept parts.

        Raises:
            EscoitaError: The user's text contains several placeholders.
        """
        placeholders = AUDIO_MARK.findall(prompt.user)
        if len(placeholders) > 1:
            raise EscoitaError(f"contains {len(placeholders)} audio placeholders; use at most one", key="prompt.user")
        audio = processor.audio_token
        user = AUDIO_MARK.sub(audio, prompt.user) if placeholders else audio + prompt.user
        system = f"<|system|>{prompt.system}<|end|>" if prompt.system else ""
        return f"{system}<|user|>{user}<|end|><|assistant|>"

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        """Return token ids and masks, padded on the left, and audio features, padded on the right."""
        text, token = self.render(processor, prompt), processor.audio_token
        # The extractor of the library fails on batches of clips with almost the same length.
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
        """Return the frames of a clip, of shape `(frames, bands)`, and the number of their audio tokens."""
        clip = np.pad(clip, (0, max(0, extractor.win_length - len(clip))))  # at least one frame
        found = extractor([clip], sampling_rate=SAMPLING_RATE, return_tensors="pt")
        return {key: found[key][0] for key in ("audio_input_features", "audio_embed_sizes")}


def _config_of(source: str, revision: str | None) -> dict[str, Any]:
    """Return the stored configuration of a base; empty for a folder without one, such as an adapter."""
    return PreTrainedConfig.get_config_dict(source, revision=revision)[0]
