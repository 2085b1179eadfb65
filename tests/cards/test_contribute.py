"""Test adding an evaluation to the card of another author's adapter, whose text is kept."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from escoita.cards import contribute as adopt
from escoita.cards.contribute import add_evaluation, contributed_settings
from escoita.cards.editing import CardConflict
from escoita.cards.verify import verify
from escoita.cards.verify.adapter import ADAPTER
from escoita.cards.verify.verify import passed
from escoita.errors import EscoitaError, PublishError
from escoita.evaluation.aggregate import score
from escoita.evaluation.report.plots import drawings
from escoita.records.training import AdapterRecord, Prompt
from tests.cards.publishing import BASE, REPO, Command, client_environment, content, tree
from tests.cards.verifiable_run import OTHER_WEIGHTS, WEIGHTS, make_verifiable_run, write_files
from tests.conftest import write_manifest
from tests.hub_double import HubDouble, Repo, serve


AUTHORS = (
    "---\nlicense: apache-2.0\nbase_model: ana/base\n# the author's own\ntags: [a, b]\n---\n\n# Uzbek adapter\r\n\n"
    "Trained at home.   \n\n- batch 2\n"
)
SETTINGS = AdapterRecord(language="uz", prompt=Prompt(system="You hear.", user="Write it down."))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """Return a double with the base and another author's adapter, which this process uses."""
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
    """Return the output of an evaluation with given predictions."""
    return make_verifiable_run(tmp_path / "run").eval


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    config = json.dumps({"base_model_name_or_path": BASE}).encode()
    files = {"adapter_config.json": config, "adapter_model.safetensors": WEIGHTS["adapter"]}
    return write_files(tmp_path / "adapter", files)


def test_missing_generation_settings_are_required_as_options(adapter: Path) -> None:
    for language, missing in ((None, {"--language", "--prompt"}), ("uz", {"--prompt"})):
        with pytest.raises(EscoitaError) as error:
            contributed_settings(str(adapter), language=language)
        assert error.value.path == str(adapter) and error.value.hint
        assert set(re.findall(r"--\w+", error.value.hint)) == missing
    with pytest.raises(EscoitaError) as error:
        contributed_settings(str(adapter), language="Uzbek", prompt="Write it down.")
    assert (error.value.key, error.value.value) == ("--language", "Uzbek")
    assert contributed_settings(str(adapter), None, "uz", "Write it down.", "You hear.") == (SETTINGS, BASE)
    assert contributed_settings(str(adapter), "bea/base", "uz", "Write it down.", "You hear.") == (
        SETTINGS,
        "bea/base",
    )


def test_options_override_the_generation_settings(adapter: Path) -> None:
    SETTINGS.write(adapter / "escoita.json")
    assert contributed_settings(str(adapter)) == (SETTINGS, BASE)
    other = contributed_settings(str(adapter), prompt="Transcribe.", language="gl")[0]
    assert (other.prompt.user, other.prompt.system, other.language) == ("Transcribe.", "You hear.", "gl")


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        (b"{}", "base_model_name_or_path", None),
        (b"[]", None, None),
        (b'{"base_model_name_or_path": "/root/gemma"}', None, "/root/gemma"),
    ],
)
def test_adapter_without_a_base_is_refused(adapter: Path, config: bytes, key: str | None, value: str | None) -> None:
    (adapter / "adapter_config.json").write_bytes(config)
    with pytest.raises(EscoitaError) as error:
        contributed_settings(str(adapter), None, "uz", "Write it down.")
    if config != b"[]":
        assert (error.value.key, error.value.value) == (key, value)


def test_missing_adapter_and_pull_request_for_a_folder_are_refused(tmp_path: Path, adapter: Path) -> None:
    with pytest.raises(EscoitaError) as error:
        contributed_settings(str(tmp_path), None, "uz", "Write it down.")
    assert "adapter_config.json" in str(error.value)
    with pytest.raises(PublishError) as refusal:
        contributed_settings(str(adapter), None, "uz", "Write it down.", pr=True)
    assert (refusal.value.key, refusal.value.value) == ("--pr", str(adapter))


def test_pull_request_needs_the_head_of_main(hub: HubDouble, out: Path) -> None:
    first = hub.store.repos["model", REPO].at("main").id
    hub.commit(REPO, {"adapter_model.safetensors": OTHER_WEIGHTS}, "Trained again")
    assert str(out / "README.md") in add_evaluation(f"{REPO}@{first}", BASE, out)
    with pytest.raises(PublishError) as error:
        add_evaluation(REPO, BASE, out)
    assert (error.value.path, error.value.value) == (REPO, ADAPTER)
    with pytest.raises(PublishError) as error:
        contributed_settings(f"{REPO}@v1", pr=True)
    assert (error.value.key, error.value.value) == ("--pr", f"{REPO}@v1")


def test_card_is_written_without_a_pull_request(hub: HubDouble, out: Path) -> None:
    before = tree(hub)
    message = add_evaluation(REPO, BASE, out)
    card = (out / "README.md").read_bytes().decode()
    assert message.startswith(f"{out / 'README.md'}: ")
    front, _, body = card.removeprefix("---\n").partition("---\n")
    assert "# the author's own\ntags: [a, b]\n" in front and "model-index:" in front
    assert body.startswith(AUTHORS.split("---\n", 2)[2]) and "10.00 %" in body
    assert "may overlap with the training data" in body
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


def test_adapter_that_changed_since_the_evaluation_is_refused(hub: HubDouble, out: Path) -> None:
    hub.commit(REPO, {"adapter_model.safetensors": OTHER_WEIGHTS}, "Trained again")
    with pytest.raises(PublishError) as error:
        add_evaluation(REPO, BASE, out, pr=True)
    assert (error.value.path, error.value.value) == (REPO, ADAPTER)


def test_model_index_of_the_author_is_a_conflict(hub: HubDouble, out: Path) -> None:
    index = "model-index:\n- name: mine\n  results: []\n"
    hub.commit(REPO, {"README.md": AUTHORS.replace("tags:", f"{index}tags:").encode()}, "Scores")
    with pytest.raises(CardConflict):
        add_evaluation(REPO, BASE, out, pr=True)
    assert add_evaluation(REPO, BASE, out, pr=True, force=True).endswith("/discussions/1")


def test_results_of_another_program_are_not_overwritten(hub: HubDouble, out: Path) -> None:
    hub.commit(REPO, {"eval/results.json": b'{"wer": 3}'}, "Scores of mine")
    with pytest.raises(PublishError) as error:
        add_evaluation(REPO, BASE, out, pr=True)
    assert (error.value.path, error.value.value) == (REPO, "eval/results.json")


def test_adapter_of_escoita_push_is_refused(hub: HubDouble, out: Path) -> None:
    hub.commit(REPO, {"recipe.yaml": b"", "training.json": b"{}"}, "Publish")
    with pytest.raises(PublishError) as error:
        add_evaluation(REPO, BASE, out)
    assert error.value.path == REPO and "escoita push" in str(error.value.hint)


@pytest.mark.slow
def test_another_authors_adapter_is_evaluated_and_proposed(
    quickstart_run: Path, command: Command, tmp_path: Path
) -> None:
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
        options = ["--from", REPO, "--corpus", str(manifest), "--base", "quickstart/gemma4"]
        options += ["--out", str(tmp_path / "out")]
        generation_settings = ["--language", "uz", "--prompt", "Transcribe.", "--system", "You hear."]
        done = command("-m", "escoita", "card", *options, *generation_settings, "--pr", **client_environment(double))
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith(f"{double.url}/{REPO}/discussions/1")
        proved = command(
            "-m", "escoita", "verify", REPO, "--revision", "refs/pr/1", **client_environment(double, None)
        )
        assert proved.returncode == 0, proved.stdout + proved.stderr
