from pathlib import Path

import pytest

from cards.blocks import blocks, marked
from cards.build import build_card, write_card
from cards.template import KEPT, environment, template_files
from escoita.errors import RecipeError, RecordError
from escoita.recipe import Recipe
from escoita.rundir import RunDirectory
from tests.cards.samples import recipe, write_run


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


@pytest.fixture
def chosen(tmp_path: Path) -> Recipe:
    path = tmp_path / "own.md.jinja"
    path.write_text(OWN)
    return recipe(card={"template": str(path), "contact": "Write to us."})


def run_of(tmp_path: Path, chosen: Recipe) -> RunDirectory:
    return write_run(tmp_path / "run", chosen)


def test_a_template_of_the_recipe_changes_blocks_and_leaves_the_others(tmp_path: Path, chosen: Recipe) -> None:
    run = run_of(tmp_path, chosen)
    write_card(run.path)
    made = {block.name: block.text for block in blocks(run.card.read_text("utf-8"))}
    assert made["limitations"] == "## Beware\n\nA small adapter is small." and made["more"] == "## More\n\nWords."
    assert made["summary"].startswith("# A small adapter") and made["summary"].endswith("- **Colour:** blue")
    assert "contact" not in made and "results" in made


def test_the_run_keeps_the_template_so_that_others_can_make_the_card(tmp_path: Path, chosen: Recipe) -> None:
    run = run_of(tmp_path, chosen)
    write_card(run.path)
    Path(str(chosen.card.template)).unlink()
    assert template_files(chosen, run) == {KEPT: OWN.encode()}
    elsewhere = chosen.model_copy(update={"card": chosen.card.model_copy(update={"template": "/nowhere/else.jinja"})})
    same = [build_card(run, each, "user/base", "user/adapter") for each in (chosen, elsewhere)]
    assert same[0] == same[1] and "## Beware" in same[0]


def test_a_template_that_changed_is_taken_anew(tmp_path: Path, chosen: Recipe) -> None:
    run = run_of(tmp_path, chosen)
    write_card(run.path)
    Path(str(chosen.card.template)).write_text(OWN.replace("Beware", "Take care"))
    run.card.unlink()
    write_card(run.path)
    assert "## Take care" in run.card.read_text("utf-8")


def test_a_card_is_made_of_what_the_run_keeps_alone(tmp_path: Path, chosen: Recipe) -> None:
    run = run_of(tmp_path, chosen)  # its recipe may be a stranger's, and name any file of this machine
    with pytest.raises(
        RecordError, match=f"{KEPT}: no such template, which the recipe names; escoita card copies it$"
    ):
        build_card(run, chosen, "user/base", "user/adapter")


def test_a_missing_template_is_one_line(tmp_path: Path) -> None:
    run = run_of(tmp_path, recipe(card={"template": "no/such.jinja"}))
    with pytest.raises(
        RecipeError, match=r"^card.template: no/such.jinja cannot be read \(No such file or directory\)"
    ):
        write_card(run.path)
    assert template_files(recipe(), run) == {}


@pytest.mark.parametrize(
    "text",
    [
        "# {{ card.title }}",
        '{% call section("Mine 2") %}Words.{% endcall %}',
        '{% call section("a") %}1{% endcall %}{% call section("a") %}2{% endcall %}',
    ],
)
def test_what_a_template_writes_outside_of_sections_would_never_be_made_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.md.jinja"
    path.write_text(text)
    run = run_of(tmp_path, recipe(card={"template": str(path)}))
    with pytest.raises(RecipeError, match="stands outside of the sections; begin with"):
        write_card(run.path)
    assert not run.card.exists()


def test_a_section_is_rendered_once() -> None:
    counted = iter(["Words.", "\n ", "Never."])
    text = '{% call section("mine") %}{{ next() }}{% endcall %}{% call section("more") %}{{ next() }}{% endcall %}'
    made = environment().from_string(text).render(next=lambda: next(counted))
    assert made == marked("mine", "Words.") + "\n" and next(counted) == "Never."


@pytest.mark.parametrize(
    "text, said",
    [
        ("one\n{% block x %}\n", "line 2: .*endblock"),
        (
            '{% extends "adapter.md.jinja" %}\n{% block more %}\n{{ nothing.here }}\n{% endblock %}',
            "line 3: 'nothing' is",
        ),
        ("{{ card.title.__class__.__mro__ }}", "line 1: access to attribute '__class__'"),
        ('\n{% include "/etc/hostname" %}', "line 2: .*/etc/hostname"),
        ("\n\n{{ 1 / 0 }}", "line 3: division by zero"),
        ("{{ versions.append('x') }}", "line 1: "),
    ],
)
def test_a_mistake_in_a_template_is_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.md.jinja"
    path.write_text(text)
    run = run_of(tmp_path, recipe(card={"template": str(path)}))
    with pytest.raises(RecipeError, match=f"^{path}, {said}") as refused:
        write_card(run.path)
    assert "\n" not in str(refused.value)
