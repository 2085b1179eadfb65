import pytest

from escoita.data.readers.base import USUAL, Names, find_columns


def test_each_usual_name_is_known_in_any_case_and_means_one_thing() -> None:
    names = [name for usual in USUAL.values() for name in usual]
    assert len(names) == len(set(names))
    for ours, usual in USUAL.items():
        for name in usual:
            assert getattr(find_columns([name.upper()], {}, ()), ours) == name.upper()


def test_what_the_recipe_names_comes_before_usual_names() -> None:
    found = find_columns(["path", "text", "frase"], {"text": "frase"})
    assert found == Names(audio="path", text="frase")


def test_a_column_that_means_something_else_is_not_taken_for_another() -> None:
    assert find_columns(["file", "wav", "text"], {"id": "file"}) == Names(id="file", audio="wav", text="text")


@pytest.mark.parametrize(
    "present, chosen, said",
    [
        (["wav"], {}, "has no column that is known as text; set columns.text to one of 'wav'"),
        ([], {}, "has no column that is known as audio; set columns.audio to one of none"),
        (
            ["wav", "text", "Text"],
            {},
            "has the columns 'text', 'Text', each of which may be the text; set columns.text",
        ),
        (["wav", "text", "spk", "speaker"], {}, "has the columns 'spk', 'speaker', each of which may be the speaker"),
        (["wav", "text"], {"text": "frase"}, "has no column 'frase', which columns.text names; it has 'wav', 'text'"),
        (["wav", "a", "a"], {"text": "a"}, "has the columns 'a', 'a', each of which may be the text"),
        (["wav", "text"], {"text": ""}, "has no column that is known as text"),
    ],
)
def test_where_it_cannot_be_told_the_columns_are_listed(present: list[str], chosen: dict, said: str) -> None:
    with pytest.raises(LookupError) as refusal:
        find_columns(present, chosen)
    assert str(refusal.value).startswith(said)
