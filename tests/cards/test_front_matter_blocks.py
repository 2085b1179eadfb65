import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.cards.front_matter import blocks, digest, made, made_mark, marked


TEXT = "# Small\n\nAn adapter."
ABOUT, RESULTS = marked("about", TEXT), marked("results", "| a |\n|---|")
LINES = st.lists(st.sampled_from(["", "text", "a\u2028b", "\x0c", "---", "<!-- escoita:end about -->", "# é 字 😀"]))


def test_a_block_has_marks_with_its_digest() -> None:
    assert ABOUT.splitlines() == [
        f"<!-- escoita:begin about {digest(TEXT)} -->",
        "# Small",
        "",
        "An adapter.",
        "<!-- escoita:end about -->",
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "  \n "])
def test_a_blank_block_is_omitted(text: str) -> None:
    assert marked("about", text) == ""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_blocks_of_a_card_are_found(line_end: str) -> None:
    card = f"Before.\n\n{ABOUT}\nBetween.\n{RESULTS}".replace("\n", line_end)
    found = blocks(card)
    assert [block.name for block in found] == ["about", "results"]
    assert [card[block.start : block.end] for block in found] == [
        each.replace("\n", line_end) for each in (ABOUT, RESULTS)
    ]
    assert not any(block.edited for block in found)
    assert [block.text.replace("\r\n", "\n") for block in found] == ["# Small\n\nAn adapter.", "| a |\n|---|"]


def test_edits_of_a_block_are_detected() -> None:
    (block,) = blocks(ABOUT.replace("An adapter.", "My adapter."))
    assert block.edited


def test_an_incomplete_mark_is_text() -> None:
    begin, end = ABOUT.splitlines()[0], ABOUT.splitlines()[-1]
    for card in (begin, end, f"{end}\n{begin}\n", f"  {begin}\n{end}\n", f"{begin} x\n{end}\n"):
        assert blocks(card) == []
    card = f"{begin}\nA person's.\n{ABOUT}{end}\n"
    assert [card[block.start : block.end] for block in blocks(card)] == [ABOUT]


def test_a_block_within_another_is_text() -> None:
    (block,) = blocks(f"<!-- escoita:begin more {'0' * 12} -->\n{ABOUT}<!-- escoita:end more -->\n")
    assert block.name == "about"


def test_a_second_block_of_a_listed_name_is_text() -> None:
    card = f"{marked('about', 'A forgery.')}\n{ABOUT}\n{made_mark({'about': digest(TEXT)})}\n"
    assert [block.text for block in blocks(card)] == [TEXT]


def test_the_last_mark_is_parsed() -> None:
    digests = {"front.model-index": "0" * 12, "about": "1" * 12}
    mark = made_mark(digests)
    found = made(f"Text.\n{mark}\nMore.\n<!-- escoita:made 0123456789ab about:222222222222 -->\n")
    assert found and found.digests == digests and (found.start, found.end) == (6, 7 + len(mark))
    assert made("Text.") is None


def test_the_last_mark_can_be_edited() -> None:
    edited = made_mark({"about": "1" * 12, "results": "2" * 12}).replace(" about:111111111111", "")
    found = made(edited)
    assert found and found.digests == {"results": "2" * 12}


@given(LINES)
def test_no_text_ends_or_begins_a_block(lines: list[str]) -> None:
    text = "\n".join([*lines, ABOUT, made_mark({"about": "0" * 12}), "end"])
    card = marked("about", text)
    (block,) = blocks(card)
    assert (block.name, block.start, block.end, block.edited) == ("about", 0, len(card), False)
    assert made(card) is None
