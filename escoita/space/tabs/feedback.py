"""Build the form in which a visitor corrects a transcript, and sends it with the recording."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from escoita.space.handlers import Transcribed, error_line, require_transcribed
from escoita.space.texts import translate, visitor_language
from escoita.utils.languages import direction


if TYPE_CHECKING:
    import gradio as gr

    from escoita.space.demo import Demo

# Consent is valid for one recording only.
RESET = '() => ["", false, ""]'
PREFILL = "(transcript) => transcript"


def feedback_box(
    demo: "Demo", label: Callable[..., Any], recording: "gr.Audio", transcript: "gr.Textbox", done: "gr.State"
) -> None:
    """
    Build the form if the recipe names a dataset of corrections.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo, whose `corrections` store the input.
        label (`Callable`): The function that returns a text by its key and the values of its placeholders.
        recording (`gr.Audio`): The recording.
        transcript (`gr.Textbox`): The transcript, which is the initial text of the correction.
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
        try:
            transcribed = require_transcribed(done, recording)
            corrections.keep(recording, text, consent)
            transcribed.corrected = True
        except Exception as error:
            return error_line(error, language), consent
        return translate("feedback.thanks", language), False

    with gr.Column(elem_id="feedback"):
        gr.Markdown(label("feedback.lead"))
        text = gr.Textbox(
            label=label("feedback.label"),
            placeholder=label("feedback.placeholder"),
            lines=2,
            rtl=direction(demo.language) == "rtl",
            elem_id="correction",
        )
        visibility = "feedback.private" if demo.settings.feedback_private else "feedback.public"
        consent = gr.Checkbox(
            value=False,
            label=label("feedback.consent", repo=demo.settings.feedback),
            info=label(visibility),
            elem_id="consent",
        )
        gr.Markdown(label("feedback.without"))
        button = gr.Button(label("feedback.button"), elem_id="send-correction")
        thanks = gr.HTML(html_template='<p role="status">${value}</p>', elem_id="thanks", elem_classes="status")
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    transcript.change(None, transcript, text, js=PREFILL, **private)
    recording.change(None, None, [text, consent, thanks], js=RESET, **private)
    consent.input(None, None, thanks, js='() => ""', **private)
    button.click(send, [recording, text, consent, done], [thanks, consent], **private)


CSS = """
#consent label { align-items: start; }
#consent input[type=checkbox] { flex: none; margin-top: .25em; border-color: var(--body-text-color-subdued); }
"""
