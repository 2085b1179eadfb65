"""An adapter that somebody trained elsewhere: its card gets an evaluation, and the author's text stays."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from escoita.cards import contribute as adopt
from escoita.cards.contribute import add_evaluation, adopted
from escoita.cards.editing import CardConflict
from escoita.cards.verify import verify
from escoita.cards.verify.verify import passed
from escoita.errors import EscoitaError
from escoita.evaluation.aggregate import score
from escoita.evaluation.report.plots import drawings
from escoita.records.training import AdapterRecord, Prompt
from tests.cards.proven import OTHER_WEIGHTS, WEIGHTS, make_proven_run, write_files
from tests.cards.publishing import BASE, REPO, Command, content, reach, tree
from tests.conftest import write_manifest
from tests.hub_double import HubDouble, Repo, serve


AUTHORS = (
    "---\nlicense: apache-2.0\nbase_model: ana/base\n# the author's own\ntags: [a, b]\n---\n\n# Uzbek adapter\r\n\n"
    "Trained at home.   \n\n- batch 2\n"
)
SPOKEN = AdapterRecord(language="uz", prompt=Prompt(system="You hear.", user="Write it down."))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """A double with the base and somebody's adapter, to which this process talks."""
    with serve(tmp_path / "hub") as double:
        for repo in (BASE, REPO):
            double.store.create(Repo("model", repo), author="ana")
        double.commit(BASE, {"model.safetensors": WEIGHTS["base"]}, "The base")
        config = json.dumps({"base_model_name_or_path": BASE}).encode()
        files = {"adapter_model.safetensors": WEIGHTS["adapter"], "adapter_config.json": config}
        double.commit(REPO, files | {"README.md": AUTHORS.encode()}, "Somebody's adapter")
        for module in (adopt, verify):
            monkeypatch.setattr(module, "HfApi", partial(HfApi, endpoint=double.url, token="hf_ana"))
        for name, value in (("HF_HUB_CACHE", str(tmp_path / "cache")), ("HF_HUB_DISABLE_XET", True)):
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        yield double


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """What evaluation leaves; of rows made by hand."""
    return make_proven_run(tmp_path / "run").eval


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    config = json.dumps({"base_model_name_or_path": BASE}).encode()
    files = {"adapter_config.json": config, "adapter_model.safetensors": WEIGHTS["adapter"]}
    return write_files(tmp_path / "adapter", files)


def test_what_an_adapter_does_not_tell_is_asked_for(adapter: Path) -> None:
    with pytest.raises(EscoitaError, match="how it is spoken to; give --language and --prompt"):
        adopted(str(adapter))
    with pytest.raises(EscoitaError, match="give --prompt"):
        adopted(str(adapter), language="uz")
    with pytest.raises(EscoitaError, match="--language Uzbek: write its code"):
        adopted(str(adapter), language="Uzbek", prompt="Write it down.")
    assert adopted(str(adapter), None, "uz", "Write it down.", "You hear.") == (SPOKEN, BASE)
    assert adopted(str(adapter), "bea/base", "uz", "Write it down.", "You hear.") == (SPOKEN, "bea/base")


def test_what_an_adapter_tells_may_be_said_otherwise(adapter: Path) -> None:
    SPOKEN.write(adapter / "escoita.json")
    assert adopted(str(adapter)) == (SPOKEN, BASE)
    other = adopted(str(adapter), prompt="Transcribe.", language="gl")[0]
    assert (other.prompt.user, other.prompt.system, other.language) == ("Transcribe.", "You hear.", "gl")


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (b"{}", "adapter_config.json: names no base; give --base"),
        (b"[]", "no adapter of PEFT"),
        (b'{"base_model_name_or_path": "/root/gemma"}', "names a base that nobody else has, /root/gemma; give --base"),
    ],
)
def test_an_adapter_without_a_base_is_one_line(adapter: Path, config: bytes, line: str) -> None:
    (adapter / "adapter_config.json").write_bytes(config)
    with pytest.raises(EscoitaError, match=line):
        adopted(str(adapter), None, "uz", "Write it down.")


def test_no_adapter_and_no_pull_request_of_a_folder(tmp_path: Path, adapter: Path) -> None:
    with pytest.raises(EscoitaError, match="holds no adapter_config.json"):
        adopted(str(tmp_path), None, "uz", "Write it down.")
    with pytest.raises(EscoitaError, match="is a folder; a pull request is opened in a repository"):
        adopted(str(adapter), None, "uz", "Write it down.", pr=True)


def test_a_revision_of_an_adapter_is_evaluated_and_not_proposed(hub: HubDouble, out: Path) -> None:
    first = hub.store.repos["model", REPO].at("main").id
    hub.commit(REPO, {"adapter_model.safetensors": OTHER_WEIGHTS}, "Trained again")
    assert "the card with the evaluation added" in add_evaluation(f"{REPO}@{first}", BASE, out)
    with pytest.raises(EscoitaError, match="changed since it was measured"):
        add_evaluation(REPO, BASE, out)
    with pytest.raises(EscoitaError, match="leave @v1 away"):
        adopted(f"{REPO}@v1", pr=True)


def test_without_a_pull_request_the_card_is_written_and_nothing_is_changed(hub: HubDouble, out: Path) -> None:
    before = tree(hub)
    said = add_evaluation(REPO, BASE, out)
    card = (out / "README.md").read_bytes().decode()
    assert said.startswith(f"{out / 'README.md'}: the card with the evaluation added")
    front, _, body = card.removeprefix("---\n").partition("---\n")
    assert "# the author's own\ntags: [a, b]\n" in front and "model-index:" in front
    assert body.startswith(AUTHORS.split("---\n", 2)[2]) and "10.00 %" in body
    assert "of which nobody has told whether they were trained on" in body  # who measures does not know
    assert "training" not in body.lower().split("## results")[0].replace("trained at home", "")
    assert tree(hub) == before


def test_a_pull_request_adds_the_evaluation_and_verifies(hub: HubDouble, out: Path) -> None:
    address = add_evaluation(REPO, BASE, out, pr=True)
    assert address == f"{hub.url}/{REPO}/discussions/1"
    assert content(hub, "README.md") == AUTHORS.encode()
    added = tree(hub, revision="refs/pr/1") - tree(hub)
    assert {"eval/results.json", "eval/clips/predictions.parquet", "eval/wer-by-corpus.svg", "SHA256SUMS"} <= added
    assert b"maria" not in content(hub, "eval/clips/predictions.parquet", revision="refs/pr/1")
    assert content(hub, "README.md", revision="refs/pr/1") == (out / "README.md").read_bytes()
    checks = verify.verify(REPO, score, drawings, "refs/pr/1")
    assert passed(checks), checks
    assert not [check.what for check in checks if check.verdict == "not checked"]
    assert "training" in [check.what for check in checks if check.verdict == "cannot be proven"]

    card = content(hub, "README.md", revision="refs/pr/1").replace(b"**10.00 %", b"**1.00 %")
    hub.commit(REPO, {"README.md": card}, "Tampered", revision="refs/pr/1")
    checks = verify.verify(REPO, score, drawings, "refs/pr/1")
    assert [check.what for check in checks if check.verdict == "differs"] == ["card: results"]


def test_an_adapter_that_changed_since_is_refused(hub: HubDouble, out: Path) -> None:
    hub.commit(REPO, {"adapter_model.safetensors": OTHER_WEIGHTS}, "Trained again")
    with pytest.raises(EscoitaError, match="changed since it was measured"):
        add_evaluation(REPO, BASE, out, pr=True)


def test_what_an_author_says_of_the_same_is_a_conflict(hub: HubDouble, out: Path) -> None:
    index = "model-index:\n- name: mine\n  results: []\n"
    hub.commit(REPO, {"README.md": AUTHORS.replace("tags:", f"{index}tags:").encode()}, "Scores")
    with pytest.raises(CardConflict):
        add_evaluation(REPO, BASE, out, pr=True)
    assert add_evaluation(REPO, BASE, out, pr=True, force=True).endswith("/discussions/1")


def test_results_of_somebody_else_are_not_overwritten(hub: HubDouble, out: Path) -> None:
    hub.commit(REPO, {"eval/results.json": b'{"wer": 3}'}, "Scores of mine")
    with pytest.raises(EscoitaError, match="holds a eval/results.json that is not of escoita"):
        add_evaluation(REPO, BASE, out, pr=True)


def test_what_escoita_published_is_pushed_again_instead(hub: HubDouble, out: Path) -> None:
    hub.commit(REPO, {"recipe.yaml": b"", "training.json": b"{}"}, "Publish")
    with pytest.raises(EscoitaError, match="was published by escoita push"):
        add_evaluation(REPO, BASE, out)


@pytest.mark.slow
def test_a_strangers_adapter_is_heard_and_proposed(quickstart_run: Path, command: Command, tmp_path: Path) -> None:
    with serve(tmp_path / "hub") as double:
        double.store.create(Repo("model", REPO), author="ana")
        config = json.loads((quickstart_run / "adapter/adapter_config.json").read_text("utf-8"))
        config["base_model_name_or_path"] = "unsloth/somewhere-else"
        files = {
            "adapter_model.safetensors": (quickstart_run / "adapter/adapter_model.safetensors").read_bytes(),
            "adapter_config.json": json.dumps(config).encode(),
            "README.md": AUTHORS.encode(),
        }
        double.commit(REPO, files, "Somebody's adapter")
        manifest = write_manifest(tmp_path / "test.jsonl", "test", 4)
        asked = ["--from", REPO, "--corpus", str(manifest), "--base", "quickstart/gemma4"]
        asked += ["--out", str(tmp_path / "out")]
        generation_settings = ["--language", "uz", "--prompt", "Transcribe.", "--system", "You hear."]
        done = command("-m", "escoita", "card", *asked, *generation_settings, "--pr", **reach(double))
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith(f"{double.url}/{REPO}/discussions/1")
        proved = command("-m", "escoita", "verify", REPO, "--revision", "refs/pr/1", **reach(double, None))
        assert proved.returncode == 0, proved.stdout + proved.stderr
