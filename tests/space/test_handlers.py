"""Test the transcription of recordings within limits, and the messages of errors."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from escoita.errors import AudioError, BusyError, EscoitaError, ShareError
from escoita.inference.fairness import Client
from escoita.inference.streaming import Partial
from escoita.recipe.schema import Space
from escoita.space.handlers import messages, transcribe_recording
from escoita.space.refusals import RecordingRefusal, Refusal, ShareRefusal
from escoita.space.texts import translate
from tests.space.pages import FakeEngine, demo_of
from tests.space.stub import CLIP, Stub


class Raising:
    """Raise an error instead of a transcript."""

    def __init__(self, error: Exception):
        self.error = error

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        prompt_adapter: str | None = None,
        client: Client | None = None,
    ) -> Iterator[Partial]:
        yield from ()
        raise self.error


def message(error: Exception, language: str = "en") -> str:
    """Return the message of an error on the page."""
    with pytest.raises(gr.Error) as caught, messages(language):
        raise error
    assert caught.value.print_exception is False
    return str(caught.value.message)


def test_partial_results_are_streamed() -> None:
    partials = list(transcribe_recording(demo_of(ready=lambda: Stub("salom dunyo")), str(CLIP), "uzbek"))
    assert [partial.text for partial in partials] == ["salom", "salom dunyo"]
    assert partials[-1].transcript is not None


def test_closing_the_iterator_releases_the_place() -> None:
    engine = FakeEngine({"uzbek": "bir ikki uch tort"})
    partials = transcribe_recording(demo_of(ready=lambda: engine), str(CLIP), "uzbek")
    next(partials)
    assert engine.closed == 0
    partials.close()
    assert engine.closed == 1


def test_a_slow_request_is_stopped_and_its_place_released() -> None:
    engine = FakeEngine({"uzbek": "bir ikki uch tort"})
    demo = demo_of(ready=lambda: engine, settings=Space(max_seconds=30))
    with pytest.raises(Refusal) as caught:
        list(transcribe_recording(demo, str(CLIP), "uzbek", seconds=-1))
    assert (caught.value.text_key, caught.value.values) == ("time", {"time": 30})
    assert engine.closed == 1


def test_a_finished_transcript_is_never_too_late() -> None:
    partials = transcribe_recording(demo_of(ready=lambda: Stub()), str(CLIP), "uzbek", seconds=-1)
    assert list(partials)[-1].text == "salom"


@pytest.mark.parametrize(("error", "size"), [(BusyError("busy"), 7), (BusyError("busy", waiting=20), 20)])
def test_a_full_queue_is_refused_with_its_length(error: BusyError, size: int) -> None:
    demo = demo_of(ready=lambda: Raising(error), settings=Space(max_queue=7))
    with pytest.raises(Refusal) as caught:
        list(transcribe_recording(demo, str(CLIP), None))
    assert (caught.value.text_key, caught.value.values) == ("queue_full", {"size": size})


def test_a_client_with_waiting_requests_is_refused() -> None:
    with pytest.raises(ShareRefusal) as caught:
        list(transcribe_recording(demo_of(ready=lambda: Raising(ShareError("busy"))), str(CLIP), None))
    assert caught.value.text_key == "share"


def test_errors_of_a_recording_do_not_contain_its_folder() -> None:
    demo = demo_of(ready=lambda: Raising(AudioError("unknown", path="/srv/uploads/clip.ogg")))
    with pytest.raises(AudioError) as caught:
        list(transcribe_recording(demo, str(CLIP), None))
    assert (caught.value.path, caught.value.problem) == ("clip.ogg", "unknown")


def test_limits_are_checked_before_the_model_is_loaded() -> None:
    def never() -> Stub:
        pytest.fail("waited for the model")

    demo = replace(demo_of(), ready=never)
    for recording, key in ((None, "no_recording"), ("missing.wav", "deleted")):
        with pytest.raises(Refusal) as caught:
            list(transcribe_recording(demo, recording, None))
        assert (caught.value.text_key, caught.value.path) == (key, recording)


def test_messages_are_escaped_and_in_the_language_of_the_visitor() -> None:
    error = RecordingRefusal("empty", path="<img src=x>.wav")
    for language in ("en", "gl"):
        assert message(error, language) == f"&lt;img src=x&gt;.wav: {translate('refusal.empty', language)}"
    assert message(EscoitaError("<b>")) == "&lt;b&gt;"


def test_an_internal_error_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    assert message(RuntimeError("/srv/secret"), "uz") == translate("refusal.internal", "uz")
    assert "/srv/secret" in caplog.text


def test_an_error_of_gradio_is_not_changed() -> None:
    error = gr.Error("unchanged")
    with pytest.raises(gr.Error) as caught, messages("gl"):
        raise error
    assert caught.value is error
