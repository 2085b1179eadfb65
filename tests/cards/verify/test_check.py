"""Test the results of comparisons."""

from escoita.cards.verify.check import MOST_LINES, compared


def test_the_number_of_listed_differences_is_limited() -> None:
    check = compared("all", [str(number) for number in range(30)])
    assert len(check.lines) == MOST_LINES + 1 and check.lines[-1] == f"and {30 - MOST_LINES} more"
