import pytest

from escoita.data.readers.base import USUAL, Names, SelectionError, find_columns


def test_usual_names_are_recognized_in_any_case_and_are_unambiguous() -> None:
    names = [name for usual in USUAL.values() for name in usual]
    assert len(names) == len(set(names))
    for ours, usual in USUAL.items():
        for name in usual:
            assert getattr(find_columns([name.upper()], {}, ()), ours) == name.upper()


def test_names_of_the_recipe_take_precedence() -> None:
    found = find_columns(["path", "text", "frase"], {"text": "frase"})
    assert found == Names(audio="path", text="frase")


def test_a_column_that_the_recipe_names_is_used_once() -> None:
    assert find_columns(["file", "wav", "text"], {"id": "file"}) == Names(id="file", audio="wav", text="text")


@pytest.mark.parametrize(
    "present, chosen, key, value, available",
    [
        (["wav"], {}, "columns.text", None, ("wav",)),
        ([], {}, "columns.audio", None, ()),
        (["wav", "text", "Text"], {}, "columns.text", None, ("text", "Text")),
        (["wav", "text", "spk", "speaker"], {}, "columns.speaker", None, ("spk", "speaker")),
        (["wav", "text"], {"text": "frase"}, "columns.text", "frase", ("wav", "text")),
        (["wav", "a", "a"], {"text": "a"}, "columns.text", None, ("a", "a")),
        (["wav", "text"], {"text": ""}, "columns.text", None, ("wav", "text")),
    ],
)
def test_a_missing_or_ambiguous_column_lists_the_choices(
    present: list[str], chosen: dict, key: str, value: str | None, available: tuple[str, ...]
) -> None:
    with pytest.raises(SelectionError) as error:
        find_columns(present, chosen)
    assert (error.value.key, error.value.value, error.value.available) == (key, value, available)


@pytest.mark.parametrize(
    "present, chosen, nearest",
    [
        (["wav", "Transcrición"], {"text": "transcricion"}, "Transcrición"),
        (["wav", "Transcricio\u0301n"], {"text": "Transcrición"}, "Transcricio\u0301n"),
        (["wav", "sentense"], {}, "sentense"),
        (["wav", "transcripción"], {}, "transcripción"),
        (["wav", "zzz"], {"text": "frase"}, None),
        (["wav", "zzz"], {}, None),
    ],
)
def test_the_nearest_column_is_named(present: list[str], chosen: dict, nearest: str | None) -> None:
    with pytest.raises(SelectionError) as error:
        find_columns(present, chosen)
    assert error.value.nearest == nearest and (nearest or "use one of") in str(error.value.hint)
