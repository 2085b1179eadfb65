"""Visitors of the engine: on a model that can be held between two letters, so that nothing hangs on the clock."""

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
from escoita.inference.serving import Engine
from escoita.inference.streaming import Partial
from tests.samples import tone, write_clip
from tests.talker import POISON, Gate, TalkerModel, clip, talker


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.release()


@pytest.fixture
def people() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as people:
        yield people


def engine(model: TalkerModel, most_waiting: int = 20) -> Engine:
    return Engine(talker(model), {}, {}, most_waiting)


def last(partials: Iterator[Partial]) -> str:
    *_, whole = partials
    assert whole.transcript and whole.transcript.text == whole.text
    return whole.text


def in_line(partials: Iterator[Partial]) -> Iterator[Partial]:
    """The same, after it is known to wait."""
    assert next(partials).before is not None
    return partials


def test_text_comes_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escoita.inference.requests.UPDATE_SECONDS", 0.0)
    gate = Gate()
    with engine(TalkerModel(before_letter=gate)) as heard:
        partials = heard.stream(clip(800))
        texts = [next(partials).text]
        for _ in "800":
            gate.letters.release()
            while (text := next(partials).text) == texts[-1]:
                pass
            texts.append(text)
        gate.release()
        *_, whole = partials
    assert texts == ["", "8", "80", "800"]
    assert whole.transcript and whole.transcript.text == "800" and whole.transcript.audio_seconds == 0.05
    assert whole.first_text_seconds and whole.done_seconds == 0.05


def test_who_comes_while_a_batch_is_heard_is_heard_in_the_next_with_all_others(
    gate: Gate, people: ThreadPoolExecutor
) -> None:
    model = TalkerModel(before_letter=gate)
    with engine(model) as heard:
        first = people.submit(last, heard.stream(clip(900)))
        gate.wait()
        lengths = [1000 + number for number in range(20)]
        lines = [in_line(heard.stream(clip(length))) for length in lengths]
        others = [people.submit(last, line) for line in lines]
        gate.release()
        assert first.result(30) == "900"
        assert [other.result(30) for other in others] == [str(length) for length in lengths]
    assert [sorted(batch) for batch in model.batches] == [[900], lengths]


def test_what_is_not_of_like_length_waits_for_its_turn(gate: Gate, people: ThreadPoolExecutor) -> None:
    model = TalkerModel(before_letter=gate)
    transcriber = talker(model)
    transcriber.family.max_audio_seconds = 30.0
    with Engine(transcriber, {}, {}) as heard:
        first = people.submit(last, heard.stream(clip(900)))
        gate.wait()
        lines = [in_line(heard.stream(clip(length))) for length in (16_000, 400_000, 17_000)]
        others = [people.submit(last, line) for line in lines]
        gate.release()
        assert [each.result(30) for each in (first, *others)] == ["900", "16000", "400000", "17000"]
    assert [sorted(batch) for batch in model.batches] == [[900], [16_000, 17_000], [400_000]]


def test_too_many_are_told_to_come_back(gate: Gate, people: ThreadPoolExecutor) -> None:
    with engine(TalkerModel(before_letter=gate), most_waiting=2) as heard:
        first = people.submit(last, heard.stream(clip(800)))
        gate.wait()
        one, two = in_line(heard.stream(clip(810))), in_line(heard.stream(clip(820)))
        with pytest.raises(BusyError, match="^2 others are waiting already; try again in a minute$"):
            next(heard.stream(clip(830)))
        one.close()  # type: ignore[attr-defined]
        three = in_line(heard.stream(clip(840)))
        others = [people.submit(last, two), people.submit(last, three)]
        gate.release()
        assert [each.result(30) for each in (first, *others)] == ["800", "820", "840"]


def test_places_in_the_line_are_told(gate: Gate, people: ThreadPoolExecutor) -> None:
    with engine(TalkerModel(before_letter=gate)) as heard:
        first = people.submit(last, heard.stream(clip(800)))
        gate.wait()
        lines = [heard.stream(clip(length)) for length in (900, 1000, 1100)]
        assert [next(line).before for line in lines] == [0, 1, 2]
        gate.release()
        rest = [list(line) for line in lines]
        assert all(line[-1].before is None for line in rest)
        first.result(30)


def test_who_leaves_gives_the_place_free(gate: Gate, people: ThreadPoolExecutor) -> None:
    model = TalkerModel(before_letter=gate)
    with engine(model) as heard:
        leaving = heard.stream(clip(12_345))
        next(leaving)
        gate.wait()
        gone = in_line(heard.stream(clip(700)))
        stays = people.submit(last, in_line(heard.stream(clip(800))))
        for line in (leaving, gone):
            line.close()  # type: ignore[attr-defined]
        gate.release()
        assert stays.result(30) == "800"
    assert model.batches == [[12_345], [800]]


def test_a_recording_that_fails_hurts_no_other(gate: Gate, people: ThreadPoolExecutor) -> None:
    model = TalkerModel(before_letter=gate)
    spoilt = clip(900)
    spoilt[0] = POISON
    with engine(model) as heard:
        first = people.submit(last, heard.stream(clip(800)))
        gate.wait()
        lines = [in_line(heard.stream(samples)) for samples in (clip(810), spoilt, clip(820))]
        others = [people.submit(last, line) for line in lines]
        gate.release()
        assert first.result(30) == "800"
        assert isinstance(others[1].exception(30), EscoitaError)
        assert [others[0].result(30), others[2].result(30)] == ["810", "820"]
        assert last(heard.stream(clip(830))) == "830"


def test_our_own_defects_reach_the_visitor_and_the_next_one_is_heard() -> None:
    model = TalkerModel()

    def defect() -> None:
        raise RuntimeError("a defect")

    model.before_letter = defect
    with engine(model) as heard:
        with pytest.raises(RuntimeError, match="a defect"):
            last(heard.stream(clip(800)))
        model.before_letter = lambda: None
        assert last(heard.stream(clip(800))) == "800"


def test_a_long_recording_is_heard_as_the_transcriber_hears_it() -> None:
    pause = np.zeros(3200, np.float32)
    generation_settings = np.concatenate([tone(seconds=0.7), pause, tone(seconds=0.6), pause, tone(seconds=0.4)])
    (expected,) = talker().transcribe([generation_settings])
    with engine(TalkerModel()) as heard:
        for stream in (heard.stream, heard.stream_alone):
            *_, whole = stream(generation_settings)
            assert whole.transcript and len(expected.segments) > 1
            assert (whole.transcript.text, whole.transcript.segments) == (expected.text, expected.segments)
            assert whole.transcript.tokens == expected.tokens and not whole.transcript.truncated


def test_alone_means_on_no_common_thread() -> None:
    """As on ZeroGPU; there its process has nothing of the others."""
    with engine(TalkerModel()) as heard:
        assert last(heard.stream_alone(clip(800))) == "800"
        assert heard._thread is None
        left = heard.stream_alone(clip(900))
        next(left)
        left.close()  # type: ignore[attr-defined]
        assert last(heard.stream_alone(clip(1000))) == "1000"


def test_closing_tells_who_waits_and_who_is_heard(gate: Gate, people: ThreadPoolExecutor) -> None:
    model = TalkerModel(before_letter=gate)
    heard = engine(model)
    first = people.submit(last, heard.stream(clip(12_345)))
    gate.wait()
    waits = people.submit(last, in_line(heard.stream(clip(800))))
    closed: Future[None] = people.submit(heard.close)
    assert isinstance(waits.exception(30), EscoitaError)
    gate.release()
    assert str(first.exception(30)) == "the page is being closed; come back later"
    closed.result(30)
    with pytest.raises(EscoitaError, match="closed"):
        next(heard.stream(clip(800)))
    assert "escoita-engine" not in {thread.name for thread in threading.enumerate()}
    heard.close()


def test_what_cannot_be_heard_is_refused_before_it_waits(tmp_path: Path) -> None:
    with engine(TalkerModel()) as heard:
        with pytest.raises(AudioError, match="clip.wav: nothing can be heard in it"):
            next(heard.stream(write_clip(tmp_path / "clip.wav", tone(level=0))))
        with pytest.raises(AudioError, match="gone.wav: no such file"):
            next(heard.stream(tmp_path / "gone.wav"))
        spoilt = (clip(1600).reshape(2, 800), clip(0), np.array([np.nan]), np.ones(800, np.int16), 0 * clip(800))
        for samples in spoilt:
            with pytest.raises(AudioError, match="^samples: "):
                next(heard.stream(samples))
        with pytest.raises(EscoitaError, match="^adapter secret: is not offered here"):
            next(heard.stream(clip(800), "secret"))
        assert heard._thread is None


def test_a_request_takes_its_place_before_its_recording_is_decoded(
    gate: Gate, people: ThreadPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, decoding, decoded = write_clip(tmp_path / "clip.wav"), threading.Event(), threading.Event()

    def slow(source: Path, max_seconds: float) -> Recording:
        decoding.set()
        assert decoded.wait(30)
        return Recording(clip(800))

    monkeypatch.setattr("escoita.inference.serving.read_audible", slow)
    with engine(TalkerModel(before_letter=gate), most_waiting=1) as heard:
        first = people.submit(last, heard.stream(path))
        assert decoding.wait(30)
        monkeypatch.setattr("escoita.inference.serving.read_audible", lambda *arguments: pytest.fail("decoded"))
        with pytest.raises(BusyError):
            next(heard.stream(path))
        decoded.set()
        gate.release()
        assert first.result(30) == "800"
        monkeypatch.undo()
        with pytest.raises(AudioError):
            next(heard.stream(tmp_path / "gone.wav"))
        assert last(heard.stream(clip(900))) == "900"  # the place of what could not be decoded is free


def test_a_recording_over_the_limit_is_refused(tmp_path: Path) -> None:
    with Engine(talker(TalkerModel()), {}, {}, max_seconds=1.0) as heard:
        assert last(heard.stream(write_clip(tmp_path / "short.wav", tone(seconds=0.9)))) == "14400"
        with pytest.raises(AudioLimitError):
            next(heard.stream(write_clip(tmp_path / "long.wav", tone(seconds=1.1))))


def test_two_requests_of_one_client_wait_and_sixty_seconds(gate: Gate, people: ThreadPoolExecutor) -> None:
    ours, other = Client("x", "a"), Client("x", "b")
    with engine(TalkerModel(before_letter=gate)) as heard:
        first = people.submit(last, heard.stream(clip(900), client=ours))
        gate.wait()
        long = in_line(heard.stream(clip(61 * 16_000), client=other))
        with pytest.raises(ShareError):
            next(heard.stream(clip(800), client=other))
        long.close()  # type: ignore[attr-defined]
        lines = [in_line(heard.stream(clip(length), client=ours)) for length in (1000, 1100)]
        with pytest.raises(ShareError):
            next(heard.stream(clip(1200), client=ours))
        others = [people.submit(last, line) for line in (*lines, in_line(heard.stream(clip(1300), client=other)))]
        gate.release()
        assert [each.result(30) for each in (first, *others)] == ["900", "1000", "1100", "1300"]


def test_no_recording_is_kept_when_nobody_asks() -> None:
    with engine(TalkerModel()) as heard:
        samples = clip(800)
        held = weakref.ref(samples)
        assert last(heard.stream(samples)) == "800"
        del samples
        deadline = time.monotonic() + 20
        while held() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert held() is None


def test_the_transcript_of_a_file_that_is_cut_off_has_a_note(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.wav")
    with engine(TalkerModel()) as heard:
        *_, whole = heard.stream(path)
        path.write_bytes(path.read_bytes()[:-6_400])
        *_, cut = heard.stream(path)
    assert whole.transcript and whole.transcript.notes == () and whole.text == "8000"
    assert cut.transcript and cut.transcript.notes == ("cut_off",) and cut.text == "4800"
