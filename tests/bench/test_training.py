import numpy as np
import pytest
import soundfile

from bench.plain_script import PlainCollator
from bench.quickstart import ROOT, load_clips
from bench.training import measure_training
from escoita.models.gemma4 import Gemma4Family
from escoita.records.training import AdapterRecord, Prompt


PROMPT = Prompt(
    system="You are an assistant that transcribes speech accurately.", user="Please transcribe this audio."
)


@pytest.mark.slow
def test_the_measurements() -> None:
    found = {each.name: each for each in measure_training(steps=2, rounds=1)}
    padding = found.pop("Training, padding")
    assert 0 < padding.value < 0.10 and float((padding.against or "").rpartition(" ")[2]) > 0.3
    assert len(found) == 2 and all(each.value > 0 and each.goal for each in found.values())


def test_the_plain_script_has_the_same_inputs_and_labels() -> None:
    """The scripts differ in batch order and padding only."""
    family = Gemma4Family()
    processor = family.load_processor(str(ROOT / "quickstart/gemma4"))
    clips = list(load_clips("uz")[:3])
    plain = PlainCollator(processor, PROMPT)([{"audio": clip.audio, "text": clip.text} for clip in clips])
    audio = [soundfile.read(clip.audio, dtype="float32")[0] for clip in clips]
    ours = family.encode_with_targets(
        processor, audio, [clip.text for clip in clips], AdapterRecord(language="uz", prompt=PROMPT)
    )
    np.testing.assert_array_equal(plain["input_features"], ours["input_features"])
    for row in range(len(clips)):
        # The labels of the plain script also contain the line break at the end of the turn.
        labels = plain["labels"][row][plain["labels"][row] != -100].tolist()
        assert labels[:-1] == ours["labels"][row][ours["labels"][row] != -100].tolist()
