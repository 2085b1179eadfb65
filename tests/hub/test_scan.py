import getpass
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from escoita.cards.publication import public_recipe
from escoita.cards.published_base import base_files
from escoita.errors import PublishError
from escoita.hub.scan import scan
from escoita.recipe.schema import load_recipe


# Made up, and put together here so that no scanner takes this file for a leak.
TOKEN = "hf" + "_" + "aB3dE6gH9jK2" * 3
SECRETS = {
    "Hugging Face Token": TOKEN,
    "AWS Access Key": "AK" + "IA" + "ABCDEFGH12345678",
    "GitHub Token": "gh" + "p_" + "a1B2c3" * 6,
    "Private Key": "-----BEGIN " + "ENCRYPTED PRIVATE KEY-----",
    "Basic Auth Credentials": "https://ana:" + "hunter2" + "@example.org/corpus",
    "OpenAI Token": "sk-" + "proj-" + "a1B2c3D4" * 4,
    "Slack Token": "xox" + "b-12345678901-abcdefghij",
    "JSON Web Token": "eyJ" + "hbGciOiJIUzI1" + ".eyJ" + "zdWIiOiIxMjM0" + ".dozjgNryP4J3",
    "Weights & Biases Key": "wandb" + "_v1_" + "aB3dE6gH9jK2" * 3,
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


def found(files: dict[str, bytes | Path]) -> list[str]:
    """What a scan says, line by line; nothing where it passes."""
    try:
        scan(files)
    except PublishError as error:
        first, *lines = str(error).split("\n")
        assert first.endswith("take it out first:")
        return [line.strip() for line in lines]
    return []


def parquet(columns: dict[str, list], metadata: dict[str, str] | None = None) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), sink)
    return sink.getvalue()


@pytest.mark.parametrize("what, secret", SECRETS.items())
def test_a_secret_is_named_with_file_and_line_and_not_shown(what: str, secret: str) -> None:
    for name in ("README.md", "recipe.yaml", "tokenizer.json", "eval/wer.svg", "notebook.ipynb"):
        lines = found({name: f"one\ntwo\nsaid: '{secret}'\n".encode()})
        assert f"{name}:3: a secret ({what})" in lines
        assert secret not in "".join(lines)


@given(TEXTS, TEXTS, st.sampled_from(sorted(SECRETS.values())), st.sampled_from(["card", "table", "weights", "bytes"]))
def test_a_secret_anywhere_is_found(before: str, after: str, secret: str, kind: str) -> None:
    text = f"{before}\n{secret}\n{after}"
    made = {
        "card": ("README.md", text.encode()),
        "table": ("eval/c/predictions.parquet", parquet({"id": ["a", "b"], "text": ["", text]})),
        "weights": ("adapter_model.safetensors", save({"w": np.zeros(2)}, {"by": text})),
        "bytes": ("tokenizer.model", b"\x00\xff" + text.encode() + b"\xfe"),
    }
    name, content = made[kind]
    lines = found({"training.json": b"{}", name: content})
    assert lines and all(line.startswith(name) for line in lines)
    assert secret not in "".join(lines)


def test_where_in_a_table_it_stands() -> None:
    columns: dict[str, list] = {"id": ["a", "b"], "n": [1, 2], "deep": [[{"x": "two\nlines"}], [{"x": TOKEN}]]}
    assert found({"t.parquet": parquet(columns)}) == ["t.parquet, row 2, deep: a secret (Hugging Face Token)"]
    assert found({"t.parquet": parquet({TOKEN: ["a"]})}) == ["t.parquet, metadata: a secret (Hugging Face Token)"]
    told = parquet({"id": ["a"]}, {"escoita": json.dumps({"base": "/home/ana/gemma"})})
    assert found({"t.parquet": told}) == ["t.parquet, metadata: an absolute path"]
    assert found({"t.parquet": parquet({"raw": [TOKEN.encode()]})})


def test_what_safetensors_say_of_themselves_is_read(tmp_path: Path) -> None:
    content = save({"w": np.zeros(3)}, {"made_in": "/Users/ana/runs"})
    (tmp_path / "a.safetensors").write_bytes(content)
    for given_as in (content, tmp_path / "a.safetensors"):
        assert found({"a.safetensors": given_as}) == ["a.safetensors, __metadata__: an absolute path"]
    assert found({"a.safetensors": b"weights"}) == ["a.safetensors: not safetensors, whatever its name says"]


@pytest.mark.parametrize(
    "text",
    [
        "path: /home/ana/corpus",
        '{"path": "/Users/ana"}',
        r"C:\Users\ana\corpus",
        json.dumps({"path": r"C:\Users\ana\corpus"}),
        "file:///home/ana/corpus",
        "file:///elsewhere/clip.wav",
        "trained on `/data/corpora/gl`",
        "/gpfs/projects/speech",
        "[here](/tmp/run-1/README.md)",
        "../../home/ana",
        "/root/.cache",
    ],
)
def test_paths_of_a_machine_are_refused(text: str) -> None:
    assert found({"README.md": text.encode()})[0] == "README.md:1: an absolute path"


@pytest.mark.parametrize(
    "text",
    [
        '{"base": "/elsewhere/models/gemma"}',
        "base: /elsewhere/models/gemma\n",
        "- '/elsewhere/a b'",
        "path: '/elsewhere/a b/c d.wav'",
        json.dumps({"path": r"D:\corpora\gl"}),
        r"path: D:\corpora\gl",
    ],
)
def test_a_value_that_is_a_path_is_refused_wherever_the_path_is(text: str) -> None:
    assert found({"recipe.yaml": text.encode()}) == ["recipe.yaml:1: an absolute path"]


def test_who_pushes_is_not_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(Path, "home", lambda: Path("/net/people/ana"))
    monkeypatch.setattr(getpass, "getuser", lambda: "ana")
    assert "a.md:1: the folder that is pushed from" in found({"a.md": f"in {tmp_path / 'work'}".encode()})
    assert "a.md:1: the home of who pushes" in found({"a.md": b"in /net/people/ana, ..."})
    assert found({"a.md": b"from ../ana/corpus"}) == ["a.md:1: the user name of who pushes, in a path"]
    assert found({"runs/ana/x.md": b""}) == ["(a name): a secret, a path or a user in its name"]
    told = b"https://huggingface.co/ana/adapter, datasets/ana/corpus and ana/adapter by ana; /net/people/anabel"
    assert found({"a.md": told}) == []


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/home/ana/page",
        "curl /transcribe, and/or /home",
        "a" * 64 + "  eval/results.json",
        json.dumps({"sha256": "0123456789abcdef" * 4, "commit": "ab12" * 10}),
        "pkg://a.b/c and hf_hub_download and hf_xet",
        "he said: 10:30@noon",
        json.dumps({"prompt": "Q:\nWhat is said?\nA:\n"}),
    ],
)
def test_what_only_looks_like_it_passes(text: str) -> None:
    assert found({"README.md": text.encode(), "data.json": text.encode()}) == []


def test_a_vocabulary_holds_pieces_of_paths() -> None:
    vocabulary = json.dumps({"vocab": {"/home/user": 1, "/mnt/foo": 2}}).encode()
    assert found({"tokenizer.json": vocabulary}) == []
    assert found({"tokenizer_config.json": vocabulary})


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "scheduler.pt", "trainer_state.json", "rng_state_0.pth", "checkpoint-500/adapter.json"]
)
def test_states_of_training_are_refused(name: str) -> None:
    assert found({f"x/{name}": b"{}"}) == [f"x/{name}: the state of a training, which is no part of an adapter"]


def test_pickles_are_refused_whatever_they_are_called() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", b"")
    for content in (pickle.dumps({"a": 1}), archive.getvalue()):
        for name in ("weights.pth", "a.bin", "tokenizer.model", "notes.txt"):
            (line,) = found({name: content})
            assert line.startswith(f"{name}: a pickle")
    assert found({"model.gguf": b"GGUF"}) == ["model.gguf: weights in another format than safetensors"]
    assert found({"a.dat": b"\xff\x00"}) == ["a.dat: neither text nor a format that can be looked into"]


def test_many_findings_are_cut() -> None:
    lines = found({"a.md": "\n".join(["/home/ana/x"] * 50).encode()})
    assert len(lines) == 21 and lines[-1] == "and 30 more"


@pytest.mark.parametrize("recipe", ["quickstart-uzbek", "quickstart-galician"])
def test_the_quick_starts_pass(recipe: str) -> None:
    asked = load_recipe(Path("recipes") / f"{recipe}.yaml")
    assert found({"recipe.yaml": public_recipe(asked, "user/base").encode(), **base_files(Path(asked.base))}) == []
