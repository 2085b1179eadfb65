"""What is particular to a family of the generic path, and what none of them takes."""

import json
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from huggingface_hub.errors import RemoteEntryNotFoundError
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import GraniteSpeechForConditionalGeneration, WhisperFeatureExtractor

from escoita.errors import EscoitaError
from escoita.models import family_of
from escoita.models.chat import pad_with_silence
from escoita.models.granite_speech import GraniteSpeechFeatureExtractor
from escoita.records.training import Prompt
from tests.models import bases
from tests.samples import tone


SHORT = tone(seconds=0.7)


def test_text_that_the_template_leaves_out_is_refused(tmp_path: Path) -> None:
    bases.write_qwen2_audio(tmp_path)
    family = family_of(str(tmp_path))
    processor = family.load_processor(str(tmp_path))
    processor.chat_template = "<|im_start|>user\n<|AUDIO|><|im_end|>"
    with pytest.raises(EscoitaError, match=r"^prompt\.user: the chat template of the base leaves it out"):
        family.render(processor, Prompt(user="Escoita."))
    assert family.render(processor, Prompt(user="")) == processor.chat_template


def test_a_base_without_a_template_is_refused(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path)
    family = family_of(str(tmp_path))
    processor = family.load_processor(str(tmp_path))
    processor.chat_template = None
    with pytest.raises(EscoitaError, match="the base has no chat template; take its variant for instructions"):
        family.render(processor, Prompt(user="Escoita."))


@pytest.mark.parametrize("stored", ["processor_config.json", "preprocessor_config.json"])
def test_gemma_3n_needs_nothing_for_pictures(stored: str, tmp_path: Path) -> None:
    """Its repositories hold the settings of an image processor beside those of the extractor, in one of two files."""
    bases.write_gemma3n(tmp_path)
    family = family_of(str(tmp_path))
    before = family.encode(family.load_processor(str(tmp_path)), [SHORT], Prompt(user="Escoita."))
    settings = json.loads((tmp_path / "processor_config.json").read_text("utf-8"))
    pictures = {"image_processor_type": "SiglipImageProcessorFast", "size": {"height": 768, "width": 768}}
    full = {"audio_seq_length": 188, "image_seq_length": 256, "processor_class": "Gemma3nProcessor"}
    if stored == "processor_config.json":
        full |= {"feature_extractor": settings["feature_extractor"], "image_processor": pictures}
    else:
        (tmp_path / stored).write_text(json.dumps(settings["feature_extractor"] | pictures), "utf-8")
    (tmp_path / "processor_config.json").write_text(json.dumps(full), "utf-8")
    after = family.encode(family.load_processor(str(tmp_path)), [SHORT], Prompt(user="Escoita."))
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any("vision_tower" in name for name, _ in family.load_model(str(tmp_path)).named_parameters())


def test_the_audio_tower_of_gemma_3n_keeps_its_precision(tmp_path: Path) -> None:
    bases.write_gemma3n(tmp_path)
    model = family_of(str(tmp_path)).load_model(str(tmp_path), load_in_4bit=True)
    in_4bit = {name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"}
    assert in_4bit and not any("audio" in name or "vision" in name for name in in_4bit)


@pytest.mark.parametrize("user, places", [("Escoita.", 0), ("<|AUDIO|><|AUDIO|>", 2)])
def test_audio_without_one_place_is_refused(tmp_path: Path, user: str, places: int) -> None:
    bases.write_qwen2_audio(tmp_path)
    family = family_of(str(tmp_path))
    processor = family.load_processor(str(tmp_path))
    processor.chat_template = "{{ messages[0].content[1].text }}"
    with pytest.raises(EscoitaError, match=rf"has {places} places for the audio, not one \(<\|AUDIO\|>\)"):
        family.encode(processor, [SHORT], Prompt(user=user))


def test_qwen3_asr_is_told_a_language(tmp_path: Path) -> None:
    bases.write_qwen3_asr(tmp_path)
    family = family_of(str(tmp_path))
    processor = family.load_processor(str(tmp_path))
    with pytest.raises(EscoitaError, match=r"^prompt\.user: 'Escoita\.' is nothing that Qwen3-ASR knows; write 'lang"):
        family.render(processor, Prompt(user="Escoita."))


@pytest.mark.parametrize(
    "user, expected",
    [
        ("", "<s>[INST][BEGIN_AUDIO][AUDIO][/INST][TRANSCRIBE]"),
        ("lang:es", "<s>[INST][BEGIN_AUDIO][AUDIO][/INST]lang:es[TRANSCRIBE]"),
    ],
)
def test_voxtral_may_be_asked_for_a_transcript_alone(tmp_path: Path, user: str, expected: str) -> None:
    bases.write_voxtral(tmp_path)
    family = family_of(str(tmp_path))
    assert family.render(family.load_processor(str(tmp_path)), Prompt(user=user)) == expected


def test_marks_of_voxtral_are_known_as_such(tmp_path: Path) -> None:
    bases.write_voxtral(tmp_path)
    tokenizer = family_of(str(tmp_path)).load_processor(str(tmp_path)).tokenizer
    assert {"<s>", "</s>", "[INST]", "[TRANSCRIBE]"} <= set(tokenizer.all_special_tokens)
    ids = tokenizer("ola[TRANSCRIBE]</s><pad>", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ola"


def test_a_voxtral_that_was_saved_here_is_read_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no `tekken.json` any more."""
    bases.write_voxtral(tmp_path / "base")
    family = family_of(str(tmp_path / "base"))
    before = family.load_processor(str(tmp_path / "base"))
    family.save_processor(before, tmp_path / "saved")

    def download(repo: str, name: str, **options: object) -> str:
        if not (tmp_path / "saved" / name).is_file():
            raise RemoteEntryNotFoundError("404: not there", response=MagicMock())
        return str(tmp_path / "saved" / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr(WhisperFeatureExtractor, "from_pretrained", lambda *_, **__: before.feature_extractor)
    again = family.load_processor("user/saved")
    batches = [family.encode(processor, [SHORT], Prompt(user="Escoita.")) for processor in (before, again)]
    assert all(torch.equal(batches[0][key], batches[1][key]) for key in batches[0])


def test_the_lora_of_granite_becomes_a_part_of_it(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path, own_lora=True)
    assert (tmp_path / "adapter_model.safetensors").is_file()
    family = family_of(str(tmp_path))
    prompt = Prompt(user="Escoita.")
    batch = family.encode(family.load_processor(str(tmp_path)), [SHORT], prompt)
    theirs = GraniteSpeechForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ours = family.load_model(str(tmp_path), dtype="float32").eval()
    with torch.inference_mode():
        expected, heard = theirs(**batch).logits, ours(**batch).logits
        theirs.disable_adapters()
        without = theirs(**batch).logits
    torch.testing.assert_close(heard, expected, rtol=0, atol=1e-4)
    assert (without - expected).abs().max() > 1e-2
    assert not any("lora" in name for name, _ in ours.named_parameters())
    ours.save_pretrained(tmp_path / "saved")
    again = family.load_model(str(tmp_path / "saved")).eval()
    with torch.inference_mode():
        assert torch.equal(again(**batch).logits, heard)


def test_nothing_of_the_lora_of_granite_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is its base taken from elsewhere."""
    bases.write_granite_speech(tmp_path, own_lora=True)
    expected = family_of(str(tmp_path)).load_model(str(tmp_path), dtype="float32").state_dict()
    path = tmp_path / "adapter_config.json"
    hostile = {"target_modules": "(.*.*.*.*.*.*.*.*)*[0-9]{9}x", "base_model_name_or_path": "acme/evil"}
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | hostile), "utf-8")
    monkeypatch.setattr("peft.PeftConfig.from_pretrained", lambda *_, **__: pytest.fail("PEFT read the file"))
    found = family_of(str(tmp_path)).load_model(str(tmp_path), dtype="float32").state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_lora_of_granite_may_have_its_older_names(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path, own_lora=True)
    expected = family_of(str(tmp_path)).load_model(str(tmp_path), dtype="float32").state_dict()
    path = tmp_path / "adapter_model.safetensors"
    older = {
        name.replace(".model.model.language_model.", ".model.language_model.model."): one
        for name, one in load_file(path).items()
    }
    assert all(name.startswith("base_model.model.language_model.model.layers.") for name in older)
    save_file(older, path, {"format": "pt"})
    found = family_of(str(tmp_path)).load_model(str(tmp_path), dtype="float32").state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_lora_of_granite_is_not_rounded_to_4_bits(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path, own_lora=True)
    with pytest.raises(EscoitaError, match="its LoRA for speech cannot be merged in 4 bits; leave out load_in_4bit$"):
        family_of(str(tmp_path)).load_model(str(tmp_path), load_in_4bit=True)


def test_granite_without_its_lora_is_refused(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path, own_lora=True)
    for path in tmp_path.glob("adapter_*"):
        path.unlink()
    with pytest.raises(EscoitaError, match="its LoRA for speech is not there"):
        family_of(str(tmp_path)).load_model(str(tmp_path))


def test_a_lora_of_zeros_is_refused(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path, own_lora=True)
    path = tmp_path / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({name: one * ("lora_B" not in name) for name, one in weights.items()}, path, {"format": "pt"})
    with pytest.raises(EscoitaError, match="its LoRA for speech is zero in"):
        family_of(str(tmp_path)).load_model(str(tmp_path))


def test_a_step_of_granite_begins_where_its_frame_does() -> None:
    """The loudest band of a tone of 1 kHz, whose mel filters go by the formula of HTK, is where it should be."""
    extractor = GraniteSpeechFeatureExtractor()
    features = extractor([tone(1_000, seconds=1.0)])["input_features"]
    assert features.shape == (1, 50, 160)  # two frames of 80 bands, each 20 ms
    centres = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8_000 / 700), 82)[1:-1] / 2595) - 1)
    assert features[0, 25, :80].argmax() == np.abs(centres - 1_000).argmin()
    assert features.max() - features.min() == pytest.approx(2.0, abs=1e-4)  # 80 dB


@given(st.integers(0, 1_000), st.integers(0, 500), st.integers(1, 400))
def test_a_clip_is_filled_up_with_no_more_than_is_needed(length: int, beyond: int, step: int) -> None:
    clip = np.ones(length, np.float32)
    longer = pad_with_silence(clip, beyond, step)
    assert len(longer) % step == 0 and beyond <= len(longer) - length < beyond + step
    assert longer.sum() == length and longer[:length].all()
