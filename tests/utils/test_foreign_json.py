"""JSON of somebody else: an object of plain values, or one clear line."""

from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.utils.untrusted import MOST_JSON_BYTES, read_object


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
