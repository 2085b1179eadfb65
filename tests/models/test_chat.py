"""Test prompts, batches and labels with the tiny processor, compared with values written by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from escoita.errors import EscoitaError
from escoita.models.chat import pad_with_silence
from escoita.models.errors import ChatTemplateError
from escoita.models.gemma4 import Gemma4Family
from escoita.models.trainable import IGNORED
from escoita.records.training import AdapterRecord, Prompt
from tests.models import bases
from tests.models.bases import chat_family_of
from tests.samples import tone


BASE = Path(__file__).parents[2] / "quickstart/gemma4"
pytestmark = pytest.mark.skipif(not BASE.is_dir(), reason=f"{BASE} is not built")

FAMILY = Gemma4Family()
PROMPT = Prompt(
    system="You are an assistant that transcribes speech accurately.", user="Please transcribe this audio."
)
SETTINGS = AdapterRecord(language="uz", prompt=PROMPT)
HALF_SECOND, QUARTER = tone(), tone(seconds=0.25)
# A token is 40 ms: 13 tokens for half a second, 6 for a quarter (frames end within the clip)
HEAD = (
    "<bos><|turn>system\nYou are an assistant that transcribes speech accurately.<turn|>\n"
    "<|turn>user\n<|audio>{audio}<audio|>Please transcribe this audio.<turn|>\n<|turn>model\n"
)


@pytest.fixture(scope="module")
def processor() -> Any:
    return FAMILY.load_processor(str(BASE))


def shown(processor: Any, batch: dict[str, torch.Tensor], row: int) -> str:
    """Return the tokens of a row without padding, as text."""
    return processor.tokenizer.decode(batch["input_ids"][row][batch["attention_mask"][row].bool()])


@pytest.mark.parametrize(
    "prompt, expected",
    [
        (PROMPT, HEAD.replace("<|audio>{audio}<audio|>", "<|audio|>")),
        (Prompt(user="Escoita."), "<bos><|turn>user\n<|audio|>Escoita.<turn|>\n<|turn>model\n"),
    ],
)
def test_prompt_equals_the_template(processor: Any, prompt: Prompt, expected: str) -> None:
    assert FAMILY.render(processor, prompt) == expected


def test_only_the_transcripts_have_labels(processor: Any) -> None:
    batch = FAMILY.encode_with_targets(processor, [HALF_SECOND, QUARTER], ["bir", "oʻn ikki"], SETTINGS)
    ids = processor.tokenizer.convert_tokens_to_ids

    assert shown(processor, batch, 0) == HEAD.format(audio=13 * "<|audio|>") + "bir<turn|>"
    assert shown(processor, batch, 1) == HEAD.format(audio=6 * "<|audio|>") + "oʻn ikki<turn|>"
    for row, target in enumerate((["b", "i", "r"], ["o", "ʻ", "n", "▁", "i", "k", "k", "i"])):
        expected = [*ids(target), ids("<turn|>")]
        labels = batch["labels"][row].tolist()
        assert labels[-len(expected) :] == expected
        assert set(labels[: -len(expected)]) == {IGNORED}
        assert batch["input_ids"][row, -len(expected) :].tolist() == expected


def test_padding_is_on_the_left_and_masked(processor: Any) -> None:
    batch = FAMILY.encode_with_targets(processor, [HALF_SECOND, QUARTER], ["bir", "oʻn"], SETTINGS)
    assert batch["attention_mask"][0].all()
    assert batch["attention_mask"][1].tolist() == [0] * 7 + [1] * (batch["input_ids"].shape[1] - 7)
    assert set(batch["input_ids"][1, :7].tolist()) == {processor.tokenizer.pad_token_id}
    assert (batch["labels"][1, :7] == IGNORED).all()


def test_training_and_generation_have_the_same_prompt(processor: Any) -> None:
    inputs = FAMILY.encode(processor, [HALF_SECOND, QUARTER], PROMPT)
    training = FAMILY.encode_with_targets(processor, [HALF_SECOND, QUARTER], ["bir", "ikki"], SETTINGS)
    for row, target in enumerate((4, 5)):
        prompt = inputs["input_ids"][row][inputs["attention_mask"][row].bool()]
        seen = training["input_ids"][row][training["attention_mask"][row].bool()]
        assert seen[:-target].tolist() == prompt.tolist()
    for key in ("input_features", "input_features_mask"):
        torch.testing.assert_close(training[key], inputs[key], rtol=0, atol=0)


def test_all_token_tensors_include_the_target(processor: Any) -> None:
    batch = FAMILY.encode_with_targets(processor, [HALF_SECOND, QUARTER], ["bir", "ikki"], SETTINGS)
    assert batch["mm_token_type_ids"].shape == batch["input_ids"].shape == batch["labels"].shape
    audio = batch["input_ids"] == processor.audio_token_id
    assert audio.sum(dim=1).tolist() == [13, 6]
    assert torch.equal(batch["mm_token_type_ids"] != 0, audio)


def test_feature_mask_of_the_same_length_is_unchanged(processor: Any) -> None:
    for letters in range(1, 50):
        prompt = Prompt(user="a" * letters)
        inputs = FAMILY.encode(processor, [HALF_SECOND], prompt)
        if inputs["input_features_mask"].shape == inputs["input_ids"].shape:
            break
    else:
        pytest.fail("no prompt has as many tokens as the clip has frames")
    training = FAMILY.encode_with_targets(
        processor, [HALF_SECOND], ["bir"], AdapterRecord(language="uz", prompt=prompt)
    )
    assert torch.equal(training["input_features_mask"], inputs["input_features_mask"])
    assert training["input_ids"].shape[1] == inputs["input_ids"].shape[1] + 4


def test_features_depend_on_the_clip(processor: Any) -> None:
    batch = FAMILY.encode(processor, [HALF_SECOND, np.zeros_like(HALF_SECOND)], PROMPT)
    assert batch[FAMILY.audio_features].shape[0] == 2
    assert not torch.equal(batch[FAMILY.audio_features][0], batch[FAMILY.audio_features][1])


def test_decoding_drops_special_tokens_and_edge_spaces(processor: Any) -> None:
    tokens = processor.tokenizer(
        [" toʻrt <turn|><pad>", "bir<turn|><pad><pad>"], add_special_tokens=False, padding=True
    )
    assert FAMILY.decode(processor, torch.tensor(tokens["input_ids"])) == ["toʻrt", "bir"]


def test_saved_processor_has_no_padding_state(tmp_path: Path) -> None:
    processor = FAMILY.load_processor(str(BASE))
    FAMILY.encode(processor, [HALF_SECOND, QUARTER], PROMPT)
    FAMILY.save_processor(processor, tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    assert saved["padding"] is None and saved["truncation"] is None
    again = FAMILY.encode(FAMILY.load_processor(str(tmp_path)), [HALF_SECOND], PROMPT)
    assert torch.equal(again["input_ids"], FAMILY.encode(processor, [HALF_SECOND], PROMPT)["input_ids"])


SHORT = tone(seconds=0.7)


def test_template_that_omits_the_prompt_is_refused(tmp_path: Path) -> None:
    bases.write_qwen2_audio(tmp_path)
    family = chat_family_of(str(tmp_path))
    processor = family.load_processor(str(tmp_path))
    processor.chat_template = "<|im_start|>user\n<|AUDIO|><|im_end|>"
    with pytest.raises(EscoitaError) as error:
        family.render(processor, Prompt(user="Escoita."))
    assert error.value.key == "prompt.user"
    assert family.render(processor, Prompt(user="")) == processor.chat_template


def test_missing_template_is_refused(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path)
    family = chat_family_of(str(tmp_path))
    processor = family.load_processor(str(tmp_path))
    processor.chat_template = None
    with pytest.raises(ChatTemplateError) as error:
        family.render(processor, Prompt(user="Escoita."))
    assert error.value.hint


@pytest.mark.parametrize("user", ["Escoita.", "<|AUDIO|><|AUDIO|>"])
def test_prompt_without_exactly_one_audio_token_is_refused(tmp_path: Path, user: str) -> None:
    bases.write_qwen2_audio(tmp_path)
    family = chat_family_of(str(tmp_path))
    processor = family.load_processor(str(tmp_path))
    processor.chat_template = "{{ messages[0].content[1].text }}"
    with pytest.raises(EscoitaError) as error:
        family.encode(processor, [SHORT], Prompt(user=user))
    assert error.value.key == "prompt" and "<|AUDIO|>" in error.value.problem


@given(st.integers(0, 1_000), st.integers(0, 500), st.integers(1, 400))
def test_pad_with_silence_adds_the_minimum(length: int, samples: int, multiple: int) -> None:
    clip = np.ones(length, np.float32)
    longer = pad_with_silence(clip, samples, multiple)
    assert len(longer) % multiple == 0 and samples <= len(longer) - length < samples + multiple
    assert longer.sum() == length and longer[:length].all()
