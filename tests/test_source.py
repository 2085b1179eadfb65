"""What stands nowhere in the code: what would run somebody else's code, or load what may hold it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT


ROOMS = ["escoita", "training", "eval", "cards", "space", "bench", "docs", "quickstart"]
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
LOADERS = {"torch.load", "numpy.load", "np.load", "yaml.load", "yaml.unsafe_load", "joblib.load", "pickle.loads"}


def dangers(text: str) -> Iterator[str]:
    """Names of what loads pickles, or code of a repository, in a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from {"pickle", "dill", "cloudpickle", "joblib"} & {name.split(".")[0] for name in names}
        elif isinstance(node, ast.Call):
            if ast.unparse(node.func) in LOADERS:
                yield ast.unparse(node.func)
            for keyword in node.keywords:
                allowed = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in ("trust_remote_code", "allow_pickle") and not allowed:
                    yield keyword.arg


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_loads_a_pickle_or_code_of_a_repository(path: Path) -> None:
    assert list(dangers(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "text, found",
    [
        ("import pickle", ["pickle"]),
        ("from joblib import load", ["joblib"]),
        ("torch.load(path)", ["torch.load"]),
        ("load(path, trust_remote_code=True)", ["trust_remote_code"]),
        ("load(path, trust_remote_code=asked)", ["trust_remote_code"]),
        ("load(path, trust_remote_code=False)", []),
    ],
)
def test_what_would_is_found(text: str, found: list[str]) -> None:
    assert list(dangers(text)) == found
