"""How the page looks: quiet colours, the fonts of the visitor's system, nothing fetched from elsewhere."""

import html
from pathlib import PurePath
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from gradio.themes import Base

    from escoita.transcript import Transcript


# Gradio quotes the fonts of a theme, and a quoted system-ui is no keyword; so the variable is set here. Messages come
# up at the foot, where they cover nothing, and say what is wrong better than the word Error over the transcript.
CSS = """
.gradio-container { --font: system-ui, sans-serif; --font-mono: ui-monospace, monospace; }
.gradio-container main { max-width: 46rem !important; margin-inline: auto !important; }
.gradio-container .toast-wrap { top: auto; bottom: 1rem; }
#heading, #status { overflow-wrap: anywhere; }
#heading .html-container, #status .html-container { padding: 0; }
#status { margin-top: -.5rem; }
#heading h1 { font-size: 1.6rem; line-height: 1.25; font-weight: 650; margin: 0 0 .4rem; }
#heading p { margin: 0; color: var(--body-text-color); }
#heading p.models { margin-top: .3rem; font-size: .9rem; color: var(--body-text-color-subdued); }
#recording [data-testid="source-select"] { gap: 1.5rem; height: auto; padding: .4rem; }
#recording [data-testid="source-select"] button {
    display: flex; align-items: center; gap: .4rem; width: auto; height: 2rem; color: var(--body-text-color-subdued);
}
#recording [data-testid="source-select"] button::after { content: attr(aria-label); font-size: .9rem; }
#recording [data-testid="source-select"] button.selected { color: var(--body-text-color); font-weight: 600; }
#recording [data-testid="source-select"] svg { width: 1.1rem; height: 1.1rem; }
#transcript [data-testid="status-tracker"]:has(> .error) { display: none; }
#status p { margin: 0; min-height: 1.5em; font-size: .9rem; color: var(--body-text-color-subdued); }
"""
# A message belongs to the recording before.
FORGET = """() => {
    document.querySelectorAll('[data-testid="toast-close"]').forEach((close) => close.click());
    return ["", ""];
}"""


def theme() -> "Base":
    """A theme that asks no font server."""
    from gradio.themes import Default
    from gradio.themes.utils.fonts import Font

    quiet = Default(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        text_size="lg",
        font=Font("sans-serif"),
        font_mono=Font("monospace"),
    )
    return quiet.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )


def heading(title: str, limits: str, base: str, adapter: str | None) -> str:
    """HTML of the head of the page: the title, what the page is for, and which models listen."""
    models = f"Base model: {short_name(base)}"
    if adapter is not None:
        models += f". Adapter: {short_name(adapter)}"
    return (
        f"<h1>{html.escape(title)}</h1>"
        f"<p>Record a clip or choose a file, up to {limits}, and read what the model hears in it.</p>"
        f'<p class="models">{html.escape(models)}</p>'
    )


def short_name(source: str) -> str:
    """`user/name` of a repository, the last two parts of a folder: where it lies is nobody's business."""
    return "/".join(PurePath(source).parts[-2:])


def status_line(transcript: "Transcript") -> str:
    """The line under a transcript."""
    times = f"{transcript.audio_seconds:.1f} s of audio, transcribed in {transcript.compute_seconds:.1f} s"
    return times if transcript.text else f"{times}: no words"
