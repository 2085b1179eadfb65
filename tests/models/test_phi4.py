"""Test prompt, labels, encoder and generation of Phi-4-multimodal on a tiny random model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Phi4MultimodalForCausalLM
from transformers.models.phi4_multimodal.modeling_phi4_multimodal import Phi4MultimodalAudioModel

from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models import family_of
from escoita.models.phi4 import Phi4Family, UnpaddedAudioModel, use_unpadded_encoder
from escoita.models.trainable import IGNORED
from escoita.records.training import AdapterRecord, Prompt
from tests.models.phi4_samples import MARKS, noise


FAMILY = Phi4Family()
PROMPT = Prompt(user="<|audio_1|> Transcribe the clip.")
SETTINGS = AdapterRecord(language="gl", prompt=PROMPT)
# A frame has 160 samples, a token 8 frames; the last frame ends within the clip.
CLIPS = [noise(1.0), noise(1.61, 1), noise(0.3, 2)]
TOKENS = [13, 20, 4]
HEAD = "<|user|>{audio} Transcribe the clip.<|end|><|assistant|>"
TOKEN = "<|endoftext11|>"


@pytest.fixture(scope="module")
def processor(phi4_base: Path) -> Any:
    return FAMILY.load_processor(str(phi4_base))


@pytest.fixture(scope="module")
def model(phi4_base: Path) -> Any:
    return FAMILY.load_model(str(phi4_base)).eval()


def shown(processor: Any, batch: dict[str, torch.Tensor], row: int) -> str:
    """Return the tokens of a row as text."""
    return processor.tokenizer.decode(batch["input_ids"][row][batch["attention_mask"][row].bool()])


@pytest.mark.parametrize(
    "prompt, expected",
    [
        (PROMPT, f"<|user|>{TOKEN} Transcribe the clip.<|end|><|assistant|>"),
        (Prompt(user="Escoita."), f"<|user|>{TOKEN}Escoita.<|end|><|assistant|>"),
        (Prompt(user="<|audio|>Escoita."), f"<|user|>{TOKEN}Escoita.<|end|><|assistant|>"),
        (Prompt(user="Escoita <|audio_1|>."), f"<|user|>Escoita {TOKEN}.<|end|><|assistant|>"),
        (
            Prompt(system="You transcribe.", user="Escoita."),
            f"<|system|>You transcribe.<|end|><|user|>{TOKEN}Escoita.<|end|><|assistant|>",
        ),
    ],
)
def test_position_of_the_clip_in_the_prompt(processor: Any, prompt: Prompt, expected: str) -> None:
    assert FAMILY.render(processor, prompt) == expected


def test_prompt_with_two_clips_is_refused(processor: Any) -> None:
    with pytest.raises(EscoitaError) as error:
        FAMILY.render(processor, Prompt(user="<|audio_1|><|audio_2|> Compare."))
    assert error.value.key == "prompt.user"


def test_a_batch_is_padded_left_in_tokens_and_right_in_frames(processor: Any) -> None:
    batch = FAMILY.encode(processor, CLIPS, PROMPT)
    assert {len(tensor) for tensor in batch.values()} == {3}
    assert batch["audio_embed_sizes"].tolist() == TOKENS
    for row, tokens in enumerate(TOKENS):
        assert shown(processor, batch, row) == HEAD.format(audio=TOKEN * tokens)
        hidden = batch["attention_mask"][row] == 0
        assert hidden.tolist() == sorted(hidden.tolist(), reverse=True) and not batch["input_ids"][row][hidden].any()
        frames = int(batch["audio_attention_mask"][row].sum())
        assert frames == (len(CLIPS[row]) - 400) // 160 + 1 and -(-frames // 8) == tokens
        alone = processor.audio_processor([CLIPS[row]], sampling_rate=16000, return_tensors="pt")
        assert torch.equal(batch["audio_input_features"][row, :frames], alone["audio_input_features"][0])
        assert not batch["audio_input_features"][row, frames:].any()


def test_clips_of_almost_one_length(processor: Any) -> None:
    """The extractor of the library fails on such clips, or counts frames of silence."""
    clips = [noise(1.0)[: 16000 - cut] for cut in (0, 1, 80, 159, 160)]
    batch = FAMILY.encode(processor, clips, PROMPT)
    assert batch["audio_attention_mask"].sum(dim=1).tolist() == [98, 98, 98, 97, 97]


@pytest.mark.parametrize("samples", [1, 399, 400, 559])
def test_a_clip_shorter_than_a_frame_has_one_frame(processor: Any, model: Any, samples: int) -> None:
    batch = FAMILY.encode(processor, [noise(1.0)[:samples]], PROMPT)
    assert batch["audio_embed_sizes"].tolist() == [1] and batch["audio_attention_mask"].tolist() == [[True]]
    assert model(**batch).logits.isfinite().all()


def test_only_the_transcripts_have_labels(processor: Any) -> None:
    batch = FAMILY.encode_with_targets(processor, CLIPS, ["ola", "bo día", "si"], SETTINGS)
    ids = processor.tokenizer.convert_tokens_to_ids
    for row, target in enumerate(([*"ola"], [*"bo▁día"], [*"si"])):
        expected = [*ids(target), ids("<|end|>"), ids("<|endoftext|>")]
        labels = batch["labels"][row].tolist()
        assert labels[-len(expected) :] == batch["input_ids"][row, -len(expected) :].tolist() == expected
        assert set(labels[: -len(expected)]) == {IGNORED}
        text = "".join(target).replace("▁", " ")
        assert shown(processor, batch, row) == HEAD.format(audio=TOKEN * TOKENS[row]) + f"{text}<|end|><|endoftext|>"


def test_a_frame_mask_of_the_length_of_the_tokens_is_unchanged(processor: Any) -> None:
    inference = FAMILY.encode(processor, [noise(0.6)], PROMPT)
    length = inference["audio_attention_mask"].shape[1] - inference["audio_embed_sizes"].item() - 3
    prompt = Prompt(user="a" * length)
    inference = FAMILY.encode(processor, [noise(0.6)], prompt)
    assert inference["audio_attention_mask"].shape == inference["input_ids"].shape
    settings = AdapterRecord(language="gl", prompt=prompt)
    training = FAMILY.encode_with_targets(processor, [noise(0.6)], ["ola"], settings)
    assert torch.equal(training["audio_attention_mask"], inference["audio_attention_mask"])


def test_logits_in_a_batch_equal_those_of_single_clips(processor: Any, model: Any) -> None:
    batch = FAMILY.encode_with_targets(processor, CLIPS, ["ola", "bo día", "si"], SETTINGS)
    together = model(**batch)
    losses, tokens = 0.0, 0
    for row, text in enumerate(("ola", "bo día", "si")):
        alone = model(**FAMILY.encode_with_targets(processor, [CLIPS[row]], [text], SETTINGS))
        length = alone.logits.shape[1]
        torch.testing.assert_close(together.logits[row, -length:], alone.logits[0], rtol=0, atol=1e-5)
        losses, tokens = losses + alone.loss.item() * (len(text) + 2), tokens + len(text) + 2
    assert together.loss.item() == pytest.approx(losses / tokens, abs=1e-5)


def test_training_and_generation_have_the_same_inputs(processor: Any, model: Any) -> None:
    """The library uses a random position to truncate a stream, which no released model has."""
    batch = FAMILY.encode(processor, CLIPS, PROMPT)
    logits = model(**batch).logits
    model.train()
    try:
        for seed in range(4):
            np.random.seed(seed)
            assert torch.equal(model(**batch).logits, logits)
    finally:
        model.eval()


def test_transcripts_in_a_batch_equal_those_of_single_clips(processor: Any, model: Any) -> None:
    generation_settings = AdapterRecord(language="gl", prompt=PROMPT, max_new_tokens=8)
    together = FAMILY.generate(model, FAMILY.encode(processor, CLIPS, PROMPT), generation_settings)
    alone = [FAMILY.generate(model, FAMILY.encode(processor, [clip], PROMPT), generation_settings) for clip in CLIPS]
    assert FAMILY.decode(processor, together) == [FAMILY.decode(processor, tokens)[0] for tokens in alone]


def test_batch_of_clips_over_the_positions(processor: Any, model: Any) -> None:
    """The library raises an error; see `unfold_tensor`."""
    clips = [noise(1.0), noise(41.0, 1)]
    batch = FAMILY.encode(processor, clips, PROMPT)
    for row, clip in enumerate(clips):
        alone = model(**FAMILY.encode(processor, [clip], PROMPT)).logits[0]
        together = model(**{key: value[[row, 1 - row]] for key, value in batch.items()}).logits[0]
        torch.testing.assert_close(together[-len(alone) :], alone, rtol=0, atol=2e-5)


def test_longest_clip_fits_the_positions(processor: Any) -> None:
    for seconds, places in ((FAMILY.max_audio_seconds, 500), (FAMILY.max_audio_seconds + 0.1, 501)):
        assert FAMILY.encode(processor, [noise(seconds)], PROMPT)["audio_embed_sizes"].item() == places


def test_generation_ends_at_the_end_of_the_turn(processor: Any, phi4_base: Path) -> None:
    model = FAMILY.load_model(str(phi4_base)).eval()
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    generation_settings = AdapterRecord(language="gl", prompt=PROMPT, max_new_tokens=8)
    inputs = FAMILY.encode(processor, CLIPS[:1], PROMPT)
    letter = processor.tokenizer.convert_tokens_to_ids("o")
    for token, length in ((letter, 8), (MARKS.index("<|end|>"), 1), (MARKS.index("<|endoftext|>"), 1)):
        model.lm_head.bias = torch.nn.Parameter(torch.zeros(len(processor.tokenizer)))
        model.lm_head.bias.data[token] = 1.0
        tokens = FAMILY.generate(model, inputs, generation_settings)
        assert tokens.tolist() == [[token] * length]
        assert FAMILY.decode(processor, tokens) == ["o" * 8 if token == letter else ""]


def test_the_end_of_the_turn_is_not_a_token_of_the_transcript(processor: Any) -> None:
    """The tokenizer does not name this token."""
    tokens = processor.tokenizer(["ola<|end|><|endoftext|>"], return_tensors="pt")["input_ids"]
    assert tokens.shape == (1, 5) and FAMILY.token_counts(processor, tokens) == [3]


def test_transcriber_accepts_any_lengths(phi4_base: Path) -> None:
    settings = AdapterRecord(language="gl", prompt=PROMPT, max_new_tokens=6)
    transcriber = Transcriber.load(str(phi4_base), settings=settings)
    together = [transcript.text for transcript in transcriber.transcribe(CLIPS)]
    assert together == [transcriber.transcribe([clip])[0].text for clip in CLIPS]
    transcriber.max_batch_seconds = 2.0  # like after an out-of-memory error, with the padding of other rows
    assert [transcript.text for transcript in transcriber.transcribe(CLIPS)] == together


def test_parameters_by_tower(model: Any, phi4_base: Path) -> None:
    assert {FAMILY.tower_of(name) for name, _ in model.named_parameters()} == {"audio", "vision", "language"}
    prefix = "base_model.model.model.embed_tokens_extend"
    for name in (
        f"{prefix}.audio_embed.encoder.modules_to_save.default.encoders.0.conv.glu.b1",
        f"{prefix}.audio_embed.up_proj_for_speech.original_module.weight",
    ):
        assert FAMILY.tower_of(name) == "audio"
    with torch.device("meta"):
        empty = FAMILY.empty_model(str(phi4_base))
    assert {name: tensor.shape for name, tensor in empty.named_parameters()} == {
        name: tensor.shape for name, tensor in model.named_parameters()
    }


def test_a_saved_processor_is_the_same(processor: Any, tmp_path: Path) -> None:
    FAMILY.save_processor(processor, tmp_path)
    again = FAMILY.load_processor(str(tmp_path))
    for key, value in FAMILY.encode(again, CLIPS, PROMPT).items():
        assert torch.equal(value, FAMILY.encode(processor, CLIPS, PROMPT)[key])


def test_the_family_is_selected(phi4_base: Path) -> None:
    assert isinstance(family_of(str(phi4_base)), Phi4Family)


ENDINGS = ["audio_embed.encoder", "audio_embed.up_proj_for_speech", "audio_embed.down_proj_for_speech"]
LENGTHS = [30, 71, 30, 8]


@pytest.fixture
def bare_model(phi4_base: Path) -> Any:
    found = Phi4MultimodalForCausalLM.from_pretrained(phi4_base).eval()
    use_unpadded_encoder(found)
    return found


def encoder_of(model: Any) -> Any:
    return model.model.embed_tokens_extend.audio_embed.encoder


def frame_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows with values other than zero in the padding, which must not affect the output."""
    frames = torch.randn(len(LENGTHS), max(LENGTHS), 80, generator=torch.Generator().manual_seed(0)) * 3 + 5
    return frames, torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


def test_encoder_output_does_not_depend_on_padding(bare_model: Any) -> None:
    frames, mask = frame_batch()
    together = encoder_of(bare_model)(frames, mask)
    assert together.shape == (4, 9, 16)
    for row, length in enumerate(LENGTHS):
        alone = Phi4MultimodalAudioModel.forward(encoder_of(bare_model), frames[[row], :length], None)[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, rtol=0, atol=1e-5)
        assert not together[row, len(alone) :].any()


def test_encoder_of_the_library_depends_on_padding(phi4_base: Path) -> None:
    """This is the reason for another encoder; if it fails, that of the library can be used."""
    encoder = encoder_of(Phi4MultimodalForCausalLM.from_pretrained(phi4_base).eval())
    frames, mask = frame_batch()
    alone, together = encoder(frames[[0], :30], None)[0], encoder(frames * mask[..., None], mask)[0]
    assert (together[: len(alone)] - alone).abs().max() > 0.1


def test_without_a_mask_all_frames_are_audio(bare_model: Any) -> None:
    frames, _ = frame_batch()
    everything = torch.ones(frames.shape[:2], dtype=torch.bool)
    assert torch.equal(encoder_of(bare_model)(frames, None), encoder_of(bare_model)(frames, everything))


def test_gradients_do_not_depend_on_padding(bare_model: Any) -> None:
    frames, mask = frame_batch()
    encoder_of(bare_model)(frames, mask).square().sum().backward()
    together = {name: parameter.grad.clone() for name, parameter in encoder_of(bare_model).named_parameters()}
    bare_model.zero_grad()
    for row, length in enumerate(LENGTHS):
        encoder_of(bare_model)(frames[[row], :length], None).square().sum().backward()
    for name, parameter in encoder_of(bare_model).named_parameters():
        torch.testing.assert_close(together[name], parameter.grad, rtol=1e-4, atol=1e-4)


def test_names_of_weights_do_not_change(bare_model: Any, phi4_base: Path, tmp_path: Path) -> None:
    plain = Phi4MultimodalForCausalLM.from_pretrained(phi4_base)
    assert bare_model.state_dict().keys() == plain.state_dict().keys()
    bare_model.save_pretrained(tmp_path)
    again = Phi4MultimodalForCausalLM.from_pretrained(tmp_path)
    assert type(encoder_of(again)) is Phi4MultimodalAudioModel
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in again.state_dict().items())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_encoder_trains_in_a_copy_of_peft(bare_model: Any, checkpointing: bool) -> None:
    settings = LoraConfig(target_modules="dummy-target-modules", modules_to_save=ENDINGS, task_type="CAUSAL_LM")
    adapted = get_peft_model(bare_model, settings)
    if checkpointing:
        adapted.gradient_checkpointing_enable({"use_reentrant": False})
    wrapper = encoder_of(adapted.base_model.model)
    assert type(wrapper.modules_to_save["default"]) is type(wrapper.original_module) is UnpaddedAudioModel
    frames, mask = frame_batch()
    tokens = [-(-length // 8) for length in LENGTHS]
    ids = torch.full((4, max(tokens) + 2), 8)
    for row, count in enumerate(tokens):
        ids[row, :count] = 6
    sizes = torch.tensor(tokens)
    inputs = {"input_ids": ids, "audio_input_features": frames, "audio_attention_mask": mask}
    adapted.train()(**inputs, audio_embed_sizes=sizes, labels=ids).loss.backward()
    untouched = [name for name, tensor in adapted.named_parameters() if tensor.requires_grad and tensor.grad is None]
    trained = {name for name, tensor in adapted.named_parameters() if tensor.requires_grad}
    assert untouched == []  # DistributedDataParallel does not support such a tensor
    assert trained and all(any(f"{ending}.modules_to_save" in name for ending in ENDINGS) for name in trained)
