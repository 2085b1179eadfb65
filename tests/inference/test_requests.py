import pytest

from escoita.errors import EscoitaError
from escoita.inference.requests import RequestSegment, TranscriptionRequest, transcribe_batch
from escoita.inference.streaming import Event, Queued, SegmentFinished, TokensGenerated
from tests.talker import END, TalkerModel, clip, talker


ENDS = {END}


def never() -> bool:
    return False


def asked(model: TalkerModel, *lengths: int) -> list[TranscriptionRequest]:
    transcriber = talker(model)
    return [TranscriptionRequest(transcriber, clip(length), (None, None)) for length in lengths]


def parts_of(requests: list[TranscriptionRequest]) -> list[RequestSegment]:
    return [segment for request in requests for segment in request.segments()]


def told(request: TranscriptionRequest) -> list[Event]:
    return [request.events.get() for _ in range(request.events.qsize())]


def test_each_visitor_is_told_what_is_heard_in_her_recording() -> None:
    first, second = requests = asked(TalkerModel(), 4000, 12_000)
    transcribe_batch(parts_of(requests), ENDS, never)
    *_, last = first.partials()
    assert last.transcript and last.text == last.transcript.text == "4000"
    assert last.transcript.tokens == 4 and last.transcript.compute_seconds > 0
    assert [partial.text for partial in second.partials()] == ["12000"]  # what is past is not shown one by one


def test_who_is_done_does_not_wait_for_the_others() -> None:
    """The longer text has a letter more; before it is said, the shorter one has ended."""
    model = TalkerModel()
    short, long = requests = asked(model, 800, 12_000)
    ended = []
    model.before_letter = lambda: ended.append((0 in short.ended, 0 in long.ended))
    transcribe_batch(parts_of(requests), ENDS, never)
    assert ended == [(False, False)] * 4 + [(True, False)] * 2


def test_nothing_more_is_written_for_who_left() -> None:
    model = TalkerModel()
    (request,) = asked(model, 12_000)
    letters: list[int] = []

    def letter() -> None:
        letters.append(1)
        if len(letters) == 3:
            request.close()

    model.before_letter = letter
    transcribe_batch(parts_of([request]), ENDS, never)
    assert len(letters) == 3


def test_a_batch_that_does_not_fit_is_begun_anew_in_halves() -> None:
    model = TalkerModel(most=1)
    first, second = requests = asked(model, 4000, 12_000)
    transcribe_batch(parts_of(requests), ENDS, never)
    assert [list(request.partials())[-1].text for request in requests] == ["4000", "12000"]
    assert [len(batch) for batch in model.batches] == [2, 1, 1]


def test_tokens_are_told_less_often_where_many_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each visitor who is told wakes a thread; the first and the last word come at once all the same."""
    monkeypatch.setattr("escoita.inference.requests.time.perf_counter", lambda: 0.001)
    (request,) = asked(TalkerModel(), 12_000)
    transcribe_batch(parts_of([request]), ENDS, never)
    assert told(request) == [Queued(None), TokensGenerated(0, (ord("1"),)), SegmentFinished(0, "12000", 5, 0.0)]


def test_work_that_is_stopped_tells_nothing_more() -> None:
    model = TalkerModel()
    (request,) = asked(model, 12_000)
    letters: list[int] = []
    model.before_letter = lambda: letters.append(1)
    with pytest.raises(InterruptedError):
        transcribe_batch(parts_of([request]), ENDS, lambda: len(letters) == 3)
    assert not any(isinstance(event, SegmentFinished) for event in told(request))


def test_a_failure_reaches_the_visitor() -> None:
    (request,) = asked(TalkerModel(), 800)
    request.fail(EscoitaError("out of memory"))
    with pytest.raises(EscoitaError, match="out of memory"):
        next(request.partials())
    assert request.closed
