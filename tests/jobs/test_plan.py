"""Jobs of the Hub: planned, shown, sent to the double over HTTP, followed, and what runs inside of one."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi

from escoita.errors import EscoitaError
from escoita.jobs.cost import Hardware, estimate, hardware
from escoita.jobs.inside import work
from escoita.jobs.plan import VARIABLE, JobPlan, plan, require_reachable, seconds
from escoita.jobs.submit import follow, shown, submit
from escoita.recipe.schema import Recipe, load_recipe
from escoita.records.training import TrainingRecord
from tests.conftest import ROOT
from tests.hub_double import HubDouble, serve


SOURCE = "escoita @ git+https://example.org/escoita@0123abc"
QUICKSTART = ROOT / "recipes/quickstart-uzbek.yaml"
A100 = Hardware("a100x4", "four", 4, 12.0, "the Hub")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub") as double:
        yield double


@pytest.fixture
def api(hub: HubDouble) -> HfApi:
    api = HfApi(endpoint=hub.url, token="hf_ana")
    api.create_repo("ana/corpora", repo_type="dataset")
    return api


@pytest.fixture
def recipe() -> Recipe:
    """With a base of the Hub, and corpora at the paths of the checkout."""
    return load_recipe(QUICKSTART, ["base=user/base"])


def upload(hub: HubDouble, recipe: Recipe) -> None:
    corpora = recipe.corpora
    paths = {corpus.path for corpus in [*corpora.train, *corpora.validation, *corpora.test]}
    hub.commit("ana/corpora", dict.fromkeys(paths, b"{}"), "Corpora", "dataset")


def planned(recipe: Recipe, **changes: object) -> JobPlan:
    asked = {"source": SOURCE, "flavor": "a100x4", "timeout": "6h", "gpus": 4, "repo": "ana/adapter"} | changes
    return plan("train", recipe, **asked)  # type: ignore[arg-type]


def test_a_training_is_evaluated_and_published_by_one_process(recipe: Recipe) -> None:
    made = planned(recipe, out="ana/runs")
    shared = ["python", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=4", "-m", "--", "escoita"]
    assert made.commands[:2] == [
        [*shared, "train", "recipe.yaml"],
        [*shared, "eval", "--run", "/out/quickstart-uzbek"],
    ]
    assert [command[:4] for command in made.commands[2:]] == [["python", "-m", "escoita", v] for v in ("card", "push")]
    written = yaml.safe_load(made.recipe)
    assert written["hub"]["repo"] == "ana/adapter" and written["run_dir"] == "/out/quickstart-uzbek"


def test_the_recipe_of_a_job_is_the_same_recipe(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(planned(recipe).recipe, "utf-8")
    again = load_recipe(tmp_path / "recipe.yaml")
    hub = recipe.hub.model_copy(update={"repo": "ana/adapter"})
    assert again == recipe.model_copy(update={"run_dir": "runs/quickstart-uzbek", "hub": hub})


def test_an_evaluation_is_of_what_a_bucket_holds(recipe: Recipe) -> None:
    made = plan("eval", recipe, SOURCE, "cpu-basic", "1h", out="ana/runs")
    assert [command[3] for command in made.commands] == ["eval", "summary"]
    with pytest.raises(EscoitaError, match="give --out user/bucket"):
        plan("eval", recipe, SOURCE, "cpu-basic", "1h")


def test_a_job_whose_work_would_be_lost_is_refused(recipe: Recipe) -> None:
    with pytest.raises(EscoitaError, match="nothing would outlive the job"):
        planned(recipe, repo=None)


@pytest.mark.parametrize("text, expected", [("90m", 5400), ("6h", 21600), ("1.5d", 129600), ("30s", 30)])
def test_times(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["6", "h", "0h", "-1h", "6 hours", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(EscoitaError, match="write 90m, 6h or 2d"):
        seconds(text)


def test_corpora_of_this_machine_are_refused(api: HfApi, recipe: Recipe, hub: HubDouble) -> None:
    with pytest.raises(EscoitaError, match=r"corpora.train: \S+: \S+ is of this machine.*give --data user/name"):
        require_reachable(api, recipe, None)
    with pytest.raises(EscoitaError, match="is not in datasets/ana/corpora; upload it there"):
        require_reachable(api, recipe, "ana/corpora")
    with pytest.raises(EscoitaError, match="there is no such dataset"):
        require_reachable(api, recipe, "ana/nowhere")
    upload(hub, recipe)
    require_reachable(api, recipe, "ana/corpora")
    local = load_recipe(QUICKSTART)
    with pytest.raises(EscoitaError, match="base: quickstart/gemma4 is not in datasets/ana/corpora"):
        require_reachable(api, local, "ana/corpora")
    absolute = load_recipe(QUICKSTART, ["base=user/base", "corpora.train=[{name: own, path: /data/own.jsonl}]"])
    with pytest.raises(EscoitaError, match="write it relative to the root of a dataset repository"):
        require_reachable(api, absolute, "ana/corpora")


def test_the_hub_says_prices(api: HfApi) -> None:
    found = hardware(api, "a100x4")
    assert (found.gpus, found.usd_per_hour, found.by) == (4, pytest.approx(12.0), "the Hub")
    assert "4 x Nvidia A100" in found.told and hardware(api, "a100x4", 9.5).usd_per_hour == 9.5
    with pytest.raises(EscoitaError, match="the Hub has cpu-basic, a100x4"):
        hardware(api, "abacus")


def test_a_price_is_asked_for_where_the_hub_does_not_tell() -> None:
    nobody = HfApi(endpoint="http://127.0.0.1:9", token="hf_ana")
    with pytest.raises(EscoitaError, match="give --price"):
        hardware(nobody, "a100-large")
    assert hardware(nobody, "a100-large", 2.5) == Hardware("a100-large", "", 1, 2.5, "--price")


def test_costs_are_hours_times_price(tmp_path: Path, quickstart_run: Path) -> None:
    said = estimate(A100, 6 * 3600, 2, tmp_path)
    assert [line.split(",")[0] for line in said] == ["at most 6 h: 72.00 USD", "2 h by --hours: 24.00 USD"]
    known = estimate(A100, 3600, None, quickstart_run)
    took = TrainingRecord.read(quickstart_run / "training.json").train_seconds / 3600
    assert f"{took * 12:.2f} USD" in known[1] and "on " in known[1]


def test_a_job_is_sent_as_it_is_shown_and_followed(api: HfApi, hub: HubDouble, recipe: Recipe) -> None:
    made = planned(recipe, data="ana/corpora", out="ana/runs")
    lines = list(shown(made, A100, ["at most 6 h"]))
    job = submit(api, made, "hf_ana")
    sent = hub.store.job_book.sent[job.id]
    assert sent["command"][:2] == ["uv", "run"] and sent["command"][-3:] == ["python", "-m", "escoita.jobs.inside"]
    assert SOURCE in sent["command"] and any(part.startswith("torch==") for part in sent["command"])
    assert sent["timeoutSeconds"] == 21600 and sent["secrets"] == {"HF_TOKEN": "hf_ana"}
    assert [(each["type"], each["mountPath"]) for each in sent["volumes"]] == [
        ("dataset", "/corpora"),
        ("bucket", "/out"),
    ]
    assert json.loads(sent["environment"][VARIABLE])["commands"] == made.commands
    assert not any("hf_ana" in line for line in lines) and "hf_ana" not in json.dumps(sent["environment"])
    assert "secret     HF_TOKEN (its value is not shown)" in lines
    printed: list[str] = []
    follow(api, job, printed.append)
    assert printed == ["step 1", "done"]


def test_a_job_that_fails_ends_with_what_the_hub_says(api: HfApi, hub: HubDouble, recipe: Recipe) -> None:
    hub.store.job_book.stage, hub.store.job_book.message = "ERROR", "Job failed with exit code: 1"
    job = submit(api, planned(recipe), "hf_ana")
    with pytest.raises(EscoitaError, match="ended with ERROR: Job failed with exit code: 1"):
        follow(api, job, lambda _: None)
    with pytest.raises(EscoitaError, match="may not"):
        submit(api, planned(recipe, namespace="bob"), "hf_ana")


def test_the_command_shows_sends_and_follows(
    hub: HubDouble, api: HfApi, recipe: Recipe, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    upload(hub, recipe)
    asked = ["jobs", "train", str(QUICKSTART), "--flavor", "cpu-basic", "--source", SOURCE, "--repo", "ana/adapter"]
    asked += ["--data", "ana/corpora", "--set", "base=user/base"]
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_ana"}
    dry = command("-m", "escoita", *asked, "--dry-run", "--hours", "2", **environment)
    assert dry.returncode == 0, dry.stderr
    assert "2 h by --hours: 0.02 USD" in dry.stdout and "hf_ana" not in dry.stdout and not hub.store.job_book.sent
    done = command("-m", "escoita", *asked, **environment)
    assert (done.returncode, len(hub.store.job_book.sent)) == (0, 1), done.stderr
    assert done.stdout.splitlines()[1:] == ["step 1", "done"] and "/jobs/ana/" in done.stdout
    hub.store.job_book.stage = "ERROR"
    failed = command("-m", "escoita", *asked, **environment)
    assert failed.returncode == 1 and "ended with ERROR" in failed.stderr and "Traceback" not in failed.stderr


def told(commands: list[list[str]], data: Path | None = None) -> str:
    return json.dumps({"recipe": "name: x\n", "commands": commands, "data": data and str(data)})


def test_inside_the_corpora_stand_beside_the_recipe(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora/train.jsonl").write_text("{}")
    (tmp_path / "recipe.yaml").write_text("of somebody else")
    code = "print(open('recipe.yaml').read(), open('corpora/train.jsonl').read())"
    assert work(told([["python", "-c", code]], tmp_path)) == 0
    assert "name: x\n {}" in capfd.readouterr().out
    assert (tmp_path / "recipe.yaml").read_text() == "of somebody else"


def test_inside_the_first_failure_ends_the_job(capfd: pytest.CaptureFixture[str]) -> None:
    assert work(told([["python", "-c", "raise SystemExit(3)"], ["python", "-c", "print('never')"]])) == 3
    assert work(told([["python", "-c", "import os; os.kill(os.getpid(), 9)"]])) == 1
    assert "\nnever" not in capfd.readouterr().out
