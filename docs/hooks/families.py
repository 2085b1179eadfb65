"""Write the generated parts of docs/families.md; `make families` runs this."""

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from escoita.models.families import FAMILIES, LANGUAGE_LAYERS, FamilyInfo


PAGE = Path(__file__).parents[1] / "families.md"


def generated() -> dict[str, str]:
    """Return the Markdown of each generated part, by the name in its marks."""
    return {
        "families": table(
            (
                "family",
                "`model_type`",
                "bases on the Hub",
                "license",
                "longest clip",
                "method",
                "Unsloth",
                "tried here",
                "experimental",
            ),
            (
                (
                    info.title,
                    codes(info.model_types),
                    codes(info.bases),
                    info.license or "–",
                    info.longest_clip,
                    method(info),
                    "yes" if info.unsloth else "no",
                    info.tried,
                    "yes" if info.experimental else "no",
                )
                for info in FAMILIES
            ),
        ),
        "limits": table(
            ("family", "the limit is"),
            ((titles(families), *values) for values, families in grouped(lambda info: (info.limit,))),
        ),
        "targets": "\n\n".join(targets()),
        "prompts": table(
            ("family", "`prompt.system`", "`prompt.user`"),
            (
                (titles(families), *values)
                for values, families in grouped(lambda info: (info.system_prompt, info.user_prompt))
            ),
        ),
    }


def updated(page: str) -> str:
    """Return a page with its generated parts written again, each between its marks."""
    for name, text in generated().items():
        start = page.index(begin := f"<!-- begin {name} -->") + len(begin)
        page = f"{page[:start]}\n\n{text}\n\n{page[page.index(f'<!-- end {name} -->', start) :]}"
    return page


def targets() -> Iterable[str]:
    """Yield the regular expressions of the language towers and of each audio tower, then the modules."""
    yield f"The language towers of all audio language models:\n\n```\n{LANGUAGE_LAYERS}\n```"
    for info in FAMILIES:
        if info.language_layers not in ("", LANGUAGE_LAYERS):
            yield f"The decoder of {info.title}:\n\n```\n{info.language_layers}\n```"
    for (layers, modules), families in grouped(lambda info: (info.audio_layers, ", ".join(info.modules))):
        if layers:
            yield f"The audio tower of {titles(families)}:\n\n```\n{layers}\n```"
        else:
            yield f"{titles(families)} has none: `kind: modules`, and `modules: [{modules}]`."


def method(info: FamilyInfo) -> str:
    """Return the usual method of a family in a few words."""
    if info.modules:
        return "modules: the audio encoder whole"
    if not info.language_layers:
        return "LoRA on the encoder, or whole layers, and always the head"
    return "LoRA on both towers"


def grouped(values: Callable[[FamilyInfo], tuple[str, ...]]) -> Iterable[tuple[tuple[str, ...], list[FamilyInfo]]]:
    """Yield the different values of the families, each with the families that have it."""
    found: dict[tuple[str, ...], list[FamilyInfo]] = {}
    for info in FAMILIES:
        found.setdefault(values(info), []).append(info)
    return found.items()


def table(header: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def cell(text: str) -> str:
    """Return Markdown for a cell; a vertical bar in code would end the cell."""
    return re.sub(r"`([^`]*\|[^`]*)`", lambda found: f"<code>{escape(found[1]).replace('|', '&#124;')}</code>", text)


def titles(families: Iterable[FamilyInfo]) -> str:
    """Return the names of some families in one line."""
    return ", ".join(info.title for info in families)


def codes(names: Iterable[str]) -> str:
    """Return names as code in one line."""
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), "utf-8")
