from pathlib import Path
from unittest.mock import MagicMock

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RemoteEntryNotFoundError
from huggingface_hub.utils import httpx

from escoita.errors import EscoitaError
from escoita.hub.failures import HubError
from escoita.hub.files import (
    MissingFileError,
    adapter_record,
    cached_file,
    file_if_any,
    local_file,
    repository_name,
    split_revision,
    weights_digest,
)
from escoita.records.training import AdapterRecord, Prompt


def test_the_record_of_an_adapter(tmp_path: Path) -> None:
    record = AdapterRecord(language="gl", prompt=Prompt(user="Escoita."))
    record.write(tmp_path / "escoita.json")
    assert adapter_record(str(tmp_path)) == record


def test_an_adapter_without_a_record(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError) as refusal:
        adapter_record(str(tmp_path))
    assert (refusal.value.path, refusal.value.name) == (str(tmp_path), "escoita.json")


def test_the_digest_depends_only_on_the_weights(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for folder, weights in zip(folders, (b"one", b"one", b"two"), strict=True):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "config.json").write_text(folder.name)
    same, also, other = (weights_digest(str(folder)) for folder in folders)
    assert same == also != other and len(same) == 64


def test_an_optional_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    assert file_if_any(str(tmp_path), "a.json") == tmp_path / "a.json"
    assert file_if_any(str(tmp_path), "absent.json") is None


def test_an_optional_file_of_a_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = RemoteEntryNotFoundError("404: not there", response=MagicMock())
    unreachable = LocalEntryNotFoundError("no network, and not in the cache")

    def answer(error: Exception) -> None:
        def download(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr("huggingface_hub.hf_hub_download", download)

    answer(absent)
    assert file_if_any("user/name", "absent.json") is None
    answer(unreachable)
    with pytest.raises(HubError) as refusal:
        file_if_any("user/name", "absent.json")
    assert (refusal.value.path, refusal.value.value) == ("user/name", "absent.json")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: huggingface_hub._CACHED_NO_EXIST)
    assert file_if_any("user/name", "absent.json") is None  # a cached answer of the Hub


def test_a_rate_limit_does_not_mean_that_a_file_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(inner: Exception) -> None:
        def download(*arguments: object, **options: object) -> None:
            raise LocalEntryNotFoundError("not in the cache") from inner

        monkeypatch.setattr("huggingface_hub.hf_hub_download", download)

    fail(httpx.ConnectError("Name or service not known"))
    assert cached_file("user/name", "escoita.json") is None
    response = httpx.Response(429, request=httpx.Request("HEAD", "https://huggingface.co/user/name"))
    fail(HfHubHTTPError("429", response=response))
    with pytest.raises(HubError) as refused:
        cached_file("user/name", "escoita.json")
    assert refused.value.cause == "rate limit"


@pytest.mark.parametrize(
    "source, expected",
    [
        ("user/adapter", ("user/adapter", None)),
        ("user/adapter@v1", ("user/adapter", "v1")),
        ("user/adapter@refs/pr/1", ("user/adapter", "refs/pr/1")),
        ("./runs/a@b/adapter", ("./runs/a@b/adapter", None)),
        ("/srv/runs@2/adapter", ("/srv/runs@2/adapter", None)),
    ],
)
def test_a_revision_follows_the_name_of_a_repository(source: str, expected: tuple[str, str | None]) -> None:
    assert split_revision(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://huggingface.co/u/n", "u/n"),
        ("http://www.huggingface.co/u/n/", "u/n"),
        ("huggingface.co/u/n", "u/n"),
        (" https://hf.co/u/n/tree/v1 ", "u/n@v1"),
        ("https://huggingface.co/u/n/blob/main/README.md?x=1#top", "u/n@main"),
        ("https://huggingface.co/u/n/commit/0123abc", "u/n@0123abc"),
        ("https://huggingface.co/u/n/tree/refs%2Fpr%2F1", "u/n@refs/pr/1"),
        ("https://huggingface.co/u/n/tree/refs/pr/1/eval", "u/n@refs/pr/1"),
        ("https://huggingface.co/u/n/discussions/3", "u/n"),
        ("https://huggingface.co/spaces/u/demo", "u/demo"),
        ("https://huggingface.co/datasets/u/clips/tree/main", "u/clips@main"),
        ("u/n/", "u/n"),
        ("u/n@v1/", "u/n@v1"),
        ("u/n@v1", "u/n@v1"),
        ("https://huggingface.co/u", "https://huggingface.co/u"),
        ("https://example.org/u/n", "https://example.org/u/n"),
        ("../runs/a/", "../runs/a/"),
        ("/srv/runs/a/", "/srv/runs/a/"),
        ("whisper-tiny", "whisper-tiny"),
        ("", ""),
    ],
)
def test_a_repository_is_known_by_its_address(source: str, expected: str) -> None:
    assert repository_name(source) == expected


def test_a_folder_keeps_its_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs/a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert repository_name("runs/a/") == "runs/a/"


def test_a_folder_may_have_an_at_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs/a@v1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert split_revision("runs/a@v1") == ("runs/a@v1", None)
    assert split_revision("runs/a@v2") == ("runs/a", "v2")


def test_an_empty_revision_is_refused() -> None:
    with pytest.raises(EscoitaError) as refusal:
        split_revision("user/adapter@")
    assert refusal.value.value == "user/adapter@"


def test_a_file_of_a_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[tuple[object, ...]] = []

    def download(*arguments: str, **options: str) -> str:
        requests.append((*arguments, options))
        return "escoita.json"

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    local_file("user/adapter@refs/pr/1", "escoita.json")
    assert requests == [("user/adapter", "escoita.json", {"revision": "refs/pr/1"})]
