"""Plan the files of a Space: settings, README, requirements and the package."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from huggingface_hub import CardData, HfApi
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from escoita.errors import EscoitaError, PublishError
from escoita.hub.failures import explain_hub_errors
from escoita.hub.files import adapter_record, file_if_any, is_repo_id, local_file, split_revision
from escoita.hub.retry import retrying
from escoita.hub.vocabulary import check
from escoita.models.base_model import resolve_base
from escoita.recipe.schema import Recipe, Space, load_recipe
from escoita.resources import resource
from escoita.space.app import UPLOAD_LIFE
from escoita.space.bundle import bundle, installed_version, requirements
from escoita.space.demo import named_adapters
from escoita.space.hosted import SETTINGS, Hosted
from escoita.utils.formatting import line
from escoita.utils.untrusted import read_object


# The version of Python that both ZeroGPU and escoita support; Spaces on other hardware accept any version.
PYTHON = "3.12.12"
# The length of a short description (https://huggingface.co/docs/hub/spaces-config-reference).
MAX_DESCRIPTION = 60


def front_matter(
    hosted: Hosted,
    sources: list[str],
    hardware: str | None,
    language: str,
    license_id: str | None,
    preloaded: list[str],
) -> dict[str, object]:
    """
    Return the front matter of README.md, which configures the Space.

    Args:
        hosted ([`~escoita.space.hosted.Hosted`]): The settings of the Space.
        sources (`list[str]`): The repositories of base and adapters.
        hardware (`str`, *optional*): The hardware that is suggested when the Space is duplicated.
        language (`str`): The tag of the spoken language.
        license_id (`str`, *optional*): The Hub's identifier of the adapter's license.
        preloaded (`list[str]`): The repositories that are downloaded when the Space is built, without a token.

    Returns:
        `dict`: The keys and values of the front matter.
    """
    matter: dict[str, object] = {
        "title": " ".join(hosted.title.split()),  # YAML reads some line ends of Unicode as spaces
        "sdk": "gradio",
        "sdk_version": installed_version("gradio"),
        "python_version": PYTHON,
        "app_file": "app.py",
        "short_description": shorten(f"Speech to text: {hosted.title}"),
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


def shorten(text: str) -> str:
    """Return at most 60 characters of a text, cut between words if possible."""
    text = " ".join(text.split())
    if len(text) <= MAX_DESCRIPTION:
        return text
    cut = text[: MAX_DESCRIPTION - 1]
    return f"{cut[: cut.rindex(' ')] if ' ' in cut else cut}…"


def readme(matter: dict[str, object], hosted: Hosted, sources: list[str], repo: str) -> str:
    """
    Return the content of README.md.

    Args:
        matter (`dict`): The result of [`front_matter`].
        hosted ([`~escoita.space.hosted.Hosted`]): The settings of the Space.
        sources (`list[str]`): The repositories of base and adapters, the base first.
        repo (`str`): The Space, `user/space`.
    """
    # The output is Markdown; names of repositories contain no markup, and the title is escaped.
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
\"\"\"Serve the page with the settings in space.yaml.\"\"\"

from pathlib import Path

from escoita.space.hosted import main


if __name__ == "__main__":
    main(Path(__file__).parent)
"""
EXAMPLES = "examples"
# The files of a repository from which a model or an adapter is loaded.
PRELOADED = re.compile(r"\.(safetensors|json|jinja|model|txt)$")
# The proxy of the Hub adds the address of the visitor to X-Forwarded-For.
HUB_PROXY_HOPS = 1


@dataclass(frozen=True)
class Plan:
    """
    Hold a Space before it is pushed.

    Args:
        repo (`str`): The Space, `user/space`.
        hosted ([`~escoita.space.hosted.Hosted`]): The settings of the Space.
        files (`dict[str, bytes]`): The content of each file, by its path in the repository.
        clips (`tuple[Path, ...]`): The local paths of the examples.
        token_for (`tuple[str, ...]`): The repositories for which the Space needs a token: private and gated ones, and
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
    Read the records that were published with an adapter, and plan a Space for it.

    Args:
        api (`HfApi`): The client of the Hub.
        repo (`str`): The Space, `user/space`.
        adapter (`str`): The repository of the adapter: `user/adapter`, `user/adapter@revision` or `name=user/adapter`.
        hardware (`str`, *optional*): The hardware of the Space.
        recipe (`Path`, *optional*): The recipe whose section `space` and examples are used. Defaults to the published
            recipe, without its examples.
        overrides (`list[str]`, *optional*): Overrides of recipe keys, `space.key=value`.
        examples (`Iterable[Path]`): Further examples of the page.
        base_revision (`str`, *optional*): The revision of the base. Defaults to the commit that the adapter was
            trained on.
        allow_other_base (`bool`, *optional*, defaults to `False`): Whether to accept a base with other weights, with a
            warning on the page.

    Raises:
        OtherBaseError: The base has other weights than the adapter was trained on.
        PublishError: An adapter or the base is not a repository of the Hub.
        EscoitaError: An example does not exist, or the Hub does not accept the license.
    """
    source = require_repository(next(iter(named_adapters([adapter]).values())), "--adapter")
    config, generation_settings = _config(source), adapter_record(source)
    base = require_repository(str(config.get("base_model_name_or_path") or ""), "base_model_name_or_path", source)
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
    # A later commit of an adapter or of the base does not change the Space.
    pins = {each: pinned(api, each) for each in adapters}
    further = [_replace_source(each, pins) for each in settings.adapters]
    hosted = hosted.model_copy(
        update={
            "base_revision": resolved.revision,
            "adapters": [_replace_source(adapter, pins)],
            "space": hosted.space.model_copy(update={"adapters": further}),
        }
    )
    adapters = list(pins.values())
    sources = [base, *(split_revision(each)[0] for each in adapters)]
    private = [each for each in dict.fromkeys(sources) if _needs_token(api, each)]
    # The build of a Space downloads without a token.
    entries = {base: _preload_entry(api, base, hosted.base_revision)}
    entries |= {
        name: _preload_entry(api, *split_revision(each)) for name, each in zip(sources[1:], adapters, strict=True)
    }
    preloaded = [entry for each, entry in entries.items() if each not in private and entry]
    license_id = loaded.card.license if loaded and loaded.card.license != "other" else None
    matter = front_matter(hosted, sources, hardware, generation_settings.language, license_id, preloaded)
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
    return Plan(repo, hosted, dict(sorted(files.items())), tuple(clips.values()), (*private, *feedback))


def pinned(api: HfApi, source: str) -> str:
    """
    Return a repository with the commit of its revision, `user/name@commit`.

    Args:
        api (`HfApi`): The client of the Hub.
        source (`str`): The repository, with or without a revision.

    Raises:
        PublishError: The Hub refuses, or there is no such revision.
    """
    repo, revision = split_revision(source)
    with explain_hub_errors(source):
        return f"{repo}@{retrying(repo)(api.model_info, repo, revision=revision).sha}"


def _replace_source(given: str, pins: Mapping[str, str]) -> str:
    """Return `source` or `name=source` with the pinned source."""
    (source,) = named_adapters([given]).values()
    return given.removesuffix(source) + pins[source]


def repositories(hosted: Hosted) -> list[str]:
    """Return the repositories of the adapters of a Space, the default adapter first."""
    return list(named_adapters([*hosted.adapters, *hosted.space.adapters]).values())


def require_repository(name: str, key: str, adapter: str | None = None) -> str:
    """
    Check that a name can be a repository, because a Space cannot read folders of this machine.

    Args:
        name (`str`): The name to check.
        key (`str`): The option or key of the name.
        adapter (`str`, *optional*): The adapter whose configuration contains the key.

    Raises:
        PublishError: The name is not one of a repository.
    """
    if not is_repo_id(split_revision(name)[0]) or Path(name).is_dir():
        raise PublishError(
            "expected a repository of the Hub, USER/NAME", path=adapter, key=key, value=name, hint="publish it first"
        )
    return name


class DuplicateExampleError(EscoitaError):
    """
    Report two examples with the same file name.

    Args:
        other (`Path`): The first example.
    """

    other: Path
    problem = "same file name as {other}"
    hint = "rename one"


def example_files(paths: Iterable[Path]) -> dict[str, Path]:
    """
    Return clips by their path in the repository.

    Args:
        paths (`Iterable[Path]`): The local paths of the clips.

    Raises:
        EscoitaError: A clip does not exist.
        DuplicateExampleError: Two clips have the same file name.
    """
    clips: dict[str, Path] = {}
    for path in paths:
        if not path.is_file():
            raise EscoitaError("file not found", key="example", value=path)
        name = f"{EXAMPLES}/{path.name}"
        if clips.get(name, path).resolve() != path.resolve():
            raise DuplicateExampleError(key="example", value=path, other=clips[name])
        clips[name] = path
    return clips


def require_settings(space: Space, published: bool) -> None:
    """
    Check the section `space` of a recipe without requests to the Hub.

    Args:
        space ([`~escoita.recipe.schema.Space`]): The section of the recipe.
        published (`bool`): Whether the adapter will be published, and therefore also the page may be.

    Raises:
        EscoitaError: An example does not exist, or two examples or adapters have the same name.
        PublishError: An adapter of a published page is not a repository of the Hub.
    """
    example_files(map(Path, space.examples))
    for source in named_adapters(space.adapters).values():
        if published:
            require_repository(source, "space.adapters")


def _recipe(adapter: str, recipe: Path | None, overrides: list[str] | None) -> Recipe | None:
    path = recipe or file_if_any(adapter, "recipe.yaml")
    if path is not None:
        return load_recipe(path, overrides)
    if overrides:
        raise EscoitaError("--set needs a recipe, and none was published", path=adapter, hint="use --recipe")
    return None


def _config(adapter: str) -> dict[str, str | None]:
    return read_object(local_file(adapter, "adapter_config.json"), f"adapter {adapter}")


def _preload_entry(api: HfApi, repo: str, revision: str | None) -> str:
    """Return the entry of `preload_from_hub`; for a revision, the Hub requires file names and a commit."""
    if revision is None:
        return repo
    with explain_hub_errors(repo):
        info = retrying(repo)(api.model_info, repo, revision=revision)
    names = [file.rfilename for file in info.siblings or [] if PRELOADED.search(file.rfilename)]
    return f"{repo} {','.join(names)} {info.sha}" if names and not any(set(", ") & set(name) for name in names) else ""


def _needs_token(api: HfApi, repo: str) -> bool:
    with explain_hub_errors(repo):
        info = retrying(repo)(api.model_info, repo)
    return bool(info.private or info.gated)
