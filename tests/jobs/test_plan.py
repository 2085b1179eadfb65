"""Test plans of jobs."""

from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi

from escoita.errors import EscoitaError
from escoita.jobs.plan import (
    LocalBaseError,
    LocalPathError,
    MissingPathError,
    OutputError,
    plan,
    require_reachable,
    seconds,
)
from escoita.recipe.schema import Recipe, load_recipe
from tests.hub_double import HubDouble
from tests.jobs.conftest import QUICKSTART, SOURCE, planned, upload


def test_one_process_publishes_after_training_and_evaluation(recipe: Recipe) -> None:
    made = planned(recipe, out="ana/runs")
    shared = ["python", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=4", "-m", "--", "escoita"]
    assert made.commands[:2] == [
        [*shared, "train", "recipe.yaml"],
        [*shared, "eval", "--run", "/out/quickstart-uzbek"],
    ]
    assert [command[:4] for command in made.commands[2:]] == [["python", "-m", "escoita", v] for v in ("card", "push")]
    document = yaml.safe_load(made.recipe)
    assert document["hub"]["repo"] == "ana/adapter" and document["run_dir"] == "/out/quickstart-uzbek"


def test_a_local_base_is_published_only_with_consent(tmp_path: Path) -> None:
    local = load_recipe(QUICKSTART)
    assert planned(local, publish_base=True).commands[-1][-2:] == ["runs/quickstart-uzbek", "--publish-base"]
    assert "--publish-base" not in planned(local, out="ana/runs").commands[-1]
    with pytest.raises(LocalBaseError) as refused:
        planned(local)
    assert (refused.value.key, refused.value.value) == ("base", "./quickstart/gemma4")


def test_the_recipe_of_a_job_has_the_same_values(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(planned(recipe).recipe, "utf-8")
    loaded = load_recipe(tmp_path / "recipe.yaml")
    hub = recipe.hub.model_copy(update={"repo": "ana/adapter"})
    assert loaded == recipe.model_copy(update={"run_dir": "runs/quickstart-uzbek", "hub": hub})


def test_an_evaluation_needs_a_bucket(recipe: Recipe) -> None:
    made = plan("eval", recipe, SOURCE, "cpu-basic", "1h", out="ana/runs")
    assert [command[3] for command in made.commands] == ["eval", "summary"]
    with pytest.raises(OutputError) as error:
        plan("eval", recipe, SOURCE, "cpu-basic", "1h")
    assert error.value.key == "--out"


def test_a_job_without_output_is_refused(recipe: Recipe) -> None:
    with pytest.raises(OutputError):
        planned(recipe, repo=None)


@pytest.mark.parametrize("text, expected", [("90m", 5400), ("6h", 21600), ("1.5d", 129600), ("30s", 30)])
def test_durations(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["6", "h", "0h", "-1h", "6 hours", ""])
def test_invalid_durations_are_refused(text: str) -> None:
    with pytest.raises(EscoitaError) as error:
        seconds(text)
    assert (error.value.key, error.value.value) == ("--timeout", text)


def test_local_paths_are_refused(api: HfApi, recipe: Recipe, hub: HubDouble) -> None:
    corpus = recipe.corpora.train[0]
    with pytest.raises(LocalPathError) as local_error:
        require_reachable(api, recipe, None)
    assert (local_error.value.key, local_error.value.value) == (f"corpora.train: {corpus.name}", corpus.path)
    with pytest.raises(MissingPathError) as missing_error:
        require_reachable(api, recipe, "ana/corpora")
    assert (missing_error.value.repo, missing_error.value.value) == ("ana/corpora", corpus.path)
    with pytest.raises(EscoitaError) as error:
        require_reachable(api, recipe, "ana/nowhere")
    assert not isinstance(error.value, LocalPathError | MissingPathError)
    with pytest.raises(EscoitaError) as error:
        require_reachable(api, recipe, "corpora")
    assert (error.value.key, error.value.value) == ("--data", "corpora")
    upload(hub, recipe)
    require_reachable(api, recipe, "ana/corpora")
    local = load_recipe(QUICKSTART)
    with pytest.raises(MissingPathError) as missing_error:
        require_reachable(api, local, "ana/corpora")
    assert (missing_error.value.key, missing_error.value.value) == ("base", "quickstart/gemma4")
    absolute = load_recipe(QUICKSTART, ["base=user/base", "corpora.train=[{name: own, path: /data/own.jsonl}]"])
    with pytest.raises(LocalPathError) as local_error:
        require_reachable(api, absolute, "ana/corpora")
    assert local_error.value.value == "/data/own.jsonl"
