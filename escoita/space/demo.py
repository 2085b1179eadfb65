"""Load the models of the page in the background, and hold its limits."""

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol

from escoita.errors import EscoitaError
from escoita.hub.files import adapter_record, hub_errors, split_revision
from escoita.inference.fairness import Places, anyone
from escoita.models.base_model import pin_of, resolve_base
from escoita.recipe.schema import Space
from escoita.run_directory import RunDirectory
from escoita.space.client_limits import Clients
from escoita.space.texts import say
from escoita.space.theme import short_name


if TYPE_CHECKING:
    from escoita.inference.fairness import Client
    from escoita.inference.serving import Engine
    from escoita.inference.streaming import Partial
    from escoita.space.corrections import Corrections


def on_zero_gpu() -> bool:
    """Whether this is a Space that gets a GPU for each call."""
    # As the package `spaces` itself reads it.
    asked = os.environ.get("SPACES_ZERO_GPU", "").lower()
    return asked in ("1", "t", "true") and importlib.util.find_spec("spaces") is not None


def alone(load: Callable[[], "Engine"], seconds: float, max_waiting: int = 80) -> "Alone":
    """
    Loads a model for ZeroGPU, where it must be whole before the page is opened, all adapters with it.

    Args:
        load (`Callable`): Loads the engine.
        seconds (`float`): What one request may take.
        max_waiting (`int`, *optional*, defaults to 80): Requests at once.

    Raises:
        EscoitaError: It cannot be had.
    """
    import spaces  # before torch, of which it replaces parts

    engine = load()
    for name in engine.adapters.sources:
        engine.prepare(name)

    # What it is given goes to another process: names and a path, never the model.
    @spaces.GPU(duration=max(1, round(seconds)))
    def heard(source: str | Path, adapter: str | None, beside: str | None) -> "Iterator[Partial]":
        yield from engine.stream_alone(source, adapter, beside)

    return Alone(heard, max_waiting)


@dataclass(frozen=True)
class Alone:
    """
    Hears each recording by a call of its own.

    Args:
        heard (`Callable`): Takes a recording, the name of an adapter, and that of the adapter beside it.
        max_waiting (`int`): Requests at once; of one client as many as may wait elsewhere.
    """

    heard: Callable[[str | Path, str | None, str | None], "Iterator[Partial]"]
    max_waiting: int
    _places: Places = field(default_factory=Places)

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        beside: str | None = None,
        client: "Client | None" = None,
    ) -> "Iterator[Partial]":
        """As [`~escoita.inference.serving.Engine.stream`]."""
        with self._places.take(client or anyone(), self.max_waiting):
            yield from self.heard(source, adapter, beside)


class Loading:
    """
    A model on its way.

    Args:
        load (`Callable`): Loads it.
    """

    def __init__(self, load: Callable[[], "Listener"]):
        self.done: Future[Listener] = Future()
        self._load = load

    def start(self) -> None:
        """Loads in a thread, which nobody waits for when the program ends."""
        threading.Thread(target=self.run, name="escoita-loading", daemon=True).start()

    def run(self) -> None:
        """Loads now; what goes wrong is kept for who asks."""
        try:
            self.done.set_result(self._load())
        except BaseException as error:
            self.done.set_exception(error)

    def failed(self, tell: Callable[[], None]) -> None:
        """Calls `tell` as soon as the model could not be loaded."""
        self.done.add_done_callback(partial(_if_failed, tell))

    def loading(self) -> bool:
        """Whether it is not loaded yet."""
        return not self.done.done()

    def ready(self) -> "Listener":
        """
        Waits for it.

        Raises:
            EscoitaError: It could not be loaded; why is nothing for visitors.
        """
        try:
            return self.done.result()
        except BaseException as error:
            raise EscoitaError(say("refusal.not_loaded")) from error


def _if_failed(tell: Callable[[], None], done: "Future[Listener]") -> None:
    if done.exception() is not None:
        tell()


# Of a repository: all that the page reads beside the adapter itself.
RECORDS = ["recipe.yaml", "training.json", "training.svg", "eval/results.json", "eval/*.svg"]


def named(sources: list[str]) -> dict[str, str]:
    """
    Adapters by their names.

    Args:
        sources (`list[str]`): Each `name=source`, or a folder or repository, which is then called by the last two
            parts of it.

    Raises:
        EscoitaError: Two have the same name.
    """
    adapters: dict[str, str] = {}
    for asked in sources:
        name, sign, source = asked.partition("=")
        if not sign or "/" in name:
            name, source = short_name(asked), asked
        if not (name and source):
            raise EscoitaError(f"adapter {asked}: give name=source, or a folder or repository")
        if name in adapters:
            raise EscoitaError(f"adapter {name}: is there twice; call one otherwise with name={source}")
        adapters[name] = source
    return adapters


def records_of(adapter: str) -> RunDirectory | None:
    """
    The records that were published with an adapter.

    Args:
        adapter (`str`): A folder, or a repository of the Hub, of which what is small is fetched.

    Returns:
        [`~escoita.run_directory.RunDirectory`]: None where a folder holds the adapter alone.

    Raises:
        EscoitaError: The repository cannot be had.
    """
    folder = Path(adapter)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        with hub_errors(adapter):
            repo, revision = split_revision(adapter)
            folder = Path(snapshot_download(repo, revision=revision, allow_patterns=RECORDS))
    found = RunDirectory(folder)
    return found if any(path.is_file() for path in (found.recipe, found.training, found.results)) else None


def of_run(run: Path, revision: str | None = None, allow_other_base: bool = False) -> "Demo":
    """
    What a run directory made, with the limits of its recipe.

    Args:
        run (`Path`): Run directory.
        revision (`str`, *optional*): Of the base; the commit that was trained on unless given.
        allow_other_base (`bool`, *optional*, defaults to `False`): See [`of_sources`].

    Raises:
        EscoitaError: It is none, or holds no adapter yet.
    """
    published = RunDirectory(run)
    recipe = published.load_recipe()
    adapters = named([f"{recipe.name}={published.trained_adapter()}", *recipe.space.adapters])
    title, language = recipe.card.title, recipe.language
    if not Path(recipe.base).is_dir():
        revision = revision or pin_of(published.trained_adapter(), recipe.base).revision or recipe.base_revision
    demo = Demo(title, recipe.base, revision, recipe.dtype, adapters, recipe.space, published, language)
    return replace(demo, allow_other_base=allow_other_base)


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
    Somebody's base and adapters.

    Args:
        base (`str`): A folder, or a repository of the Hub.
        adapters (`list[str]`): At least one; each as [`named`] takes it.
        settings ([`~escoita.recipe.schema.Space`], *optional*): Limits of the page; those of a recipe that names none
            unless given.
        title (`str`, *optional*): Heads the page; the name of the first adapter unless given.
        revision (`str`, *optional*): Of the base; the commit that the adapters were trained on unless given.
        dtype (`str`, *optional*, defaults to `"auto"`): Precision of the base.
        allow_other_base (`bool`, *optional*, defaults to `False`): Accept a base with other weights than an adapter
            was trained on, which the page then says.

    Raises:
        EscoitaError: An adapter cannot be had.
    """
    settings = settings or Space()
    offered = named([*adapters, *settings.adapters])
    first = next(iter(offered.values()))
    title, language = title or PurePath(split_revision(first)[0]).name, adapter_record(first).language
    demo = Demo(title, base, revision, dtype, offered, settings, records_of(first), language)
    return replace(demo, allow_other_base=allow_other_base)


def located(demo: "Demo") -> "Demo":
    """
    Find the commit of the base, and compare its weights with the records of the adapters.

    Args:
        demo ([`~escoita.space.demo.Demo`]): What the page is about.

    Returns:
        [`~escoita.space.demo.Demo`]: With the commit that will be loaded, and whether it is another base.

    Raises:
        OtherBaseError: The base has other weights than an adapter was trained on.
        EscoitaError: The base cannot be found.
    """
    adapters = list(demo.adapters.values())
    base = resolve_base(demo.base, adapters, demo.revision, allow_other=demo.allow_other_base)
    return replace(demo, revision=base.revision, other_base=base.other)


def _not_served() -> "Listener":
    raise EscoitaError(say("refusal.not_loaded"))


def _always() -> bool:
    return True


class Listener(Protocol):
    """Hears a recording: an [`~escoita.inference.serving.Engine`], or what stands before it on ZeroGPU."""

    def stream(
        self,
        source: str | Path,
        adapter: str | None = None,
        beside: str | None = None,
        client: "Client | None" = None,
    ) -> "Iterator[Partial]": ...


@dataclass(frozen=True)
class Demo:
    """
    What every tab of the page is told.

    Args:
        title (`str`): Heads the page.
        base (`str`): A folder, or a repository of the Hub.
        revision (`str`, *optional*): Of the base.
        dtype (`str`): Precision of the base.
        adapters (`dict[str, str]`): Names of adapters, at least one, and the folder or repository of each; the first
            is offered first, and no other is ever loaded.
        settings ([`~escoita.recipe.schema.Space`]): Limits, examples and languages of the page.
        published ([`~escoita.run_directory.RunDirectory`], *optional*): Records that are shown.
        language (`str`, *optional*): ISO code of what is spoken.
        ready (`Callable`, *optional*): Waits until the model is loaded, and gives what hears; raises
            `EscoitaError` where it could not be loaded. [`~escoita.space.app.serve`] puts it in.
        loading (`Callable`, *optional*): Whether it is still being loaded.
        corrections ([`~escoita.space.corrections.Corrections`], *optional*): What takes corrections of visitors.
        clients ([`Clients`], *optional*): Tells clients apart; without proxies unless given.
        allow_other_base (`bool`, *optional*, defaults to `False`): Accept a base with other weights than an adapter
            was trained on.
        other_base (`bool`, *optional*, defaults to `False`): The base is such a one; the page says it.
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
    clients: Clients = field(default_factory=Clients)
    allow_other_base: bool = False
    other_base: bool = False
