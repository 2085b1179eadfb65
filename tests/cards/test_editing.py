from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.cards.editing import CardConflict, DivergedCards, combine, existing_card, revise, sealed
from escoita.cards.front_matter import blocks, made, marked
from escoita.errors import PublishError


FRONT = "language: gl\nlicense: mit\ntags:\n- speech"
SECTIONS = {"about": "# Small", "results": "| WER |\n|---|\n| 0.1 |", "use": "```python\nrun()\n```"}


def card(front: str = FRONT, **sections: str) -> str:
    """Return a generated card without empty sections."""
    chosen = SECTIONS | sections
    return sealed(f"---\n{front}\n---\n\n" + "\n".join(marked(*each) for each in chosen.items() if each[1]))


OLD = card()
NEW = card("language: gl\nlicense: mit\ntags:\n- speech\n- lora", results="| WER |\n|---|\n| 0.05 |")
FRONT_OF_NEW = NEW.split("---\n")[1].rstrip()
# Possible edits: any Unicode text, and text that is similar to marks.
WORDS = st.sampled_from(
    [
        "---",
        "\r\n",
        "\n",
        "\n\n",
        "\ufeff",
        "\x0c",
        "\u2028",
        "  \t\n",
        "- a list\n  - with more\n",
        f"<!-- escoita:begin results {'0' * 12} -->\n",
        f"<!-- escoita:begin mine {'0' * 12} -->\n",
        "<!-- escoita:end results -->\n",
        "<!-- escoita:end mine -->\n",
        f"<!-- escoita:made {'0' * 12} about:{'0' * 12} -->\n",
        marked("results", "A forgery.") + "\n",
    ]
)
HAND = st.lists(WORDS | st.text(st.characters(exclude_categories=["Cs"])), max_size=6).map("".join)


@pytest.mark.parametrize("existing", ["", "\n", "\ufeff", OLD])
def test_a_card_without_edits_is_replaced(existing: str) -> None:
    assert revise(existing, NEW) == NEW
    assert revise(NEW, NEW) == NEW
    assert sealed(NEW) == NEW


@given(st.tuples(HAND, HAND, HAND, HAND), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_text_outside_of_blocks_is_kept_byte_for_byte(
    hand: tuple[str, str, str, str], line_end: str, fewer: bool
) -> None:
    """The text is before, between and after the blocks."""
    old = OLD.replace("\n", line_end)
    places = [block.start for block in blocks(old)] + [len(old)]
    pieces = [old[start:end] for start, end in zip([0, *places], [*places, len(old)], strict=True)]
    written = [f"{line_end}{text}{line_end}" for text in hand]
    existing = "".join(piece + text for piece, text in zip(pieces, [*written, ""], strict=True))
    new = card(results="") if fewer else NEW
    revised = revise(existing, new)
    begun = revised
    for text in written:
        _, found, begun = begun.partition(text)
        assert found == text
    assert {block.name: block.text.replace("\r\n", "\n") for block in blocks(revised)} == {
        block.name: block.text for block in blocks(new)
    }
    assert revise(revised, new) == revised
    outside = [revised, existing]
    for number, each in enumerate(outside):
        for block in reversed(blocks(each)):
            outside[number] = outside[number][: block.start] + outside[number][block.end :]
    heads = ("license: mit", "tags:", "- speech", "- lora", "<!-- escoita:made")
    kept = [[line for line in each.split("\n") if not line.startswith(heads)] for each in outside]
    assert kept[0] == kept[1]


@given(HAND, st.sampled_from(["\n", "\r\n"]))
def test_blocks_are_appended_to_a_card_without_marks(text: str, line_end: str) -> None:
    theirs = f"---{line_end}license: mit # ours{line_end}mine: 1{line_end}---{line_end}Theirs.{line_end}{text}"
    if made(theirs) or blocks(theirs):
        return
    revised = revise(theirs, NEW)
    body = theirs.partition(f"mine: 1{line_end}")[2]
    assert body in revised and "license: mit # ours" in revised
    assert revised.index(body) < min(block.start for block in blocks(revised))
    assert [block.name for block in blocks(revised)] == ["about", "results", "use"]
    assert revise(revised, NEW) == revised


def test_a_card_without_front_matter_gets_one() -> None:
    assert (
        revise("\ufeffTheirs.\n", NEW)
        == f"\ufeff---\n{FRONT_OF_NEW}\n---\nTheirs.\n\n" + (NEW.partition("\n---\n\n")[2])
    )


def test_a_new_block_has_its_position_in_the_new_card() -> None:
    for missing in (["about"], ["results"], ["use"], ["about", "results"], ["results", "use"]):
        without = card(**dict.fromkeys(missing, "")).replace("<!-- escoita:end", "Mine.\n<!-- escoita:end", 0)
        revised = revise(without, OLD)
        assert [block.name for block in blocks(revised)] == ["about", "results", "use"]
        assert revised == OLD


def test_a_block_that_is_no_longer_generated_is_removed() -> None:
    revised = revise(OLD.replace("\n<!-- escoita:begin use", "\nMine.\n\n<!-- escoita:begin use"), card(results=""))
    assert [block.name for block in blocks(revised)] == ["about", "use"]
    assert "Mine." in revised and "WER" not in revised


def test_a_removed_block_is_not_restored_even_with_force() -> None:
    results = next(block for block in blocks(OLD) if block.name == "results")
    existing = OLD[: results.start] + OLD[results.end :]
    revised = revise(revise(existing, card(results="")), NEW, force=True)
    assert [block.name for block in blocks(revised)] == ["about", "use"]
    last = made(revised)
    assert last
    without_digest = revised.replace(f" results:{last.digests['results']}", "")
    assert [block.name for block in blocks(revise(without_digest, NEW))] == ["about", "results", "use"]


def test_a_removed_key_is_not_restored() -> None:
    existing = OLD.replace("license: mit\n", "")
    assert "license: mit" not in revise(revise(existing, card("language: gl")), NEW)


def test_edit_in_a_section_is_a_conflict_with_a_diff() -> None:
    existing = OLD.replace("| 0.1 |", "| 0.01, and \x1b[31mbetter |").replace("license: mit", "license: gemma")
    with pytest.raises(CardConflict) as caught:
        revise(existing, NEW)
    message, error = str(caught.value), caught.value
    assert error.path == "README.md"
    assert [conflict.where for conflict in error.conflicts] == ["license of the front matter", "section results"]
    assert "\n-license: gemma\n+license: mit\n" in message
    assert "\n-| 0.01, and <U+001B>[31mbetter |\n+| 0.05 |" in message
    assert revise(existing, NEW, force=True) == NEW


def test_edit_in_a_section_that_is_no_longer_generated_is_a_conflict() -> None:
    existing = OLD.replace("| 0.1 |", "| 0.01 |")
    with pytest.raises(CardConflict) as error:
        revise(existing, card(results=""))
    assert [conflict.where for conflict in error.value.conflicts] == ["section results"]


def test_an_edit_that_equals_the_new_text_is_no_conflict() -> None:
    assert revise(OLD.replace("| 0.1 |", "| 0.05 |"), NEW) == NEW


def test_a_card_without_its_last_mark_is_revised_by_its_blocks() -> None:
    last = made(OLD)
    assert last
    assert revise(OLD[: last.start].rstrip() + "\n", NEW) == NEW


def with_text(text: str) -> str:
    return OLD.replace("\n<!-- escoita:begin results", f"\n{text}\n\n<!-- escoita:begin results")


def test_text_of_the_run_is_published() -> None:
    local = with_text("Mine.")
    assert combine(local, "", NEW) == combine(local, OLD, NEW) == revise(local, NEW)


def test_text_on_the_hub_is_kept() -> None:
    published = with_text("Theirs.")
    assert combine("", published, NEW) == combine(OLD, published, NEW) == revise(published, NEW)


def test_a_text_that_contains_the_other_is_used() -> None:
    less, more = with_text("Mine."), with_text("Mine.\n\nMore.")
    assert combine(less, more, NEW) == combine(more, less, NEW) == revise(more, NEW)


def test_two_texts_that_differ_are_a_conflict() -> None:
    local, published = with_text("Mine."), with_text("Theirs.").replace("\ntags:", "\nwidget: 1\ntags:")
    with pytest.raises(DivergedCards) as error:
        combine(local, published, NEW)
    assert error.value.path == "README.md" and "\n-widget: 1\n-Theirs.\n+Mine." in str(error.value)
    assert combine(local, published, NEW, force=True) == revise(local, NEW)


def test_changes_of_blocks_are_edits() -> None:
    published = OLD.replace("# Small", "# Smaller")
    with pytest.raises(CardConflict) as error:
        combine(OLD, published, NEW)
    assert [conflict.where for conflict in error.value.conflicts] == ["section about"]
    results = next(block for block in blocks(OLD) if block.name == "results")
    assert "WER" not in combine(OLD, OLD[: results.start] + OLD[results.end :], NEW)


def test_line_ends_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    assert existing_card(path) == ""
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\n")
    assert existing_card(path) == "\ufeffa\r\nb\n"
    path.write_bytes(b"\xff")
    with pytest.raises(PublishError) as error:
        existing_card(path)
    assert error.value.path == path
