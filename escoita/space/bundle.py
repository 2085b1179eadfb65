"""Which files of escoita a Space needs: those that its page imports, and those of other people's packages, by name."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from escoita.errors import EscoitaError


PACKAGES = ("escoita", "space")
# What app.py of a Space calls; and the families, which are imported by their names.
ROOTS = ("space.hosted", "escoita.models.*")
# Not imported by us, but by transformers and PEFT.
UNSEEN = ("accelerate",)
# The newest that ZeroGPU knows (https://huggingface.co/docs/hub/spaces-zerogpu).
ZERO_TORCH = "2.11.0"


def bundle(source: Path | None = None) -> dict[str, bytes]:
    """
    Collects the part of escoita that a Space needs.

    Imports are followed from [`ROOTS`], those inside functions too; what stands under `if __name__ == "__main__":` or
    `if TYPE_CHECKING:` is not run there and not followed. Beside the modules go the texts and templates of `space`.

    Args:
        source (`Path`, *optional*): Folder that holds the packages; this installation's unless given.

    Returns:
        `dict[str, bytes]`: Content by path in the repository.
    """
    source = source or Path(__file__).parents[1]
    modules = _reached(source)
    files = {path.relative_to(source).as_posix(): path.read_bytes() for path in modules.values()}
    for path in sorted((source / "space").rglob("*")):
        if path.suffix in (".json", ".jinja") and path.is_file():
            files[path.relative_to(source).as_posix()] = path.read_bytes()
    return files


def foreign(files: dict[str, bytes]) -> set[str]:
    """Names of the modules of other people that bundled files import, without those of Python itself."""
    named = {
        module.split(".")[0]
        for path, content in files.items()
        if path.endswith(".py")
        for module in imports(content.decode(), path)
    }
    return named - set(PACKAGES) - sys.stdlib_module_names


def requirements(files: dict[str, bytes], hardware: str | None, mcp: bool = False, four_bit: bool = False) -> str:
    """
    What pip installs in the Space, each in the version that is installed here, with which the page was tried, wherever
    a Space can have that.

    Args:
        files (`dict[str, bytes]`): As [`bundle`] gives them.
        hardware (`str`, *optional*): On ZeroGPU, `zero-…`, torch is the newest that it knows.
        mcp (`bool`, *optional*, defaults to `False`): Language models may call the page.
        four_bit (`bool`, *optional*, defaults to `False`): The base is loaded in 4 bits.

    Returns:
        `str`: Lines of a requirements.txt.

    Raises:
        EscoitaError: One is not installed here.
    """
    # Some are there only on ZeroGPU, which brings them.
    needed = {_distribution(module) for module in foreign(files) - {"spaces", "bitsandbytes"}} | set(UNSEEN)
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


def imports(text: str, path: str) -> Iterator[str]:
    """
    Names that a module imports where it is run as one: `a.b` and, as it may be a module too, `a.b.c` of
    `from a.b import c`.
    """
    waiting: list[ast.AST] = [ast.parse(text, path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _never_run(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def _never_run(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id in ("__name__", "TYPE_CHECKING") for node in ast.walk(test))


def _reached(source: Path) -> dict[str, Path]:
    """Every module of ours that is reached from the roots, and the packages that hold them, by name."""
    waiting: list[str] = []
    for root in ROOTS:
        folder = source.joinpath(*root.split(".")[:-1])
        waiting += (
            [f"{root[:-2]}.{path.stem}" for path in sorted(folder.glob("*.py"))] if root.endswith(".*") else [root]
        )
    reached: dict[str, Path] = {}
    while waiting:
        module = waiting.pop()
        parts = module.split(".")
        # A folder without __init__.py, such as that of texts, is no package.
        package = source.joinpath(*parts, "__init__.py")
        file = package if package.is_file() else source.joinpath(*parts).with_suffix(".py")
        if parts[0] not in PACKAGES or module in reached or not file.is_file():
            continue
        reached[module] = file
        waiting += [".".join(parts[:-1]), *imports(file.read_text("utf-8"), str(file))]
    return dict(sorted(reached.items()))


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def _distribution(module: str) -> str:
    """What pip calls the package of a module."""
    return _distributions().get(module, [module])[0]
