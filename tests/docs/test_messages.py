"""Limit the phrases of phrases.txt in the messages of errors, warnings and logs."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT
from tests.docs.test_phrases import found


# Functions whose text arguments are shown to the user.
SHOWN_BY = ("say", "_warn", "warn", "warning", "echo", "Finding", "track", "print")


def texts(node: ast.AST) -> str:
    """Return the constant text of an expression; of an f-string, the text between the values."""
    return " ".join(
        part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def messages(source: str) -> Iterator[str]:
    """Yield the texts of each call that makes an error or shows a line, and of each error template."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name.endswith(("Error", "Exit", "BadParameter")) or name in SHOWN_BY:
                yield " ".join(texts(part) for part in [*node.args, *(each.value for each in node.keywords)])
        elif isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
            for part in node.body:
                target = part.targets[0] if isinstance(part, ast.Assign) else getattr(part, "target", None)
                if isinstance(target, ast.Name) and target.id in ("problem", "hint") and (value := part.value):  # type: ignore[attr-defined]
                    yield texts(value)


def test_texts_of_calls_and_templates_are_found() -> None:
    source = """
class OddError(EscoitaError):
    problem = "is told {x}"
    hint: str = "listen anew"
raise OddError(f"{path}: nobody hears {x}", hint="likewise")
say("as it stands")
unrelated("heard")
"""
    assert found({"module": " | ".join(messages(source))}).total() == 5


def test_no_message_has_a_phrase_that_needs_a_second_reading() -> None:
    all_texts = {
        path.relative_to(ROOT).as_posix(): " | ".join(messages(path.read_text("utf-8")))
        for path in sorted(Path(ROOT / "escoita").rglob("*.py"))
    }
    assert sum(len(text.split()) for text in all_texts.values()) > 4_500
    assert not found(all_texts), dict(found(all_texts))
