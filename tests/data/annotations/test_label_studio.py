"""Check both exports of Label Studio."""

from pathlib import Path

import pytest

from escoita.data.annotations import read_segments
from escoita.data.annotations.base import AnnotationError
from tests.data.annotations.samples import STUDIO, STUDIO_MIN, write


@pytest.mark.parametrize("text, name", [(STUDIO, "x-talk.wav"), (STUDIO_MIN, "talk.wav")])
def test_regions_are_segments(text: str, name: str, tmp_path: Path) -> None:
    assert [each[:6] for each in read_segments(write(tmp_path / "a.json", text))] == [
        (name, 1, 2.5, "bo día", "", "Ana")
    ]


@pytest.mark.parametrize(
    "text", [STUDIO[:-1], STUDIO.replace('"start": 1', '"start": "1"'), STUDIO.replace("[{", '["annotations", {', 1)]
)
def test_other_json_is_refused(text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", text)
    with pytest.raises(AnnotationError) as caught:
        read_segments(path)
    assert caught.value.path == path
