"""Parquet files that stand for far more than they hold are refused before they take memory."""

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
)
from escoita.utils.untrusted import MOST_JSON_BYTES, opened_parquet, read_object, read_yaml
from tests.evaluation.samples import write_rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Predictions of two clips."""
    write_rows(tmp_path, [("chiroqni yoq", "chiroq yoq"), ("soat", "soat")], systems=["adapter"])
    return next(tmp_path.rglob("predictions.parquet"))


def rewritten(path: Path, changes: dict[str, Any], rows: int = 2, **options: Any) -> None:
    """The first row repeated, with other values in some columns."""
    table, provenance = read_predictions(path)
    arrays = [pa.repeat(pa.scalar(changes.get(f.name, table[f.name][0].as_py()), f.type), rows) for f in SCHEMA]
    pq.write_table(described(pa.table(arrays, schema=SCHEMA), provenance), path, **options)


def refusal(path: Path) -> str:
    with pytest.raises(RecordError) as refused:
        read_predictions(path)
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)
    return str(refused.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("stored", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_what_is_written_once_and_repeated_is_not_decoded(
    path: Path, stored: pa.DataType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_parquet, "DECODED_BYTES", 10_000_000)
    rewritten(path, {"hypothesis": "a" * 50_000}, 1_000)
    table = pq.read_table(path)
    place = SCHEMA.get_field_index("hypothesis")
    pq.write_table(table.set_column(place, "hypothesis", table["hypothesis"].cast(stored)), path)
    assert path.stat().st_size < 200_000
    assert "its texts take 50,0" in refusal(path)


def test_too_many_rows_are_refused_unread(path: Path) -> None:
    rewritten(path, {}, PREDICTION_ROWS + 1)
    assert refusal(path) == "1,000,001 rows; at most 1,000,000 are read"


@pytest.mark.parametrize("codec", ["zstd", "gzip", "brotli", "lz4"])
def test_another_compression_is_refused(path: Path, codec: str) -> None:
    rewritten(path, {}, compression=codec)
    assert "compressed with" in refusal(path)


def test_no_compression_and_no_dictionary_are_read(path: Path) -> None:
    rewritten(path, {}, compression="none", use_dictionary=False)
    table, _ = read_predictions(path)
    assert table["reference"].to_pylist() == ["chiroqni yoq"] * 2 and table.schema.equals(SCHEMA)


def test_texts_that_share_beginnings_are_refused(path: Path) -> None:
    options = {"use_dictionary": False, "column_encoding": {"hypothesis": "DELTA_BYTE_ARRAY"}}
    rewritten(path, {"hypothesis": "a" * 90_000}, 1_000, **options)
    assert path.stat().st_size < 1_000_000
    assert refusal(path) == "not a file of predictions"


def test_metadata_that_lie_about_rows_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lying:
        def __init__(self, of: pq.FileMetaData):
            self.of = of

        def __getattr__(self, name: str) -> Any:
            return getattr(self.of, name)

    checked: Callable[[Path, Any], None] = bounded_parquet._check_metadata  # noqa: SLF001
    lying: Any = Lying(pq.read_metadata(path))
    lying.num_rows = 3
    with pytest.raises(RecordError, match="its row groups have 2 rows, and not 3"):
        checked(path, lying)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hypothesis": "ab " * (TRANSCRIPT_WORDS + 1)}, "hypothesis of some row has 20,001 words"),
        ({"reference": "a" * (TRANSCRIPT_CHARACTERS + 1)}, "reference of some row has 100,001 characters"),
        ({"id": "a" * 4097}, "id of some row has 4,097 characters"),
        ({"speaker": "a" * 4097}, "speaker of some row"),
        ({"hypothesis": "a" * 500 + "\u0301\u0323" * COMBINING_MARKS}, "combining marks in a row"),
        ({"audio_seconds": float("nan")}, "audio_seconds of some rows is negative, too large, or no number"),
        ({"audio_seconds": float("inf")}, "audio_seconds of some rows"),
        ({"audio_seconds": -1.0}, "audio_seconds of some rows"),
        ({"compute_seconds": 1e300}, "compute_seconds of some rows"),
        ({"tokens": 1 << 62}, "tokens of some rows"),
        ({"tokens": -1}, "tokens of some rows"),
    ],
)
def test_what_nothing_measures_or_takes_hours_to_score_is_refused(
    path: Path, changes: dict[str, Any], said: str
) -> None:
    rewritten(path, changes)
    assert said in refusal(path)


def test_long_transcripts_of_many_rows_are_refused(path: Path) -> None:
    long = "a" * TRANSCRIPT_CHARACTERS
    rewritten(path, {"reference": long, "hypothesis": long}, 51)
    assert "scoring would take hours" in refusal(path)


def test_a_lecture_is_read(path: Path) -> None:
    lecture = "soʻz " * 12_000
    rewritten(path, {"reference": lecture, "hypothesis": lecture})
    assert len(read_predictions(path)[0]) == 2


def test_a_pointer_is_named(path: Path) -> None:
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n")
    assert "a Git LFS pointer instead of the file; install git-lfs" in refusal(path)


def test_an_integer_of_the_provenance_fits_in_64_bits(path: Path) -> None:
    table = pq.read_table(path)
    found = table.schema.metadata[b"escoita"]
    changed = found.replace(b'"rejected":', b'"rejected":1' + b"0" * 3000)
    pq.write_table(table.replace_schema_metadata({b"escoita": changed}), path)
    assert refusal(path).startswith(
        "not a file of predictions (the file: not JSON that can be used: an integer of 3,0"
    )


def test_names_in_the_metadata_that_are_not_utf_8_are_one_line(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"audio_seconds", b"\x80udio_seconds"))
    assert refusal(path) == "not a file of predictions"


def test_what_is_no_parquet_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "counts.parquet"
    with (
        pytest.raises(RecordError, match="counts.parquet: not a file of counts"),
        opened_parquet(path, "a file of counts"),
    ):
        pass
    path.write_bytes(b"PAR1nothingPAR1")
    with (
        pytest.raises(RecordError, match="counts.parquet: not a file of counts"),
        opened_parquet(path, "a file of counts"),
    ):
        pass
    assert "reference" in TEXTS and "tokens" not in TEXTS


@pytest.mark.parametrize(
    "text, reason",
    [
        ("[1]", "must be a JSON object, not a list"),
        ("null", "must be a JSON object"),
        ('{"a": NaN}', "NaN"),
        ('{"a": [-Infinity]}', "-Infinity"),
        ('{"a": 1e999}', "too large"),
        ('{"a": ' + 5_000 * "9" + "}", "5,000 digits"),
        ('{"a": 1, "a": 2}', "a key that occurs twice"),
        (100_000 * '{"a":', "nested too deep"),
        (100_000 * "[", "nested too deep"),
        ("{", "cannot be read"),
        ('{"a": "' + MOST_JSON_BYTES * "x" + '"}', "at most 2,000,000 are read"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs"),
    ],
)
def test_what_is_no_plain_object_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "some.json").write_text(text, "utf-8")
    with pytest.raises(EscoitaError, match=reason) as error:
        read_object(tmp_path / "some.json", "adapter user/name")
    assert str(error.value).startswith("adapter user/name: some.json") and "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "some.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(EscoitaError, match="cannot be read"):
        read_object(tmp_path / "some.json", "adapter user/name")


def test_an_honest_file_is_read(tmp_path: Path) -> None:
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


def test_values_and_where_they_stand() -> None:
    values, tree = read_yaml("a: 1\nb: [x, 2.5]\n")
    assert values == {"a": 1, "b": ["x", 2.5]}
    assert isinstance(tree, yaml.MappingNode) and tree.value[1][0].start_mark.line == 1
    assert read_yaml("") == (None, None) and read_yaml(b"- 1")[0] == [1]


def test_an_alias_stands_for_what_it_names() -> None:
    assert read_yaml("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}\n")[0]["d"] == {"b": 1, "e": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "by its aliases"),
        ("a: &a [*a]", "too deep"),
        ("[" * 20_000, "too deep"),
        ("[" * (LEVELS + 2) + "]" * (LEVELS + 2), "too deep"),
        ("x" * (YAML_CHARACTERS + 1), "longer than"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("!!python/name:os.system", "could not determine a constructor"),
        ("a: 2026-99-99", "cannot be read"),
        ("{[a]: 1}", "unhashable"),
        ("a: !!int x", "cannot be read"),
        ("a: 1" + "0" * 4000, "an integer of 4,001 digits"),
        ("a: 1" + "0" * 5000, "an integer of 5,001 digits"),
        ("--- 1\n--- 2\n", "single document"),
    ],
)
def test_what_is_not_plain_or_too_much_is_refused(text: str, said: str) -> None:
    with pytest.raises(yaml.YAMLError, match=said):
        read_yaml(text)


@pytest.mark.parametrize("text", [BOMB, "[" * 20_000, "a: 2026-99-99"])
def test_a_recipe_that_is_one_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "bomb.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"bomb\.yaml: not YAML: ") as caught:
        load_recipe(tmp_path / "bomb.yaml")
    assert "\n" not in str(caught.value)
