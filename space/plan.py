"""What a Space will be, known before anything is changed: its files, and what it needs a token for."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from huggingface_hub import CardData, HfApi

from cards.vocabulary import check
from escoita.errors import EscoitaError, PublishError
from escoita.foreign_json import read_object
from escoita.hub.access import clear_refusals
from escoita.hub.patience import patiently
from escoita.recipe import Recipe, Space, load_recipe
from escoita.resolve import adapter_record, file_if_any, is_repo_id, local_file
from space.bundle import bundle, requirements
from space.demo import named
from space.front import front_matter, readme
from space.hosted import SETTINGS, Hosted


APP = """\
\"\"\"Serves the page; what it is about stands in space.yaml.\"\"\"

from pathlib import Path

from space.hosted import main


if __name__ == "__main__":
    main(Path(__file__).parent)
"""
EXAMPLES = "examples"
# Of a Space on the Hub: its proxy adds the address of the visitor to X-Forwarded-For.
HUB_PROXY_HOPS = 1


@dataclass(frozen=True)
class Plan:
    """
    A Space before it is pushed.

    Args:
        repo (`str`): `user/space`.
        hosted ([`~space.hosted.Hosted`]): What it is about.
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
) -> Plan:
    """
    Reads what was published with an adapter, and assembles a Space for it.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): The Space, `user/space`.
        adapter (`str`): Repository of the adapter, `user/adapter`, or `name=user/adapter`.
        hardware (`str`, *optional*): What it will run on.
        recipe (`Path`, *optional*): Whose section `space` holds, and whose examples go along; the one published with
            the adapter unless given, of whose examples the names alone are known.
        overrides (`list[str]`, *optional*): `space.key=value`.
        examples (`Iterable[Path]`): Further clips offered with one click.

    Raises:
        EscoitaError: An adapter or the base are not on the Hub, or an example is not here, or the Hub would not take
            the license.
    """
    source = require_repository(next(iter(named([adapter]).values())), "--adapter")
    config, spoken = _config(source), adapter_record(source)
    base = require_repository(str(config.get("base_model_name_or_path") or ""), f"{source}: its base")
    loaded = _recipe(source, recipe, overrides)
    settings = loaded.space if loaded else Space()
    clips = example_files([*(map(Path, settings.examples) if recipe else ()), *examples])
    hosted = Hosted(
        title=loaded.card.title if loaded else source,
        base=base,
        base_revision=config["revision"],
        dtype=loaded.dtype if loaded else "auto",
        adapters=[adapter],
        space=settings.model_copy(update={"examples": list(clips)}),
        proxy_hops=HUB_PROXY_HOPS,
    )
    sources = [base, *(require_repository(other, "space.adapters") for other in repositories(hosted))]
    closed = [each for each in dict.fromkeys(sources) if _needs_token(api, each)]
    # What is fetched when the Space is built is fetched without a token, and the newest.
    late = {*closed, *([base] if hosted.base_revision else [])}
    early = [each for each in dict.fromkeys(sources) if each not in late]
    license_id = loaded.card.license if loaded and loaded.card.license != "other" else None
    matter = front_matter(hosted, sources, hardware, spoken.language, license_id, early)
    check(CardData(**cast("dict[str, Any]", matter)))
    modules = bundle()
    files = modules | {name: path.read_bytes() for name, path in clips.items()}
    files |= {
        "app.py": APP.encode(),
        "README.md": readme(matter, hosted, sources, repo).encode(),
        "requirements.txt": requirements(modules, hardware, settings.mcp, spoken.load_in_4bit).encode(),
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
    if not is_repo_id(name) or Path(name).is_dir():
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
        space ([`~escoita.recipe.Space`]): The section of the recipe.
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
    return {"revision": None} | read_object(local_file(adapter, "adapter_config.json"), f"adapter {adapter}")


def _needs_token(api: HfApi, repo: str) -> bool:
    with clear_refusals(repo):
        info = patiently(repo)(api.model_info, repo)
    return bool(info.private or info.gated)
