"""Plan the files of a Space: its settings, its README and what it needs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from huggingface_hub import CardData, HfApi
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from escoita.errors import EscoitaError, PublishError
from escoita.hub.auth import clear_refusals
from escoita.hub.files import adapter_record, file_if_any, is_repo_id, local_file, split_revision
from escoita.hub.retry import retrying
from escoita.hub.vocabulary import check
from escoita.models.base_model import Pin, pin_of, resolve_base
from escoita.recipe.schema import Recipe, Space, load_recipe
from escoita.resources import resource
from escoita.space.app import UPLOAD_LIFE
from escoita.space.bundle import bundle, installed, requirements
from escoita.space.demo import named
from escoita.space.hosted import SETTINGS, Hosted
from escoita.utils.formatting import line
from escoita.utils.untrusted import read_object


# Of those that ZeroGPU knows, the one that escoita runs on too; Spaces on other hardware take any.
PYTHON = "3.12.12"
# Most characters of a short description (https://huggingface.co/docs/hub/spaces-config-reference).
SHORT = 60


def front_matter(
    hosted: Hosted,
    sources: list[str],
    hardware: str | None,
    language: str,
    license_id: str | None,
    preloaded: list[str],
) -> dict[str, object]:
    """
    What the Hub is told of a Space.

    Args:
        hosted ([`~escoita.space.hosted.Hosted`]): What it is about.
        sources (`list[str]`): Repositories of base and adapters.
        hardware (`str`, *optional*): Suggested to whoever duplicates the Space.
        language (`str`): ISO code of what is spoken.
        license_id (`str`, *optional*): Of the adapter, as the Hub knows it.
        preloaded (`list[str]`): Repositories that are fetched when the Space is built; those that need a token cannot.

    Returns:
        `dict`: Keys and values of the front matter.
    """
    matter: dict[str, object] = {
        "title": " ".join(hosted.title.split()),  # YAML reads some line ends of Unicode as spaces
        "sdk": "gradio",
        "sdk_version": installed("gradio"),
        "python_version": PYTHON,
        "app_file": "app.py",
        "short_description": short(f"Speech to text: {hosted.title}"),
        "models": list(dict.fromkeys(sources)),
        "tags": ["escoita", "automatic-speech-recognition", language, *(["mcp-server"] if hosted.space.mcp else [])],
    }
    if hardware:
        matter["suggested_hardware"] = hardware
    if license_id:
        matter["license"] = license_id
    if preloaded:
        matter["preload_from_hub"] = preloaded
    return matter


def short(text: str) -> str:
    """At most 60 characters, cut between words where that is possible."""
    text = " ".join(text.split())
    if len(text) <= SHORT:
        return text
    cut = text[: SHORT - 1]
    return f"{cut[: cut.rindex(' ')] if ' ' in cut else cut}…"


def readme(matter: dict[str, object], hosted: Hosted, sources: list[str], repo: str) -> str:
    """
    Writes README.md.

    Args:
        matter (`dict`): As [`front_matter`] gives it.
        hosted ([`~escoita.space.hosted.Hosted`]): What the Space is about.
        sources (`list[str]`): Repositories of base and adapters, the base first.
        repo (`str`): The Space, `user/space`.
    """
    # What is rendered here is Markdown; names of repositories hold no markup, and the title is escaped.
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(resource("space/templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"line": line}
    front = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True, width=10_000)
    return environment.get_template("space.md.jinja").render(
        front=front, hosted=hosted, sources=sources, repo=repo, minutes=sum(UPLOAD_LIFE) // 60
    )


APP = """\
\"\"\"Serves the page; what it is about stands in space.yaml.\"\"\"

from pathlib import Path

from escoita.space.hosted import main


if __name__ == "__main__":
    main(Path(__file__).parent)
"""
EXAMPLES = "examples"
# Of a repository, what a model or an adapter is loaded from.
PRELOADED = re.compile(r"\.(safetensors|json|jinja|model|txt)$")
# Of a Space on the Hub: its proxy adds the address of the visitor to X-Forwarded-For.
HUB_PROXY_HOPS = 1


@dataclass(frozen=True)
class Plan:
    """
    A Space before it is pushed.

    Args:
        repo (`str`): `user/space`.
        hosted ([`~escoita.space.hosted.Hosted`]): What it is about.
        files (`dict[str, bytes]`): Content by path in the repository.
        clips (`tuple[Path, ...]`): Where its examples lie on this machine.
        token_for (`tuple[str, ...]`): What the Space reaches with a token alone: private or gated repositories, and
            the dataset of corrections.
    """

    repo: str
    hosted: Hosted
    files: dict[str, bytes]
    clips: tuple[Path, ...]
    token_for: tuple[str, ...]


def plan_space(
    api: HfApi,
    repo: str,
    adapter: str,
    hardware: str | None = None,
    recipe: Path | None = None,
    overrides: list[str] | None = None,
    examples: Iterable[Path] = (),
    base_revision: str | None = None,
    allow_other_base: bool = False,
) -> Plan:
    """
    Reads what was published with an adapter, and assembles a Space for it.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): The Space, `user/space`.
        adapter (`str`): Repository of the adapter, `user/adapter` or `user/adapter@revision`, or `name=user/adapter`.
        hardware (`str`, *optional*): What it will run on.
        recipe (`Path`, *optional*): Whose section `space` holds, and whose examples go along; the one published with
            the adapter unless given, of whose examples the names alone are known.
        overrides (`list[str]`, *optional*): `space.key=value`.
        examples (`Iterable[Path]`): Further clips offered with one click.
        base_revision (`str`, *optional*): Of the base; the commit that the adapter was trained on unless given.
        allow_other_base (`bool`, *optional*, defaults to `False`): Accept a base with other weights, which the page
            then says.

    Raises:
        OtherBaseError: The base has other weights than the adapter was trained on.
        EscoitaError: An adapter or the base are not on the Hub, or an example is not here, or the Hub would not take
            the license.
    """
    source = require_repository(next(iter(named([adapter]).values())), "--adapter")
    config, generation_settings = _config(source), adapter_record(source)
    base = require_repository(str(config.get("base_model_name_or_path") or ""), f"{source}: its base")
    loaded = _recipe(source, recipe, overrides)
    settings = loaded.space if loaded else Space()
    clips = example_files([*(map(Path, settings.examples) if recipe else ()), *examples])
    hosted = Hosted(
        title=loaded.card.title if loaded else source,
        base=base,
        dtype=loaded.dtype if loaded else "auto",
        adapters=[adapter],
        space=settings.model_copy(update={"examples": list(clips)}),
        proxy_hops=HUB_PROXY_HOPS,
        allow_other_base=allow_other_base,
    )
    adapters = [require_repository(other, "space.adapters") for other in repositories(hosted)]
    resolved = resolve_base(base, adapters, base_revision, allow_other=allow_other_base)
    if base_revision or any(pin_of(each, base) != Pin() for each in adapters):
        hosted = hosted.model_copy(update={"base_revision": resolved.revision})
    sources = [base, *(split_revision(each)[0] for each in adapters)]
    closed = [each for each in dict.fromkeys(sources) if _needs_token(api, each)]
    # What is fetched when the Space is built is fetched without a token.
    named_as = {base: _preloaded(api, base, hosted.base_revision)}
    named_as |= {
        name: _preloaded(api, *split_revision(each)) for name, each in zip(sources[1:], adapters, strict=True)
    }
    early = [entry for each, entry in named_as.items() if each not in closed and entry]
    license_id = loaded.card.license if loaded and loaded.card.license != "other" else None
    matter = front_matter(hosted, sources, hardware, generation_settings.language, license_id, early)
    check(CardData(**cast("dict[str, Any]", matter)))
    modules = bundle()
    files = modules | {name: path.read_bytes() for name, path in clips.items()}
    files |= {
        "app.py": APP.encode(),
        "README.md": readme(matter, hosted, sources, repo).encode(),
        "requirements.txt": requirements(hardware, settings.mcp, generation_settings.load_in_4bit).encode(),
        SETTINGS: hosted.to_yaml().encode(),
    }
    feedback = [f"datasets/{settings.feedback}"] if settings.feedback else []
    return Plan(repo, hosted, dict(sorted(files.items())), tuple(clips.values()), (*closed, *feedback))


def repositories(hosted: Hosted) -> list[str]:
    """Those of its adapters, the first offered first."""
    return list(named([*hosted.adapters, *hosted.space.adapters]).values())


def require_repository(name: str, what: str) -> str:
    """
    Checks that a name can be a repository: a Space finds nothing of this machine.

    Raises:
        PublishError: It cannot.
    """
    if not is_repo_id(split_revision(name)[0]) or Path(name).is_dir():
        raise PublishError(f"{what}: {name!r} is no repository of the Hub, user/name; publish it first")
    return name


def example_files(paths: Iterable[Path]) -> dict[str, Path]:
    """
    Clips, by their path in the repository.

    Raises:
        EscoitaError: One is not there, or two are called alike.
    """
    clips: dict[str, Path] = {}
    for path in paths:
        if not path.is_file():
            raise EscoitaError(f"example {path}: no such file")
        place = f"{EXAMPLES}/{path.name}"
        if clips.get(place, path).resolve() != path.resolve():
            raise EscoitaError(f"example {path}: another is called {path.name} too; rename one")
        clips[place] = path
    return clips


def require_settings(space: Space, published: bool) -> None:
    """
    Check what a recipe says of the page, without asking the Hub.

    Args:
        space ([`~escoita.recipe.schema.Space`]): The section of the recipe.
        published (`bool`): The adapter goes to the Hub, and so the page may.

    Raises:
        EscoitaError: An example is not here or is called as another, or two adapters have one name.
        PublishError: A published page cannot find one of the adapters.
    """
    example_files(map(Path, space.examples))
    for source in named(space.adapters).values():
        if published:
            require_repository(source, "space.adapters")


def _recipe(adapter: str, recipe: Path | None, overrides: list[str] | None) -> Recipe | None:
    path = recipe or file_if_any(adapter, "recipe.yaml")
    if path is not None:
        return load_recipe(path, overrides)
    if overrides:
        raise EscoitaError(f"{adapter}: was published without a recipe.yaml that --set could change; give --recipe")
    return None


def _config(adapter: str) -> dict[str, str | None]:
    return read_object(local_file(adapter, "adapter_config.json"), f"adapter {adapter}")


def _preloaded(api: HfApi, repo: str, revision: str | None) -> str:
    """
    Return the entry of `preload_from_hub`: of a revision, the Hub wants names of files and a commit.
    """
    if revision is None:
        return repo
    with clear_refusals(repo):
        info = retrying(repo)(api.model_info, repo, revision=revision)
    names = [file.rfilename for file in info.siblings or [] if PRELOADED.search(file.rfilename)]
    return f"{repo} {','.join(names)} {info.sha}" if names and not any(set(", ") & set(name) for name in names) else ""


def _needs_token(api: HfApi, repo: str) -> bool:
    with clear_refusals(repo):
        info = retrying(repo)(api.model_info, repo)
    return bool(info.private or info.gated)
