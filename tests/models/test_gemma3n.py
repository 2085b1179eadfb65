"""Test the processor and the quantization of Gemma 3n."""

import json
from pathlib import Path

import pytest
import torch

from escoita.models import family_of
from escoita.records.training import Prompt
from tests.models import bases
from tests.samples import tone


SHORT = tone(seconds=0.7)


@pytest.mark.parametrize("stored", ["processor_config.json", "preprocessor_config.json"])
def test_image_processor_is_not_needed(stored: str, tmp_path: Path) -> None:
    """One of two files contains the settings of the image processor and of the extractor."""
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


def test_audio_tower_is_not_quantized(tmp_path: Path) -> None:
    bases.write_gemma3n(tmp_path)
    model = family_of(str(tmp_path)).load_model(str(tmp_path), load_in_4bit=True)
    in_4bit = {name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"}
    assert in_4bit and not any("audio" in name or "vision" in name for name in in_4bit)
