"""Build the part of the page that shows how programs call it."""

import html
import json
from typing import TYPE_CHECKING

from escoita.space.texts import translate


if TYPE_CHECKING:
    from escoita.space.demo import Demo

# The script of the component replaces it by the address of the page.
ADDRESS = "https://ADDRESS/"
CURL = """\
file=$(curl -s -F files=@clip.wav {address}gradio_api/upload | cut -d '"' -f 2)
call={address}gradio_api/call/transcribe
event=$(curl -s $call -H "Content-Type: application/json" \\
  -d '{{"data": [{{"path": "'"$file"'", "meta": {{"_type": "gradio.FileData"}}}}, {adapter}]}}' | cut -d '"' -f 4)
curl -sN $call/$event"""
PYTHON = """\
from gradio_client import Client, handle_file  # pip install gradio_client

client = Client("{address}")
print(client.predict(handle_file("clip.wav"), adapter={adapter}, api_name="/transcribe"))"""
JAVASCRIPT = """\
// file: a File of the browser; in Node: await (await import("node:fs")).openAsBlob("clip.wav")
async function transcribe(file) {{
  const page = "{address}gradio_api/", form = new FormData();
  form.append("files", file, file.name ?? "clip.wav");
  const [path] = await (await fetch(page + "upload", {{method: "POST", body: form}})).json();
  const data = [{{path, meta: {{_type: "gradio.FileData"}}}}, {adapter}];
  const options = {{method: "POST", headers: {{"Content-Type": "application/json"}}, body: JSON.stringify({{data}})}};
  const {{event_id}} = await (await fetch(page + "call/transcribe", options)).json();
  const events = await (await fetch(page + "call/transcribe/" + event_id)).text();
  return JSON.parse(events.trim().split("data: ").pop())[0];
}}"""
EXAMPLES = {"curl": CURL, "Python": PYTHON, "JavaScript": JAVASCRIPT}
# Fills in the address, and copies the code of a button.
SCRIPT = """
const address = new URL(".", location.href.split(/[?#]/)[0]).href;
element.querySelectorAll("code").forEach((code) => {
    code.textContent = code.textContent.replaceAll("%s", address);
});
element.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = button.dataset.copy; }, 2000);
});
"""


def api_box() -> None:
    """Build the part below the tabs, whose value [`~escoita.space.first_paint.initial_values`] gives."""
    import gradio as gr

    gr.HTML(elem_id="api", js_on_load=SCRIPT % ADDRESS)


def api_examples(demo: "Demo", language: str) -> str:
    """
    Return the HTML of calls of the page from a shell, Python and JavaScript, with buttons that copy them.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.
        language (`str`): The language of the page.
    """
    adapter = json.dumps(next(iter(demo.adapters)), ensure_ascii=False)
    copy, copied = (html.escape(translate(key, language)) for key in ("api.copy", "api.copied"))
    blocks = (
        f"<section><h3>{name}</h3>"
        f'<button type="button" aria-label="{copy}: {name}" data-copy="{copy}" data-copied="{copied}">{copy}</button>'
        f'<pre tabindex="0" dir="ltr"><code>{html.escape(code.format(address=ADDRESS, adapter=adapter))}</code></pre>'
        "</section>"
        for name, code in EXAMPLES.items()
    )
    label, lead = (html.escape(translate(key, language)) for key in ("api.label", "api.lead"))
    return f"<details><summary>{label}</summary><p>{lead}</p>{''.join(blocks)}</details>"


CSS = """
#api .html-container { padding: 0; }
#api summary { cursor: pointer; padding: .5rem 0; color: var(--link-text-color); }
#api h3 { display: inline-block; font-size: 1rem; font-weight: 650; margin: .6rem .6rem .2rem 0; }
#api button { font-size: .85rem; padding: .15rem .6rem; border: 1px solid var(--body-text-color-subdued);
    border-radius: .3rem; color: var(--body-text-color); }
#api pre { overflow-x: auto; padding: .5rem .7rem; margin: 0; font-family: var(--font-mono); font-size: .85rem;
    background: var(--background-fill-secondary); border-radius: .3rem; }
"""
