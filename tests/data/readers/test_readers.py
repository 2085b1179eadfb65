from pathlib import Path
from typing import Any, get_args

import pytest

from escoita.data.readers import READERS, read_corpus
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus


def test_there_is_a_reader_for_each_layout_that_a_recipe_may_name() -> None:
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
def test_a_key_that_a_reader_does_not_take_is_refused(reader: Any, key: str, value: object) -> None:
    with pytest.raises(CorpusError) as refusal:
        read_corpus(Corpus(name="voices", path="nowhere", reader=reader, **{key: value}), "gl")
    said = str(refusal.value)
    assert said.startswith(f"corpus 'voices': reader {reader} takes no {key}; leave it out") and "hub" not in reader
    assert "\n" not in said


@pytest.mark.parametrize("reader", sorted(set(READERS) - {"hub"}))
def test_what_is_not_there_is_named_in_one_line(tmp_path: Path, reader: Any) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(CorpusError) as refusal:
            read_corpus(Corpus(name="voices", path=str(path), reader=reader, split="test"), "gl")
        assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)
