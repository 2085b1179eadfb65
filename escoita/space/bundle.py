"""Collect the files of the package for a Space, and the requirements with their versions."""

from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from escoita.errors import EscoitaError
from escoita.resources import PACKAGE, resource


# The newest version that ZeroGPU supports (https://huggingface.co/docs/hub/spaces-zerogpu).
ZERO_TORCH = "2.11.0"

# The index with builds of torch for CPUs, which take a tenth of the space of those for GPUs.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CPU_BUILD = "+cpu"


def bundle() -> dict[str, bytes]:
    """
    Collect the package, with the texts and templates of the page.

    Returns:
        `dict[str, bytes]`: The content of each file, by its path in the repository of a Space.
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
    """Return whether a path is a hidden file or in the data of a wheel."""
    return any(part.startswith(".") or part == "_data" for part in parts)


def requirements(hardware: str | None, mcp: bool = False, four_bit: bool = False) -> str:
    """
    Return the requirements of a Space, in the versions that are installed here if a Space can install them.

    Args:
        hardware (`str`, *optional*): The hardware of the Space; for ZeroGPU (`zero-…`), torch is `ZERO_TORCH`; for
            `cpu-…`, which is the default of the Hub, it is the build for CPUs.
        mcp (`bool`, *optional*, defaults to `False`): Whether the page is an MCP server.
        four_bit (`bool`, *optional*, defaults to `False`): Whether the base is loaded in 4 bits.

    Returns:
        `str`: The lines of a requirements.txt.

    Raises:
        MissingPackageError: A package is not installed here.
    """
    needed = {each.name for each in map(Requirement, metadata.requires("escoita") or ()) if not each.marker}
    if four_bit:
        needed.add("bitsandbytes")
    on_cpu = (hardware or "cpu-basic").startswith("cpu-")
    lines, allowed = [f"--extra-index-url {CPU_INDEX}\n"] if on_cpu else [], gradio_constraints()
    for name in sorted(needed, key=str.lower):
        extra = "[mcp]" if name == "gradio" and mcp else ""
        on_zero = name == "torch" and (hardware or "").startswith("zero-")
        version = ZERO_TORCH if on_zero else installed_version(name)
        build = CPU_BUILD if name == "torch" and on_cpu else ""
        specifier = allowed.get(canonicalize_name(name), SpecifierSet())
        # If gradio does not allow the version that is installed here, the Space gets a version that it allows.
        lines.append(f"{name}{extra}{specifier if version not in specifier else f'=={version}{build}'}\n")
    return "".join(lines)


def gradio_constraints() -> dict[str, SpecifierSet]:
    """
    Return the versions that gradio allows; the Hub installs `gradio[oauth,mcp]` in every Space.

    Returns:
        `dict[str, SpecifierSet]`: The allowed versions, by normalized name.
    """
    requires = map(Requirement, metadata.requires("gradio") or ())
    return {
        canonicalize_name(each.name): each.specifier
        for each in requires
        if each.marker and any(each.marker.evaluate({"extra": extra}) for extra in ("oauth", "mcp"))
    }


class MissingPackageError(EscoitaError):
    """
    Report a package that the Space needs and that is not installed here.

    Args:
        package (`str`): The name of the package.
    """

    package: str
    problem = "{package} is not installed, and the Space needs it"
    hint = "pip install {package}"


def installed_version(name: str) -> str:
    """
    Return the version of a package that is installed here, without its build (`+cpu`).

    Args:
        name (`str`): The name of the package.

    Raises:
        MissingPackageError: The package is not installed.
    """
    try:
        return metadata.version(name).split("+")[0]
    except metadata.PackageNotFoundError as error:
        raise MissingPackageError(package=name) from error
