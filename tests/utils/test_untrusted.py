"""Test the limits and checks for untrusted Parquet, JSON and YAML files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from escoita.errors import EscoitaError, RecipeError, RecordError
from escoita.evaluation.predictions import SCHEMA, TEXTS, described, read_predictions
from escoita.recipe.schema import load_recipe
from escoita.utils import untrusted as bounded_parquet
from escoita.utils.limits import (
    COMBINING_MARKS,
    LEVELS,
    PREDICTION_ROWS,
    TRANSCRIPT_CHARACTERS,
    TRANSCRIPT_WORDS,
    YAML_CHARACTERS,
    FileSizeError,
    LfsPointerError,
)
from escoita.utils.untrusted import MOST_JSON_BYTES, opened_parquet, read_object, read_yaml
from tests.evaluation.samples import write_rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return predictions of two clips."""
    write_rows(tmp_path, [("chiroqni yoq", "chiroq yoq"), ("soat", "soat")], systems=["adapter"])
    return next(tmp_path.rglob("predictions.parquet"))


def rewritten(path: Path, changes: dict[str, Any], rows: int = 2, **options: Any) -> None:
    """Return the first row repeated, with other values in some columns."""
    table, provenance = read_predictions(path)
    arrays = [pa.repeat(pa.scalar(changes.get(f.name, table[f.name][0].as_py()), f.type), rows) for f in SCHEMA]
    pq.write_table(described(pa.table(arrays, schema=SCHEMA), provenance), path, **options)


def refusal(path: Path) -> RecordError:
    with pytest.raises(RecordError) as refused:
        read_predictions(path)
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)
    return refused.value


@pytest.mark.parametrize("stored", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_repeated_text_over_the_limit_is_not_decoded(
    path: Path, stored: pa.DataType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_parquet, "DECODED_BYTES", 10_000_000)
    rewritten(path, {"hypothesis": "a" * 50_000}, 1_000)
    table = pq.read_table(path)
    place = SCHEMA.get_field_index("hypothesis")
    pq.write_table(table.set_column(place, "hypothesis", table["hypothesis"].cast(stored)), path)
    assert path.stat().st_size < 200_000
    error = refusal(path)
    assert error.key == "decoded bytes" and error.value > 50_000_000


def test_too_many_rows_are_refused_before_reading(path: Path) -> None:
    rewritten(path, {}, PREDICTION_ROWS + 1)
    error = refusal(path)
    assert (error.key, error.value) == ("rows", 1_000_001)


@pytest.mark.parametrize("codec", ["zstd", "gzip", "brotli", "lz4"])
def test_other_compression_is_refused(path: Path, codec: str) -> None:
    rewritten(path, {}, compression=codec)
    error = refusal(path)
    assert error.key == "compression" and codec.upper() in str(error.value)


def test_uncompressed_file_is_read(path: Path) -> None:
    rewritten(path, {}, compression="none", use_dictionary=False)
    table, _ = read_predictions(path)
    assert table["reference"].to_pylist() == ["chiroqni yoq"] * 2 and table.schema.equals(SCHEMA)


def test_delta_encoded_texts_are_refused(path: Path) -> None:
    options = {"use_dictionary": False, "column_encoding": {"hypothesis": "DELTA_BYTE_ARRAY"}}
    rewritten(path, {"hypothesis": "a" * 90_000}, 1_000, **options)
    assert path.stat().st_size < 1_000_000
    refusal(path)


def test_inconsistent_number_of_rows_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WrongMetadata:
        def __init__(self, of: pq.FileMetaData):
            self.of = of

        def __getattr__(self, name: str) -> Any:
            return getattr(self.of, name)

    checked: Callable[[Path, Any], None] = bounded_parquet._check_metadata  # noqa: SLF001
    lying: Any = WrongMetadata(pq.read_metadata(path))
    lying.num_rows = 3
    with pytest.raises(RecordError) as caught:
        checked(path, lying)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "changes",
    [
        {"hypothesis": "ab " * (TRANSCRIPT_WORDS + 1)},
        {"reference": "a" * (TRANSCRIPT_CHARACTERS + 1)},
        {"id": "a" * 4097},
        {"speaker": "a" * 4097},
        {"hypothesis": "a" * 500 + "\u0301\u0323" * COMBINING_MARKS},
        {"audio_seconds": float("nan")},
        {"audio_seconds": float("inf")},
        {"audio_seconds": -1.0},
        {"compute_seconds": 1e300},
        {"tokens": 1 << 62},
        {"tokens": -1},
    ],
)
def test_impossible_values_are_refused(path: Path, changes: dict[str, Any]) -> None:
    rewritten(path, changes)
    (column,) = changes
    assert column in str(refusal(path))


def test_many_long_transcripts_are_refused(path: Path) -> None:
    long = "a" * TRANSCRIPT_CHARACTERS
    rewritten(path, {"reference": long, "hypothesis": long}, 51)
    refusal(path)


def test_transcript_of_a_lecture_is_read(path: Path) -> None:
    lecture = "soʻz " * 12_000
    rewritten(path, {"reference": lecture, "hypothesis": lecture})
    assert len(read_predictions(path)[0]) == 2


def test_git_lfs_pointer_is_refused(path: Path) -> None:
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n")
    assert isinstance(refusal(path), LfsPointerError)


def test_large_integer_in_the_provenance_is_refused(path: Path) -> None:
    table = pq.read_table(path)
    found = table.schema.metadata[b"escoita"]
    changed = found.replace(b'"rejected":', b'"rejected":1' + b"0" * 3000)
    pq.write_table(table.replace_schema_metadata({b"escoita": changed}), path)
    refusal(path)


def test_metadata_that_are_not_utf_8_are_refused(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"audio_seconds", b"\x80udio_seconds"))
    refusal(path)


def test_missing_and_invalid_parquet_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.parquet"
    for content in (None, b"PAR1nothingPAR1"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(RecordError) as caught, opened_parquet(path, "a file of counts"):
            pass
        assert caught.value.path == path and "a file of counts" in caught.value.problem
    assert "reference" in TEXTS and "tokens" not in TEXTS


@pytest.mark.parametrize(
    "text, error_class",
    [
        ("[1]", EscoitaError),
        ("null", EscoitaError),
        ('{"a": NaN}', EscoitaError),
        ('{"a": [-Infinity]}', EscoitaError),
        ('{"a": 1e999}', EscoitaError),
        ('{"a": ' + 5_000 * "9" + "}", EscoitaError),
        ('{"a": 1, "a": 2}', EscoitaError),
        (100_000 * '{"a":', EscoitaError),
        (100_000 * "[", EscoitaError),
        ("{", EscoitaError),
        ('{"a": "' + MOST_JSON_BYTES * "x" + '"}', FileSizeError),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", LfsPointerError),
    ],
)
def test_invalid_object_is_refused_in_one_line(tmp_path: Path, text: str, error_class: type[EscoitaError]) -> None:
    (tmp_path / "some.json").write_text(text, "utf-8")
    with pytest.raises(EscoitaError) as error:
        read_object(tmp_path / "some.json", "user/name")
    assert type(error.value) is error_class
    assert error.value.path == "user/name/some.json" and "\n" not in str(error.value)


def test_json_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "some.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(EscoitaError) as error:
        read_object(tmp_path / "some.json", "user/name")
    assert error.value.path == "user/name/some.json"


def test_valid_object_is_read(tmp_path: Path) -> None:
    text = '{"model_max_length": 1000000000000000019884624838656, "scale": 0.5, "names": ["ñ", null, true]}'
    (tmp_path / "some.json").write_text(text, "utf-8")
    assert read_object(tmp_path / "some.json", "model user/name") == {
        "model_max_length": 1000000000000000019884624838656,
        "scale": 0.5,
        "names": ["ñ", None, True],
    }


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_read_yaml_returns_values_and_positions() -> None:
    values, tree = read_yaml("a: 1\nb: [x, 2.5]\n")
    assert values == {"a": 1, "b": ["x", 2.5]}
    assert isinstance(tree, yaml.MappingNode) and tree.value[1][0].start_mark.line == 1
    assert read_yaml("") == (None, None) and read_yaml(b"- 1")[0] == [1]


def test_aliases_are_expanded() -> None:
    assert read_yaml("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}\n")[0]["d"] == {"b": 1, "e": 2}


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "a: &a [*a]",
        "[" * 20_000,
        "[" * (LEVELS + 2) + "]" * (LEVELS + 2),
        "x" * (YAML_CHARACTERS + 1),
        "!!python/object/apply:os.system [true]",
        "!!python/name:os.system",
        "a: 2026-99-99",
        "{[a]: 1}",
        "a: !!int x",
        "a: 1" + "0" * 4000,
        "a: 1" + "0" * 5000,
        "--- 1\n--- 2\n",
    ],
)
def test_untrusted_yaml_over_a_limit_or_with_objects_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


@pytest.mark.parametrize("text", [BOMB, "[" * 20_000, "a: 2026-99-99"])
def test_invalid_yaml_recipe_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "bomb.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "bomb.yaml")
    assert str(caught.value).startswith(str(tmp_path / "bomb.yaml")) and "\n" not in str(caught.value)
