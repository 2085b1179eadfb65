import json
from pathlib import Path

import pytest
import yaml

from cards.publication import public_recipe, publication
from escoita.errors import PublishError
from escoita.plots import training_plot
from escoita.rundir import RunDirectory
from tests.cards.samples import data, evaluation, heard_training, leak, probe, recipe, result, write_run


PLAIN = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "eval/results.json",
    "recipe.yaml",
    "training.json",
}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = write_run(tmp_path / "run", recipe())
    made.adapter.mkdir()
    (made.adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "/home/ana/gemma4"}')
    for name in ("adapter_model.safetensors", "training_args.bin", "README.md"):
        (made.adapter / name).write_bytes(b"weights")
    return made


def published(run: RunDirectory) -> dict[str, bytes]:
    return publication(run, recipe(), "user/adapter", "user/base")


def test_what_a_run_holds_at_least(run: RunDirectory) -> None:
    files = published(run)
    assert set(files) == PLAIN
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "user/base"
    assert files["eval/results.json"] == run.results.read_bytes()


def test_everything_that_the_figures_are_made_from(run: RunDirectory) -> None:
    evaluation(result(), result("more"), probes=[probe("adapter", 0)]).write(run.results)
    data(leak("audio", 2)).write(run.data)
    made = [
        f"{corpus}/predictions{system}.parquet" for corpus in ("clips", "more", "probes") for system in ("", "-base")
    ]
    made += ["clips/predictions-whisper.parquet", "wer-by-duration.svg"]
    others = ["report.html", "gone/predictions.parquet", "clips/.unfinished-base/0.jsonl", "clips/notes.txt"]
    for name in [*made, *others]:
        (run.eval / name).parent.mkdir(parents=True, exist_ok=True)
        (run.eval / name).write_bytes(name.encode())
    files = published(run)
    assert set(files) == PLAIN | {"data.json"} | {f"eval/{name}" for name in made}
    assert all(files[f"eval/{name}"] == name.encode() for name in made)
    assert files["data.json"] == run.data.read_bytes()
    assert "What the test shares with training" in files["README.md"].decode()


def test_the_plot_of_training_goes_with_the_card_that_shows_it(run: RunDirectory) -> None:
    heard_training().write(run.training)
    files = published(run)
    assert set(files) == PLAIN | {"training.svg"}
    assert files["training.svg"].decode() == training_plot(heard_training())
    assert "](training.svg)" in files["README.md"].decode()


def test_folders_of_this_machine_are_not_in_the_recipe() -> None:
    asked = {"baselines": ["/models/whisper", "openai/whisper-small"], "against": "/home/ana/runs/old"}
    told = yaml.safe_load(public_recipe(recipe(eval=asked), "user/base"))
    assert told["eval"]["baselines"] == ["whisper", "openai/whisper-small"] and told["eval"]["against"] == "old"
    assert "against" not in yaml.safe_load(public_recipe(recipe(), "user/base"))["eval"]


def test_without_an_adapter_there_is_nothing_to_publish(run: RunDirectory) -> None:
    (run.adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(PublishError, match="holds no adapter_model.safetensors; train first$"):
        published(run)
