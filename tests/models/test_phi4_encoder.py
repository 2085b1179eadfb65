"""The encoder that never sees padding, wherever PEFT and transformers copy it to."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Phi4MultimodalForCausalLM
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalAudioModel

from escoita.models.phi4 import UnpaddedAudioModel, use_unpadded_encoder


ENDINGS = ["audio_embed.encoder", "audio_embed.up_proj_for_speech", "audio_embed.down_proj_for_speech"]
LENGTHS = [30, 71, 30, 8]


@pytest.fixture
def model(phi4_base: Path) -> Any:
    found = Phi4MultimodalForCausalLM.from_pretrained(phi4_base).eval()
    use_unpadded_encoder(found)
    return found


def encoder_of(model: Any) -> Any:
    return model.model.embed_tokens_extend.audio_embed.encoder


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows with other values than zeros where there is no audio, which must not be heard."""
    frames = torch.randn(len(LENGTHS), max(LENGTHS), 80, generator=torch.Generator().manual_seed(0)) * 3 + 5
    return frames, torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


def test_rows_are_heard_as_if_alone(model: Any) -> None:
    frames, mask = batch()
    together = encoder_of(model)(frames, mask)
    assert together.shape == (4, 9, 16)
    for row, length in enumerate(LENGTHS):
        alone = Phi4MultimodalAudioModel.forward(encoder_of(model), frames[[row], :length], None)[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, rtol=0, atol=1e-5)
        assert not together[row, len(alone) :].any()


def test_the_librarys_own_hears_the_padding(phi4_base: Path) -> None:
    """Why there is another; once this fails, the library's is enough."""
    encoder = encoder_of(Phi4MultimodalForCausalLM.from_pretrained(phi4_base).eval())
    frames, mask = batch()
    alone, together = encoder(frames[[0], :30], None)[0], encoder(frames * mask[..., None], mask)[0]
    assert (together[: len(alone)] - alone).abs().max() > 0.1


def test_without_a_mask_all_is_audio(model: Any) -> None:
    frames, _ = batch()
    everything = torch.ones(frames.shape[:2], dtype=torch.bool)
    assert torch.equal(encoder_of(model)(frames, None), encoder_of(model)(frames, everything))


def test_gradients_are_those_of_the_clips_alone(model: Any) -> None:
    frames, mask = batch()
    encoder_of(model)(frames, mask).square().sum().backward()
    together = {name: parameter.grad.clone() for name, parameter in encoder_of(model).named_parameters()}
    model.zero_grad()
    for row, length in enumerate(LENGTHS):
        encoder_of(model)(frames[[row], :length], None).square().sum().backward()
    for name, parameter in encoder_of(model).named_parameters():
        torch.testing.assert_close(together[name], parameter.grad, rtol=1e-4, atol=1e-4)


def test_names_of_weights_stay(model: Any, phi4_base: Path, tmp_path: Path) -> None:
    plain = Phi4MultimodalForCausalLM.from_pretrained(phi4_base)
    assert model.state_dict().keys() == plain.state_dict().keys()
    model.save_pretrained(tmp_path)
    again = Phi4MultimodalForCausalLM.from_pretrained(tmp_path)
    assert type(encoder_of(again)) is Phi4MultimodalAudioModel
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in again.state_dict().items())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_it_trains_inside_a_copy_of_pefts(model: Any, checkpointing: bool) -> None:
    settings = LoraConfig(target_modules="dummy-target-modules", modules_to_save=ENDINGS, task_type="CAUSAL_LM")
    adapted = get_peft_model(model, settings)
    if checkpointing:
        adapted.gradient_checkpointing_enable({"use_reentrant": False})
    wrapper = encoder_of(adapted.base_model.model)
    assert type(wrapper.modules_to_save["default"]) is type(wrapper.original_module) is UnpaddedAudioModel
    frames, mask = batch()
    tokens = [-(-length // 8) for length in LENGTHS]
    ids = torch.full((4, max(tokens) + 2), 8)
    for row, count in enumerate(tokens):
        ids[row, :count] = 6
    sizes = torch.tensor(tokens)
    inputs = {"input_ids": ids, "audio_input_features": frames, "audio_attention_mask": mask}
    adapted.train()(**inputs, audio_embed_sizes=sizes, labels=ids).loss.backward()
    untouched = [name for name, tensor in adapted.named_parameters() if tensor.requires_grad and tensor.grad is None]
    trained = {name for name, tensor in adapted.named_parameters() if tensor.requires_grad}
    assert untouched == []  # such a tensor would stop DistributedDataParallel
    assert trained and all(any(f"{ending}.modules_to_save" in name for ending in ENDINGS) for name in trained)
