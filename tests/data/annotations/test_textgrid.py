"""Check that all forms and encodings of TextGrids give the same segments."""

from pathlib import Path

import pytest
from praatio import textgrid

from escoita.data.annotations import read_segments
from escoita.data.annotations.base import AnnotationError
from tests.data.annotations.samples import LONG, SHORT, write


@pytest.mark.parametrize("text", [LONG, SHORT, LONG.replace("\n", "\r\n")], ids=["long", "short", "crlf"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "cp1252"])
def test_all_forms_give_the_same_segments(text: str, encoding: str, tmp_path: Path) -> None:
    segments = read_segments(write(tmp_path / "a.TextGrid", text, encoding), "gl")
    assert [(each.start, each.end, each.text) for each in segments] == [
        (0, 1.25, 'bo "día" item [2]: 7'),
        (1.25, 3, ""),
    ]
    assert {(each.tier, each.speaker, each.kind) for each in segments} == {
        ("Ana_transcription", "Ana", "transcription")
    }


@pytest.mark.parametrize("form", ["long_textgrid", "short_textgrid"])
def test_files_of_praatio_are_read(form: str, tmp_path: Path) -> None:
    grid = textgrid.Textgrid()
    grid.addTier(textgrid.IntervalTier("Ana", [(0.5, 1.5, 'bo "día"'), (1.5, 2.25, "ata mañá")], 0, 3))
    path = tmp_path / "a.TextGrid"
    grid.save(str(path), form, includeBlankSpaces=True)
    segments = [each for each in read_segments(path) if each.text]
    assert [(each.start, each.end, each.text, each.tier) for each in segments] == [
        (0.5, 1.5, 'bo "día"', "Ana"),
        (1.5, 2.25, "ata mañá", "Ana"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        LONG[:200],
        LONG.replace("size = 2", "size = 1e999"),
        LONG.replace("size = 2", "size = 90000000"),
        LONG.replace("1.25", '"x"'),
        LONG.replace("TextGrid", "Sound", 1),
        '"' + 'a""' * 100_000,
        "",
    ],
)
def test_damaged_files_are_refused(text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.TextGrid", text)
    with pytest.raises(AnnotationError) as caught:
        read_segments(path)
    assert caught.value.path == path
