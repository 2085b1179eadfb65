"""The audio encoder of Phi-4-multimodal, made to hear a clip alike whatever else is in its batch."""

import torch
from torch.nn.functional import pad
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalAudioModel


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
