import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from escoita.text import normalizer


WHISPER = BasicTextNormalizer()


@given(st.text())
def test_raw_changes_nothing(text: str) -> None:
    assert normalizer("raw")(text) == text


@given(st.text() | st.text(st.sampled_from("aÑé¿?%oʻʼ’'-[](){}<> \t\n")))
def test_basic_is_whispers_without_edge_spaces(text: str) -> None:
    assert normalizer("basic")(text) == WHISPER(text).strip()


@pytest.mark.parametrize(
    "text, expected",
    [
        ("¿Que hora é, Antón?", "que hora é antón"),
        ("Mañá [música] chámame (si)", "mañá chámame"),
        ("O‘zbek", "o zbek"),
    ],
)
def test_basic_by_hand(text: str, expected: str) -> None:
    assert normalizer("basic")(text) == expected


def test_an_unknown_normaliser() -> None:
    with pytest.raises(ValueError, match="no normaliser is called 'english'"):
        normalizer("english")
