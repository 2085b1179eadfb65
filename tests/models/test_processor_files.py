"""Test the checks of untrusted processor files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escoita.errors import EscoitaError
from escoita.models import family_of, processor_files
from escoita.models.processor_files import LIMITS, check_processor_files
from escoita.utils.limits import FileSizeError, LfsPointerError


BASE = Path("quickstart/gemma4")
DOUBLED = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
PADDING = {"direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BASE, tmp_path / "base"))


@pytest.fixture
def changed(base: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Change the `tokenizer.json` of the base, and lower the limits."""
    monkeypatch.setattr(processor_files, "MOST_SECONDS", 3)
    monkeypatch.setattr(processor_files, "MOST_MEMORY_BYTES", 1 << 29)

    def make(**parts: Any) -> str:
        path = base / "tokenizer.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | parts), "utf-8")
        return str(base)

    return make


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": {"type": "Sequence", "normalizers": 60 * [DOUBLED]}},
        {"decoder": {"type": "Sequence", "decoders": 60 * [DOUBLED]}},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+a+)+(a*a*)*b"}, "content": "c"}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?:a|a|aa)+(?:.*.*)*$z"}, "behavior": "Isolated",
                           "invert": False}},
        {"padding": PADDING | {"strategy": {"Fixed": 10**10}}},
        {"model": [1]},
    ],
    ids=["normalizer", "decoder", "expression", "split", "padding", "type"],
)  # fmt: skip
def test_hostile_tokenizer_is_refused_in_one_line(changed: Callable[..., str], parts: dict[str, Any]) -> None:
    source = changed(**parts)
    for _ in range(2):  # the second time from memory
        with pytest.raises(EscoitaError) as error:
            family_of(source).load_processor(source)
        assert error.value.path == f"{source}/tokenizer.json"
        assert "\n" not in str(error.value)


def test_deeply_nested_tokenizer_is_refused(base: Path) -> None:
    (base / "tokenizer.json").write_text(100_000 * '{"a":' + "1" + 100_000 * "}", "utf-8")
    with pytest.raises(EscoitaError) as error:
        family_of(str(base)).load_processor(str(base))
    assert error.value.path == f"{base}/tokenizer.json"


@pytest.mark.parametrize("name", LIMITS)
def test_large_file_is_not_read(base: Path, name: str) -> None:
    with (base / name).open("wb") as file:
        file.truncate(LIMITS[name] + 1)  # of zeros that take no space
    with pytest.raises(FileSizeError) as error:
        check_processor_files(str(base))
    assert (error.value.path, error.value.limit) == (f"{base}/{name}", LIMITS[name])


def test_large_configuration_is_not_read(base: Path) -> None:
    (base / "config.json").write_text(json.dumps({"model_type": "gemma4", "x": LIMITS["config.json"] * "x"}), "utf-8")
    with pytest.raises(FileSizeError) as error:
        family_of(str(base))
    assert error.value.path == f"{base}/config.json"


@pytest.mark.parametrize("text", ["[1]", '{"model_type": ["gemma4"]}', 100_000 * "[", "{}", "\0", '"gemma4"'])
def test_invalid_configuration_is_refused_in_one_line(base: Path, text: str) -> None:
    (base / "config.json").write_text(text, "utf-8")
    with pytest.raises(EscoitaError) as error:
        family_of(str(base))
    assert error.value.path == base / "config.json" and "\n" not in str(error.value)


def test_git_lfs_pointer_is_refused(base: Path) -> None:
    (base / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "utf-8")
    with pytest.raises(LfsPointerError) as error:
        family_of(str(base)).load_processor(str(base))
    assert error.value.path == f"{base}/tokenizer.json"


@pytest.mark.parametrize(
    "name, text",
    [
        ("tokenizer_config.json", "[1]"),
        ("tokenizer_config.json", 100_000 * "["),
        ("tokenizer_config.json", '{"tokenizer_class": {"a": 1}}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": [1]}'),
        ("processor_config.json", "[1]"),
        ("processor_config.json", '{"feature_extractor": 1}'),
    ],
)
def test_invalid_file_is_refused_in_one_line(base: Path, name: str, text: str) -> None:
    (base / name).write_text(text, "utf-8")
    with pytest.raises(EscoitaError) as error:
        family_of(str(base)).load_processor(str(base))
    assert "\n" not in str(error.value)


def test_sizes_of_a_repository_are_checked_before_downloading(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.hf_api import ModelInfo

    info = ModelInfo(id="user/base", tags=[], siblings=[{"rfilename": "tokenizer.json", "size": 10**9}])
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: info)
    monkeypatch.setattr(processor_files, "file_if_any", lambda *_: pytest.fail("a file was fetched"))
    with pytest.raises(FileSizeError) as error:
        check_processor_files("user/base")
    assert (error.value.path, error.value.size) == ("user/base/tokenizer.json", 10**9)


def test_tokenizer_is_checked_once(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(processor_files, "_problems", {})
    monkeypatch.setattr(processor_files, "limited", lambda *values: calls.append(values))
    for _ in range(3):
        check_processor_files(str(base))
    assert len(calls) == 1
