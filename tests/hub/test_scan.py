"""Test the contents that the scan refuses and allows."""

import getpass
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from escoita.cards.publication import public_recipe
from escoita.cards.published_base import base_files
from escoita.hub.scan import ForbiddenContentError, scan
from escoita.recipe.schema import load_recipe
from tests.hub.samples import HIDDEN, SECRETS, TOKEN, found, parquet


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@pytest.mark.parametrize("what, secret", SECRETS.items())
def test_a_secret_is_reported_by_file_and_line_and_not_shown(what: str, secret: str) -> None:
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


def test_a_finding_in_a_table_has_row_and_column() -> None:
    columns: dict[str, list] = {"id": ["a", "b"], "n": [1, 2], "deep": [[{"x": "two\nlines"}], [{"x": TOKEN}]]}
    assert found({"t.parquet": parquet(columns)}) == ["t.parquet, row 2, deep: a secret (Hugging Face Token)"]
    assert found({"t.parquet": parquet({TOKEN: ["a"]})}) == ["t.parquet, metadata: a secret (Hugging Face Token)"]
    described = parquet({"id": ["a"]}, {"escoita": json.dumps({"base": "/home/ana/gemma"})})
    assert found({"t.parquet": described}) == ["t.parquet, metadata: an absolute path"]
    assert found({"t.parquet": parquet({"raw": [TOKEN.encode()]})})


def test_metadata_of_safetensors_is_searched(tmp_path: Path) -> None:
    content = save({"w": np.zeros(3)}, {"made_in": "/Users/ana/runs"})
    (tmp_path / "a.safetensors").write_bytes(content)
    for given_as in (content, tmp_path / "a.safetensors"):
        assert found({"a.safetensors": given_as}) == ["a.safetensors, __metadata__: an absolute path"]
    assert found({"a.safetensors": b"weights"}) == ["a.safetensors: not safetensors, although its name says so"]


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
def test_a_value_that_is_an_absolute_path_is_refused(text: str) -> None:
    assert found({"recipe.yaml": text.encode()}) == ["recipe.yaml:1: an absolute path"]


def test_the_user_is_not_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(Path, "home", lambda: Path("/net/people/ana"))
    monkeypatch.setattr(getpass, "getuser", lambda: "ana")
    assert "a.md:1: the current folder" in found({"a.md": f"in {tmp_path / 'work'}".encode()})
    assert "a.md:1: the home folder of this user" in found({"a.md": b"in /net/people/ana, ..."})
    assert found({"a.md": b"from ../ana/corpus"}) == ["a.md:1: the name of this user in a path"]
    assert found({"runs/ana/x.md": b""}) == ["(a name): a secret, a path or a user in its name"]
    allowed = b"https://huggingface.co/ana/adapter, datasets/ana/corpus and ana/adapter by ana; /net/people/anabel"
    assert found({"a.md": allowed}) == []


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
def test_harmless_texts_pass(text: str) -> None:
    assert found({"README.md": text.encode(), "data.json": text.encode()}) == []


def test_a_vocabulary_may_contain_pieces_of_paths() -> None:
    vocabulary = json.dumps({"vocab": {"/home/user": 1, "/mnt/foo": 2}}).encode()
    assert found({"tokenizer.json": vocabulary}) == []
    assert found({"tokenizer_config.json": vocabulary})


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "scheduler.pt", "trainer_state.json", "rng_state_0.pth", "checkpoint-500/adapter.json"]
)
def test_training_states_are_refused(name: str) -> None:
    assert found({f"x/{name}": b"{}"}) == [f"x/{name}: a training state, which is not part of an adapter"]


def test_pickles_are_refused_under_any_name() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", b"")
    for content in (pickle.dumps({"a": 1}), archive.getvalue()):
        for name in ("weights.pth", "a.bin", "tokenizer.model", "notes.txt"):
            (line,) = found({name: content})
            assert line.startswith(f"{name}: a pickle")
    assert found({"model.gguf": b"GGUF"}) == ["model.gguf: weights in another format than safetensors"]
    assert found({"a.dat": b"\xff\x00"}) == ["a.dat: neither text nor a format that can be searched"]


def test_the_message_shows_only_the_first_findings() -> None:
    with pytest.raises(ForbiddenContentError) as refusal:
        scan({"a.md": "\n".join(["/home/ana/x"] * 50).encode()})
    assert len(refusal.value.findings) == 50 and len(str(refusal.value).splitlines()) == 22


@pytest.mark.parametrize("recipe", ["quickstart-uzbek", "quickstart-galician", "quickstart-whisper"])
def test_the_quick_starts_pass(recipe: str) -> None:
    loaded = load_recipe(Path("recipes") / f"{recipe}.yaml")
    assert found({"recipe.yaml": public_recipe(loaded, "user/base").encode(), **base_files(Path(loaded.base))}) == []


def test_many_findings_are_collected() -> None:
    manifest = b'{"audio_filepath": "/home/ana/corpus/a.wav"}\n' * 100_000
    assert len(found({"train.jsonl": manifest})) == 100_000


TABLE = {"reference": ["go to /home/page", "C:\\Users\\all"], "hypothesis": ["go to /data/page please", "/a b/c"]}


def test_a_path_in_a_transcript_passes() -> None:
    predictions = parquet(TABLE)
    assert found({"eval/c/predictions.parquet": predictions}) == []
    assert found({"eval/c/predictions-base.parquet": predictions}) == []
    assert len(found({"eval/c/other.parquet": predictions})) == 3
    assert found({"eval/c/predictions.parquet": parquet({"id": ["/home/ana/a.wav"]})})
    columns = {"reference": ["a"]}
    assert found({"predictions.parquet": parquet(columns, {"escoita": json.dumps({"base": "/home/ana/gemma"})})})
    manifest = "\n".join(json.dumps({"audio_filepath": f"{n}.wav", "text": "/home/page"}) for n in range(3))
    assert found({"train.jsonl": manifest.encode()}) == []
    assert found({"train.jsonl": (manifest + '\n{"audio_filepath": "/home/ana/1.wav", "text": ""}').encode()})


def test_a_quotation_of_a_transcript_may_contain_its_paths() -> None:
    card = "> go to /home/page\n\n| C:\\Users\\all |"
    data = {"clip": {"text": "/elsewhere/page"}, "normalization": {"examples": [["to /srv/files", "to srv files"]]}}
    assert len(found({"README.md": card.encode()})) == 2
    files: dict[str, bytes | Path] = {"README.md": card.encode(), "eval/predictions.parquet": parquet(TABLE)}
    assert found(files) == []
    assert found({"data.json": json.dumps(data, indent=2).encode()}) == []
    assert found(files | {"recipe.yaml": b"base: /home/page2"}) == ["recipe.yaml:1: an absolute path"]
    assert found({"data.json": json.dumps(data | {"source": "/elsewhere/corpus"}).encode()})


def test_a_transcript_may_not_contain_a_secret_or_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/net/people/ana"))
    lines = found(
        {"predictions.parquet": parquet({"reference": [f"said {TOKEN}"], "hypothesis": ["/net/people/ana/x"]})}
    )
    assert f"predictions.parquet, row 1, reference: {HIDDEN}" in lines
    assert "predictions.parquet, row 1, hypothesis: the home folder of this user" in lines
