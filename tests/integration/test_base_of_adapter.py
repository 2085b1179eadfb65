"""Test that every command loads the commit of the base on which an adapter was trained."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load, save

from escoita.hub.files import weights_digest
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import EvaluationRecord
from escoita.records.training import AdapterRecord, TrainingRecord
from escoita.run_directory import RunDirectory
from tests.cards.publishing import client_environment
from tests.conftest import ROOT, write_manifest
from tests.hub_double import HubDouble, Repo, serve


pytestmark = pytest.mark.slow
BASE, ADAPTER, FOREIGN = "ana/moving-base", "ana/adapter", "ana/foreign"
SUFFIXES = {".json", ".jinja", ".safetensors", ".model"}
Run = Callable[..., subprocess.CompletedProcess[str]]
LOADS = """
import sys
from escoita.inference.serving import Engine
from escoita.inference.transcriber import Transcriber
base, adapter, clip = sys.argv[1:]
print(Transcriber.load(base, adapter).transcribe_file(clip).text)
with Engine.load(base, {"a": adapter}) as engine:
    print([partial for partial in engine.stream(clip, "a")][-1].transcript.text)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubDouble]:
    with serve(tmp_path_factory.mktemp("hub")) as double:
        for repo in (BASE, ADAPTER, FOREIGN):
            double.store.create(Repo("model", repo), author="ana")
        folder = ROOT / "quickstart/gemma4"
        double.commit(
            BASE, {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in SUFFIXES}, "v1"
        )
        yield double


@pytest.fixture(scope="module")
def escoita(hub: HubDouble, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs Python in the checkout, connected to the double, and asserts the exit status."""
    home = tmp_path_factory.mktemp("home")

    def run(*arguments: str | Path, code: int = 0, script: str = "") -> subprocess.CompletedProcess[str]:
        keep = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        words = ["-c", script] if script else ["-m", "escoita"]
        done = subprocess.run(
            [sys.executable, *words, *map(str, arguments)],
            cwd=ROOT,
            env=keep | client_environment(hub) | {"HF_HOME": str(home), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr + done.stdout
        return done

    return run


@pytest.fixture(scope="module")
def commits(hub: HubDouble) -> list[str]:
    """Return the commit on which the adapter is trained, and a later one."""
    return [hub.store.repos["model", BASE].at("main").id]


@pytest.fixture(scope="module")
def run(hub: HubDouble, escoita: Run, commits: list[str], short_recipe: Callable[..., Recipe]) -> RunDirectory:
    """Train with the base at v1, add a commit to its main, and publish the adapter."""
    recipe = short_recipe(f"base={BASE}", "name=moving")
    path = Path(recipe.run_dir or "").parent / "recipe.yaml"
    recipe.write(path)
    escoita("train", path)
    made = RunDirectory(recipe.run_path)
    weights = load((ROOT / "quickstart/gemma4/model.safetensors").read_bytes())
    other = save({name: -tensor for name, tensor in weights.items()}, {"format": "pt"})
    hub.commit(BASE, {"model.safetensors": other}, "v2")
    commits.append(hub.store.repos["model", BASE].at("main").id)
    files = {file.name: file.read_bytes() for file in made.adapter.iterdir()}
    hub.commit(ADAPTER, files, "Publish")
    hub.commit(FOREIGN, {name: files[name] for name in files if name != "escoita.json"}, "Of PEFT alone")
    return made


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_manifest(tmp_path_factory.mktemp("manifest") / "clips.jsonl", "test", 2)


@pytest.fixture(scope="module")
def clip() -> Path:
    return ROOT / "quickstart/corpus/uz/test/0001.ogg"


def test_training_records_commit_and_digest(run: RunDirectory, commits: list[str]) -> None:
    digest = weights_digest("quickstart/gemma4")
    training, settings = TrainingRecord.read(run.training), AdapterRecord.read(run.adapter / "escoita.json")
    config = json.loads((run.adapter / "adapter_config.json").read_text("utf-8"))
    assert settings.base is not None
    assert (settings.base.name, settings.base.commit, settings.base.sha256) == (BASE, commits[0], digest)
    assert (training.base_commit, training.base_sha256) == (commits[0], digest)
    assert config["revision"] == commits[0] and run.load_recipe().base_revision is None


def test_the_commit_that_was_trained_on_is_evaluated(
    run: RunDirectory, hub: HubDouble, escoita: Run, commits: list[str], manifest: Path, tmp_path: Path
) -> None:
    digest = weights_digest("quickstart/gemma4")
    for name in (ADAPTER, f"{ADAPTER}@main", FOREIGN):
        out = tmp_path / name.replace("/", "-")
        language = ["--language", "uz", "--prompt", "Transcribe."] if name == FOREIGN else []
        command = ["card", "--from", name] if name == FOREIGN else ["eval", "--base", BASE, "--adapter", name]
        escoita(*command, "--corpus", manifest, "--out", out, *language)
        record = EvaluationRecord.read(out / "results.json")
        assert {system.base_sha256 for system in record.systems} == {digest}
        assert {system.base_commit for system in record.systems} == {commits[0]}
        assert {system.expected_base_sha256 for system in record.systems} == {None}
    escoita("eval", "--run", run.path)
    escoita("card", "--run", run.path)
    assert EvaluationRecord.read(run.results).main_system.base_commit == commits[0]
    assert commits[0] in run.card.read_text("utf-8")
    escoita("push", "--run", run.path, "--repo", "ana/pushed", "--publish-base")
    published = hub.store.repos["model", "ana/pushed"].at("main").tree["adapter_config.json"]
    assert json.loads(hub.store.blobs.path(published.sha256).read_bytes())["revision"] == commits[0]
    assert "base's weights: " in escoita("verify", "ana/pushed").stdout
    main_system = [
        "eval",
        "--base",
        BASE,
        "--adapter",
        "ana/pushed@main",
        "--corpus",
        manifest,
        "--out",
        tmp_path / "pushed",
    ]
    escoita(*main_system)
    assert EvaluationRecord.read(tmp_path / "pushed/results.json").main_system.base_commit == commits[0]


def test_another_base_is_refused_or_recorded_and_shown(
    run: RunDirectory, escoita: Run, commits: list[str], manifest: Path, tmp_path: Path
) -> None:
    arguments = ["eval", "--base", BASE, "--adapter", ADAPTER, "--corpus", manifest, "--base-revision", "main"]
    refused = escoita(*arguments, "--out", tmp_path / "refused", code=1)
    assert "--allow-other-base" in refused.stderr and not (tmp_path / "refused").exists()
    escoita(*arguments, "--out", tmp_path / "out", "--allow-other-base")
    record = EvaluationRecord.read(tmp_path / "out/results.json")
    assert {system.base_commit for system in record.systems} == {commits[1]}
    assert {system.expected_base_sha256 for system in record.systems} == {weights_digest("quickstart/gemma4")}
    assert "not the base that the adapter was trained on" in (tmp_path / "out/report.html").read_text("utf-8")


def test_a_revision_of_an_adapter(
    run: RunDirectory, hub: HubDouble, escoita: Run, manifest: Path, tmp_path: Path
) -> None:
    first = hub.store.repos["model", ADAPTER].at("main").id
    hub.commit(ADAPTER, {"adapter_model.safetensors": b"damaged"}, "Broken")
    arguments = ["eval", "--base", BASE, "--corpus", manifest]
    escoita(*arguments, "--adapter", f"{ADAPTER}@{first}", "--out", tmp_path / "first")
    main_system = EvaluationRecord.read(tmp_path / "first/results.json").main_system
    assert main_system.adapter == f"{ADAPTER}@{first}"
    assert main_system.adapter_sha256 == weights_digest(str(run.adapter))
    escoita(*arguments, "--adapter", ADAPTER, "--out", tmp_path / "second", code=1)
    hub.commit(
        ADAPTER, {"adapter_model.safetensors": (run.adapter / "adapter_model.safetensors").read_bytes()}, "Mend"
    )


def test_merge_transcriber_and_engine(
    run: RunDirectory, escoita: Run, commits: list[str], clip: Path, tmp_path: Path
) -> None:
    outputs = [
        escoita(base, adapter, clip, script=LOADS).stdout.splitlines()
        for base, adapter in ((BASE, ADAPTER), ("quickstart/gemma4", run.adapter))
    ]
    assert outputs[0] == outputs[1]
    escoita("merge", "--run", run.path, "--out", tmp_path / "merged")
    base = AdapterRecord.read(tmp_path / "merged/escoita.json").base
    assert base is not None and base.commit == commits[0]
    refused = escoita("merge", "--run", run.path, "--out", tmp_path / "other", "--base-revision", "main", code=1)
    assert "--allow-other-base" in refused.stderr
    escoita("merge", "--run", run.path, "--out", tmp_path / "other", "--base-revision", "main", "--allow-other-base")
    base = AdapterRecord.read(tmp_path / "other/escoita.json").base
    assert base is not None and base.commit == commits[1] and base.expected_sha256 != base.sha256


def test_a_space_loads_the_commit(run: RunDirectory, hub: HubDouble, escoita: Run, commits: list[str]) -> None:
    push = ["space", "push", "--repo", "ana/page", "--adapter", ADAPTER, "--no-wait"]
    escoita(*push)

    def pushed(name: str) -> str:
        return hub.store.blobs.path(hub.store.repos["space", "ana/page"].at("main").tree[name].sha256).read_text(
            "utf-8"
        )

    hosted = yaml.safe_load(pushed("space.yaml"))
    assert hosted["base_revision"] == commits[0] and not hosted["allow_other_base"]
    front = yaml.safe_load(pushed("README.md").split("---\n")[1])
    assert front["preload_from_hub"][0].startswith(f"{BASE} ") and front["preload_from_hub"][0].endswith(commits[0])
    assert "escoita/models/base_model.py" in hub.store.repos["space", "ana/page"].at("main").tree
    escoita(*push, "--base-revision", "main", code=1)
    escoita(*push, "--base-revision", "main", "--allow-other-base")
    hosted = yaml.safe_load(pushed("space.yaml"))
    assert hosted["base_revision"] == commits[1] and hosted["allow_other_base"]
    done = escoita("space", "run", "--base", BASE, "--adapter", ADAPTER, "--base-revision", "main", code=1)
    assert "--allow-other-base" in done.stderr


def test_a_resumed_training_keeps_its_commit(run: RunDirectory, escoita: Run, commits: list[str]) -> None:
    assert json.loads((run.checkpoints / "base.json").read_text("utf-8"))["commit"] == commits[0]
    run.training.unlink()
    escoita("train", run.recipe)
    assert TrainingRecord.read(run.training).base_commit == commits[0]
