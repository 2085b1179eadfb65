"""Check the choice of the reader, and the checks of all formats."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.annotations import READERS, AnnotationError, format_of, read_segments
from escoita.data.annotations.base import recording_name, tier_speaker
from escoita.errors import EscoitaError
from tests.data.annotations import samples


FILES = {
    "a.eaf": ("elan", samples.EAF),
    "a.TextGrid": ("textgrid", samples.SHORT),
    "a.srt": ("subtitles", samples.SRT),
    "a.vtt": ("subtitles", samples.VTT),
    "a.txt": ("audacity", samples.LABELS),
    "a.json": ("label_studio", samples.STUDIO),
    "a.stm": ("stm", samples.STM),
    "a.ctm": ("ctm", samples.CTM),
}


@pytest.mark.parametrize("name", FILES)
def test_the_format_is_known_by_suffix_or_content(name: str, tmp_path: Path) -> None:
    path = samples.write(tmp_path / name, FILES[name][1])
    assert format_of(path) == FILES[name][0]
    assert {kind for kind, _ in FILES.values()} == set(READERS)
    first = read_segments(path)[0]
    assert first.start < first.end and first.text.startswith("bo")


@pytest.mark.parametrize("name, text", [("a.txt", "bo día\n"), ("a.json", '{"text": 1}'), ("a.wav", "")])
def test_other_files_are_no_annotations(name: str, text: str, tmp_path: Path) -> None:
    path = samples.write(tmp_path / name, text)
    assert format_of(path) is None
    with pytest.raises(AnnotationError) as caught:
        read_segments(path)
    assert caught.value.path == path


@pytest.mark.parametrize("times", ["-1\t2", "3\t2", "nan\t2", "1e999\t2"])
def test_impossible_times_are_refused(times: str, tmp_path: Path) -> None:
    text = f"talk 1 ana {times} bo".replace("\t", " ")
    with pytest.raises(AnnotationError) as caught:
        read_segments(samples.write(tmp_path / "a.stm", text))
    assert caught.value.row == 1


@pytest.mark.parametrize("name", FILES)
@given(content=st.binary(max_size=200), place=st.integers(0, 2000), length=st.integers(0, 50))
def test_damaged_files_give_segments_or_an_error_with_the_file(
    name: str, content: bytes, place: int, length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    whole = FILES[name][1].encode()
    place %= len(whole)
    path.write_bytes(whole[:place] + content + whole[place + length :])
    try:
        segments = read_segments(path)
    except EscoitaError as error:
        assert error.path == path
    else:
        assert all(0 <= each.start <= each.end for each in segments)


@pytest.mark.parametrize(
    "location, name",
    [
        ("file:///C:/My%20talks/a%201.wav", "a 1.wav"),
        ("..\\..\\etc\\a.wav", "a.wav"),
        ("", ""),
        ("/a.wav?d=1", "a.wav"),
    ],
)
def test_recordings_are_named_without_folders(location: str, name: str) -> None:
    assert recording_name(location) == name


@pytest.mark.parametrize(
    "tier, expected",
    [
        ("tx@Ana", ("tx", "Ana")),
        ("Ana_transcription", ("transcription", "Ana")),
        ("transcripción - Ana", ("transcripción", "Ana")),
        ("Ana", ("Ana", "")),
        ("notes_2", ("notes_2", "")),
    ],
)
def test_tiers_name_speakers(tier: str, expected: tuple[str, str]) -> None:
    assert tier_speaker(tier) == expected
