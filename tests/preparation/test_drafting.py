"""Test drafts in annotation files, their corrections, and reading these."""

import json
from pathlib import Path

import pympi
import pytest
from praatio import textgrid as praatio

from escoita.data.annotations import read_segments
from escoita.data.annotations.drafts import DRAFTS, read_drafts
from escoita.data.annotations.new_tiers import NewTierError
from escoita.data.annotations.rules import UNCHANGED, SegmentRules
from escoita.data.inspection import inspect
from escoita.data.inspection.found import Found
from escoita.data.inspection.listing import Listing
from escoita.preparation.drafting import Drafted, DraftFormat, draft_recordings, find_work
from tests.preparation.speech import counting_model, write_talk


def draft(folder: Path, new_format: DraftFormat = "eaf", longest: float = 30.0) -> list[Drafted]:
    work, _ = find_work(Listing(folder), "gl")
    return list(draft_recordings(folder, work, counting_model(longest), "model", new_format))


def prepared(folder: Path, reviewed: bool = False) -> Found:
    return inspect(str(folder), "gl", folder / "x", rules=SegmentRules(drafts_reviewed=reviewed))


def eaf(path: Path, segments: list[tuple[float, float, str]], kind: str = 'TIME_ALIGNABLE="true"') -> Path:
    """Write an ELAN file with one tier of a speaker."""
    slots, annotations = [], []
    for number, (start, end, text) in enumerate(segments):
        for place, time in (("s", start), ("e", end)):
            slots.append(f'<TIME_SLOT TIME_SLOT_ID="{place}{number}" TIME_VALUE="{round(1000 * time)}"/>')
        annotations.append(
            f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" TIME_SLOT_REF1="s{number}"'
            f' TIME_SLOT_REF2="e{number}"><ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION>'
            "</ANNOTATION>"
        )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT FORMAT="3.0" VERSION="3.0"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">\n'
        f'<HEADER TIME_UNITS="milliseconds"/>\n<TIME_ORDER>{"".join(slots)}</TIME_ORDER>\n'
        f'<TIER TIER_ID="utterance@Ana" PARTICIPANT="Ana" LINGUISTIC_TYPE_REF="utt">{"".join(annotations)}</TIER>\n'
        f'<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="utt" {kind}/>\n</ANNOTATION_DOCUMENT>\n',
        "utf-8",
    )
    return path


def test_segments_without_a_transcript_are_drafted(tmp_path: Path) -> None:
    times = write_talk(tmp_path / "talk.wav")
    path = eaf(tmp_path / "talk.eaf", [(*times[0], "bo día"), (*times[1], "")])
    before = path.read_bytes()
    (found,) = draft(tmp_path)
    assert found.error is None and found.file == path and set(found.tiers) == {"draft-1@Ana", "draft-1"}
    assert (tmp_path / "talk.eaf.before-draft-1").read_bytes() == before
    drafts = [each for each in read_segments(path) if each.tier.startswith("draft")]
    assert [(each.start, each.end) for each in drafts if each.speaker == "Ana"] == [pytest.approx(times[1], abs=0.001)]
    others = [each for each in drafts if not each.speaker]
    assert others and all(times[2][0] - 0.1 <= each.start < each.end <= times[2][1] + 0.1 for each in others)
    recorded = read_drafts(tmp_path)
    assert sorted((each.tier, each.text) for each in recorded) == sorted((each.tier, each.text) for each in drafts)
    assert {(each.file, each.recording, each.round) for each in recorded} == {("talk.eaf", "talk.wav", 1)}
    assert [each.removed for each in find_work(Listing(tmp_path), "gl")[0]] == [0]
    # A second round has nothing to draft: the drafts of the first one cover it.
    assert draft(tmp_path)[0].segments == 0


def test_corrections_are_read_and_unchanged_drafts_are_not(tmp_path: Path) -> None:
    times = write_talk(tmp_path / "talk.wav")
    path = eaf(tmp_path / "talk.eaf", [(*times[0], "bo día"), (*times[1], "")])
    draft(tmp_path)
    (of_ana,) = [each for each in read_segments(path) if each.tier == "draft-1@Ana"]
    path.write_text(path.read_text("utf-8").replace(of_ana.text, "borrador corrixido"), "utf-8")
    found = prepared(tmp_path)
    assert [(row.text, row.speaker) for row in found.rows] == [
        ("bo día", "Ana"),
        ("borrador corrixido", "Ana"),
    ]
    (first,) = found.rounds
    assert (first.changed, first.removed, first.words, first.word_edits) == (1, 0, 2, 1)
    assert found.left_out[UNCHANGED] == first.unchanged == first.segments - 1
    reviewed = prepared(tmp_path, reviewed=True)
    assert len(reviewed.rows) == 1 + first.segments
    assert reviewed.rounds[0].words == 2 * first.segments and reviewed.rounds[0].word_edits == 1


def test_a_correction_in_the_tier_of_transcripts_replaces_the_draft(tmp_path: Path) -> None:
    times = write_talk(tmp_path / "talk.wav", 2)
    path = eaf(tmp_path / "talk.eaf", [(*times[0], "bo día"), (*times[1], "")])
    draft(tmp_path)
    text = path.read_text("utf-8")
    path.write_text(
        text.replace("<ANNOTATION_VALUE></ANNOTATION_VALUE>", "<ANNOTATION_VALUE>outra cousa</ANNOTATION_VALUE>"),
        "utf-8",
    )
    found = prepared(tmp_path)
    assert [row.text for row in found.rows] == ["bo día", "outra cousa"]
    assert (found.rounds[0].changed, found.rounds[0].unchanged, found.rounds[0].word_edits) == (1, 0, 2)


def test_removed_drafts_are_counted(tmp_path: Path) -> None:
    times = write_talk(tmp_path / "talk.wav", 2)
    path = eaf(tmp_path / "talk.eaf", [(*times[0], "bo día")])
    before = path.read_bytes()
    (done,) = draft(tmp_path)
    path.write_bytes(before)
    found = prepared(tmp_path)
    assert found.rounds[0].removed == done.segments and [row.text for row in found.rows] == ["bo día"]
    # They were noise, and are not drafted again, unless their lines are removed from the record.
    assert [each.removed for each in find_work(Listing(tmp_path), "gl")[0]] == [done.segments]
    assert draft(tmp_path)[0].segments == 0
    for path in (tmp_path / DRAFTS, tmp_path / "talk.eaf.before-draft-1"):
        path.unlink()
    assert [each.removed for each in find_work(Listing(tmp_path), "gl")[0]] == [0]
    assert draft(tmp_path)[0].segments == done.segments


def test_a_draft_without_its_record_is_not_used(tmp_path: Path) -> None:
    times = write_talk(tmp_path / "talk.wav", 2)
    eaf(tmp_path / "talk.eaf", [(*times[0], "bo día")])
    draft(tmp_path)
    (tmp_path / DRAFTS).unlink()
    found = prepared(tmp_path)
    assert [row.text for row in found.rows] == ["bo día"] and found.left_out[UNCHANGED]


@pytest.mark.parametrize("new_format", ["eaf", "textgrid", "srt", "vtt"])
def test_recordings_without_annotations_get_a_file(new_format: DraftFormat, tmp_path: Path) -> None:
    times = write_talk(tmp_path / "talk.wav", 2)
    (found,) = draft(tmp_path, new_format)
    assert found.file is not None and found.error is None
    segments = [each for each in read_segments(found.file) if each.text]
    assert len(segments) == found.segments >= 2
    assert all(any(start - 0.1 <= each.start < each.end <= end + 0.1 for start, end in times) for each in segments)
    if new_format == "eaf":
        assert pympi.Eaf(found.file).get_tier_names()
    elif new_format == "textgrid":
        assert praatio.openTextgrid(str(found.file), includeEmptyIntervals=True).tierNames == ("draft-1",)
    text = found.file.read_text("utf-8")
    found.file.write_text(text.replace(segments[0].text, "corrixido"), "utf-8")
    assert [row.text for row in prepared(tmp_path).rows] == ["corrixido"]


def test_predictions_of_label_studio_return_as_annotations(tmp_path: Path) -> None:
    write_talk(tmp_path / "talk.wav", 1)
    (found,) = draft(tmp_path, "label-studio")
    assert found.file is not None
    (task,) = json.loads(found.file.read_bytes())
    (prediction,) = task.pop("predictions")
    assert prediction["model_version"] == "model"
    text = next(each for each in prediction["result"] if each["type"] == "textarea")
    text["value"]["text"] = ["corrixido"]
    task["annotations"] = [{"result": prediction["result"]}]
    (tmp_path / "export.json").write_text(json.dumps([task]))
    after = prepared(tmp_path)
    assert "corrixido" in [row.text for row in after.rows] and after.rounds[0].changed == 1


def test_constraints_are_reported_and_other_recordings_are_drafted(tmp_path: Path) -> None:
    for name in ("one", "two"):
        times = write_talk(tmp_path / f"{name}.wav", 1)
        kind = 'CONTROLLED_VOCABULARY_REF="cv"' if name == "one" else 'TIME_ALIGNABLE="true"'
        eaf(tmp_path / f"{name}.eaf", [(*times[0], "")], kind)
    before = (tmp_path / "one.eaf").read_bytes()
    one, two = draft(tmp_path)
    assert isinstance(one.error, NewTierError) and one.error.key == "utterance@Ana" and two.segments == 1
    assert (tmp_path / "one.eaf").read_bytes() == before
    assert {each.file for each in read_drafts(tmp_path)} == {"two.eaf"}


def test_an_empty_segment_that_is_too_long_is_refused(tmp_path: Path) -> None:
    times = write_talk(tmp_path / "talk.wav", 1)
    eaf(tmp_path / "talk.eaf", [(*times[0], "")])
    (found,) = draft(tmp_path, longest=0.2)
    assert isinstance(found.error, NewTierError)


def test_a_copy_of_an_earlier_draft_is_not_overwritten(tmp_path: Path) -> None:
    times = write_talk(tmp_path / "talk.wav", 1)
    path = eaf(tmp_path / "talk.eaf", [(*times[0], "")])
    before = path.read_bytes()
    (tmp_path / "talk.eaf.before-draft-1").write_text("mine")
    (found,) = draft(tmp_path)
    assert isinstance(found.error, NewTierError) and path.read_bytes() == before
    assert (tmp_path / "talk.eaf.before-draft-1").read_text() == "mine" and not read_drafts(tmp_path)


def test_a_file_of_another_purpose_is_not_overwritten(tmp_path: Path) -> None:
    write_talk(tmp_path / "talk.wav", 1)
    (tmp_path / "talk.draft-1.srt").write_text("mine")
    (found,) = draft(tmp_path, "srt")
    assert isinstance(found.error, NewTierError) and (tmp_path / "talk.draft-1.srt").read_text() == "mine"
