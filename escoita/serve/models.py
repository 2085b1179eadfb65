"""Find the base and the adapters of a server, and load them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from escoita.errors import EscoitaError
from escoita.hub.files import adapter_record, cached_file, file_if_any, split_revision
from escoita.inference.model_source import adapter_settings
from escoita.models.base_model import pin_of
from escoita.recipe.schema import Space
from escoita.records.training import AdapterRecord, Prompt
from escoita.run_directory import RunDirectory
from escoita.utils.files import public_name
from escoita.utils.locations import locate
from escoita.utils.untrusted import read_object


if TYPE_CHECKING:
    from escoita.inference.serving import Engine


@dataclass(frozen=True)
class Models:
    """
    Store one base and its adapters, which are served together.

    Args:
        base (`str`): The folder or repository of the base.
        adapters (`dict[str, str]`): The folder or repository of each adapter, by its name.
        revision (`str`, *optional*): The revision of the base.
        dtype (`str`): The precision of the base.
        settings ([`~escoita.recipe.schema.Space`]): The limits.
        records (`dict[str, AdapterRecord]`): The prompt, language and token limit of each adapter, by its name.
    """

    base: str
    adapters: dict[str, str]
    revision: str | None
    dtype: str
    settings: Space
    records: dict[str, AdapterRecord]

    @property
    def base_name(self) -> str:
        """Return the name of the base: its repository, or the end of the path of its folder."""
        return PurePath(public_name(self.base)).as_posix()

    def languages(self) -> dict[str, str]:
        """Return the language of each adapter."""
        return {name: record.language for name, record in self.records.items()}


def find_models(
    sources: Sequence[str],
    base: str | None = None,
    revision: str | None = None,
    language: str | None = None,
    prompt: str | None = None,
    system: str | None = None,
) -> Models:
    """
    Find the base and the adapters that a command names.

    Args:
        sources (`Sequence[str]`): The run directories, and the folders or repositories of adapters or of a base, each
            as `SOURCE` or `NAME=SOURCE`.
        base (`str`, *optional*): The base. The default is the base that the adapters name.
        revision (`str`, *optional*): The revision of the base.
        language (`str`, *optional*): The ISO 639 code of the language of adapters that store none.
        prompt (`str`, *optional*): The user prompt of adapters that store none.
        system (`str`, *optional*): The system prompt of adapters that store none.

    Returns:
        [`Models`]: The models, with the limits and the precision of the first run.

    Raises:
        EscoitaError: A model cannot be found, two have the same name, or they are of different bases; or the prompt or
            the language of an adapter is not known.
    """
    adapters: dict[str, str] = {}
    bases = {} if base is None else {PurePath(base).as_posix(): "--base"}
    settings, dtype = Space(), "auto"
    for each in sources:
        name, source = _named(each)
        further: list[str] = []
        run = RunDirectory(Path(source))
        if run.recipe.is_file() and not (Path(source) / "adapter_config.json").is_file():
            recipe, adapter = run.load_recipe(), run.trained_adapter()
            settings, dtype = (recipe.space, recipe.dtype) if not adapters else (settings, dtype)
            if not Path(recipe.base).is_dir():
                revision = revision or pin_of(adapter, recipe.base).revision or recipe.base_revision
            name, source, named_base = name or recipe.name, adapter, recipe.base
            further = recipe.space.adapters
        elif config := cached_file(source, "adapter_config.json"):
            named_base = str(read_object(config, f"adapter {source}").get("base_model_name_or_path") or "")
            named_base = locate(named_base, Path(source))[0] if Path(source).is_dir() else named_base
            name = name or public_name(split_revision(source)[0])
        else:
            bases.setdefault(PurePath(source).as_posix(), each)
            continue
        _add(adapters, name, source)
        for other, further_source in map(_named, further):
            _add(
                adapters, other or public_name(split_revision(further_source)[0]), locate(further_source, run.path)[0]
            )
        if base is None:
            bases.setdefault(PurePath(named_base).as_posix(), each)
    if len(bases) != 1:
        if not bases:
            raise EscoitaError("no model is named", hint="name a run directory, an adapter or a base")
        named = ", ".join(f"{source} (by {by})" for source, by in bases.items())
        raise EscoitaError(f"the models have different bases: {named}", hint="start a server for each base")
    records = {
        name: adapter_record(source)
        if file_if_any(source, "escoita.json")
        else adapter_settings(source, language, prompt, system)
        for name, source in adapters.items()
    }
    return Models(next(iter(bases)), adapters, revision, dtype, settings, records)


def load_engine(
    models: Models,
    language: str | None = None,
    adapter_bytes: int | None = None,
    allow_other_base: bool = False,
    prompt: Prompt | None = None,
) -> "Engine":
    """
    Load the base; each adapter is loaded on first use.

    Args:
        models ([`Models`]): The models.
        language (`str`, *optional*): The tag of the language of a base without adapters that has no record
            of its own, such as Whisper.
        adapter_bytes (`int`, *optional*): The memory for adapters, in bytes. The default is no limit.
        allow_other_base (`bool`, *optional*, defaults to `False`): Whether to accept a base with other weights than an
            adapter was trained on.
        prompt ([`~escoita.records.training.Prompt`], *optional*): The prompt of a base without adapters that needs
            one.

    Returns:
        [`~escoita.inference.serving.Engine`]: The loaded engine, which the caller must close.

    Raises:
        EscoitaError: A model cannot be loaded.
    """
    from escoita.inference.serving import Engine
    from escoita.inference.transcriber import Transcriber

    waiting, seconds = models.settings.max_queue, models.settings.max_minutes * 60
    if models.adapters or language is None:
        return Engine.load(
            models.base,
            models.adapters,
            models.revision,
            models.dtype,
            max_waiting=waiting,
            max_seconds=seconds,
            allow_other_base=allow_other_base,
            max_adapter_bytes=adapter_bytes,
            generation_settings=models.records,
        )
    settings = AdapterRecord(language=language, prompt=prompt or Prompt(user=""))
    transcriber = Transcriber.load(models.base, None, settings, models.revision, models.dtype)
    if prompt is None:
        limit = transcriber.family.own_limit(transcriber.model)
        transcriber.generation_settings = settings.model_copy(update={"max_new_tokens": limit})
    return Engine(transcriber, {}, {}, waiting, seconds)


def _add(adapters: dict[str, str], name: str, source: str) -> None:
    if name in adapters:
        raise EscoitaError("two models have this name", key="MODEL", value=name, hint="rename one with NAME=SOURCE")
    adapters[name] = source


def _named(argument: str) -> tuple[str, str]:
    name, sign, source = argument.partition("=")
    return (name, source) if sign and name and source and "/" not in name else ("", argument)
