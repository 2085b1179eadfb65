"""Test the detection of transcripts that differ from the speech, and the composition of characters."""

import unicodedata

import pytest

from escoita.data.rows import Utterance, Utterances
from escoita.data.transcripts import TEXT_KINDS, composed, text_outliers


@pytest.mark.parametrize(
    "text, kind",
    [
        ("ola\u00a0mundo", "invisible"),
        ("ola\ufeff", "invisible"),
        ("soft\u00adware", "invisible"),
        ("a\u200bb", "invisible"),
        ("naïve\u200d", "invisible"),
        ("a&amp;b", "entity"),
        ("l&#39;any", "entity"),
        ("caf&eacute;", "entity"),
        ("nan", "placeholder"),
        (" NULL ", "placeholder"),
        ("None", "placeholder"),
        ("si [risas] si", "note"),
        ("si (risas) si", "note"),
        ("<unk> si", "note"),
        ("你好（笑）", "note"),
        ("Tiê\u0301ng", "unicode"),
    ],
)
def test_each_kind_is_found(text: str, kind: str) -> None:
    found = text_outliers(["qué tal", text])
    assert {name for name in TEXT_KINDS if found[name]} == {kind}
    assert list(found[kind]) == [1] and found[kind][1]  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        "qué tal, Ñandú?",
        "می\u200cخواهم",
        "ශ්\u200dරී ලංකා",
        "ភាសា\u200bខ្មែរ",
        "ภาษา\u200bไทย",
        "R&D; a & b; AT&T",
        "[ sen fin",
        "banana nula",
        unicodedata.normalize("NFC", "हिन्दी क़लम"),
    ],
)
def test_usual_texts_are_no_outliers(text: str) -> None:
    assert not any(text_outliers(["qué tal", text]).values())


def test_a_corpus_in_one_form_has_no_outliers_of_form() -> None:
    decomposed = [unicodedata.normalize("NFD", text) for text in ("está", "á", "abc")]
    assert not text_outliers(decomposed)["unicode"]
    assert set(text_outliers([*decomposed, "está"])["unicode"]) == {0, 1}


def test_transcripts_are_composed() -> None:
    texts = ["esta\u0301", "está", "abc"]
    rows = Utterances.of(Utterance(str(row), "a.wav", text, "c", "gl", "s", row) for row, text in enumerate(texts))
    chosen = rows.take([2, 0])
    result, changed = composed(chosen)
    assert (result.column("text"), changed) == (["abc", "está"], 1)
    assert chosen.column("text") == ["abc", "esta\u0301"]
    assert composed(rows.take([1, 2]))[1] == 0
