import pickle

import pytest

from escoita.errors import AudioError, AudioLimitError, CorpusError, EscoitaError, RecipeError, UntrainedError


class TooManyError(EscoitaError):
    problem = "{found} of at most {allowed}"
    hint = "remove {excess}"
    found: int
    allowed: int
    excess: int


def test_one_line_from_all_fields() -> None:
    error = CorpusError("is empty", path="m.jsonl", row=3, key="text", value="", hint="write the transcript")
    assert str(error) == "m.jsonl:3: text: '': is empty; write the transcript"
    assert str(RecipeError("must be above 0", path="r.yaml", key="training.lr", value=0)) == (
        "r.yaml: training.lr: 0: must be above 0"
    )
    assert str(EscoitaError("unknown hardware", key="--flavor", value="t5")) == "--flavor t5: unknown hardware"
    assert str(EscoitaError("is empty", row=2)) == "row 2: is empty"
    assert str(EscoitaError("nothing to do")) == "nothing to do"


def test_a_class_fills_its_templates_with_the_fields() -> None:
    error = TooManyError(path="a{b}", found=5, allowed=3, excess=2)
    assert str(error) == "a{b}: 5 of at most 3; remove 2"
    assert (error.problem, error.hint, error.found) == ("5 of at most 3", "remove 2", 5)
    assert EscoitaError("{no} template").problem == "{no} template"


@pytest.mark.parametrize(
    "error",
    [
        AudioError("the file is empty", path="clip.wav"),
        AudioLimitError("is too long", path="clip.wav", max_seconds=30.0),
        UntrainedError("no gradient", towers=("audio",), step=3),
        TooManyError(found=5, allowed=3, excess=2),
    ],
)
def test_errors_can_be_pickled(error: EscoitaError) -> None:
    found = pickle.loads(pickle.dumps(error))  # noqa: S301 - written here
    assert type(found) is type(error) and vars(found) == vars(error) and str(found) == str(error)


def test_fields_contain_no_line_breaks_and_no_invisible_characters() -> None:
    error = EscoitaError("is odd", path="a\n\x1b[2Jb", key="k\u202e", value="\r", hint="rename\nit")
    assert str(error).isprintable()
    assert str(EscoitaError("first: \x1b\nsecond: two")).split("\n") == ["first: <U+001B>", "second: two"]
