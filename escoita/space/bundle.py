"""Collect what a Space consists of: the files of the package, and the versions of the packages that it needs."""

from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from escoita.errors import EscoitaError
from escoita.resources import PACKAGE, resource


# The newest that ZeroGPU knows (https://huggingface.co/docs/hub/spaces-zerogpu).
ZERO_TORCH = "2.11.0"


def bundle() -> dict[str, bytes]:
    """
    Collect the package, with the texts and templates of the page.

    Returns:
        `dict[str, bytes]`: Content by path in the repository of a Space.
    """
    files = {
        f"escoita/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes()
        for path in sorted(PACKAGE.rglob("*"))
        if path.suffix in (".py", ".json") and not _is_left_out(path.relative_to(PACKAGE).parts)
    }
    for folder in ("space/templates", "space/texts"):
        texts = [path for path in sorted(resource(folder).iterdir()) if path.suffix in (".json", ".jinja")]
        files |= {f"escoita/_data/{folder}/{path.name}": path.read_bytes() for path in texts}
    return files


def _is_left_out(parts: tuple[str, ...]) -> bool:
    """Whether a path belongs to an editor or to the data of a wheel, and not to the package."""
    return any(part.startswith(".") or part == "_data" for part in parts)


def requirements(hardware: str | None, mcp: bool = False, four_bit: bool = False) -> str:
    """
    What pip installs in the Space, each in the version that is installed here, with which the page was tried, wherever
    a Space can have that.

    Args:
        hardware (`str`, *optional*): On ZeroGPU, `zero-…`, torch is the newest that it knows.
        mcp (`bool`, *optional*, defaults to `False`): Language models may call the page.
        four_bit (`bool`, *optional*, defaults to `False`): The base is loaded in 4 bits.

    Returns:
        `str`: Lines of a requirements.txt.

    Raises:
        EscoitaError: One is not installed here.
    """
    needed = {each.name for each in map(Requirement, metadata.requires("escoita") or ()) if not each.marker}
    if four_bit:
        needed.add("bitsandbytes")
    lines, extras = [], with_gradio()
    for name in sorted(needed, key=str.lower):
        extra = "[mcp]" if name == "gradio" and mcp else ""
        on_zero = name == "torch" and (hardware or "").startswith("zero-")
        version = ZERO_TORCH if on_zero else installed(name)
        narrower = extras.get(canonicalize_name(name), SpecifierSet())
        # What is installed here may be what a Space cannot have: then what it can.
        lines.append(f"{name}{extra}{narrower if version not in narrower else f'=={version}'}\n")
    return "".join(lines)


def with_gradio() -> dict[str, SpecifierSet]:
    """
    Versions that a Space can have beside gradio, which the Hub installs as `gradio[oauth,mcp]` in every Space.

    Returns:
        `dict[str, SpecifierSet]`: By name, normalised.
    """
    asked = map(Requirement, metadata.requires("gradio") or ())
    return {
        canonicalize_name(each.name): each.specifier
        for each in asked
        if each.marker and any(each.marker.evaluate({"extra": extra}) for extra in ("oauth", "mcp"))
    }


def installed(name: str) -> str:
    """
    Version of a package that is installed here, without what tells builds apart (`+cpu`).

    Raises:
        EscoitaError: It is not installed.
    """
    try:
        return metadata.version(name).split("+")[0]
    except metadata.PackageNotFoundError as error:
        raise EscoitaError(f"{name}: is not installed here, and the Space needs it; pip install {name}") from error
