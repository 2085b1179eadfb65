import threading
from collections.abc import Iterator

import pytest

from escoita.utils.processes import ahead


def test_all_items_pass_in_their_order() -> None:
    assert list(ahead(iter(range(20)), depth=3)) == list(range(20))
    assert list(ahead(iter([]), depth=3)) == []
    assert list(ahead(iter([None, None]), depth=1)) == [None, None]


def test_items_are_made_before_they_are_asked_for_but_not_all_of_them() -> None:
    made: list[int] = []
    enough = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 2:
                enough.set()
            yield number

    passed = ahead(items(), depth=2)
    assert next(passed) == 0
    assert enough.wait(5)
    assert len(made) <= 3
    assert list(passed) == list(range(1, 10))


def test_a_failure_comes_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    passed = ahead(items(), depth=2)
    assert next(passed) == 1
    with pytest.raises(ValueError, match="the second"):
        next(passed)
