from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.contamination import find_duplicates, find_leaks
from escoita.data.statistics import SHOWN_CHARACTERS, Measured
from escoita.metrics.characters import compared_form
from escoita.records.data import Duplicates, Leak, Pair, SharedBy
from tests.audio.long_recordings import spoken_clips as spoken_samples
from tests.data.measures import clip, measured
from tests.samples import write_clip


FINGERPRINTS = [bytes(np.random.default_rng(seed).bytes(64)) for seed in range(6)]
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


def test_transcripts_of_training_in_test() -> None:
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
def test_counts_are_those_of_a_pairwise_comparison(seen: list[list[str]], held_out: list[str]) -> None:
    known = [compared_form(text) for texts in seen for text in texts]
    found = leak("transcript", measured(*held_out, split="test"), *(measured(*texts) for texts in seen))
    shared = [form for text in held_out if (form := compared_form(text)) and form in known]
    assert (found.clips, found.distinct, found.share) == (len(shared), len(set(shared)), len(shared) / len(held_out))
    assert len(found.examples) == len(set(shared))
    for pair in found.examples:
        assert compared_form(pair.clip.text) == compared_form(pair.like.text)
    repeated = duplicates("transcript", *(measured(*texts) for texts in seen))
    forms = [form for form in known if form]
    assert (repeated.clips, repeated.distinct) == (
        len(forms) - len(set(forms)),
        len({form for form in forms if forms.count(form) > 1}),
    )
    assert repeated.share == repeated.clips / len(known)


def spoken_clips(*speakers: str) -> list[tuple[dict[str, str], bytes]]:
    return [clip(f"{index}", speaker=speaker) for index, speaker in enumerate(speakers)]


def test_speakers_of_training_in_test() -> None:
    test = measured(*spoken_clips("f1", "f2", "", "f1", "m9"), split="test")
    found = leak("speaker", test, measured(*spoken_clips("f1", "m9", "m9", "")))
    assert (found.compared, found.clips, found.share, found.distinct) == (4, 3, 0.6, 2)
    assert shown(found.examples) == [("0", "train voices", "0"), ("4", "train voices", "1")]


@pytest.mark.parametrize(
    "test_names, train_names, compared, clips",
    [
        (["speaker_0000017"], ["speaker_0000017"], 0, 0),
        ([A_DIGEST, "f1"], [A_DIGEST, "f1"], 1, 1),
        ([A_DIGEST], ["0" * 16], 1, 0),
        ([A_DIGEST], ["f1"], 0, 0),
        (["f1", ""], ["", ""], 0, 0),
    ],
    ids=["a short name", "a digest and a short name", "other digests", "a digest and none", "no names"],
)
def test_speaker_names_in_different_corpora(
    test_names: Sequence[str], train_names: Sequence[str], compared: int, clips: int
) -> None:
    found = leak(
        "speaker",
        measured(*spoken_clips(*test_names), split="test"),
        measured(*spoken_clips(*train_names), corpus="others"),
    )
    assert (found.compared, found.clips) == (compared, clips)


def test_a_record_contains_no_speaker_name() -> None:
    test = measured(*spoken_clips(A_DIGEST), split="test")
    assert A_DIGEST not in leak("speaker", test, measured(*spoken_clips(A_DIGEST))).model_dump_json()


def with_fingerprints(*fingerprints: bytes) -> list[tuple[dict[str, object], bytes]]:
    return [clip(f"text {index}", fingerprint=each) for index, each in enumerate(fingerprints)]


def test_recordings_of_training_in_test() -> None:
    a, b, c, d = FINGERPRINTS[:4]
    nearly_b = bytes([b[0] ^ 1, *b[1:]])
    test = measured(*with_fingerprints(nearly_b, c, b"", a, a), split="test")
    found = leak(
        "audio",
        test,
        measured(*with_fingerprints(d, b"")),
        measured(*with_fingerprints(a, b, a, b""), corpus="others"),
    )
    assert (found.compared, found.clips, found.share, found.distinct) == (5, 3, 0.6, 2)
    assert shown(found.examples) == [("0", "train others", "1"), ("3", "train others", "0")]


def test_duplicate_recordings_in_a_split() -> None:
    a, b, c = FINGERPRINTS[:3]
    found = duplicates(
        "audio",
        measured(*with_fingerprints(a, b, a, b"", b"")),
        measured(*with_fingerprints(c, a, b), corpus="others"),
    )
    assert (found.split, found.clips, found.share, found.distinct) == ("train", 3, 3 / 8, 2)
    assert shown(found.examples) == [("2", "train voices", "0"), ("2", "train voices", "1")]


def test_thousands_of_copies_of_one_recording() -> None:
    test, train = (
        measured(*with_fingerprints(*[FINGERPRINTS[0]] * 3_000), split=split) for split in ("test", "train")
    )
    assert leak("audio", test, train).clips == 3_000
    assert duplicates("audio", train).clips == 2_999


def test_at_most_five_distinct_examples() -> None:
    texts = [f"text {index // 2}" for index in range(40)]
    found = leak("transcript", measured(*texts, split="test"), measured(*texts))
    assert found.clips == 40 and [pair.clip.id for pair in found.examples] == ["0", "2", "4", "6", "8"]


def test_examples_are_shortened_and_contain_no_folder() -> None:
    long = "bir " * 200
    test = measured(clip(long, id="/srv/voices/a.wav"), split="test")
    (pair,) = leak("transcript", test, measured(clip(long, id="voices/a.wav"))).examples
    assert (pair.clip.id, pair.like.id) == ("a.wav", "voices/a.wav")
    assert len(pair.clip.text) == SHOWN_CHARACTERS and pair.clip.text.endswith("…")


def near_pair(folder: Path, seconds: float, copied: bool) -> tuple[Measured, Measured]:
    """Return a test and a training corpus of one clip each, with close fingerprints."""
    (samples,), _ = spoken_samples("uz", 1)
    first = write_clip(folder / "first.wav", samples)
    other = samples / 2 if copied else np.random.default_rng(0).normal(0, 0.1, len(samples))
    second = write_clip(folder / "second.wav", other)
    near = bytes([FINGERPRINTS[0][0] ^ 1, *FINGERPRINTS[0][1:]])
    rows = [
        clip("bir", seconds, fingerprint, audio=str(path))
        for path, fingerprint in ((first, FINGERPRINTS[0]), (second, near))
    ]
    return measured(rows[0], split="test"), measured(rows[1])


@pytest.mark.parametrize(
    "seconds, copied, found",
    [(0.5, True, 1), (0.5, False, 0), (1.5, False, 1)],
    ids=["a short copy", "short clips that differ", "long clips with close fingerprints"],
)
def test_copies_of_short_clips_are_confirmed(tmp_path: Path, seconds: float, copied: bool, found: int) -> None:
    test, train = near_pair(tmp_path, seconds, copied)
    assert leak("audio", test, train).clips == found
    assert duplicates("audio", test, train).clips == found


def test_a_short_clip_that_was_removed_is_compared_by_its_fingerprint(tmp_path: Path) -> None:
    test, train = near_pair(tmp_path, 0.5, copied=False)
    (tmp_path / "first.wav").unlink()
    assert leak("audio", test, train).clips == 1
