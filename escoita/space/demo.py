"""Describe the demo, and load its models in the background."""

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from escoita.errors import EscoitaError
from escoita.hub.failures import explain_hub_errors
from escoita.hub.files import adapter_record, repository_name, split_revision
from escoita.inference.fairness import RequestSlots, anyone
from escoita.inference.streaming import Listener
from escoita.models.base_model import pin_of, resolve_base
from escoita.recipe.schema import Space
from escoita.run_directory import RunDirectory
from escoita.space.client_limits import Clients
from escoita.space.jobs import Jobs
from escoita.space.refusals import Refusal
from escoita.space.theme import short_name
from escoita.utils.locations import locate


if TYPE_CHECKING:
    from escoita.inference.fairness import Client
    from escoita.inference.serving import Engine
    from escoita.inference.streaming import Partial
    from escoita.space.corrections import Corrections


def on_zero_gpu() -> bool:
    """Return whether this is a Space that gets a GPU for each call."""
    # The package `spaces` reads the variable in the same way.
    enabled = os.environ.get("SPACES_ZERO_GPU", "").lower()
    return enabled in ("1", "t", "true") and importlib.util.find_spec("spaces") is not None


def load_for_zero_gpu(load: Callable[[], "Engine"], seconds: float, max_waiting: int = 80) -> "ZeroGpuListener":
    """
    Load a model for ZeroGPU, which requires that the model and all adapters are loaded before the page opens.

    Args:
        load (`Callable`): The function that loads the engine.
        seconds (`float`): The time limit of one request, in seconds.
        max_waiting (`int`, *optional*, defaults to 80): The number of concurrent requests.

    Raises:
        EscoitaError: The model cannot be loaded.
    """
    import spaces  # before torch, which it patches

    engine = load()
    for name in engine.adapters.sources:
        engine.prepare(name)

    # The arguments are sent to another process: names and a path, never the model.
    @spaces.GPU(duration=max(1, round(seconds)))
    def transcribe(source: str | Path, adapter: str | None, prompt_adapter: str | None) -> "Iterator[Partial]":
        yield from engine.stream_alone(source, adapter, prompt_adapter)

    return ZeroGpuListener(transcribe, max_waiting)


@dataclass(frozen=True)
class ZeroGpuListener:
    """
    Transcribe each recording with a separate call.

    Args:
        transcribe (`Callable`): The call, whose arguments are a recording, the name of an adapter, and the name of
            the adapter whose prompt the base gets.
        max_waiting (`int`): The number of concurrent requests of all clients.
    """

    transcribe: Callable[[str | Path, str | None, str | None], "Iterator[Partial]"]
    max_waiting: int
    _places: RequestSlots = field(default_factory=RequestSlots)

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        prompt_adapter: str | None = None,
        client: "Client | None" = None,
    ) -> "Iterator[Partial]":
        """Transcribe a recording; see [`~escoita.inference.serving.Engine.stream`]."""
        with self._places.take(client or anyone(), self.max_waiting):
            yield from self.transcribe(source, adapter, prompt_adapter)


class Loading:
    """
    Load a model, once.

    Args:
        load (`Callable`): The function that loads the model.
    """

    def __init__(self, load: Callable[[], "Listener"]):
        self.done: Future[Listener] = Future()
        self._load = load

    def start(self) -> None:
        """Load in a daemon thread."""
        threading.Thread(target=self.run, name="escoita-loading", daemon=True).start()

    def run(self) -> None:
        """Load now; an error is stored in `done`."""
        try:
            self.done.set_result(self._load())
        except BaseException as error:
            self.done.set_exception(error)

    def on_failure(self, callback: Callable[[], None]) -> None:
        """Call `callback` if loading fails, at once if it has failed."""
        self.done.add_done_callback(partial(_call_if_failed, callback))

    def loading(self) -> bool:
        """Return whether the model is still being loaded."""
        return not self.done.done()

    def ready(self) -> "Listener":
        """
        Wait for the model.

        Raises:
            Refusal: The model could not be loaded. The reason is not shown to visitors.
        """
        try:
            return self.done.result()
        except BaseException as error:
            raise Refusal("not_loaded") from error


def _call_if_failed(callback: Callable[[], None], done: "Future[Listener]") -> None:
    if done.exception() is not None:
        callback()


# The files of a repository that the page reads in addition to the adapter.
RECORDS = ["recipe.yaml", "training.json", "training.svg", "eval/results.json", "eval/*.svg"]


class DuplicateAdapterError(EscoitaError):
    """
    Report that two adapters have the same name.

    Args:
        source (`str`): The source of the second adapter.
    """

    source: str
    problem = "the name is used twice"
    hint = "rename one with NAME={source}"


def named_adapters(sources: list[str]) -> dict[str, str]:
    """
    Return adapters by name.

    Args:
        sources (`list[str]`): The adapters, each as `name=source`, or as a folder or repository; the last two
            parts of its path then become the name.

    Raises:
        EscoitaError: An adapter has no name or no source.
        DuplicateAdapterError: Two adapters have the same name.
    """
    adapters: dict[str, str] = {}
    for given in sources:
        name, sign, source = given.partition("=")
        if not sign or "/" in name:
            source = repository_name(given)
            name = short_name(source)
        if not (name and source):
            raise EscoitaError("expected NAME=SOURCE, a folder or a repository", key="adapter", value=given)
        if name in adapters:
            raise DuplicateAdapterError(key="adapter", value=name, source=source)
        adapters[name] = repository_name(source)
    return adapters


def records_of(adapter: str) -> RunDirectory | None:
    """
    Return the records that were published with an adapter.

    Args:
        adapter (`str`): A folder, or a repository of the Hub, whose records are downloaded.

    Returns:
        [`~escoita.run_directory.RunDirectory`]: The records; `None` if there are none.

    Raises:
        EscoitaError: The repository cannot be read.
    """
    folder = Path(adapter)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        repo, revision = split_revision(adapter)
        with explain_hub_errors(repo, "adapter", local=True, value=revision):
            folder = Path(snapshot_download(repo, revision=revision, allow_patterns=RECORDS))
    run = RunDirectory(folder)
    return run if any(path.is_file() for path in (run.recipe, run.training, run.results)) else None


def of_run(
    run: Path, revision: str | None = None, allow_other_base: bool = False, overrides: list[str] | None = None
) -> "Demo":
    """
    Return the demo of a run directory, with the limits of its recipe.

    Args:
        run (`Path`): The run directory.
        revision (`str`, *optional*): The revision of the base. Defaults to the commit that was trained on.
        allow_other_base (`bool`, *optional*, defaults to `False`): See [`of_sources`].
        overrides (`list[str]`, *optional*): Overrides of the recipe, such as `space.max_minutes=3`.

    Raises:
        EscoitaError: The folder is not a run directory, or contains no adapter.
    """
    published = RunDirectory(run)
    recipe = published.load_recipe(overrides)
    further = [_located(each, run) for each in recipe.space.adapters]
    adapters = named_adapters([f"{recipe.name}={published.trained_adapter()}", *further])
    title, language = recipe.card.title, recipe.language
    if not Path(recipe.base).is_dir():
        revision = revision or pin_of(published.trained_adapter(), recipe.base).revision or recipe.base_revision
    demo = Demo(title, recipe.base, revision, recipe.dtype, adapters, recipe.space, published, language)
    return replace(demo, allow_other_base=allow_other_base)


def _located(adapter: str, run: Path) -> str:
    """Return a further adapter of a run, `SOURCE` or `NAME=SOURCE`, with a source that the current folder has."""
    name, sign, source = adapter.partition("=")
    named = bool(sign) and "/" not in name
    return f"{name}={locate(source, run)[0]}" if named else locate(adapter, run)[0]


def of_sources(
    base: str,
    adapters: list[str],
    settings: Space | None = None,
    title: str | None = None,
    revision: str | None = None,
    dtype: str = "auto",
    allow_other_base: bool = False,
) -> "Demo":
    """
    Return the demo of a base and adapters.

    Args:
        base (`str`): A folder, or a repository of the Hub.
        adapters (`list[str]`): At least one adapter; see [`named_adapters`].
        settings ([`~escoita.recipe.schema.Space`], *optional*): The settings of the page. Defaults to those of a
            recipe without a section `space`.
        title (`str`, *optional*): The title of the page. Defaults to the name of the first adapter.
        revision (`str`, *optional*): The revision of the base. Defaults to the commit that the adapters were trained
            on.
        dtype (`str`, *optional*, defaults to `"auto"`): The precision of the base.
        allow_other_base (`bool`, *optional*, defaults to `False`): Whether to accept a base with other weights than an
            adapter was trained on, with a warning on the page.

    Raises:
        EscoitaError: An adapter cannot be read.
    """
    settings = settings or Space()
    offered = named_adapters([*adapters, *settings.adapters])
    first = next(iter(offered.values()))
    title, language = title or PurePath(split_revision(first)[0]).name, adapter_record(first).language
    demo = Demo(title, base, revision, dtype, offered, settings, records_of(first), language)
    return replace(demo, allow_other_base=allow_other_base)


def resolve_base_of(demo: "Demo") -> "Demo":
    """
    Find the commit of the base, and compare its weights with the records of the adapters.

    Args:
        demo ([`~escoita.space.demo.Demo`]): The demo.

    Returns:
        [`~escoita.space.demo.Demo`]: The demo with the commit to load, and whether it is another base.

    Raises:
        OtherBaseError: The base has other weights than an adapter was trained on.
        EscoitaError: The base cannot be found.
    """
    adapters = list(demo.adapters.values())
    base = resolve_base(demo.base, adapters, demo.revision, allow_other=demo.allow_other_base)
    return replace(demo, revision=base.revision, other_base=base.other)


def _not_served() -> "Listener":
    raise Refusal("not_loaded")


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Demo:
    """
    Hold the models and settings of the page.

    Args:
        title (`str`): The title of the page.
        base (`str`): A folder, or a repository of the Hub.
        revision (`str`, *optional*): The revision of the base.
        dtype (`str`): The precision of the base.
        adapters (`dict[str, str]`): The folder or repository of each adapter by name, at least one. The first is the
            default; no other adapter is ever loaded.
        settings ([`~escoita.recipe.schema.Space`]): The limits, examples and languages of the page.
        published ([`~escoita.run_directory.RunDirectory`], *optional*): The records to show.
        language (`str`, *optional*): The tag of the spoken language.
        ready (`Callable`, *optional*): The function that waits until the model is loaded, and returns it; it raises
            `EscoitaError` if loading failed. [`~escoita.space.app.serve`] sets it.
        loading (`Callable`, *optional*): The function that returns whether the model is still being loaded.
        corrections ([`~escoita.space.corrections.Corrections`], *optional*): The store of corrections.
        jobs ([`~escoita.space.jobs.Jobs`], *optional*): The transcriptions of visitors of the page.
        clients ([`Clients`], *optional*): The counters of the clients. Defaults to counters without proxies.
        allow_other_base (`bool`, *optional*, defaults to `False`): Whether to accept a base with other weights than
            an adapter was trained on.
        other_base (`bool`, *optional*, defaults to `False`): Whether the base has other weights; the page shows it.
    """

    title: str
    base: str
    revision: str | None
    dtype: str
    adapters: dict[str, str]
    settings: Space
    published: RunDirectory | None
    language: str | None
    ready: Callable[[], Listener] = _not_served
    loading: Callable[[], bool] = _always
    corrections: "Corrections | None" = None
    jobs: Jobs = field(default_factory=Jobs)
    clients: Clients = field(default_factory=Clients)
    allow_other_base: bool = False
    other_base: bool = False
