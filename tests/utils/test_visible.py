import pytest

from escoita.data.rows import Rejected
from escoita.errors import AudioError
from escoita.utils.formatting import visible


@pytest.mark.parametrize(
    "text, shown",
    [
        ("un\ndous", "un<U+000A>dous"),
        ("\ud800\x1b[2J", "<U+D800><U+001B>[2J"),
        ("a\u200bb", "a<U+200B>b"),
        ("می\u200cروم", "می\u200cروم"),
        ("oʻn ñ", "oʻn ñ"),
    ],
)
def test_what_cannot_be_seen_is_spelt_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_names_from_data_reach_no_terminal_as_they_are() -> None:
    name = "\x1b]0;owned\x07red.wav"
    for said in (AudioError("no such file", path=name), Rejected("m.jsonl", 3, name, "no such file")):
        assert str(said).endswith("<U+001B>]0;owned<U+0007>red.wav: no such file")
