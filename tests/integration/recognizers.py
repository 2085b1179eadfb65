"""Hold what the integration tests of Whisper and of CTC models have in common."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from markdown_it import MarkdownIt

from escoita.recipe.schema import Recipe
from escoita.records.training import TrainingRecord
from escoita.training.sft import train
from escoita.training.trainer import SpeechTrainer
from tests.cards.publishing import client_environment, content
from tests.hub_double import HubDouble


Command = Callable[..., subprocess.CompletedProcess[str]]
Make = Callable[..., Recipe]
# Training arguments for two steps without evaluation and checkpoints.
TWO_STEPS = {"max_steps": 2, "eval_strategy": "no", "save_strategy": "no", "warmup_steps": 0}


def make_recipe(
    name: str,
    base: str,
    corpora: dict[str, Any],
    training: dict[str, Any],
    method: dict[str, Any],
    run_dir: Path,
    **changes: Any,
) -> Recipe:
    """Return a recipe whose batches have 16 clips, and that logs each step."""
    fixed = {"bf16": False, "logging_steps": 1, "per_device_train_batch_size": 16}
    return Recipe.model_validate(
        {
            "name": name,
            "base": base,
            "language": "gl",
            "method": method,
            "prompt": {"user": ""},
            "corpora": corpora,
            "training": fixed | training,
            "eval": {"resamples": 100},
            "card": {"title": name.capitalize(), "license": "apache-2.0"},
            "run_dir": str(run_dir),
        }
        | changes
    )


def publish_and_verify(recipe: Recipe, repo: str, hub: HubDouble, command: Command, *options: str) -> None:
    """Push the adapter of a run and its base, and verify the repository."""
    client = client_environment(hub)
    pushed = command("cards/push.py", "--run", str(recipe.run_path), "--repo", repo, "--publish-base", **client)
    assert pushed.returncode == 0, pushed.stderr
    verified = command("cards/verify.py", repo, *options, **client)
    assert verified.returncode == 0, verified.stdout
    assert "differs" not in verified.stdout


def output_of_snippet(repo: str, hub: HubDouble, command: Command, clip: str | Path) -> str:
    """Run the snippet without escoita that a published card has, in another process, and return its output."""
    card = content(hub, "README.md", repo).decode()
    blocks = [token.content for token in MarkdownIt("commonmark").parse(card) if token.type == "fence"]
    code = next(block for block in blocks if "PeftModel" in block).replace("clip.wav", str(clip))
    result = command("-c", code, **client_environment(hub))
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def losses(record: TrainingRecord | None) -> list[float]:
    assert record is not None
    return [point.loss for point in record.loss]


def check_equal_losses(make: Callable[[dict[str, Any]], Recipe], rel: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare the losses of four steps with those of other batches, of checkpointing, and of a resumed run."""
    training = {"max_steps": 4, "eval_strategy": "no", "save_steps": 2, "warmup_steps": 0}
    training["lr_scheduler_type"] = "constant"
    expected = pytest.approx(losses(train(make(training | {"gradient_checkpointing": False}))), rel=rel)
    accumulated = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    assert losses(train(make(training | accumulated))) == expected

    recipe = make(training | {"max_steps": 2})
    train(recipe)
    longer = recipe.model_copy(update={"training": recipe.training | {"max_steps": 4}})
    resumed = train(longer, resume=True)
    assert losses(resumed) == expected and resumed is not None and resumed.sessions == 2

    compute_loss = SpeechTrainer.compute_loss

    def too_large(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if len(inputs["labels"]) > 5:
            raise torch.OutOfMemoryError("out of memory")
        return compute_loss(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(SpeechTrainer, "compute_loss", too_large)
    split = train(make(training))
    assert losses(split) == expected
    assert split is not None and split.pace is not None and split.pace.halved_batches == 4
