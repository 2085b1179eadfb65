import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from escoita.utils import formatting as markdown


MARKDOWN = MarkdownIt("commonmark").enable("table")
# What CommonMark itself replaces, NUL, is left out.
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
MARKUP = st.text(st.sampled_from("#*_`[]()<>|~\\!&;=+-.:1a $\"'{}%\n\t"))


def inlines(source: str) -> list[Token]:
    return [token for token in MARKDOWN.parse(source) if token.type == "inline"]


def shown(token: Token) -> str:
    """The text of a line that holds nothing but text."""
    children = token.children or []
    assert {child.type for child in children} <= {"text", "text_special", "softbreak"}, token.content
    return "".join(child.content for child in children)


@given(ANY | MARKUP)
def test_a_line_is_shown_as_it_is(value: str) -> None:
    words = " ".join(value.split())
    assert [shown(token) for token in inlines(markdown.line(value))] == ([words] if words else [])
    assert [token.type for token in MARKDOWN.parse(markdown.line(value))] == (
        ["paragraph_open", "inline", "paragraph_close"] if words else []
    )


@given(MARKUP, MARKUP)
def test_a_line_stays_in_its_cell(first: str, second: str) -> None:
    table = f"| a | b |\n|---|---|\n| {markdown.line(first)} | {markdown.line(second)} |\n"
    cells = [shown(token) for token in inlines(table)]
    assert cells == ["a", "b", " ".join(first.split()), " ".join(second.split())]


@given(ANY | MARKUP)
def test_code_is_shown_as_it_is(value: str) -> None:
    words = " ".join(value.split())
    if words:
        (token,) = inlines(f"Prompt: {markdown.code(value)}.")
        assert [(child.type, child.content) for child in token.children or []] == [
            ("text", "Prompt: "),
            ("code_inline", words),
            ("text", "."),
        ]


@given(MARKUP)
def test_code_stays_in_its_cell(value: str) -> None:
    words = " ".join(value.split())
    if words:
        table = f"| a | b |\n|---|---|\n| {markdown.code_cell(value)} | c |\n"
        *_, cell, last = inlines(table)
        assert [(child.type, child.content) for child in cell.children or []] == [("code_inline", words)]
        assert last.content == "c"


def test_figures_at_the_beginning_of_a_line_stay_as_they_are() -> None:
    assert [markdown.line(value) for value in ("74.00 % of it", "-5", "1. one", "# 5")] == [
        "74.00 % of it",
        "-5",
        "1\\. one",
        "\\# 5",
    ]


@given(ANY | MARKUP, MARKUP)
def test_a_linked_text_leads_where_it_says_and_nowhere_else(value: str, path: str) -> None:
    (token,) = inlines(f"See {markdown.linked(value or 'x', f'https://example.org/{path}')} there")
    opened = [child for child in token.children or [] if child.type == "link_open"]
    assert len(opened) == 1 and str(opened[0].attrs["href"]).startswith("https://example.org")
    kinds = {child.type for child in token.children or []}
    assert kinds <= {"text", "text_special", "link_open", "link_close"}


def test_an_address_that_is_none_leaves_the_text() -> None:
    assert markdown.linked("a|b", None) == markdown.linked("a|b", "javascript:alert(1)") == "a\\|b"


@given(ANY | MARKUP)
def test_fenced_lines_stay_within_their_fences(value: str) -> None:
    tokens = MARKDOWN.parse(f"{markdown.fenced(value, 'text')}\n\nafter\n")
    assert [token.type for token in tokens] == ["fence", "paragraph_open", "inline", "paragraph_close"]


def test_within_fences_no_comment_begins() -> None:
    assert markdown.fenced("a\n<!-- escoita:end a -->\n````", "x") == "`````x\na\n<! -- escoita:end a -->\n````\n`````"


def test_prose_keeps_its_paragraphs() -> None:
    assert markdown.prose(" One\nline.\n\n \n# Two \n") == "One line.\n\n\\# Two"


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
def test_addresses(address: str, expected: str) -> None:
    assert markdown.link(address) == expected
    (token,) = inlines(f"See {markdown.link(address)} there")
    links = [child for child in token.children or [] if child.type == "link_open"]
    assert len(links) == address.startswith("https://")


def test_an_address_in_prose_leads_where_it_says() -> None:
    source = markdown.prose(
        "See https://a.b/c_d*e|f$, (https://a.b/g) and\n<https://a.b/h>. <b> ftp://x https:// y_z_"
    )
    (token,) = inlines(source)
    links = [child.attrs["href"] for child in token.children or [] if child.type == "link_open"]
    assert links == ["https://a.b/c_d*e%7Cf$", "https://a.b/g", "https://a.b/h"]
    text = "".join(child.content for child in token.children or [])
    assert text.endswith("(https://a.b/g) and <https://a.b/h>. <b> ftp://x https:// y_z_")


@given(st.text(st.sampled_from("hps:/ab_*<>()[].\\\"'`|% \n")).map(lambda text: text.replace("s", "https://")))
def test_whatever_address_stands_in_prose_it_is_text_and_links(value: str) -> None:
    tokens = [child for token in inlines(markdown.prose(value)) for child in token.children or []]
    assert {token.type for token in tokens} <= {"text", "text_special", "link_open", "link_close"}
    assert all(str(token.attrs["href"]).startswith("http") for token in tokens if token.type == "link_open")
