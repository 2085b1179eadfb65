"""Test the evaluation of a model behind a server: `escoita serve`, and servers that fail or change."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.responses import JSONResponse, Response

from escoita.errors import EscoitaError
from escoita.evaluation import endpoint as module
from escoita.evaluation.aggregate import score
from escoita.evaluation.endpoint import Endpoint, EndpointError
from escoita.evaluation.endpoint_evaluation import Plan, evaluate_endpoint, request_for_endpoint, system_name
from escoita.recipe.schema import load_recipe
from escoita.records.evaluation import EvaluationRecord
from escoita.serve.models import find_models, load_engine
from escoita.serve.service import Service
from tests.conftest import write_manifest
from tests.evaluation.endpoint_double import Double, double, text
from tests.models.samples import write_whisper
from tests.serve.conftest import served


@pytest.fixture
def server() -> Iterator[Double]:
    with double() as state:
        yield state


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sleep_using_event", lambda event: lambda seconds: None)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "test.jsonl", "test", 6)


def evaluate(server: Double, out: Path, manifest: Path, plans: list[Plan] | None = None) -> EvaluationRecord:
    requested = request_for_endpoint("m", out, [manifest], "uz")
    with Endpoint(server.url, "m", {}) as endpoint:
        return evaluate_endpoint(endpoint, requested, (plans if plans is not None else []).append, 2)


def test_the_figures_are_those_of_the_model_on_this_machine(quickstart_run: Path, tmp_path: Path) -> None:
    models = find_models([f"uzbek={quickstart_run}"])
    service = Service(models.base_name, models.languages(), models.settings)
    requested = request_for_endpoint("uzbek", tmp_path / "out", run=quickstart_run)
    plans: list[Plan] = []
    with served(service, lambda: load_engine(models)) as address, Endpoint(address, "uzbek", {}) as endpoint:
        record = evaluate_endpoint(endpoint, requested, plans.append)
    here = EvaluationRecord.read(quickstart_run / "eval/results.json")
    assert record.main_system.name == "uzbek"
    ours, theirs = record.corpora[0], here.corpora[0]
    assert (ours.name, ours.n, ours.rejected, record.normalizer) == (theirs.name, theirs.n, 0, here.normalizer)
    assert ours.main_system.normalized == theirs.main_system.normalized
    assert ours.main_system.raw == theirs.main_system.raw
    assert record.probes == []
    (plan,) = plans
    assert (plan.clips, plan.local, plan.host) == (ours.n, True, "127.0.0.1")
    assert plan.minutes == pytest.approx(ours.audio_seconds / 60)
    system = EvaluationRecord.read(tmp_path / "out/results.json").main_system
    assert system.endpoint is not None
    assert (system.endpoint.url, system.endpoint.model, system.endpoint.returned_model) == (
        f"{address}/v1",
        "uzbek",
        "uzbek",
    )
    assert (tmp_path / "out/report.html").is_file()
    assert not list((tmp_path / "out").glob("*/.unfinished-*"))


def test_clips_that_were_transcribed_before_a_failure_are_not_sent_again(
    server: Double, manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    server.replies = [text("bir"), text("ikki"), text("uch"), JSONResponse({"error": "no"}, 400)]
    plans: list[Plan] = []
    with pytest.raises(EndpointError):
        evaluate(server, out, manifest, plans)
    assert not (out / "results.json").exists()
    assert not list(out.glob("*/predictions*"))
    sent = len(server.requests)
    record = evaluate(server, out, manifest, plans)
    assert record.corpora[0].n == 6
    assert [plan.clips for plan in plans] == [6, 6 - (sent - 1)]
    assert len(server.requests) == sent + plans[1].clips


def test_nothing_is_sent_without_consent(server: Double, manifest: Path, tmp_path: Path) -> None:
    def refuse(plan: Plan) -> None:
        raise EscoitaError("no")

    with Endpoint(server.url, "m", {}) as endpoint, pytest.raises(EscoitaError):
        evaluate_endpoint(endpoint, request_for_endpoint("m", tmp_path / "out", [manifest], "uz"), refuse)
    assert server.requests == []


def test_the_model_that_the_server_names_is_recorded(server: Double, manifest: Path, tmp_path: Path) -> None:
    server.models = Response(status_code=404)
    server.replies = [text("salom", model="m-2026-01") for _ in range(6)]
    endpoint = evaluate(server, tmp_path / "out", manifest).main_system.endpoint
    assert endpoint is not None
    assert (endpoint.model, endpoint.returned_model) == ("m", "m-2026-01")


def test_a_model_that_changes_is_noticed_also_by_the_next_command(
    server: Double, manifest: Path, tmp_path: Path
) -> None:
    server.replies = [text("salom", model="one") for _ in range(3)] + [JSONResponse({}, 400)]
    with pytest.raises(EndpointError):
        evaluate(server, tmp_path / "out", manifest)
    server.replies = [text("salom", model="two") for _ in range(6)]
    with pytest.raises(EndpointError):
        evaluate(server, tmp_path / "out", manifest)
    assert not (tmp_path / "out/results.json").exists()


def test_markup_of_a_server_is_text_in_the_report(server: Double, manifest: Path, tmp_path: Path) -> None:
    server.replies = [text("<script>alert(1)</script>", model="<img src=x>") for _ in range(6)]
    record = evaluate(server, tmp_path / "out", manifest)
    page = (tmp_path / "out/report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "<img src=x>" not in page
    assert record.main_system.name == "m"


def test_baselines_transcribe_the_same_clips_on_this_machine(server: Double, manifest: Path, tmp_path: Path) -> None:
    """The difference is that of paired clips, with the served model as the main system."""
    baseline, out = write_whisper(tmp_path / "a-whisper"), tmp_path / "out"
    requested = request_for_endpoint("m", out, [manifest], "uz", baselines=[baseline])
    with Endpoint(server.url, "m", {}) as endpoint:
        record = evaluate_endpoint(endpoint, requested, lambda plan: None, 2)
    assert [system.name for system in record.systems] == ["m", "a-whisper"]
    assert record.main_system.endpoint is not None and record.systems[1].endpoint is None
    assert record.systems[1].base_sha256
    (result,) = record.corpora
    difference = result.against("a-whisper")
    assert difference is not None
    assert difference.wer == pytest.approx(result.main_system.normalized.wer - result.systems[1].normalized.wer)
    assert len(server.requests) == result.n == 6
    assert score(out, record.normalizer, record.resamples) == record


def test_unusable_baselines_are_refused_before_anything_is_sent(
    server: Double, manifest: Path, tmp_path: Path
) -> None:
    for model in ("./quickstart/gemma4", write_whisper(tmp_path / "m")):  # needs a prompt; has the name of the system
        requested = request_for_endpoint("m", tmp_path / "out", [manifest], "uz", baselines=[model])
        with Endpoint(server.url, "m", {}) as endpoint, pytest.raises(EscoitaError) as refused:
            evaluate_endpoint(endpoint, requested, lambda plan: None)
        assert str(refused.value.value) in (model, "m")
    assert server.requests == []


def test_a_served_model_does_not_measure_forgetting(tmp_path: Path) -> None:
    corpus = "{name: spanish, path: es.jsonl, language: es, publish_references: false}"
    load_recipe("recipes/quickstart-uzbek.yaml", [f"eval.retention=[{corpus}]"]).write(tmp_path / "recipe.yaml")
    request = request_for_endpoint("m", tmp_path / "out", run=tmp_path)
    assert request.corpora and not request.settings.retention


def test_names_of_systems() -> None:
    assert system_name("openai/whisper-1") == "whisper-1"
    assert system_name("user/name@v1") == "name-v1"
    assert system_name("adapter") == "endpoint-adapter"
    assert system_name("//") == "endpoint"


@pytest.mark.parametrize(("language", "normalizer", "key"), [(None, None, "--language"), ("uz", "x", "--normalizer")])
def test_requests_are_checked(language: str | None, normalizer: str | None, key: str, manifest: Path) -> None:
    with pytest.raises(EscoitaError) as refused:
        request_for_endpoint("m", Path("out"), [manifest], language, normalizer)
    assert refused.value.key == key


def test_the_records_of_other_systems_stay_as_they_were(quickstart_run: Path) -> None:
    written = json.loads((quickstart_run / "eval/results.json").read_text("utf-8"))
    assert not any("endpoint" in system for system in written["systems"])
