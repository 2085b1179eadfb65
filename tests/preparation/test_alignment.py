"""Cut recordings with known places of words into clips, and detect text that is not spoken."""

import math
from pathlib import Path

import numpy as np
import pytest

from escoita.audio.loading import SAMPLING_RATE
from escoita.data.inspection.turns import Turn
from escoita.data.rows import Utterance
from escoita.inference.aligner import AlignedWord, Aligner
from escoita.inference.transcriber import Transcriber
from escoita.preparation.alignment import (
    LONGEST,
    LOW_SCORE,
    OTHER_TEXT,
    SHORTEST,
    TOO_LONG,
    TOO_SHORT,
    UNSPOKEN_NUMBER,
    WITHOUT_LETTERS,
    align_recordings,
    cut_clips,
)
from escoita.records.training import AdapterRecord, Prompt
from tests.models.samples import write_ctc
from tests.samples import melody, write_clip


FRAME = 0.02


def talk(
    count: int, word_seconds: float = 0.4, pause: float = 0.1, sentence: int = 8, long: float = 0.8
) -> tuple[list[AlignedWord], np.ndarray]:
    """Return words of equal length with pauses, a longer one after each sentence, and noise where they are spoken."""
    words, now = [], 0.5
    for index in range(count):
        ends = index % sentence == sentence - 1
        text = f"w{index}" + "." * ends
        words.append(AlignedWord(text, now, now + word_seconds, math.log(0.9), 4, 0.0))
        now += word_seconds + (long if ends else pause)
    samples = np.zeros(round((now + 0.5) * SAMPLING_RATE), np.float32)
    noise = np.random.default_rng(1).standard_normal(len(samples)).astype(np.float32) * 0.1
    for word in words:
        part = slice(round(word.start * SAMPLING_RATE), round(word.end * SAMPLING_RATE))
        samples[part] = noise[part]
    return words, samples


def test_clips_are_cut_at_pauses_between_sentences() -> None:
    words, samples = talk(200)
    found = cut_clips(words, samples)
    assert not any(reason for _, reason in found)
    assert " ".join(clip.text for clip, _ in found).split() == [word.text for word in words]
    for clip, _ in found:
        assert SHORTEST <= clip.end - clip.start <= LONGEST and clip.score == pytest.approx(0.9, abs=1e-3)
        assert clip.text.endswith(".")
    for (before, _), (after, _) in zip(found, found[1:], strict=False):
        assert before.end <= after.start


def test_a_wrong_stretch_of_the_transcript_is_left_out() -> None:
    words, samples = talk(200)
    wrong = [word._replace(score=-8.0) if 80 <= index < 120 else word for index, word in enumerate(words)]
    found = cut_clips(wrong, samples)
    left_out = [clip for clip, reason in found if reason == LOW_SCORE]
    assert left_out and {reason for _, reason in found} == {"", LOW_SCORE}
    kept = {word for clip, reason in found if not reason for word in clip.text.split()}
    assert {word.text for word in words[:70]} <= kept and {word.text for word in words[130:]} <= kept
    assert not {word.text for word in words[90:110]} & kept


def test_a_single_wrong_sentence_is_left_out_and_a_single_unclear_word_is_not() -> None:
    words, samples = talk(200)
    wrong = [word._replace(score=-8.0) if 80 <= index < 88 else word for index, word in enumerate(words)]
    found = cut_clips(wrong, samples)
    left_out = [clip.text.split() for clip, reason in found if reason == LOW_SCORE]
    assert left_out == [[word.text for word in words[80:88]]]
    wrong[40] = wrong[40]._replace(score=-2.0)
    assert [clip.text.split() for clip, reason in cut_clips(wrong, samples) if reason] == left_out
    assert not any(reason == LOW_SCORE for _, reason in cut_clips(wrong, samples, 0.0))


def test_another_text_with_some_equal_words_is_left_out() -> None:
    words, samples = talk(200)
    other = [word if 80 <= index < 96 else word._replace(score=-8.0) for index, word in enumerate(words)]
    reasons = {reason for _, reason in cut_clips(other, samples)}
    assert reasons == {LOW_SCORE, OTHER_TEXT}


def test_no_clip_has_two_speakers() -> None:
    words, samples = talk(200, long=0.1)
    speakers = ["Ana" if index // 16 % 2 else "Brais" for index in range(200)]
    names = {word.text: speaker for word, speaker in zip(words, speakers, strict=True)}
    found = cut_clips(words, samples, speakers=speakers)
    assert not any(reason for _, reason in found)
    for clip, _ in found:
        assert {names[word] for word in clip.text.split()} == {clip.speaker}
    for (before, _), (after, _) in zip(found, found[1:], strict=False):
        assert before.end <= after.start


def test_speech_without_text_lies_in_no_clip() -> None:
    words, samples = talk(40)
    gap = 5.0
    later = [word._replace(start=word.start + gap, end=word.end + gap) for word in words[20:]]
    later[0] = later[0]._replace(other=gap)
    place = round((words[19].end + 0.05) * SAMPLING_RATE)
    noise = np.full(round(gap * SAMPLING_RATE), 0.1, np.float32)
    found = cut_clips([*words[:20], *later], np.concatenate([samples[:place], noise, samples[place:]]))
    start, end = words[19].end, later[0].start
    for clip, _ in found:
        assert min(clip.end, end) - max(clip.start, start) < 0.45
    assert not any(words[19].text in clip.text and words[20].text in clip.text for clip, _ in found)


def test_clips_that_are_too_short_or_too_long_or_have_no_letters_are_left_out() -> None:
    words, samples = talk(2)
    assert [reason for _, reason in cut_clips(words, samples)] == [TOO_SHORT]
    long = [AlignedWord("long", 1.0, 40.0, -0.1, 4, 0.0)]
    assert [reason for _, reason in cut_clips(long, np.zeros(41 * SAMPLING_RATE, np.float32))] == [TOO_LONG]
    none = [AlignedWord("25", 0.0, 0.0, math.nan, 0, 0.0)]
    assert [reason for _, reason in cut_clips(none, samples)] == [WITHOUT_LETTERS]


def test_a_clip_with_a_number_needs_speech_for_it() -> None:
    words, samples = talk(8)
    first, last = words[0].start, words[-1].end
    number = AlignedWord("1985.", last, last, math.nan, 0, 0.0)
    assert [reason for _, reason in cut_clips([*words, number], samples)] == [UNSPOKEN_NUMBER]
    assert [reason for _, reason in cut_clips([number._replace(start=first, end=first), *words], samples)] == [
        UNSPOKEN_NUMBER
    ]
    for placed in (number._replace(end=last + 0.3), number._replace(text="-")):
        ((clip, reason),) = cut_clips([*words, placed], samples)
        assert not reason and clip.end >= placed.end


class KnownAligner(Aligner):
    """Return the probabilities of known letters: those of `spoken`, a second for each word with a pause after it."""

    spoken = ""

    def log_probabilities(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames = round(len(samples) / SAMPLING_RATE / FRAME)
        found = np.full((frames, len(self.vocabulary)), 0.03 / (len(self.vocabulary) - 1))
        best = np.full(frames, self.blank)
        for number, word in enumerate(self.spoken.split()):
            for place, letter in enumerate(word):
                best[number * 50 + 5 + 4 * place] = self.letters[letter]
        found[np.arange(frames), best] = 0.97
        return np.log(found), (np.arange(frames) + 0.5) * FRAME


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_number_at_an_end_takes_the_speech_there(place: str, tmp_path: Path) -> None:
    model = write_ctc(tmp_path / "ctc")
    settings = AdapterRecord(language="uz", prompt=Prompt(user=""), max_new_tokens=6)
    aligner = KnownAligner(Transcriber.load(model, settings=settings), model)
    aligner.spoken = letters(10, 1)
    spoken = aligner.spoken.split()
    text = " ".join(["12", *spoken[1:]] if place == "first" else [*spoken[:-1], "12."])
    samples = melody(10.5)
    words, rest = aligner.align(samples, text)
    number = words[0 if place == "first" else -1]
    start = 0.0 if place == "first" else 9.0
    assert abs(number.start - start) < 0.4 and number.end - number.start > 0.5
    assert not rest and not any(word.other for word in words)
    ((clip, reason),) = cut_clips(words, samples)
    assert (clip.text, reason) == (text, "") and clip.start <= number.start and clip.end >= number.end


def letters(count: int, seed: int) -> str:
    draw = np.random.default_rng(seed)
    return " ".join("".join(draw.choice(list("abcdefgh"), 8)) for _ in range(count))


def utterance(path: Path, text: str) -> Utterance:
    return Utterance("talk", str(path), text, "", "uz", "talk.txt", 1)


def test_recordings_are_aligned_and_other_text_is_detected(tmp_path: Path) -> None:
    model = write_ctc(tmp_path / "ctc")
    settings = AdapterRecord(language="uz", prompt=Prompt(user=""), max_new_tokens=6)
    aligner = KnownAligner(Transcriber.load(model, settings=settings), model)
    text = letters(60, 1)
    aligner.spoken = text
    loud = np.arange(60 * SAMPLING_RATE) % SAMPLING_RATE < 0.8 * SAMPLING_RATE
    path = write_clip(tmp_path / "talk.wav", melody(60.0) * loud)
    words, _ = aligner.align(np.zeros(60 * SAMPLING_RATE, np.float32), text)
    errors = [abs(word.start - (number + 0.1)) for number, word in enumerate(words)]
    assert float(np.median(errors)) < 0.06
    found = align_recordings([utterance(path, text)], aligner)
    assert not found.left_out and not found.rejected
    assert " ".join(row.text for row in found.rows) == text
    assert all(found.scores[row.id] > 0.9 and SHORTEST <= (row.duration or 0) <= LONGEST for row in found.rows)
    wrong = align_recordings([utterance(path, letters(60, 2))], aligner)
    assert not wrong.rows and set(wrong.left_out) <= {LOW_SCORE, TOO_SHORT, OTHER_TEXT}
    missing = align_recordings([utterance(path, " ".join(text.split()[:40]))], aligner)
    assert missing.other_seconds > 2 and all((row.offset or 0) < 41 for row in missing.rows)
    turns = [Turn("Ana", " ".join(text.split()[:21])), Turn("Brais", " ".join(text.split()[21:]))]
    named = align_recordings([utterance(path, text)], aligner, turns={str(path): turns})
    assert {
        speaker: sum(len(row.text.split()) for row in named.rows if row.speaker == speaker)
        for speaker in ("Ana", "Brais")
    } == {"Ana": 21, "Brais": 39}
    broken = align_recordings([utterance(tmp_path / "none.wav", text)], aligner)
    assert len(broken.rejected) == 1
