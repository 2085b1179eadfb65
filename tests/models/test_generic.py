"""Test each family on a base of its real classes with random weights; labels are compared with values by hand."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl.trainer.utils import add_fused_lm_head

from escoita.audio.loading import SAMPLING_RATE, SHORTEST_SECONDS
from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models.base import special_tokens_of
from escoita.models.chat import ChatFamily
from escoita.models.trainable import IGNORED
from escoita.records.training import AdapterRecord, Prompt
from escoita.training.sanity_checks import check_batch, count_trainable
from tests.models import bases
from tests.models.bases import chat_family_of
from tests.samples import tone


@dataclass
class Case:
    """
    Store the expected values of a family.

    Args:
        write (`Callable`): The function that writes the base.
        user (`str`): The user prompt.
        head (`str`): The tokenized prompt, with `{audio}` for the audio tokens.
        mark (`str`): The audio token.
        tokens (`tuple[int, int]`): The number of audio tokens of the two clips.
        end (`str`): The end of the target.
        system (`str`, *optional*): The beginning of the prompt with the system prompt `Ti escoitas.`; `None` for
            Voxtral, which accepts no system prompt.
    """

    write: Callable[..., None]
    user: str
    head: str
    mark: str
    tokens: tuple[int, int]
    end: str
    system: str | None = None


CASES = {
    "gemma4 with shared keys": Case(
        bases.write_gemma4_shared,
        "Escoita.",
        "<bos><|turn>user\n<|audio>{audio}<audio|>Escoita.<turn|>\n<|turn>model\n",
        "<|audio|>",
        (38, 18),  # 40 ms each
        "<turn|>",
        "<bos><|turn>system\nTi escoitas.<turn|>\n<|turn>user\n",
    ),
    "gemma4_unified": Case(
        bases.write_gemma4_unified,
        "Escoita.",
        "<bos><|turn>user\n<|audio>{audio}<audio|>Escoita.<turn|>\n<|turn>model\n",
        "<|audio|>",
        (38, 18),  # 40 ms each
        "<turn|>",
        "<bos><|turn>system\nTi escoitas.<turn|>\n<|turn>user\n",
    ),
    "gemma3n": Case(
        bases.write_gemma3n,
        "Escoita.",
        "<bos><start_of_turn>user\n\n\n<start_of_audio>{audio}<end_of_audio>\n\nEscoita.<end_of_turn>\n"
        "<start_of_turn>model\n",
        "<audio_soft_token>",
        (188, 188),  # for any clip
        "<end_of_turn>",
        "<bos><start_of_turn>system\nTi escoitas.<end_of_turn>\n<start_of_turn>user\n",
    ),
    "qwen2_audio": Case(
        bases.write_qwen2_audio,
        "Escoita.",
        "<|im_start|>user\nAudio 1: <|audio_bos|>{audio}<|audio_eos|>\nEscoita.<|im_end|>\n<|im_start|>assistant\n",
        "<|AUDIO|>",
        (37, 17),  # 40 ms each
        "<|im_end|>",
        "<|im_start|>system\nTi escoitas.<|im_end|>\n<|im_start|>user\n",
    ),
    "qwen3_asr": Case(
        bases.write_qwen3_asr,
        "language Galician<asr_text>",
        "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|audio_start|>{audio}<|audio_end|><|im_end|>\n"
        "<|im_start|>assistant\nlanguage Galician<asr_text>",
        "<|audio_pad|>",
        (20, 9),  # 13 in a second
        "<|im_end|>",
        "<|im_start|>system\nTi escoitas.<|im_end|>\n<|im_start|>user\n",
    ),
    "granite_speech": Case(
        bases.write_granite_speech,
        "Escoita.",
        "<|start_of_role|>user<|end_of_role|>{audio}Escoita.<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        "<|audio|>",
        (18, 9),  # three for each started window of 300 ms
        "<|end_of_text|>",
        "<|start_of_role|>system<|end_of_role|>Ti escoitas.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>",
    ),
    "voxtral": Case(
        bases.write_voxtral,
        "Escoita.",
        "<s>[INST][BEGIN_AUDIO]{audio}Escoita.[/INST]",
        "[AUDIO]",
        (375, 375),  # for 30 s, to which every clip is padded
        "</s>",
    ),
}
# Noise, because the length of a tone with silence is ambiguous.
LONG = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
SHORT = tone(seconds=0.7)


@dataclass
class Base:
    """Store a loaded base of a family."""

    case: Case
    family: ChatFamily
    folder: str
    processor: Any
    model: Any

    @property
    def prompt(self) -> Prompt:
        return Prompt(user=self.case.user)

    @property
    def settings(self) -> AdapterRecord:
        return AdapterRecord(language="gl", prompt=self.prompt, max_new_tokens=6)

    def generate(self, clips: list[np.ndarray]) -> torch.Tensor:
        """Return generated tokens of a few steps."""
        inputs = self.family.encode(self.processor, clips, self.prompt)
        with torch.inference_mode():
            return self.family.generate(self.model, inputs, self.settings)


@pytest.fixture(scope="module", params=CASES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("base") / request.param
    case = CASES[request.param]
    case.write(folder)
    family = chat_family_of(str(folder))
    assert family.info.name == request.param.partition(" ")[0]
    model = family.load_model(str(folder), dtype="float32").eval()
    return Base(case, family, str(folder), family.load_processor(str(folder)), model)


def test_prompt_equals_that_of_the_training(base: Base) -> None:
    assert seen(base, 0) == base.case.head.replace("{audio}", base.case.mark * base.case.tokens[0])
    assert seen(base, 1) == base.case.head.replace("{audio}", base.case.mark * base.case.tokens[1])


def seen(base: Base, row: int) -> str:
    """Return the tokens of a row without padding, as text."""
    batch = base.family.encode(base.processor, [LONG, SHORT], base.prompt)
    return base.processor.tokenizer.decode(batch["input_ids"][row][batch["attention_mask"][row].bool()])


def test_system_prompt_is_rendered_or_refused(base: Base) -> None:
    prompt = Prompt(system="Ti escoitas.", user=base.case.user)
    if base.case.system is None:
        with pytest.raises(EscoitaError) as error:
            base.family.render(base.processor, prompt)
        assert error.value.key == "prompt.system"
    else:
        assert base.family.render(base.processor, prompt).startswith(base.case.system)


def test_only_the_transcripts_have_labels(base: Base) -> None:
    texts = ["bir", "toʻrt on"]
    batch = base.family.encode_with_targets(base.processor, [LONG, SHORT], texts, base.settings)
    # Letters as byte-level tokenizers write them: a space is Ġ, and ʻ is two bytes.
    for row, target in enumerate((["b", "i", "r"], ["t", "o", "Ê", "»", "r", "t", "Ġ", "o", "n"])):
        expected = base.processor.tokenizer.convert_tokens_to_ids([*target, base.case.end])
        assert None not in expected
        labels = batch["labels"][row].tolist()
        assert labels[-len(expected) :] == expected
        assert set(labels[: -len(expected)]) == {IGNORED}
        assert batch["input_ids"][row, -len(expected) :].tolist() == expected
        assert batch["attention_mask"][row, -len(expected) :].all()
        before = batch["input_ids"][row][batch["attention_mask"][row].bool()][: -len(expected)]
        assert base.processor.tokenizer.decode(before) == seen(base, row)
    check_batch(base.family, base.processor, batch, texts)


def test_training_step_changes_both_towers(base: Base) -> None:
    model = base.family.load_model(base.folder, dtype="float32")
    add_fused_lm_head(model)  # like SFTTrainer, which uses its loss
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=base.family.info.target_modules))
    counts = count_trainable(base.family, tuned)
    assert counts["language"] > 0 and counts["audio"] > 0 and counts.get("vision", 0) == 0

    texts = ["bir", "ikki on"]
    batch = base.family.encode_with_targets(base.processor, [LONG, SHORT], texts, base.settings)
    trained = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    buffers = {name: buffer.clone() for name, buffer in tuned.named_buffers()}
    losses = []
    for _ in range(8):
        loss = tuned.train()(**batch, fused_lm_head=True).loss
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    assert np.isfinite(losses).all() and losses[-1] < losses[0] - 0.05
    moved = [name for name, one in tuned.named_parameters() if "lora_B" in name and one.any()]
    assert {base.family.tower_of(name) for name in moved} == {"audio", "language"}
    # Buffers are not in an adapter, so that training must not change them.
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in tuned.named_buffers())


def test_output_excludes_the_prompt(base: Base) -> None:
    tokens = base.generate([LONG, SHORT])
    assert tokens.shape[0] == 2 and 1 <= tokens.shape[1] <= 6
    alone = base.model(**base.family.encode(base.processor, [SHORT], base.prompt)).logits[0, -1].argmax()
    assert tokens[1, 0] == alone


def test_batch_gives_the_same_transcripts_as_single_clips(base: Base) -> None:
    transcriber = Transcriber.load(base.folder, settings=base.settings)
    clips = [SHORT, LONG, LONG[:16_500]]
    alone = [transcriber.transcribe([clip])[0].text for clip in clips]
    assert [transcript.text for transcript in transcriber.transcribe(clips)] == alone
    assert any(alone)


def test_logits_do_not_depend_on_the_batch(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    logits: list[torch.Tensor] = []
    generate = base.model.generate

    def recorded(**kwargs: Any) -> torch.Tensor:
        logits.extend(base.model(**{key: kwargs[key] for key in kwargs if torch.is_tensor(kwargs[key])}).logits[:, -1])
        return generate(**kwargs)

    monkeypatch.setattr(base.model, "generate", recorded)
    base.generate([LONG, SHORT])
    base.generate([LONG])
    base.generate([SHORT])
    long, short, long_alone, short_alone = logits
    torch.testing.assert_close(long, long_alone, rtol=0, atol=1e-4)
    torch.testing.assert_close(short, short_alone, rtol=0, atol=1e-4)
    assert (long - short).abs().max() > 1e-2


def test_clip_of_30_seconds_is_encoded_to_its_end(base: Base) -> None:
    clip = np.random.default_rng(1).normal(0, 0.1, 480_000).astype(np.float32)
    other = clip.copy()
    other[-4_800:] = 0
    batches = [base.family.encode(base.processor, [samples], base.prompt) for samples in (clip, other)]
    assert not torch.equal(*(batch[base.family.audio_features] for batch in batches))
    # The last frames are encoded if a change of them changes the output.
    features, changed = (batch[base.family.audio_features] for batch in batches)
    assert (features - changed).abs().amax().item() > 0.1


def test_saved_processor_gives_the_same_inputs(base: Base, tmp_path: Path) -> None:
    before = base.family.encode(base.processor, [LONG, SHORT], base.prompt)
    base.family.save_processor(base.processor, tmp_path)
    again = base.family.encode(base.family.load_processor(str(tmp_path)), [LONG, SHORT], base.prompt)
    assert "input_ids" in base.processor.model_input_names  # SFTTrainer requires them
    assert before.keys() == again.keys()
    assert all(torch.equal(before[key], again[key]) for key in before)


def test_end_of_the_turn_is_not_counted(base: Base) -> None:
    """The tokenizer may not name this token."""
    tokenizer = base.processor.tokenizer
    tokens = tokenizer(["ola" + base.case.end], add_special_tokens=False, return_tensors="pt")["input_ids"]
    assert base.family.token_counts(base.processor, tokens) == [3]
    assert base.family.end_of_target in special_tokens_of(tokenizer).values()


def test_shortest_clip_is_transcribed(base: Base) -> None:
    assert base.generate([LONG[: round(SHORTEST_SECONDS * SAMPLING_RATE)]]).shape[1] >= 1


def test_saved_model_gives_the_same_logits(base: Base, tmp_path: Path) -> None:
    base.family.load_model(base.folder, dtype="float32").save_pretrained(tmp_path)
    again = base.family.load_model(str(tmp_path), dtype="float32").eval()
    batch = base.family.encode(base.processor, [SHORT], base.prompt)
    with torch.inference_mode():
        torch.testing.assert_close(again(**batch).logits, base.model(**batch).logits, rtol=0, atol=1e-5)
