"""
The demo: a base and its adapters on a page, for the microphone or a file.

```
python space/app.py --run runs/quickstart-uzbek --port 7860
python space/app.py --base quickstart/gemma4 --adapter uzbek=runs/quickstart-uzbek/adapter
```

Programs send a file and get the text: `Client("http://127.0.0.1:7860").predict(handle_file("clip.wav"),
api_name="/transcribe")`.
"""

import importlib.util
import os
import signal
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.errors import EscoitaError
from escoita.hub.files import adapter_record
from escoita.space import differences
from escoita.space import status as waveform
from escoita.space.client_limits import MEGABYTE, Clients, Gate, limits
from escoita.space.demo import Loading, alone, located, on_zero_gpu
from escoita.space.handlers import delete_what_models_send, refuse_addresses
from escoita.space.openai_api import ApiErrors, api_routes
from escoita.space.tabs import (
    about as page_about,
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
from escoita.space.texts import AcceptLanguage, page_texts, spoken_time, visitor_language
from escoita.space.texts import say as said
from escoita.space.theme import CSS, heading, lead, theme


if TYPE_CHECKING:
    import gradio as gr

    from escoita.inference.serving import Engine
    from escoita.space.demo import Demo

# Seconds: how often uploads are looked through, and how old they grow.
UPLOAD_LIFE = (300, 900)
# Seconds between two looks at a model that is still loading.
LOOK_AGAIN = 1.0
# Seconds for which a page whose model could not be loaded says so to who waits.
LAST_WORDS = 3.0
# All styles of the page, as each part of it wants them.
STYLES = [CSS, page_transcribe.CSS, page_compare.CSS, page_about.CSS, page_feedback.CSS, waveform.CSS, differences.CSS]


def serve(demo: "Demo", port: int | None = None, host: str = "127.0.0.1", proxy_hops: int = 0) -> None:
    """
    Serves the page until Ctrl-C, while the model loads; uploads go with it.

    Args:
        demo ([`Demo`]): What the page is about; what hears, and what takes corrections, is put in here.
        port (`int`, *optional*): Where to listen; unless given, what `GRADIO_SERVER_PORT` says, or a free one.
        host (`str`, *optional*, defaults to `"127.0.0.1"`): `"0.0.0.0"` lets other machines in.
        proxy_hops (`int`, *optional*, defaults to 0): See [`~escoita.space.client_limits.Clients`].

    Raises:
        EscoitaError: An example, an adapter or the model cannot be had, the port is taken, or the Hub does not take
            corrections.
    """
    # A shell starts what runs in the background with SIGINT ignored.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    over = threading.Event()
    try:
        with ExitStack() as open_until_the_end:
            enter = open_until_the_end.enter_context
            os.environ["GRADIO_TEMP_DIR"] = enter(tempfile.TemporaryDirectory(prefix="escoita-space-"))
            demo = located(demo)
            loading = _loading(demo)
            demo = replace(demo, ready=loading.ready, loading=loading.loading, clients=Clients(proxy_hops))
            demo = replace(demo, corrections=enter(_corrections(demo)))
            page = build(demo)
            address = start(page, demo, port, host)
            open_until_the_end.callback(page.close, verbose=False)
            print(f"Listening on {address} (Ctrl-C ends)", flush=True)
            if loading.loading():
                loading.start()
            loading.failed(over.set)
            over.wait()
            threading.Event().wait(LAST_WORDS)
            loading.done.result()
    except KeyboardInterrupt:
        return


def start(page: "gr.Blocks", demo: "Demo", port: int | None = None, host: str = "127.0.0.1") -> str:
    """
    Opens the page to visitors, and returns.

    Args:
        page (`gr.Blocks`): As built.
        demo ([`~escoita.space.demo.Demo`]): What it is about.
        port (`int`, *optional*): Any free one unless given.
        host (`str`, *optional*, defaults to `"127.0.0.1"`): Where to listen.

    Returns:
        `str`: The address.

    Raises:
        EscoitaError: The port is taken, or a package is missing.
    """
    from starlette.middleware import Middleware

    settings = demo.settings
    # uvicorn believes X-Forwarded-For of whoever connects from this machine; here `Clients` alone reads it.
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    gate = Middleware(Gate, demo.clients, settings.max_megabytes, settings.languages)
    if settings.mcp and importlib.util.find_spec("mcp") is None:
        raise EscoitaError("space.mcp: a package is missing; pip install 'gradio[mcp]', or set it to false")
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            max_file_size=int(settings.max_megabytes * MEGABYTE),
            # Each visitor who is heard or waits has a thread.
            max_threads=40 + 4 * settings.max_queue,
            theme=theme(),
            css="\n".join(STYLES),
            i18n=page_texts(settings.languages, repo=settings.feedback or ""),
            app_kwargs={
                "middleware": [Middleware(ApiErrors), gate, Middleware(AcceptLanguage)],
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
        raise EscoitaError(f"port {port}: taken, or not to be had on {host}; choose another with --port") from error
    delete_what_models_send(page, demo.clients)
    return str(address)


def build(demo: "Demo") -> "gr.Blocks":
    """
    Lays out the page.

    Args:
        demo ([`~escoita.space.demo.Demo`]): What it is about.

    Raises:
        EscoitaError: An example is missing.
    """
    import gradio as gr

    for example in demo.settings.examples:
        if not Path(example).is_file():
            raise EscoitaError(f"space.examples: {example}: no such file")
    texts = gr.I18n()

    def say(key: str, **values: object) -> Any:
        return texts(key)  # `page_texts` fills in the values

    with gr.Blocks(title=demo.title, analytics_enabled=False, delete_cache=UPLOAD_LIFE) as page:
        gr.HTML(heading(demo.title), elem_id="heading")
        head(demo, page)
        with gr.Tabs(overflow_behavior="wrap"):  # else on a phone the last one hides behind dots
            with gr.Tab(say("tab.transcribe")):
                page_transcribe.transcribe_tab(demo, say)
            with gr.Tab(say("tab.compare")):
                page_compare.compare_tab(demo, say)
            with gr.Tab(say("tab.about")):
                page_about.about_tab(demo, say)
    for event in page.fns.values():
        if event.fn is not None and event.api_visibility == "public":
            event.fn.__name__ = str(event.api_name)  # what language models call it by
    # Without a size: one client could fill it. The engine says who waits too many, and does so at once.
    page.queue(max_size=None, api_open=False)
    refuse_addresses(page)
    return page


def head(demo: "Demo", page: "gr.Blocks") -> None:
    """Lays out what stands over the tabs: what the page is for, and that the model is loading for as long as it is."""
    import gradio as gr

    def language_of(request: gr.Request) -> str:
        return visitor_language(request, demo.settings.languages)

    def opened(request: gr.Request) -> tuple[str, str, gr.Timer]:
        language, life = language_of(request), sum(UPLOAD_LIFE)
        words = limits(demo.settings, language), spoken_time(life, language)
        loading = demo.loading()
        notice = said("status.loading", language) if loading else ""
        text = lead(*words, demo.base, list(demo.adapters.values()), language, demo.other_base)
        return text, notice, gr.Timer(active=loading)

    def look(request: gr.Request) -> tuple[Any, gr.Timer]:
        if demo.loading():
            return gr.skip(), gr.Timer(active=True)
        try:
            demo.ready()
        except EscoitaError:
            return said("refusal.not_loaded", language_of(request)), gr.Timer(active=False)
        return said("status.ready", language_of(request)), gr.Timer(active=False)

    told = gr.HTML(elem_id="lead")
    notice = gr.HTML(html_template='<p role="status">${value}</p>', elem_id="notice", elem_classes="status")
    timer = gr.Timer(LOOK_AGAIN, active=False)
    private: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    page.load(opened, None, [told, notice, timer], **private)
    timer.tick(look, None, [notice, timer], **private)


def _loading(demo: "Demo") -> Loading:
    """The model on its way; whole already on ZeroGPU."""
    for source in demo.adapters.values():
        adapter_record(source)  # an adapter that cannot be had is told of before the page is opened

    def load() -> "Engine":
        from escoita.inference.serving import Engine

        settings = demo.settings
        return Engine.load(
            demo.base,
            demo.adapters,
            demo.revision,
            demo.dtype,
            most_waiting=settings.max_queue,
            max_seconds=settings.max_minutes * 60,
            allow_other_base=demo.allow_other_base,
        )

    if not on_zero_gpu():
        return Loading(load)
    loading = Loading(lambda: alone(load, demo.settings.max_seconds, demo.settings.max_queue))
    loading.run()
    loading.done.result()
    return loading


def _corrections(demo: "Demo") -> Any:
    """Takes corrections while the page is open; they wait where Gradio serves no files, and outlive a kill."""
    from huggingface_hub.constants import HF_HOME

    from escoita.space.corrections import open_corrections

    waiting = Path(HF_HOME) / "escoita" / (demo.settings.feedback or "").replace("/", "--")
    return open_corrections(demo.settings, waiting, demo.language or "und")
