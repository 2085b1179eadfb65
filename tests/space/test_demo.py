"""What the page is about, from a run directory or from sources."""

import json
import shutil
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.recipe.schema import Space
from escoita.records.training import AdapterRecord
from escoita.space.demo import Demo, named, of_run, of_sources, records_of
from tests.conftest import ROOT


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "acme/uzbek"
    folder.mkdir(parents=True)
    record = AdapterRecord(language="uz", prompt={"user": "Transcribe."})
    record.write(folder / "escoita.json")
    return folder


@pytest.fixture
def run(tmp_path: Path, adapter: Path) -> Path:
    run = tmp_path / "run"
    shutil.copytree(adapter, run / "adapter")
    shutil.copy(ROOT / "recipes/quickstart-uzbek.yaml", run / "recipe.yaml")
    return run


def test_adapters_have_the_names_that_they_are_given_or_the_last_parts_of_their_source() -> None:
    assert named(["uzbek=runs/a/adapter", "acme/gemma", "/srv/models/b/adapter"]) == {
        "uzbek": "runs/a/adapter",
        "acme/gemma": "acme/gemma",
        "b/adapter": "/srv/models/b/adapter",
    }


def test_a_sign_within_a_folder_is_no_name() -> None:
    assert named(["runs/lr=3/adapter"]) == {"lr=3/adapter": "runs/lr=3/adapter"}


@pytest.mark.parametrize("asked", ["", "=acme/uzbek", "uzbek="])
def test_an_adapter_without_name_or_source_is_refused(asked: str) -> None:
    with pytest.raises(EscoitaError, match=f"^adapter {asked}: give name=source, or a folder or repository$"):
        named([asked])


def test_two_adapters_of_one_name_are_refused() -> None:
    with pytest.raises(EscoitaError, match=r"^adapter a: is there twice; call one otherwise with name=other/b$"):
        named(["a=acme/b", "a=other/b"])


def test_a_run_gives_its_adapter_first_and_the_limits_of_its_recipe(run: Path) -> None:
    demo = of_run(run)
    assert next(iter(demo.adapters.values())) == str(run / "adapter")
    assert (Path(demo.base), demo.language) == (Path("quickstart/gemma4"), "uz")
    assert demo.published is not None and demo.published.path == run
    assert demo.settings == demo.published.load_recipe().space


def test_a_run_that_is_not_trained_is_refused(run: Path) -> None:
    shutil.rmtree(run / "adapter")
    with pytest.raises(EscoitaError, match="holds no adapter yet; escoita train makes it$"):
        of_run(run)


def test_sources_are_titled_by_the_first_adapter_and_speak_its_language(adapter: Path) -> None:
    demo = of_sources("acme/base", [str(adapter)], Space(adapters=["second=acme/other"]))
    assert (demo.title, demo.language, demo.published) == ("uzbek", "uz", None)
    assert demo.adapters == {"acme/uzbek": str(adapter), "second": "acme/other"}
    assert of_sources("acme/base", [str(adapter)], title="Tinglang").title == "Tinglang"


def test_an_adapter_that_is_nowhere_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EscoitaError, match=r"escoita\.json") as caught:
        of_sources("acme/base", [str(tmp_path / "empty")])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["recipe.yaml", "training.json", "eval/results.json"])
def test_records_beside_an_adapter_are_found(adapter: Path, name: str) -> None:
    assert records_of(str(adapter)) is None
    (adapter / name).parent.mkdir(exist_ok=True)
    (adapter / name).write_text(json.dumps({}), "utf-8")
    found = records_of(str(adapter))
    assert found is not None and found.path == adapter


def test_a_page_that_is_not_served_hears_nothing() -> None:
    demo = Demo("Demo", "acme/base", None, "auto", {}, Space(), None, "uz")
    assert demo.loading()
    with pytest.raises(EscoitaError, match="^The model could not be loaded; come back later\\.$"):
        demo.ready()
