"""How the page looks: quiet colours, the fonts of the visitor's system, nothing fetched from elsewhere."""

import html
import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from escoita.hub.files import split_revision
from escoita.space.texts import say


if TYPE_CHECKING:
    from gradio.themes import Base

# Gradio quotes the fonts of a theme, and a quoted system-ui is no keyword; so the variable is set here. Messages come
# up at the foot, where they cover nothing, and say what is wrong better than the word Error over the transcript.
CSS = """
.gradio-container { --font: system-ui, sans-serif; --font-mono: ui-monospace, monospace; }
.gradio-container main { width: 100%; max-width: 46rem !important; margin-inline: auto !important; }
.gradio-container .toast-wrap { top: auto; bottom: 1rem; }
#heading, #lead, .status { overflow-wrap: anywhere; }
#heading .html-container, #lead .html-container, #waveform .html-container, #segments .html-container,
#comparison .html-container, #about .html-container, .status .html-container { padding: 0; }
#heading h1 { font-size: 1.6rem; line-height: 1.25; font-weight: 650; margin: 0; }
#lead p { margin: 0; color: var(--body-text-color); }
#lead p.models { margin-top: .3rem; font-size: .9rem; color: var(--body-text-color-subdued); }
.recording [data-testid="source-select"] { gap: 1.5rem; height: auto; padding: .4rem; }
.recording [data-testid="source-select"] button {
    display: flex; align-items: center; gap: .4rem; width: auto; height: 2rem; color: var(--body-text-color-subdued);
}
.recording [data-testid="source-select"] button::after { font-size: .9rem; }
.recording [data-testid="source-select"] button.selected { color: var(--body-text-color); font-weight: 600; }
.gradio-container [role="tab"][aria-selected="true"] { color: var(--link-text-color); }
.recording .timestamps *, .recording .controls button { color: var(--body-text-color-subdued) !important; }
.recording [data-testid="source-select"] svg { width: 1.1rem; height: 1.1rem; }
#notice:not(:has(p:not(:empty))) { display: none; }
.status p { margin: 0; min-height: 1.5em; font-size: .9rem; color: var(--body-text-color-subdued); }
"""


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
        link_text_color="*primary_700",
        link_text_color_hover="*primary_800",
        link_text_color_visited="*primary_700",
        link_text_color_dark="*primary_300",
        link_text_color_hover_dark="*primary_200",
        link_text_color_visited_dark="*primary_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )


def heading(title: str) -> str:
    """HTML of the head of the page, the same for all visitors."""
    return f"<h1>{html.escape(title)}</h1>"


def lead(
    limits: str, life: str, base: str, adapters: Sequence[str], language: str = "en", other_base: bool = False
) -> str:
    """
    HTML of what the page is for, and which models listen.

    Args:
        limits (`str`): What a recording may measure, in words.
        life (`str`): Until when recordings are deleted, in words.
        base (`str`): A folder, or a repository of the Hub.
        adapters (`Sequence[str]`): The same of each adapter.
        language (`str`, *optional*, defaults to `"en"`): Of the page.
        other_base (`bool`, *optional*, defaults to `False`): The adapters were trained on another base.
    """
    other = f"<p><strong>{html.escape(say('page.other_base', language))}</strong></p>" if other_base else ""
    models = [say("page.base", language, base=short_name(base))]
    models += [say("page.adapter", language, adapter=short_name(adapter)) for adapter in adapters]
    return (
        f"<style>{sources(language)}</style>"
        f"<p>{html.escape(say('page.lead', language, limits=limits))}</p>"
        f'<p class="models">{html.escape(". ".join(models))}</p>{other}'
        f'<p class="models">{html.escape(say("page.privacy", language, time=life))}</p>'
    )


def sources(language: str) -> str:
    """CSS that names where a recording comes from: Gradio's own names for it are English in most languages."""
    rules = []
    for place, key in enumerate(("recording.upload", "recording.microphone"), start=1):
        button = f'.recording [data-testid="source-select"] button:nth-of-type({place})::after'
        rules.append(f"{button} {{ content: {json.dumps(say(key, language), ensure_ascii=False)}; }}")
    return "\n".join(rules)


def short_name(source: str) -> str:
    """`user/name` of a repository, the last two parts of a folder: where it lies is nobody's business."""
    name, revision = split_revision(source)
    short = "/".join(PurePath(name).parts[-2:])
    return f"{short}@{revision}" if revision else short
