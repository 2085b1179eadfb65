"""A stranger's template: it may loop, grow and fail, and costs a line."""

import resource
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from cards import verify as module
from cards.build import build_card
from cards.checks.check import Check
from cards.confined import _lower, build_confined
from cards.publication import checksums
from cards.template import KEPT, keep_template
from cards.verify import verify
from escoita.errors import EscoitaError, RecipeError
from escoita.rundir import RunDirectory
from eval.page.drawings import drawings
from eval.results import score
from tests.cards.proven import make_proven_run, published, write_files
from tests.cards.samples import recipe, write_run


HONEST = '{% extends "adapter.md.jinja" %}\n{% block contact %}{% endblock %}\n'
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
POWER = "{{ 9 ** (9 ** 9) }}"
GROWS = "{{ 'x' * 10 ** 12 }}"
DOUBLES = (
    "{% set n = namespace(x=['x' * 9999999]) %}{% for a in range(60) %}{% set n.x = n.x + n.x %}{{ n.x }}{% endfor %}"
)
LONG = '{% call section("more") %}{{ "word " * 2000000 }}{% endcall %}'
TOO_MUCH = r"^card\.md\.jinja: takes more than 3 s or 2 GiB to make a card; not made$"


def run_of(path: Path, template: str) -> RunDirectory:
    path.mkdir(parents=True, exist_ok=True)
    own = path / "own.md.jinja"
    own.write_text(template, "utf-8")
    asked = recipe(card={"template": str(own)})
    run = write_run(path / "run", asked)
    keep_template(asked, run)
    return run


def test_the_card_is_the_same_as_without_limits(tmp_path: Path) -> None:
    run = run_of(tmp_path, HONEST)
    assert build_confined(run, "ana/base", "ana/uzbek") == build_card(run, run.load_recipe(), "ana/base", "ana/uzbek")


@pytest.mark.parametrize("body", [GROWS, DOUBLES], ids=["grows", "doubles"])
def test_a_template_that_fills_the_memory_is_one_line(tmp_path: Path, body: str) -> None:
    with pytest.raises(RecipeError, match=TOO_MUCH):
        build_confined(run_of(tmp_path, body), "ana/base", "ana/uzbek", seconds=3)


@pytest.mark.parametrize("body", [LOOPS, POWER], ids=["loops", "power"])
def test_a_template_that_does_not_end_is_one_line(tmp_path: Path, body: str) -> None:
    with pytest.raises(RecipeError, match=TOO_MUCH):
        build_confined(run_of(tmp_path, body), "ana/base", "ana/uzbek", seconds=3)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (LONG, "writes too long a card"),
        ("{{ ''.__class__.__mro__ }}", "line 1"),
        ("{{ recipe.__init__.__globals__ }}", "line 1"),
        ("{% include '/etc/passwd' %}", "line 1"),
        ("{% include '../../pyproject.toml' %}", "line 1"),
        ("{{ range(10 ** 9) }}", "line 1"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "line 1"),
    ],
)
def test_what_the_sandbox_refuses_is_one_line(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(EscoitaError, match=said) as caught:
        build_confined(run_of(tmp_path, body), "ana/base", "ana/uzbek")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("held", [10, resource.RLIM_INFINITY])
def test_a_lower_limit_that_holds_already_stays(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    told: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda what: (held, held))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: told.append((what, limits)))
    _lower(resource.RLIMIT_CPU, 20)
    least = 10 if held == 10 else 20
    assert told == [(resource.RLIMIT_CPU, (least, least))]


def test_verification_goes_on_after_such_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HfApi", partial(HfApi, endpoint="http://127.0.0.1:9", token=False))
    monkeypatch.setattr(module, "build_confined", partial(build_confined, seconds=2))
    run = make_proven_run(tmp_path / "run")
    own = tmp_path / "own.md.jinja"
    own.write_text(HONEST, "utf-8")
    asked = run.load_recipe()
    asked.model_copy(update={"card": asked.card.model_copy(update={"template": str(own)})}).write(run.recipe)
    files = published(run)

    def checked(folder: str, template: bytes) -> dict[str, Check]:
        there = files | {KEPT: template}
        path = write_files(tmp_path / folder, {**there, "SHA256SUMS": checksums(there)})
        return {check.what: check for check in verify(str(path), score, drawings)}

    assert checked("honest", HONEST.encode())["card: results"].verdict == "holds"
    checks = checked("hostile", LOOPS.encode())
    assert checks["card"].verdict == "differs" and "takes more than 2 s" in checks["card"].lines[0]
    assert checks["eval/results.json"].verdict == "holds"
