"""Test the description of the demo, and the loading of its model."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.recipe.schema import Space
from escoita.records.training import AdapterRecord
from escoita.space.demo import (
    Demo,
    DuplicateAdapterError,
    Loading,
    named_adapters,
    of_run,
    of_sources,
    records_of,
)
from escoita.space.refusals import Refusal
from tests.conftest import ROOT
from tests.space.stub import Stub


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


def test_adapters_have_a_given_name_or_the_last_parts_of_their_source() -> None:
    assert named_adapters(["uzbek=runs/a/adapter", "acme/gemma", "/srv/models/b/adapter"]) == {
        "uzbek": "runs/a/adapter",
        "acme/gemma": "acme/gemma",
        "b/adapter": "/srv/models/b/adapter",
    }


def test_an_equals_sign_within_a_path_is_not_a_name() -> None:
    assert named_adapters(["runs/lr=3/adapter"]) == {"lr=3/adapter": "runs/lr=3/adapter"}


@pytest.mark.parametrize("given", ["", "=acme/uzbek", "uzbek="])
def test_an_adapter_without_name_or_source_is_refused(given: str) -> None:
    with pytest.raises(EscoitaError) as caught:
        named_adapters([given])
    assert (caught.value.key, caught.value.value) == ("adapter", given)


def test_two_adapters_with_the_same_name_are_refused() -> None:
    with pytest.raises(DuplicateAdapterError) as caught:
        named_adapters(["a=acme/b", "a=other/b"])
    assert (caught.value.value, caught.value.source) == ("a", "other/b")


def test_a_run_has_its_adapter_first_and_the_limits_of_its_recipe(run: Path) -> None:
    demo = of_run(run)
    assert next(iter(demo.adapters.values())) == str(run / "adapter")
    assert (Path(demo.base), demo.language) == (Path("quickstart/gemma4"), "uz")
    assert demo.published is not None and demo.published.path == run
    assert demo.settings == demo.published.load_recipe().space


def test_a_run_without_an_adapter_is_refused(run: Path) -> None:
    shutil.rmtree(run / "adapter")
    with pytest.raises(EscoitaError):
        of_run(run)


def test_sources_have_the_title_and_language_of_the_first_adapter(adapter: Path) -> None:
    demo = of_sources("acme/base", [str(adapter)], Space(adapters=["second=acme/other"]))
    assert (demo.title, demo.language, demo.published) == ("uzbek", "uz", None)
    assert demo.adapters == {"acme/uzbek": str(adapter), "second": "acme/other"}
    assert of_sources("acme/base", [str(adapter)], title="Tinglang").title == "Tinglang"


def test_an_adapter_without_a_record_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EscoitaError) as caught:
        of_sources("acme/base", [str(tmp_path / "empty")])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["recipe.yaml", "training.json", "eval/results.json"])
def test_records_next_to_an_adapter_are_found(adapter: Path, name: str) -> None:
    assert records_of(str(adapter)) is None
    (adapter / name).parent.mkdir(exist_ok=True)
    (adapter / name).write_text(json.dumps({}), "utf-8")
    found = records_of(str(adapter))
    assert found is not None and found.path == adapter


def test_a_demo_has_no_model_before_it_is_served() -> None:
    demo = Demo("Demo", "acme/base", None, "auto", {}, Space(), None, "uz")
    assert demo.loading()
    with pytest.raises(Refusal) as caught:
        demo.ready()
    assert caught.value.text_key == "not_loaded"


def test_a_request_waits_until_the_model_is_loaded() -> None:
    go, stub = threading.Event(), Stub()

    def load() -> Stub:
        assert go.wait(60)
        return stub

    loading = Loading(load)
    assert loading.loading()
    loading.start()
    assert loading.loading()
    go.set()
    assert loading.ready() is stub
    assert not loading.loading()


@pytest.mark.parametrize("error", [EscoitaError("/srv/base: not found"), RuntimeError("internal"), SystemExit(3)])
def test_the_reason_of_a_failure_is_stored_and_not_shown_to_visitors(error: BaseException) -> None:
    def load() -> Stub:
        raise error

    loading, failed = Loading(load), threading.Event()
    loading.on_failure(failed.set)
    assert not failed.is_set()
    loading.run()
    assert failed.is_set() and not loading.loading()
    with pytest.raises(Refusal) as refusal:
        loading.ready()
    assert refusal.value.text_key == "not_loaded"
    with pytest.raises(type(error)) as caught:
        loading.done.result()
    assert caught.value is error


def test_the_callback_is_called_at_once_after_a_failure() -> None:
    def load() -> Stub:
        raise EscoitaError("not found", path="acme/base")

    loading, failed = Loading(load), threading.Event()
    loading.run()
    loading.on_failure(failed.set)
    assert failed.is_set()


def test_the_callback_is_not_called_without_a_failure() -> None:
    loading, failed = Loading(Stub), threading.Event()
    loading.on_failure(failed.set)
    loading.run()
    assert not failed.is_set()
