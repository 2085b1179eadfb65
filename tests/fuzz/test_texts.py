"""Test that any recipe, record or card is read or refused."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given

from escoita.cards.editing import revise, sealed
from escoita.cards.verify.front_matter import check_front
from escoita.data.readers.manifest import read
from escoita.errors import EscoitaError
from escoita.evaluation.predictions import read_predictions
from escoita.recipe.schema import Corpus, load_recipe
from escoita.records.training import TrainingRecord
from tests.cards.samples import recipe, validated_training
from tests.conftest import ROOT
from tests.evaluation.samples import write_rows
from tests.fuzz.inputs import batched, batches, fuzzed, mutated, survivors


RECIPES = [path.read_bytes() for path in sorted((ROOT / "recipes").glob("*.yaml"))]
RECORD = [validated_training().to_json().encode()]
CARDS = [path.read_bytes() for path in sorted((ROOT / "docs/examples").glob("*/README.md"))]
TABLES = {
    ".jsonl": [b'{"audio_filepath": "a.ogg", "text": "soat", "duration": 1.5, "offset": 0, "speaker": "f1"}\n' * 3],
    ".csv": [b'path,sentence,speaker\na.ogg,"ola, bo dia",f1\nb.ogg,"dous ""tres""",f2\n'],
    ".tsv": [b'path\tsentence\na.ogg\tola\nb.ogg\tbo "dia\n'],
}
UPDATED = sealed("---\nlanguage: uz\n---\n\n# Title\n")


@contextmanager
def written(content: bytes, name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


@fuzzed
@given(mutated(RECIPES))
def test_a_recipe_loads_or_is_refused(content: bytes) -> None:
    with written(content, "recipe.yaml") as path:
        try:
            load_recipe(path).to_yaml()
        except EscoitaError as error:
            assert "recipe.yaml" in str(error)


@fuzzed
@given(mutated([*RECORD, recipe().model_dump_json().encode()]))
def test_a_record_is_read_or_refused(content: bytes) -> None:
    with written(content, "training.json") as path:
        try:
            TrainingRecord.read(path).to_json()
        except EscoitaError as error:
            assert "training.json" in str(error)


@fuzzed
@given(mutated(CARDS))
def test_a_card_is_revised_and_checked_or_refused(content: bytes) -> None:
    card = content.decode("utf-8", "replace")
    assert {check.verdict for check in check_front(card, UPDATED)} <= {"holds", "differs", "cannot be proven"}
    try:
        revise(card, UPDATED, False)
    except EscoitaError as error:
        assert str(error)


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("eval")
    write_rows(folder, [("chiroqni yoq", "chiroq yoq"), ("", "soat")], systems=["adapter"])
    return next(folder.rglob("predictions.parquet")).read_bytes()


def test_predictions_are_read_or_refused(predictions: bytes) -> None:
    @batched
    @given(batches(mutated([predictions])))
    def tried(contents: list[bytes]) -> None:
        with survivors(contents, "predictions.parquet") as paths:
            for path in paths:
                try:
                    table, _ = read_predictions(path)
                except EscoitaError as error:
                    assert "predictions.parquet" in str(error) and "\n" not in str(error)
                else:
                    assert len(table.to_pylist()) == len(table)

    tried()


@pytest.mark.parametrize("suffix", TABLES)
def test_each_row_of_a_manifest_is_used_or_rejected(suffix: str) -> None:
    @fuzzed
    @given(mutated(TABLES[suffix]))
    def tried(content: bytes) -> None:
        with written(content, f"test{suffix}") as path:
            try:
                rows, rejected = read(Corpus(name="test", path=str(path)), "gl")
            except EscoitaError as error:
                assert f"test{suffix}" in str(error)
            else:
                assert len(rows) + len(rejected) <= content.count(b"\n") + content.count(b"\r") + 1

    tried()
