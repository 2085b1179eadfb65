"""Define the theme of the page: muted colors, system fonts, no downloads from other servers."""

import html
import json
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from escoita.hub.files import split_revision
from escoita.space.texts import translate


if TYPE_CHECKING:
    from gradio.themes import Base

COMMIT = re.compile(r"[0-9a-f]{40}")
# Gradio quotes the fonts of a theme, but a quoted system-ui is not the keyword; therefore the variable is set here.
# Messages of Gradio are shown at the bottom; on a phone above the page, which makes room, so that they cover nothing.
# Gradio changes the selectors within a media query; therefore queries are nested here.
CSS = """
.gradio-container { --font: system-ui, sans-serif; --font-mono: ui-monospace, monospace; }
.gradio-container main { width: 100%; max-width: 46rem !important; margin-inline: auto !important; }
.gradio-container .toast-wrap { top: auto; bottom: 1rem;
    @media (max-width: 480px) { position: absolute; inset: .5rem .5rem auto; width: auto; max-width: none; } }
.gradio-container:has(.toast-body) main { @media (max-width: 480px) { padding-top: 7.5rem; } }
#heading, #lead, .status { overflow-wrap: anywhere; }
#heading .html-container, #lead .html-container, #drawing .html-container, #segments .html-container,
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
.recording .controls { gap: .3rem; }
.recording .controls .mic-select { max-width: 100%; padding-inline: .6rem; }
.recording .controls :is(.stop-button, .stop-button-paused, .resume-button) {
    width: auto; padding-block: 0; padding-inline-end: .8rem; white-space: nowrap; line-height: 1;
}
#notice:not(:has(p:not(:empty))), .recording-problem:not(:has(p:not(:empty))) { display: none; }
.status .error { font-weight: 500; color: var(--error-text-color); }
.dark .status .error { color: #fca5a5; }
.status p { margin: 0; min-height: 1.5em; font-size: .9rem; color: var(--body-text-color-subdued); }
"""


def theme() -> "Base":
    """Return a theme without web fonts."""
    from gradio.themes import Default
    from gradio.themes.utils.fonts import Font

    default = Default(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        text_size="lg",
        font=Font("sans-serif"),
        font_mono=Font("monospace"),
    )
    return default.set(
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
    """Return the HTML of the heading."""
    return f"<h1>{html.escape(title)}</h1>"


def lead(
    limits: str, life: str, base: str, adapters: Sequence[str], language: str = "en", other_base: bool = False
) -> str:
    """
    Return the HTML of the introduction: the purpose of the page, the models, and the deletion of recordings.

    Args:
        limits (`str`): The limits of a recording, in words.
        life (`str`): The time until recordings are deleted, in words.
        base (`str`): The folder or repository of the base.
        adapters (`Sequence[str]`): The folder or repository of each adapter.
        language (`str`, *optional*, defaults to `"en"`): The language of the page.
        other_base (`bool`, *optional*, defaults to `False`): Whether the adapters were trained on another base.
    """
    other = f"<p><strong>{html.escape(translate('page.other_base', language))}</strong></p>" if other_base else ""
    models = [translate("page.base", language, base=short_name(base))]
    models += [translate("page.adapter", language, adapter=short_name(adapter)) for adapter in adapters]
    return (
        f"<style>{source_labels(language)}</style>"
        f"<p>{html.escape(translate('page.lead', language, limits=limits))}</p>"
        f'<p class="models">{html.escape(". ".join(models))}</p>{other}'
        f'<p class="models">{html.escape(translate("page.privacy", language, time=life))}</p>'
    )


def source_labels(language: str) -> str:
    """Return CSS that labels the sources of a recording, because Gradio's labels are English in most languages."""
    rules = []
    for position, key in enumerate(("recording.upload", "recording.microphone"), start=1):
        button = f'.recording [data-testid="source-select"] button:nth-of-type({position})::after'
        rules.append(f"{button} {{ content: {json.dumps(translate(key, language), ensure_ascii=False)}; }}")
    return "\n".join(rules)


def short_name(source: str) -> str:
    """
    Return `user/name` of a repository, or the last two parts of a folder, so that its location is not shown.

    A branch or tag is part of the name. A commit is not, because `escoita space push` adds the newest one, and the
    API names adapters so.
    """
    name, revision = split_revision(source)
    short = "/".join(PurePath(name).parts[-2:])
    return f"{short}@{revision}" if revision and not COMMIT.fullmatch(revision) else short
