"""Align transcripts by a tiny CTC model with random weights; its letters are a to h."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from escoita.inference.aligner import (
    AlignedWord,
    Aligner,
    AlignerError,
    _place_without_letters,
    load_aligner,
    stated_license,
)
from escoita.inference.transcriber import Transcriber
from escoita.records.training import AdapterRecord, Prompt
from tests.conftest import ROOT
from tests.length_model import length_transcriber
from tests.models.samples import MMS_LETTERS, write_ctc, write_mms
from tests.samples import melody


RECORD = AdapterRecord(language="uz", prompt=Prompt(user=""), max_new_tokens=6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_ctc(tmp_path_factory.mktemp("ctc"))


@pytest.fixture
def aligner(model: str) -> Aligner:
    return Aligner(Transcriber.load(model, settings=RECORD), model)


@pytest.mark.parametrize("length", [1.0, 20.5, 47.3])
def test_windows_give_the_frames_of_the_whole_recording(length: float, aligner: Aligner) -> None:
    found, times = aligner.log_probabilities(melody(length))
    assert found.shape == (len(times), len(aligner.vocabulary))
    assert np.exp(found).sum(axis=1) == pytest.approx(np.ones(len(times)), abs=1e-4)
    steps = np.diff(times)
    assert steps.min() > 0 and steps.max() < 2 * np.median(steps)
    assert times[0] < np.median(steps) and times[-1] > length - 2 * np.median(steps)


def test_words_follow_one_another(aligner: Aligner) -> None:
    words, rest = aligner.align(melody(5.0), "Bad, fac e - cab!")
    assert [word.text for word in words] == ["Bad,", "fac", "e", "-", "cab!"]
    assert [word.letters for word in words] == [3, 3, 1, 0, 3]
    assert all(0 <= word.start <= word.end <= 5.0 for word in words) and rest >= 0
    assert all(before.end <= after.start + 1e-6 for before, after in zip(words, words[1:], strict=False))
    assert np.isnan(words[3].score) and all(word.score < 0 for word in words if word.letters)


def test_text_that_cannot_be_aligned_is_refused(aligner: Aligner) -> None:
    for text in ("123 !", "abc " * 500):
        with pytest.raises(AlignerError) as caught:
            aligner.align(melody(1.0), text)
        assert caught.value.path == aligner.name


def test_words_without_letters_have_a_place() -> None:
    def word(text: str, start: float, end: float, other: float = 0.0, letters: int = 2) -> AlignedWord:
        return AlignedWord(text, start, end, -0.1 if letters else math.nan, letters, other)

    def none(text: str) -> AlignedWord:
        return word(text, 0.0, 0.0, letters=0)

    words = [none("-"), word("ab.", 5, 6), none("-"), word("cd", 8, 9), none("25"), word("ef", 10.5, 11, 1.2)]
    words += [none("7"), word("gh", 20, 21, 8.5), none("-"), word("ij", 22, 23), none("!")]
    assert _place_without_letters(words, 0.0, 5.0, 23.0) == 0.0
    assert [(each.start, each.end) for each in words if not each.letters] == [
        (5, 5),
        (8, 8),
        (9, 10.5),
        (11, 11),
        (21, 21),
        (23, 23),
    ]
    assert [each.other for each in words if each.letters] == [0, 0, 0, 8.5, 0]
    ends = [none("-"), none("12"), word("ab.", 5, 6, 1.5), none("-"), none("1985"), none("7")]
    assert _place_without_letters(ends, 2.0, 3.4, 8.5) == 0.0
    assert [(each.start, each.end) for each in ends] == [(3.4, 3.4), (3.4, 5), (5, 6), (6, 6), (6, 8), (8, 8.5)]
    assert ends[2].other == 0
    # Longer speech is not that of the number.
    ends = [none("1"), word("ab", 5, 6, 1.5), none("2")]
    assert _place_without_letters(ends, 2.0, 3.4, 8.5) == 2.0
    assert [(each.start, each.end) for each in ends] == [(5, 5), (5, 6), (6, 6)] and ends[1].other == 1.5


def test_a_model_without_a_ctc_head_is_refused() -> None:
    with pytest.raises(AlignerError) as caught:
        Aligner(length_transcriber(), "model")
    assert caught.value.path == "model"


@pytest.mark.parametrize("adapter", [False, True])
def test_a_chat_model_is_refused_before_it_is_loaded(adapter: bool, tmp_path: Path) -> None:
    model = str(ROOT / "quickstart/gemma4")
    if adapter:
        (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": model}))
        model = str(tmp_path)
    with pytest.raises(AlignerError) as caught:
        load_aligner(model, "uz")
    assert caught.value.path == model


def test_letters_are_found_in_other_forms(aligner: Aligner) -> None:
    assert aligner.word_letters("Béx-D") == aligner.word_letters("bed")
    aligner.prepare_for("Bed áb")
    assert not aligner.romanized


def test_mms_has_the_letters_of_the_language(tmp_path: Path) -> None:
    model = write_mms(tmp_path / "mms")
    aligner = Aligner(Transcriber.load(model, settings=RECORD), model)
    assert set(aligner.letters) <= set(MMS_LETTERS["uzb-script_latin"])
    text = "".join(aligner.letters)
    words, _ = aligner.align(melody(3.0), f"{text} {text}")
    assert [word.letters for word in words] == [len(text)] * 2


def test_other_alphabets_are_romanized(aligner: Aligner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uroman", None)
    aligner.prepare_for("25 - 30")
    with pytest.raises(AlignerError) as caught:
        aligner.prepare_for("где баба")
    assert caught.value.path == aligner.name
    codes = []

    class Uroman:
        def romanize_string(self, text: str, lcode: str) -> str:
            codes.append(lcode)
            return text.translate(str.maketrans("гдеба", "gdeba"))

    monkeypatch.setitem(sys.modules, "uroman", SimpleNamespace(Uroman=Uroman))
    aligner.prepare_for("где баба")
    assert aligner.romanized and aligner.word_letters("баба") == [aligner.letters[each] for each in "baba"]
    assert set(codes) == {"uzb"}
    with pytest.raises(AlignerError):
        aligner.prepare_for("щщщ")


@pytest.mark.slow  # loading uroman takes ten seconds
def test_the_real_uroman_romanizes(aligner: Aligner) -> None:
    pytest.importorskip("uroman")
    aligner.prepare_for("где баба, дед")
    assert aligner.romanized and aligner.word_letters("баба,") == [aligner.letters[each] for each in "baba"]
    words, _ = aligner.align(melody(5.0), "Где баба, дед?")
    assert [(word.text, word.letters) for word in words] == [("Где", 3), ("баба,", 4), ("дед?", 3)]


def test_the_license_is_that_of_the_model_or_its_base(tmp_path: Path) -> None:
    adapter, base = tmp_path / "adapter", tmp_path / "base"
    for folder in (adapter, base):
        folder.mkdir()
    assert stated_license(str(adapter), str(base)) == ""
    (base / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Model\n")
    assert stated_license(str(adapter), str(base)) == "cc-by-nc-4.0"
    (adapter / "README.md").write_text("---\nlicense: mit\n---\n")
    assert stated_license(str(adapter), str(base)) == "mit"
    (adapter / "README.md").write_text("---\nlicense: [&a a, *a, {\n---\n")
    assert stated_license(str(adapter), str(base)) == "cc-by-nc-4.0"
