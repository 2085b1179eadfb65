"""Download FLEURS over HTTP from the Hub double, in the layouts of google/fleurs."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi

from escoita.data.clips import check_clips
from escoita.data.readers import fleurs_download, pinned, read_corpus
from escoita.data.readers.base import SelectionError
from escoita.data.readers.fleurs_download import CONVERTED
from escoita.data.readers.recordings import MemberPathError
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError, EscoitaError
from escoita.recipe.schema import FLEURS, Corpus
from escoita.training.defaults import with_commits
from tests.hub_double import HubDouble, serve
from tests.hub_double.store import MAIN
from tests.samples import write_clip


ROW = "1660\t{name}.wav\tEla dixo si.\tela dixo si\te l a\t8000\tFEMALE\n"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """Serve an empty google/fleurs; the cache is a new folder."""
    fleurs_download._language.cache_clear()
    with serve(tmp_path / "hub", xet=False) as double:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", double.url)
        template = f"{double.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        HfApi(endpoint=double.url, token="hf_google").create_repo(FLEURS, repo_type="dataset")
        yield double
    fleurs_download._language.cache_clear()


@pytest.fixture
def wav(tmp_path: Path) -> bytes:
    return write_clip(tmp_path / "clip.wav").read_bytes()


def tables(wav: bytes, member: str = "{split}/{split}1.wav") -> dict[str, bytes]:
    """Return tables and archives of Galician; each archive also contains a link."""
    files: dict[str, bytes] = {}
    for split in ("train", "dev", "test"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            link = tarfile.TarInfo(f"{split}/link.wav")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
            recording = tarfile.TarInfo(member.format(split=split))
            recording.size = len(wav)
            tar.addfile(recording, io.BytesIO(wav))
        files[f"data/gl_es/audio/{split}.tar.gz"] = packed.getvalue()
        files[f"data/gl_es/{split}.tsv"] = ROW.format(name=f"{split}1").encode()
    return files


def parquet(wav: bytes, text: str = "en parquet") -> bytes:
    file = io.BytesIO()
    table = pa.table({"path": ["a.wav"], "audio": [{"bytes": wav, "path": "a.wav"}], "transcription": [text]})
    pq.write_table(table, file)
    return file.getvalue()


def convert(hub: HubDouble, files: dict[str, bytes]) -> str:
    repo = hub.store.repos["dataset", FLEURS]
    repo.refs.setdefault(CONVERTED, repo.refs[MAIN])
    hub.commit(FLEURS, files, "Update parquet files", "dataset", revision=CONVERTED)
    return str(repo.refs[CONVERTED])


def read(split: str | None = "test", language: str = "gl", **keys: Any) -> tuple[Utterances, list[Rejected]]:
    return read_corpus(Corpus(name="fleurs", path=FLEURS, reader="fleurs", split=split, **keys), language)


def downloads(hub: HubDouble) -> list[str]:
    """Return the files that were requested; one that is in the cache is not."""
    return [path for method, path, status in hub.log if method == "HEAD" and "/resolve/" in path and status < 400]


@pytest.mark.parametrize("split", ["validation", "dev"])
def test_tables_and_archives(hub: HubDouble, wav: bytes, split: str) -> None:
    hub.commit(FLEURS, tables(wav), "Add Galician", "dataset")
    rows, rejected = read(split)
    usable, broken = check_clips(rows, 30.0)
    assert [(row.text, row.split, row.language) for row in usable] == [("ela dixo si", "dev", "gl")]
    assert not rejected and not broken and Path(usable[0].audio).name == "dev1.wav"
    assert not list(Path(usable[0].audio).parent.glob("link*"))
    fetched = len(downloads(hub))
    assert fetched == 2
    assert read(split)[0][0].text == "ela dixo si" and len(downloads(hub)) == fetched


@pytest.mark.parametrize("names", [("{}/0000", "{}/0001"), ("fleurs-{}-00000-of-00002", "fleurs-{}-00001-of-00002")])
def test_the_converted_files_are_preferred_if_complete(hub: HubDouble, wav: bytes, names: tuple[str, ...]) -> None:
    hub.commit(FLEURS, tables(wav), "Add Galician", "dataset")
    paths = [f"gl_es/{name.format(split)}.parquet" for split in ("train", "validation", "test") for name in names]
    convert(hub, {path: parquet(wav) for path in paths[:-1]})
    assert [row.text for row in read()[0]] == ["ela dixo si"] if "of" in names[0] else True
    fleurs_download._language.cache_clear()
    convert(hub, {paths[-1]: parquet(wav)})
    rows, _ = read()
    assert [row.text for row in rows] == ["en parquet"] * 2 and {row.split for row in rows} == {"test"}
    assert len([path for path in downloads(hub) if path.endswith(".parquet")]) == 2


@pytest.mark.parametrize("missing", ["test/0000", "train/0000", "train/0001"])
def test_a_partial_conversion_is_not_used(hub: HubDouble, wav: bytes, missing: str) -> None:
    hub.commit(FLEURS, tables(wav), "Add Galician", "dataset")
    names = {"train/0000", "train/0001", "train/0002", "validation/0000", "test/0000", "partial-train/0000"}
    convert(hub, {f"gl_es/{name}.parquet": parquet(wav) for name in names - {missing}})
    assert [row.text for row in read()[0]] == ["ela dixo si"]


def test_the_commit_is_pinned(hub: HubDouble, wav: bytes, recipe_with_fleurs: Any) -> None:
    files = {f"gl_es/{split}/0000.parquet": parquet(wav, "antes") for split in ("train", "validation", "test")}
    commit = convert(hub, files)
    first = with_commits(recipe_with_fleurs)
    assert {each.revision for each in (*first.corpora.train, *first.corpora.test)} == {commit}
    fleurs_download._language.cache_clear()
    convert(hub, {name: parquet(wav, "despois") for name in files})
    assert with_commits(recipe_with_fleurs, first) == first
    assert with_commits(recipe_with_fleurs).corpora.test[0].revision != commit
    assert read_corpus(first.corpora.test[0], "gl")[0][0].text == "antes"
    assert read()[0][0].text == "despois"


@pytest.fixture
def recipe_with_fleurs() -> Any:
    from escoita.recipe.schema import Recipe

    corpora = {
        split: [{"name": "fleurs", "reader": "fleurs", "path": FLEURS, "split": split}] for split in ("train", "test")
    }
    method = {"kind": "lora", "r": 4}
    card = {"title": "Small", "license": "apache-2.0"}
    return Recipe.model_validate(
        {"name": "small", "base": "b", "language": "gl", "method": method, "corpora": corpora, "card": card}
    )


def test_an_archive_with_a_path_outside_is_refused(hub: HubDouble, wav: bytes) -> None:
    hub.commit(FLEURS, tables(wav, "../{split}1.wav"), "Add Galician", "dataset")
    with pytest.raises(MemberPathError):
        read()


@pytest.mark.parametrize(
    "keys, key, value",
    [
        ({"split": None}, "split", None),
        ({"split": "tset"}, "split", "tset"),
        ({"config": "xx_yy"}, "config", "xx_yy"),
        ({"config": "../secret"}, "config", "../secret"),
        ({"language": "tlh"}, "config", None),
    ],
)
def test_another_selection_is_refused(hub: HubDouble, wav: bytes, keys: dict[str, Any], key: str, value: Any) -> None:
    hub.commit(FLEURS, tables(wav), "Add Galician", "dataset")
    with pytest.raises(CorpusError) as caught:
        read(**keys)
    assert (caught.value.path, caught.value.key, caught.value.value) == (FLEURS, key, value)
    if value == "xx_yy":
        assert isinstance(caught.value, SelectionError) and caught.value.available == ("gl_es",)


def test_an_incomplete_language_and_an_unknown_commit_are_refused(hub: HubDouble, wav: bytes) -> None:
    files = tables(wav)
    del files["data/gl_es/audio/dev.tar.gz"]
    hub.commit(FLEURS, files, "Add a part", "dataset")
    with pytest.raises(CorpusError) as caught:
        read()
    assert (caught.value.key, caught.value.value) == ("config", "gl_es")
    with pytest.raises(EscoitaError):
        read(revision="0" * 40)


def test_a_local_folder_has_no_revision(tmp_path: Path) -> None:
    corpus = Corpus(name="fleurs", path=str(tmp_path), reader="fleurs", split="test", revision="main")
    assert pinned(corpus, "gl") == corpus and not corpus.remote
    with pytest.raises(CorpusError) as caught:
        read_corpus(corpus, "gl")
    assert caught.value.key == "revision"
