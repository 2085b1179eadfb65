"""Check in the source that no code of a repository is trusted, and that no library that unpickles is imported."""

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT


PICKLING = {"pickle", "dill", "cloudpickle", "joblib"}


def dangers(text: str) -> Iterator[str]:
    """Yield the names of libraries that unpickle, and of arguments that trust a repository."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from PICKLING & {name.split(".")[0] for name in names}
        elif isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
            yield from [] if ast.unparse(node.value) == "False" else [node.arg]


def test_nothing_unpickles_or_trusts_a_repository() -> None:
    folders = ["escoita", "training", "eval", "cards", "space", "bench", "docs", "quickstart"]
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 150
    assert {path: found for path in paths if (found := list(dangers(path.read_text("utf-8"))))} == {}


@pytest.mark.parametrize(
    "text, found",
    [
        ("from joblib import load", ["joblib"]),
        ("load(path, trust_remote_code=asked)", ["trust_remote_code"]),
        ("load(path, trust_remote_code=False)", []),
    ],
)
def test_dangerous_code_is_found(text: str, found: list[str]) -> None:
    assert list(dangers(text)) == found
