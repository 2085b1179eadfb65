"""The box in which a visitor corrects a transcript, and sends it with the recording if it may be kept."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from escoita.space.handlers import Transcribed, messages, require_transcribed
from escoita.space.texts import say as said
from escoita.space.texts import visitor_language


if TYPE_CHECKING:
    import gradio as gr

    from escoita.space.demo import Demo

# Consent is given for one recording, never for the next one.
FORGET = '() => ["", false, ""]'
# On a phone a message lies over the button, and what it asks for is done.
HEED = """() => document.querySelectorAll('[data-testid="toast-close"]').forEach((close) => close.click())"""
PREFILL = "(heard) => heard"


def feedback_box(
    demo: "Demo", say: Callable[..., Any], recording: "gr.Audio", transcript: "gr.Textbox", done: "gr.State"
) -> None:
    """
    Lays out the box, where the recipe names a dataset; else nothing.

    Args:
        demo ([`~escoita.space.demo.Demo`]): Its `corrections` take what is sent.
        say (`Callable`): Text of a label, by its key and the values of its placeholders.
        recording (`gr.Audio`): What was heard.
        transcript (`gr.Textbox`): What the model heard in it; the box begins with it.
        done (`gr.State`): The [`~escoita.space.handlers.Transcribed`] of this session.
    """
    import gradio as gr

    corrections = demo.corrections
    if corrections is None:
        return

    def send(
        recording: str | None, text: str, consent: bool, done: Transcribed | None, request: gr.Request
    ) -> tuple[str, bool]:
        language = visitor_language(request, demo.settings.languages)
        with messages(language):
            transcribed = require_transcribed(done, recording)
            corrections.keep(recording, text, consent)
            transcribed.corrected = True
        return said("feedback.thanks", language), False

    with gr.Column(elem_id="feedback"):
        gr.Markdown(say("feedback.lead"))
        text = gr.Textbox(
            label=say("feedback.label"), placeholder=say("feedback.placeholder"), lines=2, elem_id="correction"
        )
        who = "feedback.private" if demo.settings.feedback_private else "feedback.public"
        consent = gr.Checkbox(
            value=False,
            label=say("feedback.consent", repo=demo.settings.feedback),
            info=say(who),
            elem_id="consent",
        )
        gr.Markdown(say("feedback.without"))
        button = gr.Button(say("feedback.button"), elem_id="send-correction")
        thanks = gr.HTML(html_template='<p role="status">${value}</p>', elem_id="thanks", elem_classes="status")
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    transcript.change(None, transcript, text, js=PREFILL, **private)
    recording.change(None, None, [text, consent, thanks], js=FORGET, **private)
    consent.input(None, None, None, js=HEED, **private)
    button.click(send, [recording, text, consent, done], [thanks, consent], **private)


CSS = """
#consent label { align-items: start; }
#consent input[type=checkbox] { flex: none; margin-top: .25em; border-color: var(--body-text-color-subdued); }
"""
