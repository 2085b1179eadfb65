import pytest

from escoita.inference.requests import RequestSegment, TranscriptionRequest, transcribe_batch
from escoita.inference.serving import ClosedError
from escoita.inference.streaming import Event, Queued, SegmentFinished, TokensGenerated
from tests.length_model import END, LengthModel, clip, length_transcriber


ENDS = {END}


def never() -> bool:
    return False


def requests_of(model: LengthModel, *lengths: int) -> list[TranscriptionRequest]:
    transcriber = length_transcriber(model)
    return [TranscriptionRequest(transcriber, clip(length), (None, None)) for length in lengths]


def segments_of(requests: list[TranscriptionRequest]) -> list[RequestSegment]:
    return [segment for request in requests for segment in request.segments()]


def events_of(request: TranscriptionRequest) -> list[Event]:
    return [request.events.get() for _ in range(request.events.qsize())]


def test_each_request_gets_its_own_transcript() -> None:
    first, second = requests = requests_of(LengthModel(), 4000, 12_000)
    transcribe_batch(segments_of(requests), ENDS, never)
    *_, last = first.partials()
    assert last.transcript and last.text == last.transcript.text == "4000"
    assert last.transcript.tokens == 4 and last.transcript.compute_seconds > 0
    assert [partial.text for partial in second.partials()] == ["12000"]  # earlier states are skipped


def test_a_finished_request_does_not_wait_for_the_others() -> None:
    """The longer text has one more letter; before it is generated, the shorter one has ended."""
    model = LengthModel()
    short, long = requests = requests_of(model, 800, 12_000)
    ended = []
    model.before_letter = lambda: ended.append((0 in short.ended, 0 in long.ended))
    transcribe_batch(segments_of(requests), ENDS, never)
    assert ended == [(False, False)] * 4 + [(True, False)] * 2


def test_generation_ends_when_the_request_is_closed() -> None:
    model = LengthModel()
    (request,) = requests_of(model, 12_000)
    letters: list[int] = []

    def letter() -> None:
        letters.append(1)
        if len(letters) == 3:
            request.close()

    model.before_letter = letter
    transcribe_batch(segments_of([request]), ENDS, never)
    assert len(letters) == 3


def test_a_batch_that_runs_out_of_memory_is_split() -> None:
    model = LengthModel(most=1)
    first, second = requests = requests_of(model, 4000, 12_000)
    transcribe_batch(segments_of(requests), ENDS, never)
    assert [list(request.partials())[-1].text for request in requests] == ["4000", "12000"]
    assert [len(batch) for batch in model.batches] == [2, 1, 1]


def test_updates_of_text_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each update wakes a thread; the first and the last text are sent immediately."""
    monkeypatch.setattr("escoita.inference.requests.time.perf_counter", lambda: 0.001)
    (request,) = requests_of(LengthModel(), 12_000)
    transcribe_batch(segments_of([request]), ENDS, never)
    assert events_of(request) == [Queued(None), TokensGenerated(0, (ord("1"),)), SegmentFinished(0, "12000", 5, 0.0)]


def test_a_stopped_batch_sends_no_more_events() -> None:
    model = LengthModel()
    (request,) = requests_of(model, 12_000)
    letters: list[int] = []
    model.before_letter = lambda: letters.append(1)
    with pytest.raises(InterruptedError):
        transcribe_batch(segments_of([request]), ENDS, lambda: len(letters) == 3)
    assert not any(isinstance(event, SegmentFinished) for event in events_of(request))


def test_an_error_is_raised_by_the_iterator() -> None:
    (request,) = requests_of(LengthModel(), 800)
    request.fail(ClosedError())
    with pytest.raises(ClosedError):
        next(request.partials())
    assert request.closed
