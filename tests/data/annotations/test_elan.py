"""Check the times, texts and speakers of ELAN files, and that hostile XML is refused."""

from pathlib import Path

import pympi
import pytest

from escoita.data.annotations import elan, read_segments
from escoita.data.annotations.base import AnnotationError
from escoita.utils.limits import FileSizeError
from tests.data.annotations.samples import EAF, write


def test_annotations_have_times_texts_and_speakers(tmp_path: Path) -> None:
    segments = read_segments(write(tmp_path / "a.eaf", EAF))
    found = [(each.start, each.end, each.text, each.tier, each.speaker, each.kind) for each in segments]
    assert found == [
        (0, 0.6, "bo día", "tx@Ana", "Ana", "utt"),
        (0.6, 1.2, "", "tx@Ana", "Ana", "utt"),
        (1.2, 1.8, "ata mañá", "tx@Ana", "Ana", "utt"),
        (1.5, 2.5, "ola & que tal", "B", "Brais", "utt"),
        (1.5, 2.5, "ola tal", "words", "", "w"),
    ]
    assert {each.recording for each in segments} == {"talk.wav"}
    assert [each.row for each in segments] == [1, 2, 3, 4, 5]


def test_pympi_reads_the_same_aligned_annotations(tmp_path: Path) -> None:
    path = write(tmp_path / "a.eaf", EAF)
    other = pympi.Eaf(path)
    own = [each for each in read_segments(path) if each.tier == "B"]
    assert [(each.start * 1000, each.end * 1000, each.text) for each in own] == [
        annotation[:3] for annotation in other.get_annotation_data_for_tier("B")
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_the_encoding_is_that_of_the_file(encoding: str, tmp_path: Path) -> None:
    declared = encoding.removesuffix("-sig").replace("latin-1", "iso-8859-1")
    text = EAF.replace('encoding="UTF-8"', f'encoding="{declared}"')
    assert read_segments(write(tmp_path / "a.eaf", text, encoding))[0].text == "bo día"


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd">',
    ],
)
def test_document_types_are_refused(doctype: str, tmp_path: Path) -> None:
    text = EAF.replace("<ANNOTATION_DOCUMENT", f"{doctype}<ANNOTATION_DOCUMENT", 1).replace("que tal", "&x;&b;")
    path = write(tmp_path / "a.eaf", text)
    with pytest.raises(AnnotationError) as caught:
        read_segments(path)
    assert caught.value.path == path and "DOCTYPE" in caught.value.problem


def test_long_chains_of_references_and_many_tiers_are_read(tmp_path: Path) -> None:
    count = 30_000
    slots = "".join(f'<TIME_SLOT TIME_SLOT_ID="t{each}" TIME_VALUE="{each}"/>' for each in range(count))
    references = "".join(
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{each}" ANNOTATION_REF="{each + 1}"/></ANNOTATION>'
        for each in range(count)
    )
    aligned = f'<ALIGNABLE_ANNOTATION ANNOTATION_ID="{count}" TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t9"/>'
    tier = f'<TIER TIER_ID="a">{references}<ANNOTATION>{aligned}</ANNOTATION></TIER>'
    document = f"<TIME_ORDER>{slots}</TIME_ORDER>{tier}{count * '<TIER/>'}"
    path = write(tmp_path / "a.eaf", f"<ANNOTATION_DOCUMENT>{document}</ANNOTATION_DOCUMENT>")
    assert {(each.start, each.end) for each in read_segments(path)} == {(0.001, 0.009)}


def test_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.eaf", EAF)
    monkeypatch.setattr(elan, "MOST_ELEMENTS", 10)
    with pytest.raises(AnnotationError):
        read_segments(path)
    monkeypatch.setattr(elan, "EAF_BYTES", 100)
    with pytest.raises(FileSizeError) as caught:
        read_segments(path)
    assert caught.value.limit == 100


@pytest.mark.parametrize(
    "old, new, key",
    [
        ('TIME_SLOT_REF2="ts6"', 'TIME_SLOT_REF2="ts9"', "b1"),
        ('ANNOTATION_REF="b1"', 'ANNOTATION_REF="b9"', "b9"),
        ('TIME_VALUE="2500"', 'TIME_VALUE="x"', "ts6"),
        ('ANNOTATION_ID="b1"', 'ANNOTATION_ID="b2"', "b1"),
    ],
)
def test_missing_references_are_named(old: str, new: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError) as caught:
        read_segments(write(tmp_path / "a.eaf", EAF.replace(old, new)))
    assert caught.value.key == key


def test_annotations_that_refer_to_one_another_are_refused(tmp_path: Path) -> None:
    text = EAF.replace('ANNOTATION_ID="w1" ANNOTATION_REF="b1"', 'ANNOTATION_ID="w1" ANNOTATION_REF="w1"')
    with pytest.raises(AnnotationError):
        read_segments(write(tmp_path / "a.eaf", text))
