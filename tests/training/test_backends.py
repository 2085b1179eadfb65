"""Which engine loads what; Unsloth itself is tried in `tests/unsloth`."""

import builtins
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from escoita.errors import RecipeError, TrainingError
from escoita.models import family_of
from escoita.recipe.schema import Recipe
from escoita.training.backends import import_first, load_for_training


Make = Callable[..., Recipe]


@pytest.fixture
def nothing_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the start of a command."""
    for name in [*sys.modules]:
        if name.split(".")[0] in ("transformers", "trl", "peft", "unsloth") or name == "training.unsloth_engine":
            monkeypatch.delitem(sys.modules, name)


def failing(error: Exception) -> Callable[..., ModuleType]:
    """An import that works but for Unsloth."""
    before = builtins.__import__

    def importing(name: str, *arguments: Any) -> ModuleType:
        if name == "unsloth":
            raise error
        return before(name, *arguments)

    return importing


def test_with_transformers_nothing_is_imported_first(short_recipe: Make) -> None:
    import_first(short_recipe())
    model, adapter = load_for_training(short_recipe(), family_of("quickstart/gemma4"))
    assert adapter and adapter.r == 8 and not hasattr(model, "peft_config")


def test_unsloth_after_transformers_is_refused(short_recipe: Make) -> None:
    import transformers  # noqa: F401

    with pytest.raises(TrainingError, match="rewrites transformers, which is imported already; import unsloth first"):
        import_first(short_recipe("engine=unsloth"))


@pytest.mark.usefixtures("nothing_imported")
@pytest.mark.parametrize(
    "error, line",
    [
        (
            ModuleNotFoundError("No module named 'unsloth'", name="unsloth"),
            r"^engine: unsloth is not installed: pip install 'escoita\[unsloth\]'$",
        ),
        (NotImplementedError("You need\na GPU."), r"^engine: unsloth: You need a GPU\.$"),
        (ImportError("torchvision is another's"), r"^engine: unsloth: torchvision is another's$"),
    ],
)
def test_what_unsloth_lacks_is_one_line(
    short_recipe: Make, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    monkeypatch.setattr(builtins, "__import__", failing(error))
    with pytest.raises(TrainingError, match=line):
        import_first(short_recipe("engine=unsloth"))


def test_modules_are_not_trained_with_unsloth(short_recipe: Make) -> None:
    method = "method={kind: modules, modules: [audio_tower]}"
    with pytest.raises(RecipeError, match="kind: modules needs engine: transformers"):
        import_first(short_recipe("engine=unsloth", method))


def test_the_command_imports_nothing_before_the_engine(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    arguments = ["--recipe", "recipes/quickstart-uzbek.yaml", "--set", "engine=unsloth"]
    ran = command("training/sft.py", *arguments, "--dry-run")
    assert ran.returncode == 1 and "Traceback" not in ran.stderr
    # Installed or not, with a GPU or without: never that transformers came first.
    assert "engine: unsloth" in ran.stderr and "imported already" not in ran.stderr
