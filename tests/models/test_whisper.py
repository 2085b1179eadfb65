"""Test Whisper on a tiny model with random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl.trainer.utils import add_fused_lm_head

from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models import family_for_evaluation, family_of
from escoita.models.trainable import IGNORED
from escoita.models.whisper import WhisperFamily
from escoita.records.training import AdapterRecord, Prompt
from escoita.training.sanity_checks import check_batch, count_trainable
from escoita.utils import processes
from tests.models.samples import write_whisper
from tests.samples import melody, tone


RECORD = AdapterRecord(language="gl", prompt=Prompt(user=""), max_new_tokens=6)
CLIPS = [tone(seconds=1.0), tone(300, seconds=0.4), tone(700, seconds=0.7)]
TEXTS = ["un", "dous tres", "catro"]
GALICIAN = ["<|startoftranscript|>", "<|gl|>", "<|transcribe|>", "<|notimestamps|>"]
WITHOUT = ["<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>"]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_whisper(tmp_path_factory.mktemp("learner"), width=32, positions=32, seconds=1, learns=True)


def with_token(token: str | None) -> AdapterRecord:
    return RECORD.model_copy(update={"language_token": token})


def recorded_requests(transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the arguments of the calls of `generate` that follow."""
    requests: list[dict[str, Any]] = []
    generate = transcriber.model.generate

    def recorded(**kwargs: Any) -> torch.Tensor:
        requests.append(kwargs)
        return generate(**kwargs)

    monkeypatch.setattr(transcriber.model, "generate", recorded)
    return requests


def read_tokens(transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return the tokens of the first rows that the decoder reads first, in the calls that follow."""
    found: list[list[int]] = []
    forward = transcriber.model.model.decoder.forward

    def recorded(*args: Any, **kwargs: Any) -> Any:
        found.append(kwargs["input_ids"][0].tolist())
        return forward(*args, **kwargs)

    monkeypatch.setattr(transcriber.model.model.decoder, "forward", recorded)
    return found


@pytest.mark.parametrize("token", [None, "gl", "none"])
def test_batch_equals_single_clips(whisper: str, token: str | None) -> None:
    assert isinstance(family_for_evaluation(whisper), WhisperFamily)
    transcriber = Transcriber.load(whisper, settings=with_token(token))
    alone = [transcriber.transcribe([clip])[0].text for clip in CLIPS]
    together = transcriber.transcribe(CLIPS)
    assert [transcript.text for transcript in together] == alone
    assert any(alone) and not any("<" in text for text in alone)
    assert all(transcript.tokens > 0 for transcript in together)


def test_base_gets_a_supported_language_or_detects_it(whisper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    transcriber = Transcriber.load(whisper, settings=RECORD)
    requests = recorded_requests(transcriber, monkeypatch)
    transcriber.transcribe(CLIPS)
    transcriber.generation_settings = RECORD.model_copy(update={"language": "uz", "max_new_tokens": 256})
    transcriber.transcribe(CLIPS)
    assert (requests[0]["language"], requests[0]["task"], requests[0]["max_length"]) == ("gl", "transcribe", 6)
    assert "language" not in requests[1] and requests[1]["max_length"] == 12  # the limit of its decoder


@pytest.mark.parametrize("token, expected", [("gl", GALICIAN), ("none", WITHOUT)])
def test_training_and_generation_have_the_same_prompt(
    whisper: str, monkeypatch: pytest.MonkeyPatch, token: str, expected: list[str]
) -> None:
    settings = with_token(token)
    transcriber = Transcriber.load(whisper, settings=settings)
    family, tokenizer = family_of(whisper), transcriber.processor.tokenizer
    batch = family.encode_with_targets(transcriber.processor, CLIPS, TEXTS, settings)
    prompt = tokenizer.convert_tokens_to_ids(expected)
    assert batch["decoder_input_ids"][:, : len(prompt)].tolist() == [prompt] * 3
    assert family.rendered_prompt(transcriber.processor, settings) == "".join(expected)

    found = read_tokens(transcriber, monkeypatch)
    transcriber.transcribe(CLIPS)
    assert found[0] == prompt  # no pass of the decoder detects the language
    if token == "gl":  # the prompt that Transformers makes for the language
        transcriber.generation_settings = RECORD
        transcriber.transcribe(CLIPS)
        assert [tokens for tokens in found if len(tokens) > 1] == [prompt, prompt]
    else:  # the prompt of its tokenizer without a language
        tokenizer.set_prefix_tokens(task="transcribe", predict_timestamps=False)
        assert tokenizer.prefix_tokens == prompt


def test_only_the_transcripts_have_labels(whisper: str) -> None:
    family = family_of(whisper)
    processor = family.load_processor(whisper)
    batch = family.encode_with_targets(processor, CLIPS, TEXTS, with_token("none"))
    check_batch(family, processor, batch, TEXTS)
    for row, letters in zip(family.rows(batch), (["Ġ", "u", "n"], [*"ĠdousĠtres"], [*"Ġcatro"]), strict=True):
        target = processor.tokenizer.convert_tokens_to_ids([*letters, "<|endoftext|>"])
        assert row.labels == [IGNORED] * 3 + target
        assert row.tokens == processor.tokenizer.convert_tokens_to_ids(WITHOUT) + target
    padding = batch["decoder_attention_mask"] == 0
    assert padding.sum(1).tolist() == [7, 0, 4] and (batch["labels"][padding] == IGNORED).all()


def test_padding_does_not_change_the_loss(learner: str) -> None:
    family = family_of(learner)
    processor, model = family.load_processor(learner), family.load_model(learner, dtype="float32").eval()
    add_fused_lm_head(model)
    together = family.encode_with_targets(processor, CLIPS, TEXTS, with_token("gl"))
    outputs = model(**together, fused_lm_head=True)
    for row in range(3):
        batch = family.encode_with_targets(processor, [CLIPS[row]], [TEXTS[row]], with_token("gl"))
        alone = model(**batch, fused_lm_head=True).log_probs
        torch.testing.assert_close(alone.sum(), outputs.log_probs[row].sum(), rtol=1e-4, atol=1e-4)
        assert alone.ne(0).sum() == len(TEXTS[row]) + 2  # with the space before the text, and the end


def test_the_language_token_of_the_recipe_is_resolved(whisper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = family_of(whisper)
    processor = family.load_processor(whisper)
    lines: list[str] = []
    processes.say_once.cache_clear()
    monkeypatch.setattr(processes, "say", lines.append)

    def resolved(language: str, token: str | None = None) -> str | None:
        settings = RECORD.model_copy(update={"language": language, "language_token": token})
        return family.resolved_settings(processor, settings).language_token

    assert resolved("gl") == resolved("glg") == "gl"
    assert [resolved("uz", "es"), resolved("gl", "none")] == ["es", "none"]
    assert not lines
    assert resolved("ast") == resolved("ast") == "none"
    (line,) = lines  # it names the closest languages
    assert "es (Spanish)" in line and "gl (Galician)" in line


@pytest.mark.parametrize(
    "update, key, value",
    [
        ({"language_token": "uz"}, "method.language_token", "uz"),
        ({"prompt": Prompt(user="Escoita.")}, "prompt.user", "Escoita."),
        ({"prompt": Prompt(system="Escoita.", user="")}, "prompt.system", "Escoita."),
    ],
)
def test_settings_that_it_does_not_have_are_refused(
    whisper: str, update: dict[str, Any], key: str, value: str
) -> None:
    family = family_of(whisper)
    with pytest.raises(EscoitaError) as error:
        family.resolved_settings(family.load_processor(whisper), RECORD.model_copy(update=update))
    assert (error.value.key, error.value.value) == (key, value)


def test_a_chat_model_has_no_language_tokens() -> None:
    family = family_of("quickstart/gemma4")
    with pytest.raises(EscoitaError) as error:
        family.resolved_settings(None, with_token("gl"))
    assert (error.value.key, error.value.value) == ("method.language_token", "gl")


def test_a_model_for_english_only_is_refused(whisper: str) -> None:
    family = WhisperFamily({"vocab_size": 51_864})
    with pytest.raises(EscoitaError) as error:
        family.resolved_settings(family_of(whisper).load_processor(whisper), RECORD)
    assert error.value.key == "base"


def test_a_generation_configuration_without_tokens_is_refused(whisper: str) -> None:
    transcriber = Transcriber.load(whisper, settings=with_token("gl"))
    transcriber.model.generation_config.task_to_id = None
    with pytest.raises(EscoitaError) as error:
        transcriber.transcribe(CLIPS)
    assert error.value.value == "<|transcribe|>" and str(error.value.path).endswith("generation_config.json")


@pytest.mark.parametrize("text", ["Ẹ káàárọ̀", "ياخشىمۇسىز", "ola"])
def test_a_transcript_over_the_positions_of_the_decoder_is_refused(learner: str, text: str) -> None:
    """Yoruba and Uyghur have several bytes in a character, and here a token for each byte."""
    family = family_of(learner)
    processor = family.load_processor(learner)
    fits = 32 - 4 - 2  # without the prompt, the space before the text, and the end
    long = (text * 10).encode()[:fits].decode(errors="ignore")
    longest = long + "a" * (fits - len(long.encode()))
    assert family.row_problem(processor, longest) == ""
    assert len(family.targets(processor, [longest])[0]) == 28
    assert "29" in family.row_problem(processor, longest + "a")
    batch = family.encode_with_targets(processor, CLIPS[:1], [longest], with_token("gl"))
    assert batch["decoder_input_ids"].shape == (1, 32)


@pytest.mark.parametrize(
    "layers, trained",
    [
        ("language_layers", {"language"}),
        ("audio_layers", {"audio"}),
        ("target_modules", {"audio", "language"}),
    ],
)
def test_training_steps_change_the_towers(learner: str, layers: str, trained: set[str]) -> None:
    family = family_of(learner)
    processor, model = family.load_processor(learner), family.load_model(learner, dtype="float32")
    add_fused_lm_head(model)
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules=getattr(family.info, layers)))
    counts = count_trainable(family, tuned)
    assert {tower for tower, count in counts.items() if count} == trained
    batch = family.encode_with_targets(processor, CLIPS, TEXTS, with_token("gl"))
    optimizer = torch.optim.AdamW([each for each in tuned.parameters() if each.requires_grad], lr=1e-2)
    losses = []
    for _ in range(8):
        loss = tuned.train()(**batch, fused_lm_head=True).loss
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    assert np.isfinite(losses).all() and losses[-1] < losses[0] - 0.05


def test_token_limit(whisper: str) -> None:
    transcriber = Transcriber.load(whisper, settings=RECORD)
    own = transcriber.family.own_limit(transcriber.model)
    settings = RECORD.model_copy(update={"max_new_tokens": own})
    assert transcriber.family.most_tokens(transcriber.model, settings) == 12


def test_a_watch_gets_each_token_and_ends_a_row(whisper: str) -> None:
    transcriber = Transcriber.load(whisper, settings=with_token("none"))
    tokens: list[list[int]] = [[], [], []]

    def watch(row: int, position: int, token: int) -> bool:
        tokens[row][position:] = [token]
        return row != 1 or position < 2

    texts, counts, _ = zip(*transcriber.transcribe_segments(CLIPS, watch), strict=True)
    assert counts == (6, 3, 6) and [len(each) for each in tokens] == [6, 6, 6]
    assert texts[0] == transcriber.processor.tokenizer.decode(tokens[0], skip_special_tokens=True).strip()


def test_long_recording_is_split(whisper: str) -> None:
    (transcript,) = Transcriber.load(whisper, settings=with_token("gl")).transcribe([melody(65)])
    # Segments of Whisper contain short pauses, because each of them takes as long as 30 s.
    assert len(transcript.segments) == 3 and transcript.segments[-1].end == pytest.approx(65.0, abs=0.3)


def test_saved_processor_gives_the_same_inputs(whisper: str, tmp_path: Path) -> None:
    family = family_of(whisper)
    processor = family.load_processor(whisper)
    before = family.encode_with_targets(processor, CLIPS, TEXTS, with_token("gl"))
    family.save_processor(processor, tmp_path)
    again = family.encode_with_targets(family.load_processor(str(tmp_path)), CLIPS, TEXTS, with_token("gl"))
    assert before.keys() == again.keys() and all(torch.equal(before[key], again[key]) for key in before)
