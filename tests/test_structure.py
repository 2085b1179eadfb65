"""Check the structure of the package: no import cycles, and dependencies in one direction."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter

from tests.conftest import ROOT


# Each layer may import those before it; only the subpackages of the first one import one another.
LAYERS = [
    {"resources", "errors", "utils"},
    {"records"},
    {"metrics"},
    {"recipe"},
    {"run_directory", "hub", "audio"},
    {"models"},
    {"data", "inference"},
    {"evaluation", "serve", "preparation"},
    {"training", "space", "jobs"},
    {"cards"},
    {"cli"},
]
PATHS = sorted((ROOT / "escoita").rglob("*.py"))
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__") for path in PATHS
}


def imported(text: str) -> Iterator[str]:
    """Yield the modules of the package that a module imports, including imports in functions and for types."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names if alias.name != "__version__"]
            yield from (name if name in MODULES else node.module for name in names if node.module in MODULES)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


def graph() -> dict[str, set[str]]:
    found = {}
    for path in PATHS:
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        found[module] = set(imported(path.read_text("utf-8"))) - {module}
    return found


def test_every_imported_module_exists() -> None:
    missing = []
    for path in [*PATHS, *(ROOT / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("escoita.") and not node.level:
                missing += [f"{path}: {node.module}"] if node.module not in MODULES else []
    assert missing == []


def test_there_are_no_import_cycles() -> None:
    TopologicalSorter(graph()).prepare()  # raises a CycleError that names the modules


def test_subpackages_depend_on_one_another_in_one_direction() -> None:
    level = {name: number for number, names in enumerate(LAYERS) for name in names}
    wrong = []
    for module, others in graph().items():
        for other in others:
            one, two = (name.split(".")[1] if "." in name else "" for name in (module, other))
            # The root exports the public interface, which the package itself does not import.
            allowed = not one or one in ("__main__", "transcribe") or one == two
            if not allowed and not (two and (level[two] < level[one] or {one, two} <= LAYERS[0])):
                wrong.append(f"{module} imports {other}")
    assert wrong == []


def test_nothing_imports_a_script() -> None:
    for path in [*PATHS, *(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.split(".")[0] for name in names} & {"training", "eval", "cards", "space"}, path
