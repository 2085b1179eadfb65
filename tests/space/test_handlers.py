"""From a file to text that grows, within limits; what goes wrong is a message."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from escoita.errors import AudioError, BusyError, EscoitaError
from escoita.inference.fairness import Client
from escoita.inference.streaming import Partial
from escoita.recipe.schema import Space
from escoita.space.handlers import listen, messages
from tests.space.stub import CLIP, Stub
from tests.space.pages import ValidationSet, about_what


class Raising:
    """Raises what it is given."""

    def __init__(self, error: Exception):
        self.error = error

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        beside: str | None = None,
        client: Client | None = None,
    ) -> Iterator[Partial]:
        yield from ()
        raise self.error


def shown(error: Exception, language: str = "en") -> str:
    with pytest.raises(gr.Error) as caught, messages(language):
        raise error
    assert caught.value.print_exception is False
    return str(caught.value.message)


def test_text_grows_and_the_last_is_whole() -> None:
    known = list(listen(about_what(ready=lambda: Stub("salom dunyo")), str(CLIP), "uzbek"))
    assert [each.text for each in known] == ["salom", "salom dunyo"]
    assert known[-1].transcript is not None


def test_who_leaves_gives_the_place_free() -> None:
    listening = ValidationSet({"uzbek": "bir ikki uch tort"})
    partials = listen(about_what(ready=lambda: listening), str(CLIP), "uzbek")
    next(partials)
    assert listening.closed == 0
    partials.close()  # type: ignore[attr-defined]
    assert listening.closed == 1


def test_a_request_that_takes_too_long_is_ended_and_its_place_free() -> None:
    listening = ValidationSet({"uzbek": "bir ikki uch tort"})
    demo = about_what(ready=lambda: listening, settings=Space(max_seconds=30))
    with pytest.raises(EscoitaError, match=r"^This took longer than the 30 seconds that one request may take"):
        list(listen(demo, str(CLIP), "uzbek", seconds=-1))
    assert listening.closed == 1


def test_what_is_whole_already_is_never_too_late() -> None:
    assert list(listen(about_what(ready=lambda: Stub()), str(CLIP), "uzbek", seconds=-1))[-1].text == "salom"


def test_a_full_queue_is_told_with_its_length() -> None:
    demo = about_what(ready=lambda: Raising(BusyError("20 others")), settings=Space(max_queue=7))
    with pytest.raises(EscoitaError, match=r"^7 visitors are waiting already; try again in a while\.$"):
        list(listen(demo, str(CLIP), None))


def test_a_file_is_named_without_its_folder() -> None:
    demo = about_what(ready=lambda: Raising(AudioError("nothing can be heard in it", path="/srv/uploads/clip.ogg")))
    with pytest.raises(AudioError, match=r"^clip\.ogg: nothing can be heard in it$"):
        list(listen(demo, str(CLIP), None))


def test_the_limits_come_before_the_model() -> None:
    def never() -> Stub:
        pytest.fail("the model was waited for")

    demo = replace(about_what(), ready=never)
    with pytest.raises(EscoitaError, match="^Nothing to transcribe yet"):
        list(listen(demo, None, None))
    with pytest.raises(AudioError, match=r"^gone\.wav: deleted here meanwhile"):
        list(listen(demo, "gone.wav", None))


def test_messages_are_escaped_and_in_the_language_of_the_visitor() -> None:
    assert shown(AudioError("the file is empty", path="<img src=x>.wav")) == "&lt;img src=x&gt;.wav: the file is empty"
    assert shown(AudioError("the file is empty", path="a.wav"), "gl") != "a.wav: the file is empty"


def test_a_defect_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    assert shown(RuntimeError("/srv/secret")) == "Something went wrong on our side; try again."
    assert "/srv/secret" in caplog.text


def test_a_message_of_the_page_stays_as_it_is() -> None:
    error = gr.Error("as it is")
    with pytest.raises(gr.Error) as caught, messages("gl"):
        raise error
    assert caught.value is error
