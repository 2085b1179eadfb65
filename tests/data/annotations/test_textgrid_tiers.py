"""Add tiers to TextGrids, and compare the content that our reader and praatio read before and after."""

import shutil
import subprocess
from pathlib import Path

import pytest
from praatio import textgrid as praatio

from escoita.data.annotations import read_segments
from escoita.data.annotations.new_tiers import NewSegment, NewTier, NewTierError
from escoita.data.annotations.textgrid_tiers import with_tiers
from escoita.data.encodings import encoding_of
from tests.data.annotations.samples import LONG, SHORT, write


TIERS = [
    NewTier("draft-1@Ana", [NewSegment(0.25, 1.0, 'di "ola"'), NewSegment(1.0, 1.5, "ñ")], "Ana"),
    NewTier("draft-1", [NewSegment(0.0, 0.5, "un"), NewSegment(2.5, 3.4, "fin")]),
]

PLAIN, PLAIN_SHORT = (text.replace(' ""día"" item [2]: 7', " día") for text in (LONG, SHORT))


@pytest.mark.parametrize(
    "text", [LONG, SHORT, PLAIN, PLAIN.replace("\n", "\r\n"), PLAIN_SHORT, PLAIN_SHORT.rstrip("\n")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_the_other_tiers_are_equal(text: str, encoding: str, tmp_path: Path) -> None:
    path = write(tmp_path / "talk.TextGrid", text, encoding)
    before, content = read_segments(path), path.read_bytes()
    # praatio takes a quoted `item [` for an element of the long form.
    readable = encoding.startswith("utf") and "item [2]: 7" not in text
    other = praatio.openTextgrid(str(path), includeEmptyIntervals=True) if readable else None
    path.write_bytes(with_tiers(path, TIERS))
    after = read_segments(path)
    assert after[: len(before)] == before
    drafts = [(each.tier, each.start, each.end, each.text) for each in after[len(before) :] if each.text]
    assert drafts == [
        ("draft-1@Ana", 0.25, 1.0, 'di "ola"'),
        ("draft-1@Ana", 1.0, 1.5, "ñ"),
        ("draft-1", 0.0, 0.5, "un"),
        ("draft-1", 2.5, 3.0, "fin"),  # the recording ends there
    ]
    assert path.read_bytes()[:4] == content[:4]
    if other is not None:
        read = praatio.openTextgrid(str(path), includeEmptyIntervals=True)
        assert read.tierNames == (*other.tierNames, "draft-1@Ana", "draft-1")
        for name in other.tierNames:
            if name == "clicks" and "xmin" not in text:
                continue  # praatio misses the last point of a short file
            assert read.getTier(name).entries == other.getTier(name).entries
        for tier in ("draft-1@Ana", "draft-1"):
            entries = read.getTier(tier).entries
            assert (entries[0].start, entries[-1].end) == (0.0, 3.0)
            assert all(one.end == two.start for one, two in zip(entries, entries[1:], strict=False))


def test_a_character_that_the_encoding_lacks_changes_it_to_utf_8(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.TextGrid", LONG, "latin-1")
    before = read_segments(path)
    path.write_bytes(with_tiers(path, [NewTier("draft-1", [NewSegment(0, 1, "ўзбек")])]))
    assert read_segments(path)[: len(before)] == before
    assert [each.text for each in read_segments(path)][len(before)] == "ўзбек"


def test_tiers_that_exist_and_files_without_tiers_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.TextGrid", LONG)
    for name in ("Ana_transcription", "clicks"):
        with pytest.raises(NewTierError) as caught:
            with_tiers(path, [NewTier(name, [])])
        assert (caught.value.path, caught.value.key) == (path, name)
    write(path, 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n3\n<absent>\n')
    with pytest.raises(NewTierError):
        with_tiers(path, TIERS)


PRAAT = shutil.which("praat_nogui") or shutil.which("praat")
SCRIPT = """form Read
    sentence File
endform
Read from file: file$
tiers = Get number of tiers
for tier to tiers
    name$ = Get tier name: tier
    interval = Is interval tier: tier
    if interval
        count = Get number of intervals: tier
        for place to count
            start = Get start time of interval: tier, place
            stop = Get end time of interval: tier, place
            label$ = Get label of interval: tier, place
            appendFileLine: file$ + ".txt", name$, tab$, fixed$ (start, 2), tab$, fixed$ (stop, 2), tab$, label$
        endfor
    endif
endfor
"""


@pytest.mark.skipif(PRAAT is None, reason="Praat is not installed")
@pytest.mark.parametrize("text", [LONG, SHORT, LONG.replace("\n", "\r\n")])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_praat_reads_the_same_intervals(text: str, encoding: str, tmp_path: Path) -> None:
    path = write(tmp_path / "talk.TextGrid", text, encoding)
    path.write_bytes(with_tiers(path, TIERS))
    script = write(tmp_path / "read.praat", SCRIPT)
    subprocess.run(
        [str(PRAAT), "--run", "--utf8", str(script), str(path)], check=True, timeout=60, capture_output=True
    )
    output = (tmp_path / "talk.TextGrid.txt").read_bytes()
    lines = [line.split("\t") for line in output.decode(encoding_of(output)).removeprefix("\ufeff").splitlines()]
    assert [(tier, float(start), float(end), text) for tier, start, end, text in lines] == [
        (each.tier, each.start, each.end, each.text) for each in read_segments(path)
    ]


@pytest.mark.parametrize("end", ["1e999", "1e306", "-1"])
def test_impossible_times_of_the_file_are_refused(end: str, tmp_path: Path) -> None:
    header = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0 {end} <exists> 0\n'
    (tmp_path / "a.TextGrid").write_text(header, "utf-8")
    with pytest.raises(NewTierError):
        with_tiers(tmp_path / "a.TextGrid", [NewTier("draft-1", [NewSegment(0.0, 1.0, "ola")])])
