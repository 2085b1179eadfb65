from hypothesis import given
from hypothesis import strategies as st

from escoita.training.preflight.model import written


LETTERS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()))


def shown(tokens: str, trained: str) -> str:
    return written(list(tokens), [mark == "x" for mark in trained], "".join)


def test_what_carries_loss_stands_in_marks() -> None:
    assert shown("promptun.", "......xxx") == "prompt⟦un.⟧"
    assert shown("prompt", "......") == "prompt"
    assert shown("", "") == ""


def test_a_token_that_repeats_is_written_once() -> None:
    assert shown("pAAAAAAq", "........") == "pA×6 q"
    assert shown("pAAAq", ".....") == "pAAAq"


def test_nothing_of_a_transcript_moves_the_cursor() -> None:
    assert shown("a\x1bb\nc", "..x..") == "a<U+001B>⟦b⟧\nc"


@given(LETTERS)
def test_all_tokens_are_there_in_their_order(pairs: list[tuple[str, bool]]) -> None:
    text = written([token for token, _ in pairs], [carries for _, carries in pairs], "|".join)
    marked = [carries for _, carries in pairs]
    assert (
        text.count("⟦")
        == text.count("⟧")
        == sum(carries and (place == 0 or not marked[place - 1]) for place, carries in enumerate(marked))
    )
