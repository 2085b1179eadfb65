"""Run the real `datasets` on folders, and over HTTP with the Hub double."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from escoita.data.clips import check_clips
from escoita.data.readers import read_corpus
from escoita.data.readers.base import SelectionError
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from tests.hub_double import HubDouble, serve
from tests.samples import write_clip


FEATURES = {
    "audio": {"sampling_rate": 16000, "_type": "Audio"},
    "sentence": {"dtype": "string", "_type": "Value"},
    "gender": {"names": ["male", "female"], "_type": "ClassLabel"},
    "speaker": {"dtype": "string", "_type": "Value"},
}
READ = """
import json, sys
from escoita.data.readers import read_corpus
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus

for keys in json.loads(sys.argv[1]):
    try:
        rows, rejected = read_corpus(Corpus(name="voices", reader="hub", **keys), "gl")
        values = [[row.id, row.text, row.gender, row.split, row.source, row.row, len(row.embedded)] for row in rows]
        print(json.dumps([values, [[row.source, row.row, row.audio] for row in rejected]]))
    except CorpusError as error:
        print(json.dumps({"path": error.path, "key": error.key, "problem": error.problem, "hint": error.hint}))
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a dataset like those of `push_to_hub`, with two splits, a class label, and an empty sentence."""
    folder = tmp_path / "voices"
    (folder / "data").mkdir(parents=True)
    wav = write_clip(tmp_path / "clip.wav").read_bytes()
    for split, sentences in {"train": ["un"], "test": ["dous", "tres", "", "cinco"]}.items():
        count = len(sentences)
        table = pa.table(
            {
                "audio": [{"bytes": wav, "path": f"{split}{number}.wav"} for number in range(count)],
                "sentence": sentences,
                "gender": pa.array([number % 2 for number in range(count)], pa.int64()),
                "speaker": [f"s{number}" for number in range(count)],
            }
        )
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}})})
        pq.write_table(table, folder / f"data/{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """Return an audio folder."""
    folder = tmp_path / "loose"
    (folder / "train").mkdir(parents=True)
    write_clip(folder / "train/1.wav")
    (folder / "train/metadata.csv").write_text("file_name,text\n1.wav,un\n")
    return folder


@pytest.fixture(params=["lfs", pytest.param("xet", marks=pytest.mark.slow)])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub", xet=request.param == "xet") as double:
        yield double


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the cache, which `datasets` reads when it is imported."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


def read(path: Path, **keys: Any) -> tuple[Utterances, list[Rejected]]:
    return read_corpus(Corpus(name="voices", path=str(path), reader="hub", **keys), "gl")


def test_a_folder_is_read_and_its_recordings_are_mapped(repository: Path) -> None:
    before = pa.total_allocated_bytes()
    utterances, (empty,) = read(repository, split="test")
    assert pa.total_allocated_bytes() - before < 20_000
    assert (empty.source, empty.row, empty.audio) == (f"{repository} (test)", 3, "test2.wav")
    assert [row.text for row in utterances] == ["dous", "tres", "cinco"]
    assert [row.gender for row in utterances] == ["male", "female", "female"]
    last = utterances[2]
    assert (last.id, last.speaker, last.split, last.language, last.row) == ("test3", "s3", "test", "gl", 4)
    usable, broken = check_clips(utterances, 30.0)
    assert [row.audio_seconds for row in usable] == [0.5] * 3 and not broken


def test_a_folder_is_streamed(repository: Path) -> None:
    utterances, rejected = read(repository, split="test", streaming=True, limit=3)
    assert [(row.row, row.text, row.gender) for row in utterances] == [(1, "dous", "male"), (2, "tres", "female")]
    assert [row.row for row in rejected] == [3]
    usable, broken = check_clips(utterances, 30.0)
    assert len(usable) == 2 and not broken


def test_a_limit_a_slice_and_another_column(repository: Path) -> None:
    assert [row.text for row in read(repository, split="test", limit=1)[0]] == ["dous"]
    assert [row.text for row in read(repository, split="test[1:2]")[0]] == ["tres"]
    assert [row.text for row in read(repository, split="test", columns={"text": "speaker"}, limit=2)[0]] == [
        "s0",
        "s1",
    ]


@pytest.mark.parametrize(
    "keys, key, value",
    [
        ({}, "split", None),
        ({"split": "test", "streaming": True}, "limit", None),
        ({"split": "test", "columns": {"text": "frase"}}, "columns.text", "frase"),
        ({"split": "dev"}, None, None),
        ({"split": "dev", "streaming": True, "limit": 1}, None, None),
        ({"split": "test", "config": "gl"}, None, None),
    ],
)
def test_a_selection_that_is_missing_is_refused(
    repository: Path, keys: dict, key: str | None, value: str | None
) -> None:
    with pytest.raises(CorpusError) as error:
        read(repository, **keys)
    assert (error.value.path, error.value.key, error.value.value) == (str(repository), key, value)
    assert "\n" not in str(error.value)
    if key == "split":
        assert isinstance(error.value, SelectionError) and error.value.available == ("test", "train")


def test_a_dataset_that_is_damaged_or_empty(tmp_path: Path) -> None:
    (tmp_path / "junk").mkdir()
    for _ in range(2):
        with pytest.raises(CorpusError) as error:
            read(tmp_path / "junk", split="train")
        assert error.value.path == str(tmp_path / "junk") and error.value.problem
        (tmp_path / "junk/train.parquet").write_bytes(b"junk")


def test_separate_audio_files_are_read_by_another_reader(loose: Path) -> None:
    with pytest.raises(CorpusError) as error:
        read(loose, split="train")
    assert error.value.path == str(loose) and str(error.value.hint).endswith("audiofolder")
    assert "hf download" not in str(error.value.hint)
    assert len(read_corpus(Corpus(name="loose", path=str(loose), reader="audiofolder"), "gl")[0]) == 1


@pytest.mark.slow
def test_a_repository_is_read_over_http(
    hub: HubDouble,
    repository: Path,
    loose: Path,
    tmp_path: Path,
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_ana", "HF_HUB_DISABLE_XET": "0" if hub.store.cas else "1"}
    upload = """
import sys
from huggingface_hub import HfApi
for repo, private in (("acme/voices", False), ("bea/secret", True)):
    api = HfApi(token=f"hf_{repo.split('/')[0].replace('acme', 'ana')}")
    api.create_repo(repo, repo_type="dataset", private=private)
    api.upload_folder(repo_id=repo, repo_type="dataset", folder_path=sys.argv[1])
api.create_tag("bea/secret", tag="v1", repo_type="dataset")
api.create_repo("acme/loose", repo_type="dataset")
api.upload_folder(repo_id="acme/loose", repo_type="dataset", folder_path=sys.argv[2])
"""
    uploaded = command("-c", upload, str(repository), str(loose), **environment)
    assert uploaded.returncode == 0, uploaded.stderr

    dataset, streamed = {"path": "acme/voices", "split": "test"}, {"streaming": True, "limit": 2}
    corpora: list[dict] = [dataset, dataset | streamed, dataset | {"revision": "v9"}, dataset | {"config": "gl"}]
    corpora += [dataset | {"path": "acme/none"}, dataset | {"path": "bea/secret"}, {"path": "acme/voices"}]
    corpora += [{"path": "acme/loose", "split": "train"}]
    run = command("-c", READ, json.dumps(corpora), **environment)
    assert run.returncode == 0, run.stderr
    complete, part, *errors = map(json.loads, run.stdout.splitlines())
    size = os.path.getsize(tmp_path / "clip.wav")
    rows = [
        [f"test{row - 1}", text, "male" if row % 2 else "female", "test", "acme/voices (test)", row, size]
        for row, text in ((1, "dous"), (2, "tres"), (4, "cinco"))
    ]
    assert complete == [rows, [["acme/voices (test)", 3, "test2.wav"]]] and part == [rows[:2], []]
    assert [(error["path"], error["key"]) for error in errors] == [
        ("acme/voices", None),
        ("acme/voices", None),
        ("acme/none", None),
        ("bea/secret", None),
        ("acme/voices", "split"),
        ("acme/loose", None),
    ]
    assert "'v9'" in errors[0]["problem"] and "'gl'" in errors[1]["problem"]
    assert "hf download acme/loose " in errors[5]["hint"]

    private = [dataset | {"path": "bea/secret", "revision": "v1", "limit": 1}]
    run = command("-c", READ, json.dumps(private), **environment | {"HF_TOKEN": "hf_bea"})
    assert json.loads(run.stdout)[0][0][1] == "dous", run.stderr

    requests = len(hub.log)
    run = command(
        "-c", READ, json.dumps([dataset, dataset | {"path": "acme/none"}]), **environment | {"HF_HUB_OFFLINE": "1"}
    )
    again, missing = map(json.loads, run.stdout.splitlines())
    assert again == complete and missing["path"] == "acme/none" and len(hub.log) == requests


def test_a_downloaded_dataset_cannot_refer_to_recordings_of_this_machine(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    mine = write_clip(tmp_path / "mine.wav")
    table = pa.table({"audio": [{"bytes": None, "path": str(mine)}], "text": ["un"]})
    table = table.cast(
        pa.schema({"audio": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "text": pa.string()})
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset(table))
    utterances, (rejected,) = read_corpus(Corpus(name="v", path="acme/v", reader="hub", split="test"), "gl")
    assert not utterances and (rejected.source, rejected.row, rejected.audio) == ("acme/v (test)", 1, str(mine))
    assert read(repository, split="test")[0][0].audio == str(mine)
