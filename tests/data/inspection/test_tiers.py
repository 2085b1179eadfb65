"""Test which tiers of annotation files are found to contain transcripts."""

from pathlib import Path

import pytest

from escoita.data.annotations.base import Segment
from escoita.data.inspection.listing import Listing
from escoita.data.inspection.segments import read_annotations
from escoita.data.inspection.tiers import choose_tiers, speaker_tiers, tier_lines
from escoita.data.readers.base import SelectionError
from tests.samples import write_clip


INTERVIEW, MARKET, STORY = Path("interview.eaf"), Path("market.eaf"), Path("story.TextGrid")


def tiers(path: Path, *names: str, kind: str = "", text: str = "bo día a todos") -> list[Segment]:
    """Return one segment for each tier; the type of a tier of a TextGrid is its name."""
    return [Segment(path.stem, 0.0, 1.0, text, name, kind=kind or name) for name in names]


FILES = {
    INTERVIEW: tiers(INTERVIEW, "Ana", "Brais", kind="default-lt"),
    MARKET: tiers(MARKET, "tx@Ana", "tx@Xan", kind="default-lt"),
    STORY: [*tiers(STORY, "f2", "m2"), *tiers(STORY, "notes", text="a dog barks")],
}


def test_each_file_has_its_own_tiers_of_transcripts() -> None:
    chosen = choose_tiers(FILES)
    assert chosen == {INTERVIEW: {"Ana", "Brais"}, MARKET: {"tx@Ana", "tx@Xan"}, STORY: {"f2", "m2"}}
    assert speaker_tiers(FILES, chosen) == {(path, tier) for path, names in chosen.items() for tier in names}
    lines = tier_lines(FILES, chosen)
    assert all(path.name in lines[0] for path in FILES) and "notes" in lines[1] and len(lines) == 2


def test_files_without_a_given_tier_are_named() -> None:
    chosen = choose_tiers(FILES, ["f2"])
    assert chosen == {INTERVIEW: set(), MARKET: set(), STORY: {"f2"}}
    assert INTERVIEW.name in tier_lines(FILES, chosen)[1]
    assert choose_tiers(FILES, ["default-lt"])[MARKET] == {"tx@Ana", "tx@Xan"}
    with pytest.raises(SelectionError) as caught:
        choose_tiers(FILES, ["Xan"])
    assert caught.value.key == "--tier" and "f2" in caught.value.available


def test_files_of_the_same_types_are_judged_together() -> None:
    one, two = Path("1.TextGrid"), Path("2.TextGrid")
    short = [*tiers(one, "a", text="si si"), *tiers(one, "b", text="non non non")]
    long = [*tiers(two, "a", text="unha oración longa"), *tiers(two, "b", text="x")]
    files = {
        one: [each._replace(kind="t" + each.tier) for each in short],
        two: [each._replace(kind="t" + each.tier) for each in long],
    }
    assert choose_tiers(files) == {one: {"a"}, two: {"a"}}


def test_tiers_without_text_are_those_chosen_for_their_type() -> None:
    empty = Path("new.eaf")
    files = FILES | {empty: tiers(empty, "Ana", "Brais", kind="default-lt", text="")}
    assert choose_tiers(files)[empty] == {"Ana", "Brais"}


def test_a_translation_does_not_replace_a_tier_that_is_still_to_be_transcribed() -> None:
    done, new = Path("a.eaf"), Path("b.eaf")
    files = {
        done: [*tiers(done, "default", kind="lt1", text=4 * "bo día "), *tiers(done, "en", kind="lt2")],
        new: [*tiers(new, "default", kind="lt1", text=""), *tiers(new, "en", kind="lt2", text="a dog barks")],
    }
    assert choose_tiers(files) == {done: {"default"}, new: {"default"}}
    files[new] = [each for each in files[new] if each.tier != "default"]
    assert choose_tiers(files)[new] == {"en"}


def test_one_tier_in_each_file_is_a_speaker_unless_its_name_states_the_type() -> None:
    one, two = Path("1.TextGrid"), Path("2.TextGrid")
    files = {one: tiers(one, "Ana"), two: tiers(two, "Brais")}
    assert speaker_tiers(files, choose_tiers(files)) == {(one, "Ana"), (two, "Brais")}
    files = {one: tiers(one, "sentences"), two: tiers(two, "text")}
    assert speaker_tiers(files, choose_tiers(files)) == set()


def test_formats_without_tiers_have_no_choice() -> None:
    path = Path("talk.srt")
    files = {path: [Segment("talk", 0.0, 1.0, "bo día")]}
    assert choose_tiers(files) == {path: set()} and tier_lines(files, {path: set()}) == []


def test_only_other_tiers_with_text_are_counted(tmp_path: Path) -> None:
    labels = {"text": "bo día a todos", "notes": "", "gloss": "good day"}
    tiers = "".join(f'"IntervalTier"\n"{name}"\n0\n1\n1\n0\n1\n"{text}"\n' for name, text in labels.items())
    content = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1\n<exists>\n3\n{tiers}'
    (tmp_path / "talk.TextGrid").write_text(content, "utf-8")
    write_clip(tmp_path / "talk.wav")
    found = read_annotations(Listing(tmp_path), "gl")
    assert found is not None and (found.tiers, found.other_tiers) == ({"text": 1}, {"gloss": 1})
