import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from escoita.data.rows import Rejected
from escoita.errors import AudioError
from escoita.utils import formatting
from escoita.utils.formatting import visible


MARKDOWN = MarkdownIt("commonmark").enable("table")
# Without NUL, which CommonMark replaces.
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
MARKUP = st.text(st.sampled_from("#*_`[]()<>|~\\!&;=+-.:1a $\"'{}%\n\t"))


def inlines(source: str) -> list[Token]:
    return [token for token in MARKDOWN.parse(source) if token.type == "inline"]


def shown(token: Token) -> str:
    """Return the text of a line that contains only text."""
    children = token.children or []
    assert {child.type for child in children} <= {"text", "text_special", "softbreak"}, token.content
    return "".join(child.content for child in children)


@given(ANY | MARKUP)
def test_line_shows_the_text_unchanged(value: str) -> None:
    words = " ".join(value.split())
    assert [shown(token) for token in inlines(formatting.line(value))] == ([words] if words else [])
    assert [token.type for token in MARKDOWN.parse(formatting.line(value))] == (
        ["paragraph_open", "inline", "paragraph_close"] if words else []
    )


@given(MARKUP, MARKUP)
def test_line_does_not_leave_a_table_cell(first: str, second: str) -> None:
    table = f"| a | b |\n|---|---|\n| {formatting.line(first)} | {formatting.line(second)} |\n"
    cells = [shown(token) for token in inlines(table)]
    assert cells == ["a", "b", " ".join(first.split()), " ".join(second.split())]


@given(ANY | MARKUP)
def test_code_shows_the_text_unchanged(value: str) -> None:
    words = " ".join(value.split())
    if words:
        (token,) = inlines(f"Prompt: {formatting.code(value)}.")
        assert [(child.type, child.content) for child in token.children or []] == [
            ("text", "Prompt: "),
            ("code_inline", words),
            ("text", "."),
        ]


@given(MARKUP)
def test_code_does_not_leave_a_table_cell(value: str) -> None:
    words = " ".join(value.split())
    if words:
        table = f"| a | b |\n|---|---|\n| {formatting.code_cell(value)} | c |\n"
        *_, cell, last = inlines(table)
        assert [(child.type, child.content) for child in cell.children or []] == [("code_inline", words)]
        assert last.content == "c"


def test_numbers_at_the_start_of_a_line_are_not_escaped() -> None:
    assert [formatting.line(value) for value in ("74.00 % of it", "-5", "1. one", "# 5")] == [
        "74.00 % of it",
        "-5",
        "1\\. one",
        "\\# 5",
    ]


@given(ANY | MARKUP, MARKUP)
def test_linked_text_has_only_the_given_address(value: str, path: str) -> None:
    (token,) = inlines(f"See {formatting.linked(value or 'x', f'https://example.org/{path}')} there")
    opened = [child for child in token.children or [] if child.type == "link_open"]
    assert len(opened) == 1 and str(opened[0].attrs["href"]).startswith("https://example.org")
    kinds = {child.type for child in token.children or []}
    assert kinds <= {"text", "text_special", "link_open", "link_close"}


def test_linked_without_a_url_returns_the_text() -> None:
    assert formatting.linked("a|b", None) == formatting.linked("a|b", "javascript:alert(1)") == "a\\|b"


@given(ANY | MARKUP)
def test_fenced_code_does_not_leave_its_fence(value: str) -> None:
    tokens = MARKDOWN.parse(f"{formatting.fenced(value, 'text')}\n\nafter\n")
    assert [token.type for token in tokens] == ["fence", "paragraph_open", "inline", "paragraph_close"]


def test_fenced_code_breaks_html_comments() -> None:
    assert (
        formatting.fenced("a\n<!-- escoita:end a -->\n````", "x") == "`````x\na\n<! -- escoita:end a -->\n````\n`````"
    )


def test_prose_keeps_paragraphs() -> None:
    assert formatting.prose(" One\nline.\n\n \n# Two \n") == "One line.\n\n\\# Two"


@pytest.mark.parametrize(
    "address, expected",
    [
        ("https://example.org/common_voice?a=1&b=~2#c", "<https://example.org/common_voice?a=1&b=~2#c>"),
        ("https://example.org/a b|c>d`<e\\", "<https://example.org/a%20b%7Cc%3Ed%60%3Ce%5C>"),
        ("https://example.org/cociña", "<https://example.org/coci%C3%B1a>"),
        ("https://example.org/a\n\n# b", "<https://example.org/a%0A%0A#%20b>"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("www.example.org/[a]", "www.example.org/\\[a\\]"),
    ],
)
def test_link_quotes_urls(address: str, expected: str) -> None:
    assert formatting.link(address) == expected
    (token,) = inlines(f"See {formatting.link(address)} there")
    links = [child for child in token.children or [] if child.type == "link_open"]
    assert len(links) == address.startswith("https://")


def test_urls_in_prose_are_links() -> None:
    source = formatting.prose(
        "See https://a.b/c_d*e|f$, (https://a.b/g) and\n<https://a.b/h>. <b> ftp://x https:// y_z_"
    )
    (token,) = inlines(source)
    links = [child.attrs["href"] for child in token.children or [] if child.type == "link_open"]
    assert links == ["https://a.b/c_d*e%7Cf$", "https://a.b/g", "https://a.b/h"]
    text = "".join(child.content for child in token.children or [])
    assert text.endswith("(https://a.b/g) and <https://a.b/h>. <b> ftp://x https:// y_z_")


@given(st.text(st.sampled_from("hps:/ab_*<>()[].\\\"'`|% \n")).map(lambda text: text.replace("s", "https://")))
def test_prose_contains_only_text_and_links(value: str) -> None:
    tokens = [child for token in inlines(formatting.prose(value)) for child in token.children or []]
    assert {token.type for token in tokens} <= {"text", "text_special", "link_open", "link_close"}
    assert all(str(token.attrs["href"]).startswith("http") for token in tokens if token.type == "link_open")


@pytest.mark.parametrize(
    "value, shown_as",
    [(0.07118, "7.12 %"), (0, "0.00 %"), (1.25167, "125.17 %"), (None, "–"), (0.00004, "0.00 %")],
)
def test_percent(value: float | None, shown_as: str) -> None:
    assert formatting.percent(value) == shown_as


def test_intervals_and_thousands() -> None:
    assert formatting.interval((0.06512, 0.07731)) == "6.51 to 7.73 %"
    assert formatting.thousands(1234567) == "1,234,567"
    assert re.fullmatch(r"\d", formatting.thousands(7))


def test_composition() -> None:
    assert formatting.composition([("large", 0.75), ("small", 0.25)]) == "large 75.00 %, small 25.00 %"


@pytest.mark.parametrize(
    "value, shown_as", [(0.0123, "+1.23"), (-1.5, "−150.00"), (0, "0.00"), (-0.00004, "0.00"), (0.00005001, "+0.01")]
)
def test_points(value: float, shown_as: str) -> None:
    assert formatting.points(value) == shown_as


def test_points_interval() -> None:
    assert formatting.points_interval((-0.02, 0.001)) == "−2.00 to +0.10"


@pytest.mark.parametrize("value, shown_as", [(1.0, "1.000"), (0.0312, "0.031"), (0.00099, "< 0.001")])
def test_probabilities(value: float, shown_as: str) -> None:
    assert formatting.probability(value) == shown_as


@pytest.mark.parametrize(
    "factor, shown_as", [(0.0412, "0.0412"), (14.42, "14.4"), (99.97, "100"), (1234.5, "1,234"), (0.0, "0")]
)
def test_speeds(factor: float, shown_as: str) -> None:
    assert formatting.speed(factor) == shown_as


@pytest.mark.parametrize(
    "seconds, shown_as", [(0.0, "0.0 min"), (754.0, "12.6 min"), (3600.0, "1.0 h"), (4.5e6, "1,250.0 h")]
)
def test_durations(seconds: float, shown_as: str) -> None:
    assert formatting.duration(seconds) == shown_as


def test_memory_and_energy() -> None:
    assert formatting.gigabytes(2_340_000_000) == "2.3 GB"
    assert [formatting.kilowatt_hours(joules) for joules in (0.0, 4.5e6, 123_456.0)] == [
        "0 kWh",
        "1.25 kWh",
        "0.0343 kWh",
    ]


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
def test_invisible_characters_are_written_as_code_points(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_control_characters_in_names_are_escaped() -> None:
    name = "\x1b]0;owned\x07red.wav"
    for error in (AudioError("no such file", path=name), Rejected("m.jsonl", 3, name, "no such file")):
        assert str(error).endswith("<U+001B>]0;owned<U+0007>red.wav: no such file")
