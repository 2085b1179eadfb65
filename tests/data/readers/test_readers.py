from pathlib import Path
from typing import Any, get_args

import pytest

from escoita.data.readers import READERS, read_corpus
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus


def test_the_readers_are_those_of_the_recipe_schema() -> None:
    assert set(READERS) == set(get_args(Corpus.model_fields["reader"].annotation))
    assert all(key in Corpus.model_fields for reader in READERS.values() for key in reader.keys)


@pytest.mark.parametrize(
    "reader, key, value",
    [
        ("manifest", "config", "gl"),
        ("common_voice", "revision", "main"),
        ("fleurs", "streaming", True),
        ("openslr", "columns", {"text": "text"}),
        ("audiofolder", "config", "gl"),
        ("parquet", "revision", "main"),
    ],
)
def test_a_key_that_a_reader_does_not_support_is_refused(reader: Any, key: str, value: object) -> None:
    with pytest.raises(CorpusError) as error:
        read_corpus(Corpus(name="voices", path="nowhere", reader=reader, **{key: value}), "gl")
    assert (error.value.key, error.value.value) == (key, value)
    assert "hub" in str(error.value.hint) and "\n" not in str(error.value)


@pytest.mark.parametrize("reader", sorted(set(READERS) - {"hub"}))
def test_a_missing_corpus_is_named(tmp_path: Path, reader: Any) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(CorpusError) as error:
            read_corpus(Corpus(name="voices", path=str(path), reader=reader, split="test"), "gl")
        assert Path(str(error.value.path)).is_relative_to(path) and "\n" not in str(error.value)
