"""Test that repositories and folders with unexpected names or sizes are refused in one line."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from escoita.cards.contribute import contributed_settings
from escoita.cards.fetch import checked_commit, fetched
from escoita.cards.listing import (
    FileKindError,
    SizeLimitError,
    UnsafeNameError,
    published_files,
    require_plain,
    require_plain_folder,
)
from escoita.errors import PublishError
from escoita.utils.limits import FILES, README_BYTES, REPOSITORY_BYTES, WEIGHTS_BYTES
from tests.cards.publishing import REPO
from tests.hub_double import HubDouble, Repo, serve


GOOD = {"README.md": 20_000, "adapter_model.safetensors": 50_000_000, "eval/clips/predictions.parquet": 90_000}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
# File sizes with the refused value; none for the number of files.
SIZES: dict[str, tuple[dict[str, int], str | None]] = {
    "a README of 500 MB": ({"README.md": 500_000_000}, "README.md"),
    "a record": ({"eval/results.json": 40 << 20}, "eval/results.json"),
    "predictions": ({"eval/clips/predictions.parquet": 1 << 30}, "eval/clips/predictions.parquet"),
    "a recipe": ({"recipe.yaml": 3_000_000}, "recipe.yaml"),
    "a plot": ({"eval/wer.svg": 20 << 20}, "eval/wer.svg"),
    "digests": ({"SHA256SUMS": 3 << 20}, "SHA256SUMS"),
    "many files": ({f"notes/{number}.txt": 1 for number in range(FILES)}, None),
    "large in sum": ({f"{n}.txt": REPOSITORY_BYTES // 4 for n in range(5)}, "all files except weights"),
    "weights": ({f"{n}.bin": WEIGHTS_BYTES // 4 for n in range(5)}, "weights"),
}
# Unsafe names with the value of the error if it is not the name.
NAMES = {
    "../README.md": "",
    "eval/../../x": "",
    "eval\\..\\x": "",
    "eval//x": "",
    "./x": "",
    "/etc/passwd": "",
    "C:\\x": "",
    "\\\\host\\share\\x": "",
    "x\ny": "x<U+000A>y",
    "\x1b]0;evil\x07.svg": "<U+001B>]0;evil<U+0007>.svg",
    "\u202egvs.exe": "<U+202E>gvs.exe",
    "readme.md": "README.md and readme.md",
    "Eval/clips/more.parquet": "eval/clips and Eval/clips",
    "eval/clips/PREDICTIONS.parquet": "eval/clips/predictions.parquet and eval/clips/PREDICTIONS.parquet",
    ".cache/huggingface/x.bin": "",
    "x" * 600: "x" * 100 + "…",
}


def test_files_of_escoita_are_accepted() -> None:
    require_plain("ana/uzbek", GOOD | {"eval/clips": 1})
    require_plain("ana/uzbek", {})


@pytest.mark.parametrize("kind", SIZES)
def test_too_large_repository_is_refused(kind: str) -> None:
    more, value = SIZES[kind]
    with pytest.raises(SizeLimitError) as refusal:
        require_plain("ana/uzbek", GOOD | more)
    assert (refusal.value.path, refusal.value.value) == ("ana/uzbek", value)
    if value in more:
        assert refusal.value.size == more[value] > refusal.value.limit


@pytest.mark.parametrize("name", NAMES)
def test_unsafe_name_is_refused(name: str) -> None:
    with pytest.raises(UnsafeNameError) as refusal:
        require_plain("ana/uzbek", GOOD | {name: 1})
    assert (refusal.value.path, refusal.value.value) == ("ana/uzbek", NAMES[name] or name)
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 400


def test_one_name_in_two_encodings_is_refused() -> None:
    with pytest.raises(UnsafeNameError):
        require_plain("ana/uzbek", {"ñ.txt": 1, "n\u0303.txt": 1})


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with serve(tmp_path / "hub") as double:
        double.store.create(Repo("model", REPO), author="ana")
        yield double


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"../README.md": b"x"}, UnsafeNameError),
        ({"readme.md": b"x"}, UnsafeNameError),
        ({"README.md": b"x" * (README_BYTES + 1)}, SizeLimitError),
        ({"a\x1b[2Jb": b"x"}, UnsafeNameError),
    ],
)
def test_repository_is_refused_before_anything_is_downloaded(
    hub: HubDouble,
    files: dict[str, bytes],
    error: type[PublishError],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.commit(REPO, {"README.md": b"# A card", "adapter_config.json": b"{}"} | files, "Publish")
    api = partial(HfApi, endpoint=hub.url, token=False)
    with pytest.raises(error):
        fetched(api(), REPO)
    monkeypatch.setattr("escoita.cards.contribute.HfApi", api)
    with pytest.raises(error):
        contributed_settings(REPO)
    assert not [entry for entry in hub.log if "/resolve/" in entry[1]]
    assert not (tmp_path / "cache").exists()


def test_links_in_the_cache_of_the_client_are_accepted(hub: HubDouble) -> None:
    commit = hub.commit(REPO, {"README.md": b"# A card", "eval/results.json": b"{}"}, "Publish").id
    api = HfApi(endpoint=hub.url, token=False)
    assert checked_commit(api, REPO) == (REPO, commit)
    snapshot = fetched(api, REPO)
    assert snapshot.commit == commit and published_files(snapshot.path).keys() >= {"README.md", "eval/results.json"}
    require_plain_folder("a folder of the cache", snapshot.path)


def test_committed_pointers_are_refused(hub: HubDouble) -> None:
    hub.commit(REPO, {"README.md": b"# A card", "training.json": POINTER}, "Publish")
    with pytest.raises(FileKindError) as refusal:
        fetched(HfApi(endpoint=hub.url, token=False), REPO)
    assert refusal.value.path == REPO and "training.json" in str(refusal.value)


def linked_file(folder: Path) -> str:
    (folder / "data.json").symlink_to("/etc/passwd")
    return "data.json"


def linked_folder(folder: Path) -> str:
    (folder / "eval").symlink_to("/", target_is_directory=True)
    return "eval"


def linked_to_itself(folder: Path) -> str:
    (folder / "loop").symlink_to("loop")
    return "loop"


def linked_inside(folder: Path) -> str:
    (folder / "copy.md").symlink_to("README.md")
    return "copy.md"


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "training.json")
    return "training.json"


def names_in_two_cases(folder: Path) -> str:
    (folder / "readme.md").write_text("x")
    if len(list(folder.iterdir())) == 1:
        pytest.skip("this file system ignores case")
    return "README.md and readme.md"


def sparse_readme(folder: Path) -> str:
    with (folder / "README.md").open("wb") as file:
        file.truncate(500_000_000)
    return "README.md"


def escaping_name(folder: Path) -> str:
    (folder / "\x1b]0;evil\x07.svg").write_text("<svg/>")
    return "<U+001B>]0;evil<U+0007>.svg"


def pointers(folder: Path) -> str:
    for name in ("a.parquet", "b.parquet"):
        (folder / name).write_bytes(POINTER)
    return "a.parquet"


def too_many(folder: Path) -> str:
    (folder / "deep").mkdir()
    for place in range(FILES):
        (folder / "deep" / str(place)).touch()
    return f"{FILES:,}"


@pytest.mark.parametrize(
    "make",
    [
        linked_file,
        linked_folder,
        linked_to_itself,
        linked_inside,
        pipe,
        names_in_two_cases,
        sparse_readme,
        escaping_name,
        pointers,
        too_many,
    ],
)
def test_folder_with_unexpected_files_is_refused(tmp_path: Path, make: Callable[[Path], str]) -> None:
    (tmp_path / "README.md").write_text("# A card")
    name = make(tmp_path)
    with pytest.raises((UnsafeNameError, SizeLimitError, FileKindError)) as refusal:
        fetched(HfApi(), str(tmp_path))
    assert refusal.value.path == str(tmp_path)
    assert name in str(refusal.value) and str(refusal.value).isprintable()


def test_files_of_clients_are_left_out(tmp_path: Path) -> None:
    for name in (".git/HEAD", ".cache/huggingface/download/README.md.lock", ".cache/x.bin", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".git/link").symlink_to("/etc/passwd")
    require_plain_folder("folder", tmp_path)
    assert list(published_files(tmp_path)) == [".cache/x.bin", "README.md"]


def test_other_file_in_the_cache_of_a_client_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".cache/huggingface").mkdir(parents=True)
    (tmp_path / ".cache/huggingface/model.safetensors").write_text("x")
    with pytest.raises(PublishError):
        require_plain_folder("folder", tmp_path)
