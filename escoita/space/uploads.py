"""Let visitors upload recordings in every format that the decoder reads, which browsers may call video."""

import html
import json
from typing import TYPE_CHECKING

from escoita.space.client_limits import MEGABYTE
from escoita.space.texts import translate


if TYPE_CHECKING:
    from escoita.recipe.schema import Space

# Suffixes of recordings that a browser does not call audio, or does not know. The file dialog offers them.
SUFFIXES = (
    *("webm", "mp4", "m4v", "mov", "3gp", "3g2", "mkv", "mka", "avi", "flv", "wmv", "mpg", "mpeg", "ts", "mts"),
    *(
        "caf",
        "amr",
        "aac",
        "ac3",
        "aif",
        "aiff",
        "asf",
        "wma",
        "opus",
        "oga",
        "ogv",
        "ogg",
        "m4a",
        "m4b",
        "mp3",
        "wav",
        "flac",
    ),
)
# The element that holds the texts of the script, and the class of the elements in which it shows them.
TEXTS, PROBLEM = "upload-texts", "recording-problem"


def upload_texts(settings: "Space", language: str) -> str:
    """
    Return the HTML of a hidden element with the texts that [`script`] shows.

    Args:
        settings ([`~escoita.recipe.schema.Space`]): The limits of the page.
        language (`str`): The language of the page.
    """
    text = translate("refusal.megabytes", language, size="{size}", limit=f"{settings.max_megabytes:g}")
    return f'<span hidden id="{TEXTS}" data-too-large="{html.escape(text)}"></span>'


def script(settings: "Space") -> str:
    """
    Return JavaScript that hands every chosen or dropped file to Gradio as audio.

    Gradio refuses a file whose type is not `audio/…`, with an English message, although the server can read it. Here
    only its size is checked, with a message in the language of the visitor; the server refuses what is not audio.

    Args:
        settings ([`~escoita.recipe.schema.Space`]): The limits of the page.
    """
    accept = ",".join(["audio/*", *(f".{suffix}" for suffix in SUFFIXES)])
    values = {"accept": accept, "most": int(settings.max_megabytes * MEGABYTE), "texts": TEXTS, "problem": PROBLEM}
    return f"() => {{ const page = {json.dumps(values)};\n{_SCRIPT}\n}}"


_SCRIPT = """
const ofRecording = (event) => event.target instanceof Element ? event.target.closest(".recording") : null;
const show = (recording, text) => {
    const problem = recording.closest(".tabitem, main").querySelector(`.${page.problem} p`);
    if (problem) problem.textContent = text;
};
const asAudio = (files) => {
    const moved = new DataTransfer();
    for (const file of files) {
        const kind = file.type.startsWith("audio/") ? file.type : "audio/x-unknown";
        moved.items.add(new File([file], file.name, {type: kind, lastModified: file.lastModified}));
    }
    return moved;
};
const accepted = (recording, files) => {
    const large = [...files].find((file) => file.size > page.most);
    show(recording, "");
    if (!large) return true;
    const text = document.getElementById(page.texts).dataset.tooLarge;
    show(recording, `${large.name}: ${text.replace("{size}", (large.size / 2 ** 20).toFixed(1))}`);
    return false;
};
document.addEventListener("click", (event) => {
    if (ofRecording(event) && event.target.matches("input[type=file]")) event.target.accept = page.accept;
}, true);
document.addEventListener("change", (event) => {
    const recording = ofRecording(event);
    if (!recording || !event.target.matches("input[type=file]") || !event.target.files.length) return;
    if (accepted(recording, event.target.files)) {
        event.target.files = asAudio(event.target.files).files;
    } else {
        event.stopImmediatePropagation();
        event.target.value = "";
    }
}, true);
document.addEventListener("drop", (event) => {
    const recording = ofRecording(event);
    if (!recording || event.moved || !event.dataTransfer?.files.length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!accepted(recording, event.dataTransfer.files)) return;
    const moved = asAudio(event.dataTransfer.files);
    const again = new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: moved});
    again.moved = true;
    event.target.dispatchEvent(again);
}, true);
"""
