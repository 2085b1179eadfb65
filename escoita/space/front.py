"""README.md of a Space: what the Hub is told in its front matter, and what a reader finds below."""

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from escoita.utils.markdown import line
from escoita.space.app import UPLOAD_LIFE
from escoita.space.bundle import installed
from escoita.space.hosted import Hosted


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
        loader=PackageLoader("space"), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"line": line}
    front = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True, width=10_000)
    return environment.get_template("space.md.jinja").render(
        front=front, hosted=hosted, sources=sources, repo=repo, minutes=sum(UPLOAD_LIFE) // 60
    )
