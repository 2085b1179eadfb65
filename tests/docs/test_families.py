import pytest

from docs.hooks.families import PAGE, generated, updated


def test_the_tables_of_the_families_are_those_of_the_code() -> None:
    # `make families` writes them again.
    page = PAGE.read_text("utf-8")
    assert updated(page) == page


def test_text_outside_of_the_generated_parts_is_kept() -> None:
    page = "".join(f"{name}:<!-- begin {name} -->old<!-- end {name} -->\n" for name in generated())
    written = updated(page)
    assert "old" not in written and "families:<!-- begin families -->\n\n| family |" in written
    assert updated(written) == written


def test_a_page_without_the_marks_is_not_overwritten() -> None:
    with pytest.raises(ValueError):
        updated("# Model families\n")
