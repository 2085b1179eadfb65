"""
Serve the demo: a page that transcribes with a base and its adapters, from the microphone or a file.

```
python space/app.py --run runs/quickstart-uzbek --port 7860
python space/app.py --base quickstart/gemma4 --adapter uzbek=runs/quickstart-uzbek/adapter
```

Programs upload a file and get the text: `Client("http://127.0.0.1:7860").predict(handle_file("clip.wav"),
api_name="/transcribe")`.
"""

import importlib.util
import os
import signal
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.errors import EscoitaError
from escoita.hub.endpoint import bypass_proxy_for_local_addresses
from escoita.hub.files import adapter_record
from escoita.space import differences
from escoita.space import status as waveform
from escoita.space.client_limits import MEGABYTE, Clients, Gate
from escoita.space.demo import Loading, load_for_zero_gpu, on_zero_gpu, resolve_base_of
from escoita.space.first_paint import FirstPaint, initial_values, set_initial_values, static_page
from escoita.space.handlers import delete_what_models_send, refuse_addresses
from escoita.space.openai_api import ApiErrors, api_routes
from escoita.space.tabs import (
    about as page_about,
)
from escoita.space.tabs import (
    api as page_api,
)
from escoita.space.tabs import (
    compare as page_compare,
)
from escoita.space.tabs import (
    feedback as page_feedback,
)
from escoita.space.tabs import (
    transcribe as page_transcribe,
)
from escoita.space.texts import AcceptLanguage, page_texts, translate, visitor_language
from escoita.space.theme import CSS, heading, theme
from escoita.space.uploads import script


if TYPE_CHECKING:
    import gradio as gr

    from escoita.inference.serving import Engine
    from escoita.space.demo import Demo

# Seconds between deletions of old uploads, and the age of an old upload in seconds.
UPLOAD_LIFE = (300, 900)
# Seconds between checks whether the model is loaded.
LOADING_CHECK_SECONDS = 1.0
# Seconds for which a page without a model answers waiting requests before it is closed.
CLOSING_SECONDS = 3.0
# The styles of all parts of the page.
STYLES = [
    *(CSS, page_transcribe.CSS, page_compare.CSS, page_about.CSS, page_feedback.CSS, page_api.CSS),
    *(waveform.CSS, differences.CSS),
]


def serve(demo: "Demo", port: int | None = None, host: str = "127.0.0.1", proxy_hops: int = 0) -> None:
    """
    Serve the page until Ctrl-C, also while the model loads. Uploads are deleted at the end.

    Args:
        demo ([`Demo`]): The demo, to which the model, the clients and the corrections are added.
        port (`int`, *optional*): The port. Defaults to `GRADIO_SERVER_PORT`, or a free port.
        host (`str`, *optional*, defaults to `"127.0.0.1"`): The address to listen on; `"0.0.0.0"` accepts other
            machines.
        proxy_hops (`int`, *optional*, defaults to 0): See [`~escoita.space.client_limits.Clients`].

    Raises:
        EscoitaError: An example, an adapter or the model cannot be read, the port is in use, or the Hub does not
            accept corrections.
    """
    # Shells start background processes with SIGINT ignored.
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.default_int_handler)
    failed = threading.Event()
    try:
        with ExitStack() as stack:
            os.environ["GRADIO_TEMP_DIR"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="escoita-space-"))
            demo = resolve_base_of(demo)
            loading = _loading(demo)
            demo = replace(demo, ready=loading.ready, loading=loading.loading, clients=Clients(proxy_hops))
            demo = replace(demo, corrections=stack.enter_context(_corrections(demo)))
            page = build(demo)
            address = start(page, demo, port, host)
            stack.callback(page.close, verbose=False)
            print(f"Listening on {address} (press Ctrl-C to stop)", flush=True)
            if loading.loading():
                loading.start()
            loading.on_failure(failed.set)
            failed.wait()
            threading.Event().wait(CLOSING_SECONDS)
            loading.done.result()
    except KeyboardInterrupt:
        return


class PortError(EscoitaError):
    """
    Report that a port cannot be used.

    Args:
        host (`str`): The address to listen on.
    """

    host: str
    problem = "the port is in use, or not available on {host}"
    hint = "choose another one with --port"


class McpPackageError(EscoitaError):
    """Report that the package of the MCP server is not installed."""

    problem = "the package mcp is not installed"
    hint = "pip install 'gradio[mcp]', or set space.mcp to false"


def start(page: "gr.Blocks", demo: "Demo", port: int | None = None, host: str = "127.0.0.1") -> str:
    """
    Start to serve the page, and return.

    Args:
        page (`gr.Blocks`): The result of [`build`].
        demo ([`~escoita.space.demo.Demo`]): The demo.
        port (`int`, *optional*): The port. Defaults to a free port.
        host (`str`, *optional*, defaults to `"127.0.0.1"`): The address to listen on.

    Returns:
        `str`: The URL of the page.

    Raises:
        PortError: The port cannot be used.
        McpPackageError: The page is an MCP server, and its package is not installed.
    """
    from starlette.middleware import Middleware

    settings = demo.settings
    bypass_proxy_for_local_addresses()  # Gradio calls the page when it starts
    # uvicorn trusts X-Forwarded-For of connections from this machine; here only `Clients` may read it.
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    life = sum(UPLOAD_LIFE)
    first_paint = Middleware(FirstPaint, partial(static_page, demo, life), settings.languages)
    gate = Middleware(Gate, demo.clients, settings.max_megabytes, settings.languages)
    if settings.mcp and importlib.util.find_spec("mcp") is None:
        raise McpPackageError(key="space.mcp")
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            max_file_size=int(settings.max_megabytes * MEGABYTE),
            # Each request, waiting or not, needs a thread.
            max_threads=40 + 4 * settings.max_queue,
            theme=theme(),
            css="\n".join(STYLES),
            js=script(settings),
            i18n=page_texts(settings.languages, repo=settings.feedback or ""),
            app_kwargs={
                "middleware": [Middleware(ApiErrors), gate, Middleware(AcceptLanguage), first_paint],
                "routes": api_routes(demo),
            },
            footer_links=[],
            run_history=False,
            share=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=settings.mcp,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise PortError(key="--port", value=port, host=host) from error
    set_initial_values(page, initial_values(demo, life), settings.languages)
    delete_what_models_send(page, demo.clients)
    return str(address)


def build(demo: "Demo") -> "gr.Blocks":
    """
    Build the page.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.

    Raises:
        EscoitaError: An example does not exist.
    """
    import gradio as gr

    for example in demo.settings.examples:
        if not Path(example).is_file():
            raise EscoitaError("file not found", key="space.examples", value=example)
    texts = gr.I18n()

    def label(key: str, **values: object) -> Any:
        return texts(key)  # `page_texts` fills in the values

    with gr.Blocks(title=demo.title, analytics_enabled=False, delete_cache=UPLOAD_LIFE) as page:
        gr.HTML(heading(demo.title), elem_id="heading")
        head(demo, page)
        with gr.Tabs(overflow_behavior="wrap"):  # otherwise phones show the last tab only in a menu
            with gr.Tab(label("tab.transcribe")):
                page_transcribe.transcribe_tab(demo, label)
            with gr.Tab(label("tab.compare")):
                page_compare.compare_tab(demo, label)
            with gr.Tab(label("tab.about")):
                page_about.about_tab(demo, label)
        page_api.api_box()
    for event in page.fns.values():
        if event.fn is not None and event.api_visibility == "public":
            event.fn.__name__ = str(event.api_name)  # the name of the MCP tool
    # The queue of Gradio is unlimited, because one client could fill it; the engine limits the requests of a client.
    page.queue(max_size=None, api_open=False)
    refuse_addresses(page)
    return page


def head(demo: "Demo", page: "gr.Blocks") -> None:
    """Build the part above the tabs: the introduction, and a notice while the model is loading."""
    import gradio as gr

    def language_of(request: gr.Request) -> str:
        return visitor_language(request, demo.settings.languages)

    def start_checks(notice: str | None) -> gr.Timer:
        # The model of a page with the notice may have been loaded in the meantime.
        return gr.Timer(active=demo.loading() or bool(notice))

    def check_loading(request: gr.Request) -> tuple[Any, gr.Timer]:
        if demo.loading():
            return gr.skip(), gr.Timer(active=True)
        try:
            demo.ready()
        except EscoitaError:
            return translate("refusal.not_loaded", language_of(request)), gr.Timer(active=False)
        return translate("status.ready", language_of(request)), gr.Timer(active=False)

    gr.HTML(elem_id="lead")
    notice = gr.HTML(html_template='<p role="status">${value}</p>', elem_id="notice", elem_classes="status")
    timer = gr.Timer(LOADING_CHECK_SECONDS, active=False)
    private: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    page.load(start_checks, notice, timer, **private)
    timer.tick(check_loading, None, [notice, timer], **private)


def _loading(demo: "Demo") -> Loading:
    """Return the loader of the model, which on ZeroGPU is already loaded."""
    for source in demo.adapters.values():
        adapter_record(source)  # reports a missing adapter before the page opens

    def load() -> "Engine":
        from escoita.inference.serving import Engine

        settings = demo.settings
        return Engine.load(
            demo.base,
            demo.adapters,
            demo.revision,
            demo.dtype,
            max_waiting=settings.max_queue,
            max_seconds=settings.max_minutes * 60,
            allow_other_base=demo.allow_other_base,
        )

    if not on_zero_gpu():
        return Loading(load)
    loading = Loading(lambda: load_for_zero_gpu(load, demo.settings.max_seconds, demo.settings.max_queue))
    loading.run()
    loading.done.result()
    return loading


def _corrections(demo: "Demo") -> Any:
    """Return the context of corrections; they wait in a folder that Gradio does not serve and that survives a kill."""
    from huggingface_hub.constants import HF_HOME

    from escoita.space.corrections import open_corrections

    waiting = Path(HF_HOME) / "escoita" / (demo.settings.feedback or "").replace("/", "--")
    return open_corrections(demo.settings, waiting, demo.language or "und")
