import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jinja2 import Template

from escoita.cards.build import build_card, write_card
from escoita.cards.front_matter import blocks, marked
from escoita.cards.template import (
    PUBLISHED_TEMPLATE,
    TemplateMistake,
    TextOutsideSections,
    environment,
    plain,
    template_files,
)
from escoita.errors import RecipeError
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.utils.files import sha256
from tests.cards.samples import recipe, write_run
from tests.cards.verifiable_run import make_verifiable_run
from tests.conftest import ROOT


OWN = """\
{% extends "adapter.md.jinja" %}
{% block limitations %}
## Beware

{{ card.title | line }} is small.
{% endblock %}
{% block contact %}{% endblock %}
{% block summary %}
{{ super() }}
- **Colour:** blue
{% endblock %}
{% block more %}
## More

Words.
{% endblock %}
"""


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands in a folder like a checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def chosen() -> Recipe:
    Path("own.md.jinja").write_text(OWN)
    return recipe(card={"template": "own.md.jinja", "contact": "Write to us."})


def run_of(tmp_path: Path, chosen: Recipe) -> RunDirectory:
    return write_run(tmp_path / "run", chosen)


def test_a_template_of_the_recipe_changes_only_its_blocks(tmp_path: Path, chosen: Recipe) -> None:
    run = run_of(tmp_path, chosen)
    write_card(run.path)
    made = {block.name: block.text for block in blocks(run.card.read_text("utf-8"))}
    assert made["limitations"] == "## Beware\n\nA small adapter is small." and made["more"] == "## More\n\nWords."
    assert made["summary"].startswith("# A small adapter") and made["summary"].endswith("- **Colour:** blue")
    assert "contact" not in made and "results" in made


def test_a_template_that_changed_is_read_again(tmp_path: Path, chosen: Recipe) -> None:
    run = run_of(tmp_path, chosen)
    write_card(run.path)
    Path("own.md.jinja").write_text(OWN.replace("Beware", "Take care"))
    run.card.unlink()
    write_card(run.path)
    assert "## Take care" in run.card.read_text("utf-8")
    assert template_files(chosen, run) == {PUBLISHED_TEMPLATE: Path("own.md.jinja").read_bytes()}


@pytest.mark.parametrize(
    "place", ["run/card.md.jinja", "run/more/own.md.jinja", "other/own.md.jinja", "../own.md.jinja"]
)
def test_template_of_a_run_directory_is_not_rendered(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    run = run_of(Path(), recipe(card={"template": place}))
    run_of(Path("other"), recipe()).recipe.rename("other/recipe.yaml")  # another person's run
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    Path(place).write_text(OWN)
    with pytest.raises(RecipeError) as error:
        write_card(run.path)
    assert (error.value.key, error.value.value) == ("card.template", place)
    assert not run.card.exists()


def test_link_to_a_template_outside_of_the_checkout_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "own.md.jinja").write_text(OWN)
    monkeypatch.chdir(tmp_path / "checkout")
    Path("own.md.jinja").symlink_to(tmp_path / "own.md.jinja")
    with pytest.raises(RecipeError) as error:
        write_card(run_of(Path(), recipe(card={"template": "own.md.jinja"})).path)
    assert (error.value.key, error.value.value) == ("card.template", "own.md.jinja")


def test_missing_template_is_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path, recipe(card={"template": "no/such.jinja"}))
    with pytest.raises(RecipeError) as error:
        write_card(run.path)
    assert (error.value.key, error.value.value) == ("card.template", "no/such.jinja")
    assert template_files(recipe(), run) == {}


@pytest.mark.parametrize(
    "text",
    [
        "# {{ card.title }}",
        '{% call section("Mine 2") %}Words.{% endcall %}',
        '{% call section("a") %}1{% endcall %}{% call section("a") %}2{% endcall %}',
    ],
)
def test_text_outside_of_the_sections_is_refused(tmp_path: Path, text: str) -> None:
    path = Path("own.md.jinja")
    path.write_text(text)
    run = run_of(tmp_path, recipe(card={"template": "own.md.jinja"}))
    with pytest.raises(TextOutsideSections) as error:
        write_card(run.path)
    assert error.value.path == "own.md.jinja" and "{% extends" in str(error.value)
    assert not run.card.exists()


def test_a_section_is_rendered_once() -> None:
    counted = iter(["Words.", "\n ", "Never."])
    text = '{% call section("mine") %}{{ next() }}{% endcall %}{% call section("more") %}{{ next() }}{% endcall %}'
    made = environment().from_string(text).render(next=lambda: next(counted))
    assert made == marked("mine", "Words.") + "\n" and next(counted) == "Never."


@pytest.mark.parametrize(
    "text, row, name",
    [
        ("one\n{% block x %}\n", 2, "endblock"),
        (
            '{% extends "adapter.md.jinja" %}\n{% block more %}\n{{ nothing.here }}\n{% endblock %}',
            3,
            "nothing",
        ),
        ("{{ card.title.__class__.__mro__ }}", 1, "__class__"),
        ('\n{% include "/etc/hostname" %}', 2, "/etc/hostname"),
        ("\n\n{{ 1 / 0 }}", 3, "division by zero"),
        ("{{ versions.append('x') }}", 1, ""),
    ],
)
def test_mistake_in_a_template_has_its_line(tmp_path: Path, text: str, row: int, name: str) -> None:
    path = Path("own.md.jinja")
    path.write_text(text)
    run = run_of(tmp_path, recipe(card={"template": "own.md.jinja"}))
    with pytest.raises(TemplateMistake) as error:
        write_card(run.path)
    assert (error.value.path, error.value.row) == (str(path), row)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_templates_get_plain_data_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_verifiable_run(tmp_path / "run")
    seen: list[Any] = []
    rendered = Template.render

    def spied(template: Template, *args: Any, **values: Any) -> str:
        seen.append(dict(*args, **values))
        return rendered(template, *args, **values)

    monkeypatch.setattr(Template, "render", spied)
    build_card(run, run.load_recipe(), "user/base", "user/adapter")
    assert len(seen) >= 2  # the card and its snippets
    kinds = {type(each) for each in walked(seen)}
    assert kinds <= {dict, list, str, int, float, bool, type(None)}


def walked(value: Any) -> Iterator[Any]:
    yield value
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for part in parts:
        yield from walked(part)


@pytest.mark.parametrize("value", [Path("x"), {1}, object(), len, b"x", np.float64(1)])
def test_other_template_data_is_a_defect_of_escoita(value: Any) -> None:
    with pytest.raises(TypeError):
        plain({"a": [value]})


ATTACKS = [
    "{{ recipe.run_path.unlink() }}",
    "{{ recipe.prompt.parse_raw('x', proto='pickle', allow_pickle=True) }}",
    "{{ recipe.prompt.model_construct() }}",
    "{{ card.title.format(1) }}",
    "{{ card.title.format_map(card) }}",
    "{{ card.title.encode() }}",
    "{{ card.title.join(rows) }}",
    "{{ rows.append(1) }}",
    "{{ card.update({}) }}",
    "{{ card.__class__ }}",
    "{{ card['__class__'].mro() }}",
    "{{ section.__globals__ }}",
    "{{ self.__init__ }}",
    "{{ cycler.__init__ }}",
    "{{ lipsum() }}",
    "{{ range(9) }}",
    "{{ (card | attr('items')).__self__ }}",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_template_reaches_no_method_but_a_few(tmp_path: Path, attack: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("here")
    Path("own.md.jinja").write_text('{% extends "adapter.md.jinja" %}{% block more %}' + attack + "{% endblock %}")
    with pytest.raises(RecipeError):
        write_card(run_of(tmp_path, recipe(card={"template": "own.md.jinja"})).path)
    assert victim.exists()


def test_templates_call_the_listed_methods(tmp_path: Path) -> None:
    text = (
        "{% for name, value in card.items() %}{% if name.startswith('ti') %}{{ value.upper() }}{% endif %}{% endfor %}"
    )
    Path("own.md.jinja").write_text('{% extends "adapter.md.jinja" %}{% block more %}' + text + "{% endblock %}")
    run = run_of(tmp_path, recipe(card={"template": "own.md.jinja"}))
    write_card(run.path)
    assert "A SMALL ADAPTER" in run.card.read_text("utf-8")


def test_templates_of_released_versions_are_kept() -> None:
    """Cards of released versions are verified, for which their code snippets are rendered again."""
    folder = ROOT / "cards/templates"
    for number, release in json.loads((folder / "released.json").read_text("utf-8")).items():
        for name, digest in release["files"].items():
            kept = [folder / name, folder / "released" / number / name]
            held = {sha256(path) for path in kept if path.is_file()}
            assert digest in held or not name.startswith("snippets/"), f"{name} of {number} is not kept"
