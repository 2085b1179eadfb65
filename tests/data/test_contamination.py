from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.contamination import find_duplicates, find_leaks
from escoita.data.statistics import SHOWN_CHARACTERS, Measured
from escoita.metrics.characters import compared_form
from escoita.records.data import Duplicates, Leak, Pair, SharedBy
from tests.data.measures import clip, measured


PRINTS = [bytes(np.random.default_rng(seed).bytes(64)) for seed in range(6)]
A_DIGEST = "ca5e0d5c7f9a41d2"
TEXTS = st.lists(st.sampled_from(["un", "Un!", "dous", "dous tres", "dóus", "...", "?"]), min_size=1, max_size=8)


def leak(by: SharedBy, held_out: Measured, *seen: Measured) -> Leak:
    (found,) = (each for each in find_leaks(held_out, seen) if each.by == by)
    return found


def duplicates(by: str, *parts: Measured) -> Duplicates:
    (found,) = (each for each in find_duplicates(parts) if each.by == by)
    return found


def shown(pairs: list[Pair]) -> list[tuple[str, str, str]]:
    return [(pair.clip.id, f"{pair.like.split} {pair.like.corpus}", pair.like.id) for pair in pairs]


@pytest.mark.parametrize(
    "one, other",
    [
        ("Chiroqni yoq!", "chiroqni  yoq"),
        ("oʻn bir", "O'n bir"),
        ("oʻn bir", "o’n bir"),
        ("ma\u02bcno", "ma\u02b9no"),
        ("dóus", "do\u0301us"),
        ("Straße", "STRASSE"),
        ("İ", "i\u0307"),
        ("un-dous", "un dous"),
        ("¿que?", "que"),
    ],
)
def test_transcripts_that_are_the_same(one: str, other: str) -> None:
    assert compared_form(one) == compared_form(other) != ""


@pytest.mark.parametrize("one, other", [("dóus", "dous"), ("ano", "año"), ("1", "2"), ("कि", "का"), ("яд", "йд")])
def test_transcripts_that_are_not(one: str, other: str) -> None:
    assert compared_form(one) != compared_form(other)


def test_words_that_are_known_from_training() -> None:
    train = measured("bir ikki", "chiroqni yoq", "oʻn bir", "bir ikki")
    validation = measured("toʻqson", split="validation")
    test = measured("Bir, ikki!", "uch", "O'n bir", "bir-ikki", "TO`QSON", split="test")
    found = leak("transcript", test, train, validation)
    assert (found.corpus, found.split, found.seen) == ("voices", "test", ["train", "validation"])
    assert (found.compared, found.clips, found.share, found.distinct) == (5, 4, 0.8, 3)
    assert shown(found.examples) == [
        ("0", "train voices", "0"),
        ("2", "train voices", "2"),
        ("4", "validation voices", "0"),
    ]
    assert found.examples[1].clip.text == "O'n bir" and found.examples[1].like.text == "oʻn bir"


@given(st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
def test_figures_are_those_of_looking_one_by_one(seen: list[list[str]], held_out: list[str]) -> None:
    known = [compared_form(text) for texts in seen for text in texts]
    found = leak("transcript", measured(*held_out, split="test"), *(measured(*texts) for texts in seen))
    shared = [form for text in held_out if (form := compared_form(text)) and form in known]
    assert (found.clips, found.distinct, found.share) == (len(shared), len(set(shared)), len(shared) / len(held_out))
    assert len(found.examples) == len(set(shared))
    for pair in found.examples:
        assert compared_form(pair.clip.text) == compared_form(pair.like.text)
    again = duplicates("transcript", *(measured(*texts) for texts in seen))
    forms = [form for form in known if form]
    assert (again.clips, again.distinct) == (
        len(forms) - len(set(forms)),
        len({form for form in forms if forms.count(form) > 1}),
    )
    assert again.share == again.clips / len(known)


def spoken_clips(*speakers: str) -> list[tuple[dict[str, str], bytes]]:
    return [clip(f"{place}", speaker=speaker) for place, speaker in enumerate(speakers)]


def test_voices_that_are_known_from_training() -> None:
    test = measured(*spoken_clips("f1", "f2", "", "f1", "m9"), split="test")
    found = leak("speaker", test, measured(*spoken_clips("f1", "m9", "m9", "")))
    assert (found.compared, found.clips, found.share, found.distinct) == (4, 3, 0.6, 2)
    assert shown(found.examples) == [("0", "train voices", "0"), ("4", "train voices", "1")]


@pytest.mark.parametrize(
    "here, there, compared, clips",
    [
        (["speaker_0000017"], ["speaker_0000017"], 0, 0),
        ([A_DIGEST, "f1"], [A_DIGEST, "f1"], 1, 1),
        ([A_DIGEST], ["0" * 16], 1, 0),
        ([A_DIGEST], ["f1"], 0, 0),
        (["f1", ""], ["", ""], 0, 0),
    ],
    ids=["a short name", "a digest and a short name", "other digests", "a digest and none", "no names"],
)
def test_the_name_of_a_voice_in_another_corpus(
    here: Sequence[str], there: Sequence[str], compared: int, clips: int
) -> None:
    found = leak(
        "speaker",
        measured(*spoken_clips(*here), split="test"),
        measured(*spoken_clips(*there), corpus="others"),
    )
    assert (found.compared, found.clips) == (compared, clips)


def test_a_record_names_no_speaker() -> None:
    test = measured(*spoken_clips(A_DIGEST), split="test")
    assert A_DIGEST not in leak("speaker", test, measured(*spoken_clips(A_DIGEST))).model_dump_json()


def heard(*prints: bytes) -> list[tuple[dict[str, object], bytes]]:
    return [clip(f"text {place}", known=known) for place, known in enumerate(prints)]


def test_recordings_that_are_known_from_training() -> None:
    a, b, c, d = PRINTS[:4]
    nearly_b = bytes([b[0] ^ 1, *b[1:]])
    test = measured(*heard(nearly_b, c, b"", a, a), split="test")
    found = leak("audio", test, measured(*heard(d, b"")), measured(*heard(a, b, a, b""), corpus="others"))
    assert (found.compared, found.clips, found.share, found.distinct) == (5, 3, 0.6, 2)
    assert shown(found.examples) == [("0", "train others", "1"), ("3", "train others", "0")]


def test_recordings_that_come_again_in_a_split() -> None:
    a, b, c = PRINTS[:3]
    found = duplicates("audio", measured(*heard(a, b, a, b"", b"")), measured(*heard(c, a, b), corpus="others"))
    assert (found.split, found.clips, found.share, found.distinct) == ("train", 3, 3 / 8, 2)
    assert shown(found.examples) == [("2", "train voices", "0"), ("2", "train voices", "1")]


def test_as_many_copies_as_anybody_may_have_made() -> None:
    test, train = (measured(*heard(*[PRINTS[0]] * 3_000), split=split) for split in ("test", "train"))
    assert leak("audio", test, train).clips == 3_000
    assert duplicates("audio", train).clips == 2_999


def test_five_examples_at_most_and_each_once() -> None:
    texts = [f"text {place // 2}" for place in range(40)]
    found = leak("transcript", measured(*texts, split="test"), measured(*texts))
    assert found.clips == 40 and [pair.clip.id for pair in found.examples] == ["0", "2", "4", "6", "8"]


def test_examples_are_fit_for_a_record() -> None:
    long = "bir " * 200
    test = measured(clip(long, id="/srv/voices/a.wav"), split="test")
    (pair,) = leak("transcript", test, measured(clip(long, id="voices/a.wav"))).examples
    assert (pair.clip.id, pair.like.id) == ("a.wav", "voices/a.wav")
    assert len(pair.clip.text) == SHOWN_CHARACTERS and pair.clip.text.endswith("…")
