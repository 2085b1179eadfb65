"""Test concurrent requests with a model that can be paused between two letters, so that no test depends on timing."""

import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from escoita.audio.loading import Recording
from escoita.errors import AudioError, AudioLimitError, BusyError, EscoitaError, ShareError
from escoita.inference.fairness import Client
from escoita.inference.serving import ClosedError, Engine
from escoita.inference.streaming import Partial
from tests.length_model import INVALID_SAMPLE, Gate, LengthModel, clip, length_transcriber
from tests.samples import tone, write_clip


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.release()


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as clients:
        yield clients


def engine(model: LengthModel, max_waiting: int = 20) -> Engine:
    return Engine(length_transcriber(model), {}, {}, max_waiting)


def last(partials: Iterator[Partial]) -> str:
    *_, final = partials
    assert final.transcript and final.transcript.text == final.text
    return final.text


def queued(partials: Iterator[Partial]) -> Iterator[Partial]:
    """Return the iterator after its request is queued."""
    assert next(partials).before is not None
    return partials


def test_text_is_streamed_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escoita.inference.requests.UPDATE_SECONDS", 0.0)
    gate = Gate()
    with engine(LengthModel(before_letter=gate)) as server:
        partials = server.stream(clip(800))
        texts = [next(partials).text]
        for _ in "800":
            gate.letters.release()
            while (text := next(partials).text) == texts[-1]:
                pass
            texts.append(text)
        gate.release()
        *_, final = partials
    assert texts == ["", "8", "80", "800"]
    assert final.transcript and final.transcript.text == "800" and final.transcript.audio_seconds == 0.05
    assert final.first_text_seconds and final.done_seconds == 0.05


def test_requests_that_arrive_during_a_batch_form_the_next_batch(gate: Gate, clients: ThreadPoolExecutor) -> None:
    model = LengthModel(before_letter=gate)
    with engine(model) as server:
        first = clients.submit(last, server.stream(clip(900)))
        gate.wait()
        lengths = [1000 + number for number in range(20)]
        lines = [queued(server.stream(clip(length))) for length in lengths]
        others = [clients.submit(last, line) for line in lines]
        gate.release()
        assert first.result(30) == "900"
        assert [other.result(30) for other in others] == [str(length) for length in lengths]
    assert [sorted(batch) for batch in model.batches] == [[900], lengths]


def test_recordings_of_different_lengths_are_not_batched(gate: Gate, clients: ThreadPoolExecutor) -> None:
    model = LengthModel(before_letter=gate)
    transcriber = length_transcriber(model)
    transcriber.family.max_audio_seconds = 30.0
    with Engine(transcriber, {}, {}) as server:
        first = clients.submit(last, server.stream(clip(900)))
        gate.wait()
        lines = [queued(server.stream(clip(length))) for length in (16_000, 400_000, 17_000)]
        others = [clients.submit(last, line) for line in lines]
        gate.release()
        assert [each.result(30) for each in (first, *others)] == ["900", "16000", "400000", "17000"]
    assert [sorted(batch) for batch in model.batches] == [[900], [16_000, 17_000], [400_000]]


def test_requests_over_the_limit_of_the_queue_are_refused(gate: Gate, clients: ThreadPoolExecutor) -> None:
    with engine(LengthModel(before_letter=gate), max_waiting=2) as server:
        first = clients.submit(last, server.stream(clip(800)))
        gate.wait()
        one, two = queued(server.stream(clip(810))), queued(server.stream(clip(820)))
        with pytest.raises(BusyError) as error:
            next(server.stream(clip(830)))
        assert error.value.waiting == 2
        one.close()  # type: ignore[attr-defined]
        three = queued(server.stream(clip(840)))
        others = [clients.submit(last, two), clients.submit(last, three)]
        gate.release()
        assert [each.result(30) for each in (first, *others)] == ["800", "820", "840"]


def test_positions_in_the_queue_are_reported(gate: Gate, clients: ThreadPoolExecutor) -> None:
    with engine(LengthModel(before_letter=gate)) as server:
        first = clients.submit(last, server.stream(clip(800)))
        gate.wait()
        lines = [server.stream(clip(length)) for length in (900, 1000, 1100)]
        assert [next(line).before for line in lines] == [0, 1, 2]
        gate.release()
        rest = [list(line) for line in lines]
        assert all(line[-1].before is None for line in rest)
        first.result(30)


def test_a_closed_request_is_removed_from_the_queue(gate: Gate, clients: ThreadPoolExecutor) -> None:
    model = LengthModel(before_letter=gate)
    with engine(model) as server:
        closing = server.stream(clip(12_345))
        next(closing)
        gate.wait()
        closed = queued(server.stream(clip(700)))
        remaining = clients.submit(last, queued(server.stream(clip(800))))
        for line in (closing, closed):
            line.close()  # type: ignore[attr-defined]
        gate.release()
        assert remaining.result(30) == "800"
    assert model.batches == [[12_345], [800]]


def test_a_recording_that_fails_does_not_affect_others(gate: Gate, clients: ThreadPoolExecutor) -> None:
    model = LengthModel(before_letter=gate)
    invalid = clip(900)
    invalid[0] = INVALID_SAMPLE
    with engine(model) as server:
        first = clients.submit(last, server.stream(clip(800)))
        gate.wait()
        lines = [queued(server.stream(samples)) for samples in (clip(810), invalid, clip(820))]
        others = [clients.submit(last, line) for line in lines]
        gate.release()
        assert first.result(30) == "800"
        assert isinstance(others[1].exception(30), EscoitaError)
        assert [others[0].result(30), others[2].result(30)] == ["810", "820"]
        assert last(server.stream(clip(830))) == "830"


def test_an_unexpected_error_is_raised_and_the_next_request_is_served() -> None:
    model = LengthModel()

    def defect() -> None:
        raise RuntimeError("a defect")

    model.before_letter = defect
    with engine(model) as server:
        with pytest.raises(RuntimeError):
            last(server.stream(clip(800)))
        model.before_letter = lambda: None
        assert last(server.stream(clip(800))) == "800"


def test_a_long_recording_has_the_transcript_of_the_transcriber() -> None:
    pause = np.zeros(3200, np.float32)
    samples = np.concatenate([tone(seconds=0.7), pause, tone(seconds=0.6), pause, tone(seconds=0.4)])
    (expected,) = length_transcriber().transcribe([samples])
    with engine(LengthModel()) as server:
        for stream in (server.stream, server.stream_alone):
            *_, final = stream(samples)
            assert final.transcript and len(expected.segments) > 1
            assert (final.transcript.text, final.transcript.segments) == (expected.text, expected.segments)
            assert final.transcript.tokens == expected.tokens and not final.transcript.truncated


def test_a_request_without_batching_has_its_own_thread() -> None:
    """This is used on ZeroGPU, where its process has no access to the queue."""
    with engine(LengthModel()) as server:
        assert last(server.stream_alone(clip(800))) == "800"
        assert server._thread is None
        closed = server.stream_alone(clip(900))
        next(closed)
        closed.close()  # type: ignore[attr-defined]
        assert last(server.stream_alone(clip(1000))) == "1000"


def test_waiting_and_running_requests_fail_when_the_engine_is_closed(gate: Gate, clients: ThreadPoolExecutor) -> None:
    model = LengthModel(before_letter=gate)
    server = engine(model)
    first = clients.submit(last, server.stream(clip(12_345)))
    gate.wait()
    waiting = clients.submit(last, queued(server.stream(clip(800))))
    closed: Future[None] = clients.submit(server.close)
    assert isinstance(waiting.exception(30), ClosedError)
    gate.release()
    assert isinstance(first.exception(30), ClosedError)
    closed.result(30)
    with pytest.raises(ClosedError):
        next(server.stream(clip(800)))
    assert "escoita-engine" not in {thread.name for thread in threading.enumerate()}
    server.close()


def test_invalid_requests_are_refused_before_they_are_queued(tmp_path: Path) -> None:
    with engine(LengthModel()) as server:
        for path in (write_clip(tmp_path / "silent.wav", tone(level=0)), tmp_path / "missing.wav"):
            with pytest.raises(AudioError) as error:
                next(server.stream(path))
            assert Path(str(error.value.path)).name == path.name
        invalid = (clip(1600).reshape(2, 800), clip(0), np.array([np.nan]), np.ones(800, np.int16), 0 * clip(800))
        for samples in invalid:
            with pytest.raises(AudioError) as error:
                next(server.stream(samples))
            assert error.value.path == "samples"
        with pytest.raises(EscoitaError) as refusal:
            next(server.stream(clip(800), "secret"))
        assert (refusal.value.key, refusal.value.value) == ("adapter", "secret")
        assert server._thread is None


def test_a_request_is_queued_before_its_recording_is_decoded(
    gate: Gate, clients: ThreadPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, decoding, decoded = write_clip(tmp_path / "clip.wav"), threading.Event(), threading.Event()

    def slow(source: Path, max_seconds: float) -> Recording:
        decoding.set()
        assert decoded.wait(30)
        return Recording(clip(800))

    monkeypatch.setattr("escoita.inference.serving.read_audible", slow)
    with engine(LengthModel(before_letter=gate), max_waiting=1) as server:
        first = clients.submit(last, server.stream(path))
        assert decoding.wait(30)
        monkeypatch.setattr(
            "escoita.inference.serving.read_audible", lambda *arguments: pytest.fail("the recording was decoded")
        )
        with pytest.raises(BusyError):
            next(server.stream(path))
        decoded.set()
        gate.release()
        assert first.result(30) == "800"
        monkeypatch.undo()
        with pytest.raises(AudioError):
            next(server.stream(tmp_path / "missing.wav"))
        assert last(server.stream(clip(900))) == "900"  # the failed request has left the queue


def test_a_recording_over_the_limit_is_refused(tmp_path: Path) -> None:
    with Engine(length_transcriber(LengthModel()), {}, {}, max_seconds=1.0) as server:
        assert last(server.stream(write_clip(tmp_path / "short.wav", tone(seconds=0.9)))) == "14400"
        with pytest.raises(AudioLimitError):
            next(server.stream(write_clip(tmp_path / "long.wav", tone(seconds=1.1))))


def test_the_limits_of_one_client(gate: Gate, clients: ThreadPoolExecutor) -> None:
    ours, other = Client("x", "a"), Client("x", "b")
    with engine(LengthModel(before_letter=gate)) as server:
        first = clients.submit(last, server.stream(clip(900), client=ours))
        gate.wait()
        long = queued(server.stream(clip(61 * 16_000), client=other))
        with pytest.raises(ShareError):
            next(server.stream(clip(800), client=other))
        long.close()  # type: ignore[attr-defined]
        lines = [queued(server.stream(clip(length), client=ours)) for length in (1000, 1100)]
        with pytest.raises(ShareError):
            next(server.stream(clip(1200), client=ours))
        others = [clients.submit(last, line) for line in (*lines, queued(server.stream(clip(1300), client=other)))]
        gate.release()
        assert [each.result(30) for each in (first, *others)] == ["900", "1000", "1100", "1300"]


def test_no_recording_is_kept_in_memory_between_requests() -> None:
    with engine(LengthModel()) as server:
        samples = clip(800)
        reference = weakref.ref(samples)
        assert last(server.stream(samples)) == "800"
        del samples
        deadline = time.monotonic() + 20
        while reference() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert reference() is None


def test_a_truncated_file_is_noted_in_the_transcript(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.wav")
    with engine(LengthModel()) as server:
        *_, final = server.stream(path)
        path.write_bytes(path.read_bytes()[:-6_400])
        *_, cut = server.stream(path)
    assert final.transcript and final.transcript.notes == () and final.text == "8000"
    assert cut.transcript and cut.transcript.notes == ("cut_off",) and cut.text == "4800"
