"""Test that every dry run refuses what publishing refuses without a network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from escoita.cards.build import write_card
from escoita.cards.preflight import refusals, require_publishable
from escoita.cli.main import app
from escoita.errors import EscoitaError, PublishError
from escoita.hub.vocabulary import check_card
from escoita.recipe.errors import InvalidRecipeError
from escoita.recipe.schema import Recipe, load_recipe
from escoita.run_directory import RunDirectory
from tests.cards.publishing import REPO, Command, client_environment, make_repositories, make_run
from tests.conftest import ROOT
from tests.hub_double import HubDouble, serve


RECIPE = ROOT / "recipes/quickstart-uzbek.yaml"
BENCHMARK = "{corpus: escoita-quickstart-uz, dataset: no name, task: uz}"
# Overrides of a recipe, and a value or key of the error.
PUBLISHING: dict[str, tuple[str, str]] = {
    "license": ("card.license=CC BY 4.0", "CC BY 4.0"),
    "license by another case": ("card.license=Apache-2.0", "apache-2.0"),
    "other without name": ("card={title: A, license: other, license_link: LICENSE}", "license_name"),
    "other without link": ("card={title: A, license: other, license_name: a}", "license_link"),
    "license name": (
        "card={title: A, license: other, license_name: My License, license_link: LICENSE}",
        "license_name",
    ),
    "license link": (
        "card={title: A, license: other, license_name: mine, license_link: terms.pdf}",
        "license_link",
    ),
    "benchmark": (f"hub={{repo: {REPO}, benchmarks: [{BENCHMARK}]}}", "hub.benchmarks: no name: "),
    "secret": ("card.contact=hf_" + "a1B2" * 9, "a secret"),
    "path of this machine": ("card.description=See /home/somebody/notes.txt", "an absolute path"),
    "template": ("card.template=not/here.jinja", "card.template: not/here.jinja: "),
    "repository": ("hub.repo=speech models", "speech models: "),
}
PAGE: dict[str, tuple[str, str]] = {
    "example": ("space.examples=[not/here.ogg]", "not/here.ogg"),
    "adapters of one name": ("space.adapters=['a=x/y', 'a=x/z']", "adapter"),
    "adapter without a repository": (
        f"hub.repo={REPO}|space.adapters=['a=runs/x/y']",
        "runs/x/y",
    ),
}
ALL = PUBLISHING | PAGE


def changed(*overrides: str) -> Recipe:
    return load_recipe(RECIPE, list(overrides))


def of(case: tuple[str, str]) -> tuple[list[str], str]:
    return case[0].split("|"), case[1]


def test_recipes_of_the_project_are_valid() -> None:
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        recipe = load_recipe(path)
        if not recipe.base.startswith("."):
            recipe = recipe.model_copy(update={"base": "user/base"})
        assert list(refusals(recipe)) == [], path
        require_publishable(recipe)


@pytest.mark.parametrize("name", ALL)
def test_refusal_needs_no_network(name: str) -> None:
    overrides, text = of(ALL[name])
    found = list(refusals(changed(*overrides)))
    assert any(text in line for line in found), found
    assert len(found) == 1 or name in ("secret", "path of this machine")


def test_invalid_repositories_of_the_base() -> None:
    (found,) = refusals(changed("hub.repo=ana/gemma4", "base=./quickstart/gemma4", "hub.publish_base_as=null"))
    assert found.startswith("ana/gemma4: ")
    (found,) = refusals(changed("hub.repo=ana/uzbek", "hub.publish_base_as=base-"))
    assert found.startswith("hub.publish_base_as: ana/base-: ")
    (found,) = refusals(changed("base=./not/here"))
    assert found.startswith("base: ./not/here: ")


def test_a_folder_without_weights_is_not_a_base(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    assert any("safetensors" in line for line in refusals(changed(f"base={tmp_path / 'base'}")))


@pytest.mark.parametrize("name", ["adapter", "my base"])
def test_the_name_of_a_folder_is_not_checked_without_a_repository(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "model.safetensors").write_bytes(b"")
    overrides = [f"base={tmp_path / name}", "hub.publish_base_as=null"]
    assert list(refusals(changed(*overrides))) == []
    assert len(list(refusals(changed("hub.repo=ana/adapter", *overrides)))) == 1


def test_several_problems_are_reported_together() -> None:
    with pytest.raises(PublishError) as error:
        require_publishable(changed("card.license=mine", "space.examples=[not/here.ogg]"))
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize("name", ["license", "repository"])
def test_doctor_and_the_dry_run_of_training_refuse_invalid_metadata(
    short_recipe: Callable[..., Recipe], tmp_path: Path, name: str
) -> None:
    overrides, text = of(ALL[name])
    recipe = short_recipe(*overrides)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml(), "utf-8")
    examined = CliRunner().invoke(app, ["doctor", str(path)])
    assert examined.exit_code == 1 and "1 refusal" in examined.output
    assert "refusal  publishing" in examined.output
    tried = CliRunner().invoke(app, ["train", str(path), "--dry-run"])
    assert isinstance(tried.exception, PublishError) and text in str(tried.exception)
    assert not recipe.run_path.exists()


def test_doctor_reports_a_missing_example_before_everything_else(
    short_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(short_recipe("space.examples=[not/here.ogg]").to_yaml(), "utf-8")
    examined = CliRunner().invoke(app, ["doctor", str(path)])
    assert isinstance(examined.exception, InvalidRecipeError)
    (mistake,) = examined.exception.mistakes
    assert mistake.path == path and mistake.key.startswith("space.examples")


def test_no_card_is_written_with_invalid_metadata(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    write_card(run.path)
    run.card.unlink()
    edit(run, card={"license": "CC BY 4.0"})
    with pytest.raises(PublishError) as error:
        write_card(run.path)
    assert "CC BY 4.0" in str(error.value)
    assert not run.card.exists()


def edit(run: RunDirectory, **sections: dict[str, Any]) -> None:
    """Return a function that changes the recipe of a run."""
    document = yaml.safe_load(run.recipe.read_text("utf-8"))
    for section, values in sections.items():
        document[section] |= values
    run.recipe.write_text(yaml.safe_dump(document), "utf-8")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub", xet=False) as double:
        make_repositories(double, REPO)
        yield double


PUSHED: dict[str, dict[str, Any]] = {
    "license": {"card": {"license": "CC BY 4.0"}},
    "other without link": {"card": {"license": "other", "license_name": "a"}},
    "license name": {"card": {"license": "other", "license_name": "My License", "license_link": "LICENSE"}},
    "benchmark": {"hub": {"benchmarks": [{"corpus": "clips", "dataset": "no name", "task": "uz"}]}},
    "secret": {"card": {"contact": "hf_" + "a1B2" * 9}},
    "template": {"card": {"template": "not/here.jinja"}},
}


@pytest.mark.parametrize(
    "name", [name if name == "license" else pytest.param(name, marks=pytest.mark.slow) for name in PUSHED]
)
def test_the_dry_run_of_push_refuses_what_push_refuses(
    hub: HubDouble, tmp_path: Path, command: Command, name: str
) -> None:
    run = make_run(tmp_path / "run")
    edit(run, **PUSHED[name])
    words = ("-m", "escoita", "push", "--run", str(run.path), "--repo", REPO)
    real, dry = (command(*words, *option, **client_environment(hub)) for option in ((), ("--dry-run",)))
    assert (real.returncode, dry.returncode) == (1, 1) and "Traceback" not in real.stderr + dry.stderr
    assert real.stderr == dry.stderr
    known = list(refusals(run.load_recipe()))
    assert known and PUBLISHING[name][1] in " ".join(known) and PUBLISHING[name][1] in real.stderr


@pytest.mark.parametrize("content", ["---\n- a list\n---\n", "---\nlicense: [\n---\n"])
def test_invalid_front_matter_is_refused(content: str) -> None:
    with pytest.raises(EscoitaError):
        check_card(content)
