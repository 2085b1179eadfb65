"""Repositories and folders whose names or sizes are not those of what escoita publishes, each refused in one line."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from escoita.cards.contribute import adopted
from escoita.cards.fetch import checked_commit, fetched
from escoita.cards.listing import published_files, require_plain, require_plain_folder
from escoita.errors import PublishError
from escoita.utils.limits import FILES, README_BYTES, REPOSITORY_BYTES, WEIGHTS_BYTES
from tests.cards.publishing import REPO
from tests.hub_double import HubDouble, Repo, serve


GOOD = {"README.md": 20_000, "adapter_model.safetensors": 50_000_000, "eval/clips/predictions.parquet": 90_000}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
SIZES: dict[str, tuple[dict[str, int], str]] = {
    "a README of 500 MB": ({"README.md": 500_000_000}, "README.md: 500,000,000 bytes"),
    "a record": ({"eval/results.json": 40 << 20}, "at most 33,554,432"),
    "predictions": ({"eval/clips/predictions.parquet": 1 << 30}, "predictions.parquet: 1,073,741,824 bytes"),
    "a recipe": ({"recipe.yaml": 3_000_000}, "at most 800,000"),
    "a plot": ({"eval/wer.svg": 20 << 20}, "wer.svg"),
    "digests": ({"SHA256SUMS": 3 << 20}, "SHA256SUMS"),
    "many files": ({f"notes/{place}.txt": 1 for place in range(FILES)}, f"more than {FILES:,} files"),
    "large in sum": ({f"{place}.txt": REPOSITORY_BYTES // 4 for place in range(5)}, "files without its weights have"),
    "weights": ({f"{place}.bin": WEIGHTS_BYTES // 4 for place in range(5)}, "its weights have"),
}
NAMES = {
    "../README.md": "a name with empty parts, . or .. in it",
    "eval/../../x": "a name with empty parts, . or .. in it",
    "eval\\..\\x": "a name with empty parts, . or .. in it",
    "eval//x": "a name with empty parts",
    "./x": "a name with empty parts",
    "/etc/passwd": "an absolute name",
    "C:\\x": "an absolute name",
    "\\\\host\\share\\x": "an absolute name",
    "x\ny": "x<U+000A>y: control characters",
    "\x1b]0;evil\x07.svg": "<U+001B>]0;evil<U+0007>.svg: control characters",
    "\u202egvs.exe": "<U+202E>gvs.exe: control characters",
    "readme.md": "README.md and readme.md: names that differ only in case",
    "Eval/clips/more.parquet": "eval/clips and Eval/clips: names that differ only in case",
    "eval/clips/PREDICTIONS.parquet": "names that differ only in case",
    "eval/clips": "",
    ".cache/huggingface/x.bin": "a place that is the client's own",
    "x" * 600: "a name that is too long",
}


def test_what_escoita_publishes_is_plain() -> None:
    require_plain("ana/uzbek", GOOD)
    require_plain("ana/uzbek", {})


@pytest.mark.parametrize("kind", SIZES)
def test_what_is_too_large_is_refused(kind: str) -> None:
    more, line = SIZES[kind]
    with pytest.raises(PublishError) as refusal:
        require_plain("ana/uzbek", GOOD | more)
    assert str(refusal.value).startswith("ana/uzbek: ") and line in str(refusal.value)


@pytest.mark.parametrize("name", [name for name, why in NAMES.items() if why])
def test_a_name_that_is_not_plain_is_refused(name: str) -> None:
    with pytest.raises(PublishError) as refusal:
        require_plain("ana/uzbek", GOOD | {name: 1})
    assert NAMES[name] in str(refusal.value) and str(refusal.value).isprintable() and len(str(refusal.value)) < 400


def test_one_name_encoded_in_two_ways_is_refused() -> None:
    with pytest.raises(PublishError, match="names that differ only in case"):
        require_plain("ana/uzbek", {"ñ.txt": 1, "n\u0303.txt": 1})


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with serve(tmp_path / "hub") as double:
        double.store.create(Repo("model", REPO), author="ana")
        yield double


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"../README.md": b"x"}, "empty parts, . or .. in it"),
        ({"readme.md": b"x"}, "differ only in case"),
        ({"README.md": b"x" * (README_BYTES + 1)}, "4,000,001 bytes; at most 4,000,000 are read"),
        ({"a\x1b[2Jb": b"x"}, "control characters"),
    ],
)
def test_a_repository_is_refused_before_anything_is_downloaded(
    hub: HubDouble, files: dict[str, bytes], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.commit(REPO, {"README.md": b"# A card", "adapter_config.json": b"{}"} | files, "Publish")
    api = partial(HfApi, endpoint=hub.url, token=False)
    with pytest.raises(PublishError, match=line):
        fetched(api(), REPO)
    monkeypatch.setattr("escoita.cards.contribute.HfApi", api)
    with pytest.raises(PublishError, match=line):
        adopted(REPO)
    assert not [entry for entry in hub.log if "/resolve/" in entry[1]]
    assert not (tmp_path / "cache").exists()


def test_a_plain_repository_is_taken_and_its_links_are_the_clients(hub: HubDouble) -> None:
    commit = hub.commit(REPO, {"README.md": b"# A card", "eval/results.json": b"{}"}, "Publish").id
    api = HfApi(endpoint=hub.url, token=False)
    assert checked_commit(api, REPO) == commit
    snapshot = fetched(api, REPO)
    assert snapshot.commit == commit and published_files(snapshot.path).keys() >= {"README.md", "eval/results.json"}
    require_plain_folder("a folder of the cache", snapshot.path)


def test_pointers_that_were_committed_are_refused_too(hub: HubDouble) -> None:
    hub.commit(REPO, {"README.md": b"# A card", "training.json": POINTER}, "Publish")
    with pytest.raises(PublishError, match=f"{REPO}: training.json: a Git LFS pointer instead of the file"):
        fetched(HfApi(endpoint=hub.url, token=False), REPO)


def linked_file(folder: Path) -> str:
    (folder / "data.json").symlink_to("/etc/passwd")
    return "data.json: a symbolic link"


def linked_folder(folder: Path) -> str:
    (folder / "eval").symlink_to("/", target_is_directory=True)
    return "eval: a symbolic link"


def linked_to_itself(folder: Path) -> str:
    (folder / "loop").symlink_to("loop")
    return "loop: a symbolic link"


def linked_inside(folder: Path) -> str:
    (folder / "copy.md").symlink_to("README.md")
    return "copy.md: a symbolic link"


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "training.json")
    return "training.json: not a regular file"


def names_alike(folder: Path) -> str:
    (folder / "readme.md").write_text("x")
    if len(list(folder.iterdir())) == 1:
        pytest.skip("case makes no difference here")
    return "README.md and readme.md"


def sparse_readme(folder: Path) -> str:
    with (folder / "README.md").open("wb") as file:
        file.truncate(500_000_000)
    return "README.md: 500,000,000 bytes"


def escaping_name(folder: Path) -> str:
    (folder / "\x1b]0;evil\x07.svg").write_text("<svg/>")
    return "control characters"


def pointers(folder: Path) -> str:
    for name in ("a.parquet", "b.parquet"):
        (folder / name).write_bytes(POINTER)
    return "a.parquet (and 1 more files): a Git LFS pointer instead of the file; install git-lfs"


def too_many(folder: Path) -> str:
    (folder / "deep").mkdir()
    for place in range(FILES):
        (folder / "deep" / str(place)).touch()
    return f"more than {FILES:,} files"


@pytest.mark.parametrize(
    "make",
    [
        linked_file,
        linked_folder,
        linked_to_itself,
        linked_inside,
        pipe,
        names_alike,
        sparse_readme,
        escaping_name,
        pointers,
        too_many,
    ],
)
def test_a_folder_that_is_not_plain_is_refused(tmp_path: Path, make: Callable[[Path], str]) -> None:
    (tmp_path / "README.md").write_text("# A card")
    line = make(tmp_path)
    with pytest.raises(PublishError) as refusal:
        fetched(HfApi(), str(tmp_path))
    assert line in str(refusal.value) and str(refusal.value).isprintable()


def test_what_clients_keep_is_no_part_of_a_folder(tmp_path: Path) -> None:
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
