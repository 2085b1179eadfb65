import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from escoita.cli.main import app
from escoita.models import family_of
from escoita.recipe.schema import Recipe
from escoita.training.preflight.checks import Finding
from escoita.training.preflight.model import Longest, find_lengths
from escoita.training.preflight.report import examine, print_findings


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.about: finding for finding in findings}


def test_the_quick_start_passes(short_recipe: Callable[..., Recipe]) -> None:
    findings = list(examine(short_recipe()))
    assert [each for each in findings if each.mark == "refusal"] == []
    found = by_subject(findings)
    assert {"libraries", "GPU", "recipe", "base", "license", "prompt", "trained", "length", "memory"} <= found.keys()
    assert found["trained"].found == "159,104 parameters (audio 100,736, vision 0, language 58,368)"
    prompt = "\n".join(found["prompt"].details)
    assert "transcribes speech accurately.<turn|>" in prompt and prompt.count("⟦") == 2
    assert prompt.endswith("<turn|>⟧") and "<|audio|>×" in prompt
    assert "8 clips" in found["memory"].found
    assert len(found["memory"].details) > 5 and all(line.endswith(" GB") for line in found["memory"].details)


def test_the_check_writes_no_files(short_recipe: Callable[..., Recipe]) -> None:
    recipe = short_recipe()
    list(examine(recipe))
    assert not recipe.run_path.exists()


def test_a_missing_base_does_not_hide_other_findings(short_recipe: Callable[..., Recipe]) -> None:
    findings = list(examine(short_recipe("base=./not/here")))
    refused = [each for each in findings if each.mark == "refusal"]
    assert [each.about for each in refused] == ["base"] and "./not/here" in refused[0].found
    assert by_subject(findings)["train escoita-quickstart-uz"].mark == "ok"
    assert (findings[-1].mark, findings[-1].about) == ("warning", "base")


@pytest.mark.parametrize(
    "override, subject, key",
    [
        ("training.learning_rat=1", "recipe", "training.learning_rat"),
        ("method.trainable.audio=3", "trained", "method.trainable.audio"),
        ("method.target_modules=nothing.*", "model", "method"),
        ("engine=unsloth", "unsloth", None),
        ("training.fp16=true", "precision", None),
        ("training.per_device_train_batch_size=0", "recipe", "training.per_device_train_batch_size"),
        ("training.per_device_train_batch_size=eight", "recipe", "training.per_device_train_batch_size"),
        ("training.save_total_limit=null", "disk", None),
    ],
)
def test_each_problem_is_found(
    short_recipe: Callable[..., Recipe], override: str, subject: str, key: str | None
) -> None:
    found = [each for each in examine(short_recipe(override)) if each.about == subject and each.mark != "ok"]
    assert found and any((each.error.key if each.error else None) == key for each in found)


def test_bitsandbytes_is_checked_for_4_bits(short_recipe: Callable[..., Recipe]) -> None:
    assert "4 bits" in by_subject(list(examine(short_recipe("load_in_4bit=true"))))


@pytest.mark.slow
def test_a_decoded_clip_with_too_many_tokens_is_refused(short_recipe: Callable[..., Recipe]) -> None:
    def length(limit: int) -> Finding:
        return by_subject(list(examine(short_recipe(f"training.max_length={limit}"))))["length"]

    found = length(50)
    assert found.mark == "refusal"
    decoded = int(re.findall(r"(\d+) in a decoded clip", found.found)[0])
    assert [length(decoded - 1).mark, length(decoded).mark] == ["refusal", "ok"]


def test_an_assumed_clip_with_too_many_tokens_is_a_warning(short_recipe: Callable[..., Recipe]) -> None:
    recipe = short_recipe("training.max_length=99")
    family, longest = family_of(recipe.base), Longest(3.0, "un", certain=False)
    marks = [next(find_lengths(recipe, family, longest, *tokens)).mark for tokens in ((99, 99), (100, 99), (100, 100))]
    assert marks == ["ok", "warning", "refusal"]


def test_a_large_batch_is_a_warning_and_a_large_clip_a_refusal(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    from escoita.training.preflight import model

    def memory(free: float) -> Finding:
        monkeypatch.setattr(model, "free_memory", lambda: free)
        return by_subject(list(examine(short_recipe())))["memory"]

    assert memory(1e12).mark == "ok"
    assert memory(100e6).mark == "warning"
    assert memory(1e6).mark == "refusal"


def test_a_model_that_needs_values_is_a_warning(
    short_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    from escoita.training.preflight import model

    def fail(*arguments: object) -> None:
        raise NotImplementedError("needs\nvalues")

    monkeypatch.setattr(model, "count_activations", fail)
    found = by_subject(list(examine(short_recipe())))["memory"]
    assert found.mark == "warning" and "needs values" in found.found


def test_the_command_exits_with_1_if_training_would_fail(short_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = short_recipe()
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml(), "utf-8")
    passed = CliRunner().invoke(app, ["doctor", str(path)])
    assert passed.exit_code == 0 and "0 refusals" in passed.output
    refused = CliRunner().invoke(app, ["doctor", str(path), "--set", "method.trainable.audio=3"])
    assert refused.exit_code == 1 and "1 refusal," in refused.output


def test_an_error_of_the_hub_is_a_warning(
    short_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from escoita.errors import PublishError

    def refuse(recipe: Recipe) -> None:
        raise PublishError("no token is set")

    monkeypatch.setattr("escoita.cards.preflight.preflight", refuse)
    path = tmp_path / "recipe.yaml"
    path.write_text(short_recipe("hub.repo=user/name").to_yaml(), "utf-8")
    found = CliRunner().invoke(app, ["doctor", str(path)])
    assert found.exit_code == 0 and "Hub: no token is set" in found.output


def printed(*findings: Finding) -> tuple[str, bool]:
    text = io.StringIO()
    passed = print_findings(findings, Console(file=text, width=80))
    return text.getvalue(), passed


def test_marks_findings_and_advice_fit_80_columns() -> None:
    text, passed = printed(
        Finding("ok", "GPU", "one of 24 GB"),
        Finding("warning", "disk", "little " * 30, "free some"),
        Finding("ok", "memory", "about 9 GB", details=("base   5 GB", "rest   4 GB")),
    )
    assert max(map(len, text.splitlines())) <= 80
    assert "ok       GPU: one of 24 GB" in text and "→ free some" in text and "base   5 GB" in text
    assert passed and text.rstrip().endswith("0 refusals, 1 warning.")


def test_one_refusal_is_enough() -> None:
    text, passed = printed(Finding("refusal", "base", "not there", "name another"))
    assert not passed and "1 refusal, 0 warnings." in text


def test_text_of_a_corpus_is_escaped() -> None:
    text, _ = printed(Finding("ok", "[bold]name[/bold]", "[red]x[/red] \x1b[2J", "[/]", ("[b]d\u202e",)))
    assert "[bold]name[/bold]: [red]x[/red] <U+001B>[2J" in text and "→ [/]" in text and "[b]d<U+202E>" in text
