"""The real `datasets`, on folders and over HTTP against the Hub double."""

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
        told = [[row.id, row.text, row.gender, row.split, row.source, row.row, len(row.embedded)] for row in rows]
        print(json.dumps([told, [str(row) for row in rejected]]))
    except CorpusError as error:
        print(json.dumps(str(error)))
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """As `push_to_hub` leaves one: two splits, a class label, an empty sentence."""
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
    """An audio folder."""
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
    """Read by `datasets` when it is imported."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


def read(path: Path, **keys: Any) -> tuple[Utterances, list[Rejected]]:
    return read_corpus(Corpus(name="voices", path=str(path), reader="hub", **keys), "gl")


def test_a_folder_is_read_and_its_recordings_stay_mapped(repository: Path) -> None:
    before = pa.total_allocated_bytes()
    utterances, (empty,) = read(repository, split="test")
    assert pa.total_allocated_bytes() - before < 20_000
    assert str(empty) == f"{repository} (test):3: test2.wav: empty transcript"
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
    "keys, said",
    [
        ({}, "set the split of corpus 'voices' to one of test, train"),
        ({"split": "dev"}, "dev"),
        ({"split": "dev", "streaming": True, "limit": 1}, "dev"),
        ({"split": "test", "config": "gl"}, "'gl' not found"),
        ({"split": "test", "streaming": True}, "set a limit for corpus 'voices'"),
        ({"split": "test", "columns": {"text": "frase"}}, "has no column 'frase', which columns.text names; it has"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(repository: Path, keys: dict, said: str) -> None:
    with pytest.raises(CorpusError) as refusal:
        read(repository, **keys)
    assert str(refusal.value).startswith(f"{repository}: ") and said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_dataset_that_is_damaged_or_empty(tmp_path: Path) -> None:
    (tmp_path / "junk").mkdir()
    with pytest.raises(CorpusError, match="junk: .* doesn't contain any data files"):
        read(tmp_path / "junk", split="train")
    (tmp_path / "junk/train.parquet").write_bytes(b"junk")
    with pytest.raises(CorpusError, match=r"junk: Parquet.*file"):
        read(tmp_path / "junk", split="train")


def test_loose_recordings_are_led_to_the_reader_that_reads_them(loose: Path) -> None:
    with pytest.raises(CorpusError, match=r"with torchcodec alone; set reader to audiofolder$"):
        read(loose, split="train")
    assert len(read_corpus(Corpus(name="loose", path=str(loose), reader="audiofolder"), "gl")[0]) == 1


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

    kept, streamed = {"path": "acme/voices", "split": "test"}, {"streaming": True, "limit": 2}
    asked: list[dict] = [kept, kept | streamed, kept | {"revision": "v9"}, kept | {"config": "gl"}]
    asked += [kept | {"path": "acme/none"}, kept | {"path": "bea/secret"}, {"path": "acme/voices"}]
    asked += [{"path": "acme/loose", "split": "train"}]
    run = command("-c", READ, json.dumps(asked), **environment)
    assert run.returncode == 0, run.stderr
    whole, part, *refusals = map(json.loads, run.stdout.splitlines())
    size = os.path.getsize(tmp_path / "clip.wav")
    rows = [
        [f"test{row - 1}", text, "male" if row % 2 else "female", "test", "acme/voices (test)", row, size]
        for row, text in ((1, "dous"), (2, "tres"), (4, "cinco"))
    ]
    assert whole == [rows, ["acme/voices (test):3: test2.wav: empty transcript"]] and part == [rows[:2], []]
    said = ["acme/voices: Revision 'v9'", "acme/voices: BuilderConfig 'gl' not found", "acme/none: ", "bea/secret: "]
    said.append("acme/voices: set the split of corpus 'voices' to one of test, train")
    said.append("acme/loose: datasets reads its loose recordings with torchcodec alone; run `hf download acme/loose ")
    assert len(refusals) == len(said) and all(map(str.startswith, refusals, said))

    private = [kept | {"path": "bea/secret", "revision": "v1", "limit": 1}]
    run = command("-c", READ, json.dumps(private), **environment | {"HF_TOKEN": "hf_bea"})
    assert json.loads(run.stdout)[0][0][1] == "dous", run.stderr

    requests = len(hub.log)
    run = command(
        "-c", READ, json.dumps([kept, kept | {"path": "acme/none"}]), **environment | {"HF_HUB_OFFLINE": "1"}
    )
    again, absent = map(json.loads, run.stdout.splitlines())
    assert again == whole and absent.startswith("acme/none: Couldn't reach") and len(hub.log) == requests


def test_a_dataset_of_others_names_no_recording_of_this_machine(
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
    assert not utterances and rejected.reason == "the row does not hold the recording"
    assert read(repository, split="test")[0][0].audio == str(mine)
