from hypothesis import given
from hypothesis import strategies as st

from escoita.training.preflight.prompt import written


LETTERS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()))


def text_of(tokens: str, trained: str) -> str:
    return written(list(tokens), [mark == "x" for mark in trained], "".join)


def test_tokens_with_loss_are_in_brackets() -> None:
    assert text_of("promptun.", "......xxx") == "prompt⟦un.⟧"
    assert text_of("prompt", "......") == "prompt"
    assert text_of("", "") == ""


def test_repeated_tokens_are_written_once() -> None:
    assert text_of("pAAAAAAq", "........") == "pA×6 q"
    assert text_of("pAAAq", ".....") == "pAAAq"


def test_control_characters_are_escaped() -> None:
    assert text_of("a\x1bb\nc", "..x..") == "a<U+001B>⟦b⟧\nc"


@given(LETTERS)
def test_brackets_are_balanced(pairs: list[tuple[str, bool]]) -> None:
    text = written([token for token, _ in pairs], [carries for _, carries in pairs], "|".join)
    marked = [carries for _, carries in pairs]
    assert (
        text.count("⟦")
        == text.count("⟧")
        == sum(carries and (index == 0 or not marked[index - 1]) for index, carries in enumerate(marked))
    )
