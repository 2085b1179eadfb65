import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from escoita.cli.main import app
from escoita.models import family_of
from escoita.recipe.schema import Recipe
from escoita.training.preflight.checks import Finding
from escoita.training.preflight.model import Longest, find_lengths
from escoita.training.preflight.report import examine


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.about: finding for finding in findings}


def test_the_quick_start_is_in_order(short_recipe: Callable[..., Recipe]) -> None:
    findings = list(examine(short_recipe()))
    assert [each for each in findings if each.mark == "refusal"] == []
    found = by_subject(findings)
    assert {"libraries", "GPU", "recipe", "base", "licence", "prompt", "trained", "length", "memory"} <= found.keys()
    assert found["trained"].found == "159,104 parameters (audio 100,736, vision 0, language 58,368)"
    prompt = "\n".join(found["prompt"].details)
    assert "transcribes speech accurately.<turn|>" in prompt and prompt.count("⟦") == 2
    assert prompt.endswith("<turn|>⟧") and "<|audio|>×" in prompt
    assert "GB for a batch of 8" in found["memory"].found
    assert any(line.startswith("kept for the backward pass") for line in found["memory"].details)


def test_nothing_is_written(short_recipe: Callable[..., Recipe]) -> None:
    recipe = short_recipe()
    list(examine(recipe))
    assert not recipe.run_path.exists()


def test_a_base_that_cannot_be_had_hides_nothing_else(short_recipe: Callable[..., Recipe]) -> None:
    findings = list(examine(short_recipe("base=./not/here")))
    refused = [each for each in findings if each.mark == "refusal"]
    assert [each.about for each in refused] == ["base"] and "./not/here" in refused[0].found
    assert by_subject(findings)["train escoita-quickstart-uz"].mark == "ok"
    assert "not looked at" in findings[-1].found


@pytest.mark.parametrize(
    "override, subject, said",
    [
        ("training.learning_rat=1", "recipe", "did you mean 'learning_rate'?"),
        ("method.trainable.audio=3", "trained", "the recipe says 3"),
        ("method.target_modules=nothing.*", "model", "the adapter cannot be put on the base"),
        ("load_in_4bit=true", "4 bits", "bitsandbytes"),
        ("engine=unsloth", "unsloth", ""),
        ("training.fp16=true", "precision", "fp16"),
        ("training.per_device_train_batch_size=0", "recipe", "must be at least 1, not 0"),
        ("training.per_device_train_batch_size=eight", "recipe", "per_device_train_batch_size: Input should be"),
        ("training.save_total_limit=null", "disk", "every checkpoint is kept"),
    ],
)
def test_each_trouble_is_found(short_recipe: Callable[..., Recipe], override: str, subject: str, said: str) -> None:
    findings = list(examine(short_recipe(override)))
    assert any(each.about == subject and said in each.found for each in findings)


@pytest.mark.slow
def test_a_clip_over_the_limit_of_tokens_at_which_training_stops(short_recipe: Callable[..., Recipe]) -> None:
    def length(limit: int) -> Finding:
        return by_subject(list(examine(short_recipe(f"training.max_length={limit}"))))["length"]

    found = length(50)
    assert found.mark == "refusal" and "over training.max_length 50" in found.found
    heard = int(re.findall(r"(\d+) in one that was heard", found.found)[0])
    assert [length(heard - 1).mark, length(heard).mark] == ["refusal", "ok"]


def test_the_longest_clip_with_the_longest_transcript_may_not_come(short_recipe: Callable[..., Recipe]) -> None:
    recipe = short_recipe("training.max_length=99")
    family, longest = family_of(recipe.base), Longest(3.0, "un", certain=False)
    marks = [next(find_lengths(recipe, family, longest, *tokens)).mark for tokens in ((99, 99), (100, 99), (100, 100))]
    assert marks == ["ok", "warning", "refusal"]


def test_a_batch_that_does_not_fit_is_a_warning_and_a_clip_that_does_not_a_refusal(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    from escoita.training.preflight import model

    def memory(free: float) -> Finding:
        monkeypatch.setattr(model, "free_memory", lambda: free)
        return by_subject(list(examine(short_recipe())))["memory"]

    assert memory(1e12).mark == "ok"
    assert memory(100e6).mark == "warning"
    refused = memory(1e6)
    assert refused.mark == "refusal" and "one clip of" in refused.found


def test_a_model_that_wants_values_is_told_of(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    from escoita.training.preflight import model

    def fail(*arguments: object) -> None:
        raise NotImplementedError("asks for\nvalues")

    monkeypatch.setattr(model, "count_activations", fail)
    found = by_subject(list(examine(short_recipe())))["memory"]
    assert found.mark == "warning" and "(asks for values)" in found.found


def test_the_command_ends_with_1_where_training_would_fail(
    short_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = short_recipe()
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml(), "utf-8")
    passed = CliRunner().invoke(app, ["doctor", str(path)])
    assert passed.exit_code == 0 and "Nothing found that would make training fail." in passed.output
    refused = CliRunner().invoke(app, ["doctor", str(path), "--set", "method.trainable.audio=3"])
    assert refused.exit_code == 1 and "Training would fail. 1 refusal" in refused.output


def test_what_the_hub_refuses_is_a_warning_as_training_does_not_need_it(
    short_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from escoita.errors import PublishError

    def refuse(recipe: Recipe) -> None:
        raise PublishError("there is no token")

    monkeypatch.setattr("escoita.cards.preflight.preflight", refuse)
    path = tmp_path / "recipe.yaml"
    path.write_text(short_recipe("hub.repo=user/name").to_yaml(), "utf-8")
    found = CliRunner().invoke(app, ["doctor", str(path)])
    assert found.exit_code == 0 and "Hub: there is no token" in found.output
