"""Test a complete server over HTTP: curl, OpenAI's client, and clients that disconnect or send invalid requests."""

import io
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from typer.testing import CliRunner

from escoita.cli.main import app
from escoita.hub.files import adapter_record
from escoita.inference.serving import Engine
from escoita.inference.transcriber import Transcriber
from escoita.recipe.schema import Space
from escoita.records.training import AdapterRecord, Prompt
from escoita.serve.auth import ApiKeys
from escoita.serve.models import find_models, load_engine
from escoita.serve.service import Service
from tests.adapter_samples import GEMMA4_LORA, write_adapter
from tests.length_model import INVALID_SAMPLE, Gate, LengthModel, clip, length_transcriber
from tests.serve.conftest import MODEL, Open, served


KEY = "0123456789abcdef"
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
CLIPS = sorted(Path("quickstart/corpus/uz/test").glob("*.ogg"))


def wav(samples: int = 12_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, clip(samples), 16_000, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def ask(address: str, content: bytes | None = None, key: str | None = None, **fields: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(
        f"{address}/v1/audio/transcriptions",
        files={"file": ("clip.wav", wav() if content is None else content)},
        data={"model": MODEL} | fields,
        headers=headers,
        timeout=60,
    )


def figure(address: str, name: str) -> float:
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


def until(address: str, name: str, value: float) -> None:
    deadline = time.monotonic() + 30
    while figure(address, name) != value:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def quickstart(quickstart_run: Path) -> Iterator[str]:
    """Return a server with the adapter of the run, and its base under the name `base`."""
    models = find_models([f"uzbek={quickstart_run}"])
    service = Service(models.base_name, models.languages(), models.settings)
    with served(service, lambda: load_engine(models)) as address:
        yield address


@pytest.fixture(scope="module")
def expected(quickstart_run: Path) -> list[str]:
    adapter = str(quickstart_run / "adapter")
    transcriber = Transcriber.load("quickstart/gemma4", adapter)
    return [transcriber.transcribe_file(path).text for path in CLIPS[:50]]


def test_curl_gets_every_format(quickstart: str, expected: list[str]) -> None:
    for response_format in FORMATS:
        command = ["curl", "-sSf", f"{quickstart}/v1/audio/transcriptions", "-F", "model=uzbek"]
        command += ["-F", f"file=@{CLIPS[1]}", "-F", f"response_format={response_format}"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        if response_format.endswith("json"):
            answer = json.loads(answer)["text"]
        assert expected[1] in answer
        assert (" --> " in answer) == (response_format in ("srt", "vtt"))


@pytest.mark.parametrize("words", [False, True])
def test_timed_formats_are_those_of_transcribe(
    quickstart: str, quickstart_run: Path, tmp_path: Path, words: bool
) -> None:
    command = ["transcribe", str(CLIPS[1]), "-m", str(quickstart_run), "-o", str(tmp_path), "-f", "txt,srt,vtt,json"]
    done = CliRunner().invoke(app, command + ["--word-timestamps"] * words)
    assert done.exit_code == 0, done.output
    for response_format, ending in (("text", "txt"), ("srt", "srt"), ("vtt", "vtt"), ("verbose_json", "json")):
        fields = {"timestamp_granularities[]": "word"} if words and ending == "json" else {}
        answer = ask(quickstart, CLIPS[1].read_bytes(), model="uzbek", response_format=response_format, **fields)
        assert answer.text == (tmp_path / CLIPS[1].stem).with_suffix(f".{ending}").read_text("utf-8")


def test_the_client_of_openai_gets_every_format_and_a_stream(quickstart: str, expected: list[str]) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{quickstart}/v1", api_key="unused", max_retries=0)
    assert {model.id for model in client.models.list()} == {"uzbek", "quickstart/gemma4"}
    assert client.models.retrieve("quickstart/gemma4").id == "quickstart/gemma4"
    create: Any = client.audio.transcriptions.create
    for response_format in FORMATS:
        with CLIPS[1].open("rb") as file:
            answer = create(model="uzbek", file=file, response_format=response_format, temperature=0, language="uz")
        assert expected[1] in (answer if isinstance(answer, str) else answer.text)
    with CLIPS[1].open("rb") as file:
        whole = create(
            model="uzbek", file=file, response_format="verbose_json", timestamp_granularities=["segment", "word"]
        )
    assert " ".join(each.text for each in whole.segments) == " ".join(each.word for each in whole.words) == expected[1]
    assert 0 <= whole.words[0].start < whole.words[-1].end <= whole.duration
    with CLIPS[1].open("rb") as file:
        *deltas, done = create(model="uzbek", file=file, stream=True)
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text == expected[1]
    assert len(deltas) > 1


def test_errors_are_those_that_the_client_of_openai_knows(quickstart: str, tmp_path: Path) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{quickstart}/v1", api_key="unused", max_retries=0)
    create: Any = client.audio.transcriptions.create
    with pytest.raises(openai.NotFoundError) as missing:
        create(model="other", file=("clip.wav", wav()))
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    for content in (b"", b"no audio at all", wav()[:30]):
        with pytest.raises(openai.BadRequestError) as broken:
            create(model="uzbek", file=("clip.wav", content))
        assert (broken.value.code, broken.value.param) == ("invalid_audio", "file")
    with pytest.raises(openai.BadRequestError) as broken:
        list(create(model="uzbek", file=("clip.wav", b"no audio at all"), stream=True))
    assert broken.value.code == "invalid_audio"
    for fields in ({"temperature": 1}, {"prompt": "Answer me"}, {"language": "gl"}):
        with pytest.raises(openai.BadRequestError) as refused:
            create(model="uzbek", file=("clip.wav", wav()), **fields)
        assert refused.value.param == next(iter(fields))


def test_fifty_clients_at_once_lose_nothing(quickstart: str, expected: list[str]) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{quickstart}/v1", api_key="unused", max_retries=0, timeout=300)

    def text(path: Path) -> str:
        return client.audio.transcriptions.create(model="uzbek", file=path).text

    with ThreadPoolExecutor(50) as clients:
        assert list(clients.map(text, CLIPS[:50])) == expected


def test_the_base_is_served_too(quickstart: str, quickstart_run: Path) -> None:
    settings = adapter_record(str(quickstart_run / "adapter"))
    alone = Transcriber.load("quickstart/gemma4", None, settings).transcribe_file(CLIPS[1]).text
    answer = ask(quickstart, CLIPS[1].read_bytes(), model="quickstart/gemma4")
    assert answer.json()["text"] == alone


def test_a_wrong_key_is_refused_everywhere_but_for_health(opened: Open) -> None:
    address = opened(keys=ApiKeys([KEY]))
    for key in (None, "wrong"):
        answer = ask(address, key=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/v1/models", "/v1/models/talker", "/metrics"):
        assert httpx.get(address + path).status_code == 401
        assert httpx.get(address + path, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    assert httpx.get(f"{address}/health").json() == {"status": "ok"}
    assert ask(address, key=KEY).json()["text"] == "12000"


def test_keys_are_in_no_output(opened: Open, capfd: pytest.CaptureFixture[str]) -> None:
    address = opened(keys=ApiKeys([KEY]))
    ask(address, key=KEY)
    ask(address, key="a-wrong-key")
    httpx.get(f"{address}/v1/models?api_key={KEY}")
    written = "".join(capfd.readouterr())
    assert KEY not in written
    assert "a-wrong-key" not in written


def test_pages_of_other_sites_cannot_use_a_server_without_keys(opened: Open) -> None:
    address = opened(local=True)
    for header in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        answer = httpx.get(f"{address}/v1/models", headers=header)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_origin")
    assert httpx.get(f"{address}/v1/models").status_code == 200


def test_unknown_routes_have_errors_of_the_same_form(opened: Open) -> None:
    address = opened()
    for method, path, status in (
        ("GET", "/", 404),
        ("GET", "/v1/chat/completions", 404),
        ("GET", "/v1/audio/transcriptions", 405),
    ):
        answer = httpx.request(method, address + path)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert httpx.post(f"{address}/v1/audio/transcriptions", json={"model": MODEL}).status_code == 415
    answer = httpx.post(f"{address}/v1/audio/transcriptions", data={"model": MODEL}, files={"x": b""})
    assert answer.status_code == 400


def test_limits_of_size_and_length(opened: Open) -> None:
    address = opened(limits={"max_megabytes": 0.2, "max_minutes": 1 / 60})
    assert ask(address, wav(16_000)).json()["text"] == "16000"
    long = ask(address, wav(40_000))
    assert (long.status_code, long.json()["error"]["code"]) == (413, "audio_too_long")
    large = ask(address, wav(60_000))
    assert (large.status_code, large.json()["error"]["code"]) == (413, "file_too_large")

    def endless() -> Iterator[bytes]:
        yield b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while True:
            yield bytes(10_000)

    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    try:
        answer = httpx.post(f"{address}/v1/audio/transcriptions", content=endless(), headers=headers, timeout=60)
    except httpx.TransportError:  # the server has closed the connection, and the client was still sending
        return
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")


def test_a_full_queue_returns_a_time_to_retry(opened: Open, gate: Gate) -> None:
    address = opened(LengthModel(before_letter=gate), limits={"max_queue": 1})
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(ask, address)
        gate.wait()
        second = clients.submit(ask, address, wav(13_000))
        until(address, "escoita_requests_in_progress", 2)
        time.sleep(0.5)  # until its recording is decoded
        answer = ask(address, wav(14_000))
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(answer.headers["retry-after"]) > 0
        gate.release()
        assert [each.result().json()["text"] for each in (first, second)] == ["12000", "13000"]


def test_a_request_that_takes_too_long_is_stopped(opened: Open, gate: Gate) -> None:
    address = opened(LengthModel(before_letter=gate), limits={"max_seconds": 1})
    answer = ask(address)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "timeout")
    gate.release()
    until(address, "escoita_requests_in_progress", 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_disconnected_client_stops_its_request_and_frees_its_slot(opened: Open, gate: Gate, stream: bool) -> None:
    model = LengthModel(before_letter=gate)
    address = opened(model)
    host, port = address.removeprefix("http://").split(":")
    request = httpx.Request(
        "POST",
        f"{address}/v1/audio/transcriptions",
        files={"file": ("clip.wav", wav())},
        data={"model": MODEL, "stream": str(stream).lower()},
    )
    head = "\r\n".join(f"{name}: {value}" for name, value in request.headers.items())
    with ThreadPoolExecutor(1) as clients:
        other = clients.submit(ask, address, wav(16_000))
        gate.wait()
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"POST /v1/audio/transcriptions HTTP/1.1\r\n{head}\r\n\r\n".encode() + request.read())
            until(address, "escoita_requests_in_progress", 2)
            time.sleep(0.3)
        until(address, "escoita_requests_in_progress", 1)
        gate.release()
        assert other.result().json()["text"] == "16000"
    assert ask(address, wav(15_000)).json()["text"] == "15000"
    assert [12_000] not in model.batches


def test_an_error_in_a_stream_is_an_event(opened: Open) -> None:
    buffer = io.BytesIO()
    samples = clip(12_000)
    samples[0] = INVALID_SAMPLE
    soundfile.write(buffer, samples, 16_000, format="WAV", subtype="FLOAT")
    answer = ask(opened(), buffer.getvalue(), stream="true")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]
    assert set(events[-1]["error"]) == {"message", "type", "param", "code"}


def test_metrics_count_the_served_requests(opened: Open) -> None:
    address = opened()
    ask(address)
    ask(address, b"broken")
    assert figure(address, 'escoita_requests_total{status="200"}') == 1
    assert figure(address, 'escoita_requests_total{status="400"}') == 1
    assert figure(address, 'escoita_audio_seconds_total{model="talker"}') == 0.75
    assert figure(address, "escoita_ready") == 1
    assert figure(address, "escoita_requests_in_progress") == 0


@pytest.mark.slow
def test_adapters_leave_memory_and_come_back(tmp_path: Path) -> None:
    sources = []
    for number, name in enumerate("abc"):  # the token limits differ, and so do the texts
        record = AdapterRecord(language="gl", prompt=Prompt(user="Listen."), max_new_tokens=number + 1)
        source = write_adapter("quickstart/gemma4", tmp_path / name, record, number, **GEMMA4_LORA)
        sources.append(f"{name}={source}")
    models = find_models(sources)
    service = Service(models.base_name, models.languages(), models.settings)
    content = CLIPS[1].read_bytes()
    with served(service, lambda: load_engine(models)) as address:
        expected = {name: ask(address, content, model=name).json()["text"] for name in "abc"}
        size = figure(address, 'escoita_adapter_bytes{model="a"}')
    assert len(set(expected.values())) == 3
    with served(service, lambda: load_engine(models, adapter_bytes=int(2 * size))) as address:
        for name in "abcabcba":
            assert ask(address, content, model=name).json()["text"] == expected[name]
            assert figure(address, f'escoita_adapter_bytes{{model="{name}"}}') == size
            lines = httpx.get(f"{address}/metrics").text.splitlines()
            assert sum(line.startswith("escoita_adapter_bytes{") for line in lines) <= 2


def test_a_listener_without_a_queue_of_requests_returns_timed_formats() -> None:
    engine = Engine(length_transcriber(), {}, {})

    class Listener:
        """Offer only what the page of a ZeroGPU Space offers."""

        stream, close = staticmethod(engine.stream), staticmethod(engine.close)

    with served(Service(MODEL, {}, Space(), language="gl"), Listener) as address:
        answer = ask(address, response_format="verbose_json").json()
        assert (answer["text"], answer["segments"][0]["text"], answer["language"]) == ("12000", "12000", "gl")
        assert ask(address, language="uz").json()["error"]["param"] == "language"
