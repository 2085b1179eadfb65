"""Test the LoRA for speech and the feature extractor of Granite Speech."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GraniteSpeechForConditionalGeneration

from escoita.models import family_of
from escoita.models.errors import SpeechLoraError
from escoita.models.granite_speech import GraniteSpeechFeatureExtractor
from escoita.records.training import Prompt
from tests.models import bases
from tests.samples import tone


SHORT = tone(seconds=0.7)


def test_speech_lora_is_merged(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path, own_lora=True)
    assert (tmp_path / "adapter_model.safetensors").is_file()
    family = family_of(str(tmp_path))
    prompt = Prompt(user="Escoita.")
    batch = family.encode(family.load_processor(str(tmp_path)), [SHORT], prompt)
    theirs = GraniteSpeechForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ours = family.load_model(str(tmp_path), dtype="float32").eval()
    with torch.inference_mode():
        expected, found = theirs(**batch).logits, ours(**batch).logits
        theirs.disable_adapters()
        without = theirs(**batch).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert (without - expected).abs().max() > 1e-2
    assert not any("lora" in name for name, _ in ours.named_parameters())
    ours.save_pretrained(tmp_path / "saved")
    again = family.load_model(str(tmp_path / "saved")).eval()
    with torch.inference_mode():
        assert torch.equal(again(**batch).logits, found)


def test_nothing_of_the_speech_lora_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its base is not loaded either."""
    bases.write_granite_speech(tmp_path, own_lora=True)
    expected = family_of(str(tmp_path)).load_model(str(tmp_path), dtype="float32").state_dict()
    path = tmp_path / "adapter_config.json"
    hostile = {"target_modules": "(.*.*.*.*.*.*.*.*)*[0-9]{9}x", "base_model_name_or_path": "acme/evil"}
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | hostile), "utf-8")
    monkeypatch.setattr("peft.PeftConfig.from_pretrained", lambda *_, **__: pytest.fail("PEFT read the file"))
    found = family_of(str(tmp_path)).load_model(str(tmp_path), dtype="float32").state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_older_tensor_names_are_accepted(tmp_path: Path) -> None:
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


def test_merging_in_4_bits_is_refused(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path, own_lora=True)
    with pytest.raises(SpeechLoraError) as error:
        family_of(str(tmp_path)).load_model(str(tmp_path), load_in_4bit=True)
    assert (error.value.path, error.value.key) == (str(tmp_path), "load_in_4bit")


def test_missing_speech_lora_is_refused(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path, own_lora=True)
    for path in tmp_path.glob("adapter_*"):
        path.unlink()
    with pytest.raises(SpeechLoraError) as error:
        family_of(str(tmp_path)).load_model(str(tmp_path))
    assert error.value.path == f"{tmp_path}/adapter_model.safetensors"


def test_speech_lora_of_zeros_is_refused(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path, own_lora=True)
    path = tmp_path / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({name: one * ("lora_B" not in name) for name, one in weights.items()}, path, {"format": "pt"})
    with pytest.raises(SpeechLoraError) as error:
        family_of(str(tmp_path)).load_model(str(tmp_path))
    assert error.value.path == f"{tmp_path}/adapter_model.safetensors" and error.value.key


def test_frames_of_the_feature_extractor() -> None:
    """The loudest band of a tone of 1 kHz is at its position on the mel scale of HTK."""
    extractor = GraniteSpeechFeatureExtractor()
    features = extractor([tone(1_000, seconds=1.0)])["input_features"]
    assert features.shape == (1, 50, 160)  # two frames of 80 bands, each 20 ms
    centers = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8_000 / 700), 82)[1:-1] / 2595) - 1)
    assert features[0, 25, :80].argmax() == np.abs(centers - 1_000).argmin()
    assert features.max() - features.min() == pytest.approx(2.0, abs=1e-4)  # 80 dB
