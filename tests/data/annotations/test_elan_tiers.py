"""Add tiers to ELAN files, and check that nothing else of them changes, by our reader, by bytes and by pympi-ling."""

import re
from pathlib import Path

import pympi
import pytest

from escoita.data.annotations import elan, read_segments
from escoita.data.annotations.base import AnnotationError
from escoita.data.annotations.elan_tiers import DRAFT_TYPE, _Places, refuse_constrained, with_tiers
from escoita.data.annotations.new_tiers import NewSegment, NewTier, NewTierError
from tests.data.annotations.samples import write


# As ELAN writes it: an XML Schema, properties, a comment, an unaligned slot, attributes in another order.
FILE = """<?xml version="1.0" encoding="UTF-8"?>
<!-- kept -->
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-01-01T00:00:00+01:00" FORMAT="3.0" VERSION="3.0" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///talk.wav" MIME_TYPE="audio/x-wav" RELATIVE_MEDIA_URL="./talk.wav"/>
        <PROPERTY NAME="lastUsedAnnotationId">3</PROPERTY>
    </HEADER>
    <TIME_ORDER>
        <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="0"/>
        <TIME_SLOT TIME_SLOT_ID="ts2"/>
        <TIME_SLOT TIME_VALUE="2000" TIME_SLOT_ID="ts3"/>
        <TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="3000"/>
    </TIME_ORDER>
    <TIER LINGUISTIC_TYPE_REF="utt" PARTICIPANT="Ana" TIER_ID="tx@Ana">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts3">
                <ANNOTATION_VALUE>ola &amp; &lt;que&gt; tal</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
                <ANNOTATION_VALUE></ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="free" PARENT_REF="tx@Ana" TIER_ID="ft@Ana">
        <ANNOTATION>
            <REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1"><ANNOTATION_VALUE> </ANNOTATION_VALUE>
            </REF_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER TIER_ID="empty > one" LINGUISTIC_TYPE_REF="utt"/>
    <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="utt" TIME_ALIGNABLE="true"/>
    <LINGUISTIC_TYPE CONSTRAINTS="Symbolic_Association" LINGUISTIC_TYPE_ID="free" TIME_ALIGNABLE="false"/>
    <CONSTRAINT DESCRIPTION="1-1 association" STEREOTYPE="Symbolic_Association"/>
</ANNOTATION_DOCUMENT>
"""
TIERS = [
    NewTier("draft-1@Ana", [NewSegment(2.0, 3.0, 'bo "día" & <noite>')], "Ana"),
    NewTier("draft-1", [NewSegment(0.5, 0.9, "ñ ў"), NewSegment(3.25, 4.0, "fin")]),
]
ELEMENTS = (
    r"(?:\r?\n)?[ \t]*(?:<TIME_SLOT TIME_SLOT_ID=\"tsd\d+\"[^>]*/>"
    r"|<TIER LINGUISTIC_TYPE_REF=\"escoita-draft\".*?</TIER>|<LINGUISTIC_TYPE [^>]*\"escoita-draft\"[^>]*/>)"
)


def without_new_elements(content: bytes, encoding: str) -> bytes:
    return re.sub(ELEMENTS, "", content.decode(encoding), flags=re.DOTALL).encode(encoding)


@pytest.mark.parametrize(
    "text, encoding",
    [
        (FILE, "utf-8"),
        (FILE.replace("\n", "\r\n"), "utf-8"),
        ("\ufeff" + FILE, "utf-8"),
        ("\ufeff" + FILE.replace("UTF-8", "UTF-16").replace("\n", "\r\n"), "utf-16-le"),
        ("\ufeff" + FILE.replace("UTF-8", "UTF-16"), "utf-16-be"),
        (FILE.replace("UTF-8", "ISO-8859-1"), "latin-1"),
        (re.sub(r">\s+<", "><", FILE), "utf-8"),
        (FILE.replace("    ", "\t"), "utf-8"),
    ],
)
def test_every_byte_outside_of_the_new_elements_is_equal(text: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.eaf"
    path.write_bytes(text.encode(encoding))
    before = read_segments(path)
    content = with_tiers(path, TIERS)
    assert without_new_elements(content, encoding) == text.encode(encoding)
    path.write_bytes(content)
    after = read_segments(path)
    assert [each._replace(row=0) for each in after if each.kind != DRAFT_TYPE] == [
        each._replace(row=0) for each in before
    ]
    assert [
        (each.tier, each.speaker, each.start, each.end, each.text) for each in after if each.kind == DRAFT_TYPE
    ] == [(tier.name, tier.speaker, *segment) for tier in TIERS for segment in tier.segments]
    times = [int(each.get("TIME_VALUE", "-1")) for each in elan.parse(path).iter("TIME_SLOT")]
    assert [time for time in times if time >= 0] == sorted(time for time in times if time >= 0)


def test_pympi_reads_old_and_new_tiers(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.eaf", FILE)
    before = pympi.Eaf(path)
    path.write_bytes(with_tiers(path, TIERS))
    after = pympi.Eaf(path)
    assert list(after.get_tier_names()) == [*before.get_tier_names(), *(tier.name for tier in TIERS)]
    for name in ("tx@Ana", "empty > one"):
        assert after.get_annotation_data_for_tier(name) == before.get_annotation_data_for_tier(name)
    for tier in TIERS:
        found = [each[:3] for each in after.get_annotation_data_for_tier(tier.name)]
        assert found == [(1000 * start, 1000 * end, text) for start, end, text in tier.segments]
    assert after.get_parameters_for_tier("draft-1@Ana")["PARTICIPANT"] == "Ana"
    assert set(after.get_linguistic_type_names()) == {"utt", "free", DRAFT_TYPE}


@pytest.mark.parametrize("order", ["<TIME_ORDER/>", "<TIME_ORDER></TIME_ORDER>", "<TIME_ORDER>\n    </TIME_ORDER>"])
def test_a_file_without_annotations_gets_its_first_ones(order: str, tmp_path: Path) -> None:
    text = re.sub(r"<TIME_ORDER>.*</TIME_ORDER>", order, FILE, flags=re.DOTALL)
    text = re.sub(r"<TIER .*/>(?=\s+<LING)", "", text, count=1, flags=re.DOTALL)
    assert "ANNOTATION_ID" not in text
    path = write(tmp_path / "talk.eaf", text)
    path.write_bytes(with_tiers(path, TIERS))
    assert [each.text for each in read_segments(path)] == ['bo "día" & <noite>', "ñ ў", "fin"]
    assert len(pympi.Eaf(path).timeslots) == 6


def test_rounds_follow_one_another(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.eaf", FILE)
    path.write_bytes(with_tiers(path, TIERS))
    path.write_bytes(with_tiers(path, [NewTier("draft-2", [NewSegment(5.0, 6.0, "máis")])]))
    assert [each.text for each in read_segments(path)][-1] == "máis"
    ids = re.findall(r'(?:ANNOTATION|TIME_SLOT|LINGUISTIC_TYPE)_ID="([^"]+)"', path.read_text("utf-8"))
    assert len(ids) == len(set(ids))


def test_names_and_units_that_do_not_allow_it_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "talk.eaf", FILE)
    with pytest.raises(NewTierError) as caught:
        with_tiers(path, [NewTier("tx@Ana", [])])
    assert (caught.value.path, caught.value.key) == (path, "tx@Ana")
    write(path, FILE.replace('"milliseconds"', '"PAL-frames"'))
    with pytest.raises(NewTierError) as caught:
        with_tiers(path, TIERS)
    assert caught.value.key == "TIME_UNITS"
    kind = f'<LINGUISTIC_TYPE CONSTRAINTS="Time_Subdivision" LINGUISTIC_TYPE_ID="{DRAFT_TYPE}"/>'
    write(path, FILE.replace("    <CONSTRAINT ", f"    {kind}<CONSTRAINT "))
    with pytest.raises(NewTierError) as caught:
        with_tiers(path, TIERS)
    assert caught.value.key == DRAFT_TYPE


@pytest.mark.parametrize(
    "old, new, tier",
    [
        ("", "", "ft@Ana"),
        ('LINGUISTIC_TYPE_ID="utt"', 'CONTROLLED_VOCABULARY_REF="cv" LINGUISTIC_TYPE_ID="utt"', "tx@Ana"),
        ('LINGUISTIC_TYPE_ID="utt"', 'CONSTRAINTS="Included_In" LINGUISTIC_TYPE_ID="utt"', "tx@Ana"),
        ('TIME_SLOT_REF2="ts4"', 'TIME_SLOT_REF2="ts2"', "tx@Ana"),
    ],
)
def test_constraints_are_refused(old: str, new: str, tier: str, tmp_path: Path) -> None:
    path = write(tmp_path / "talk.eaf", FILE.replace(old, new) if old else FILE)
    with pytest.raises(NewTierError) as caught:
        refuse_constrained(path, {tier})
    assert (caught.value.path, caught.value.key) == (path, tier)


def test_a_tier_that_is_aligned_is_not_refused(tmp_path: Path) -> None:
    refuse_constrained(write(tmp_path / "talk.eaf", FILE), {"tx@Ana", "empty > one"})


def test_a_document_type_is_refused_also_if_the_file_changes_meanwhile() -> None:
    with pytest.raises(AnnotationError):
        _Places(Path("talk.eaf"), FILE.replace("<!-- kept -->", '<!DOCTYPE a [<!ENTITY b "c">]>').encode())


@pytest.mark.parametrize("value", ["2000x", "9" * 5000])
def test_times_that_are_no_numbers_are_refused(value: str, tmp_path: Path) -> None:
    path = write(tmp_path / "talk.eaf", FILE.replace('"2000"', f'"{value}"'))
    with pytest.raises(AnnotationError) as caught:
        with_tiers(path, TIERS)
    assert (caught.value.path, caught.value.key) == (path, "TIME_VALUE")
