from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escoita.errors import CorpusError
from escoita.transcribe import Transcript
from eval.run import evaluate_manifests, hear
from tests.escoita.samples import tone, write_clip
from tests.eval.samples import clip


@pytest.mark.parametrize(
    "names, said",
    [
        (("uz/test.jsonl", "gl/test.jsonl"), "two manifests have the same file name"),
        (("test (1).jsonl",), "a manifest's file name names its corpus"),
    ],
)
def test_manifests_must_name_their_corpora(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(CorpusError) as refusal:
        evaluate_manifests("base", "adapter", [tmp_path / name for name in names], tmp_path)
    assert str(refusal.value).startswith(said) and "\n" not in str(refusal.value)


def test_clips_are_heard_by_length_and_told_in_order(tmp_path: Path) -> None:
    lengths = [0.1, 0.4, 0.2, 0.3]
    clips = []
    for row, length in enumerate(lengths):
        path = write_clip(tmp_path / f"{row}.wav", tone(seconds=length))
        clips.append(replace(clip("bir", row), audio=str(path), audio_seconds=length))
    batches: list[list[int]] = []

    class Ear:
        batch_size = 2

        def transcribe(self, audio: list[np.ndarray]) -> list[Transcript]:
            batches.append([len(samples) for samples in audio])
            return [Transcript(str(len(samples)), len(samples) / 16_000, 0.1) for samples in audio]

    ear: Any = Ear()
    heard = hear(ear, clips, "clips")
    assert batches == [[6400, 4800], [3200, 1600]]
    assert [transcript.text for transcript in heard] == ["1600", "6400", "3200", "4800"]
