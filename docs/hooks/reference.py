"""Generate the reference pages from the commands, the recipe and the records when the site is built."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from griffe import Docstring, DocstringSectionParameters, DocstringSectionText, parse_google
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from escoita.cli.main import app
from escoita.evaluation.predictions import SCHEMA, Provenance
from escoita.recipe.schema import Recipe
from escoita.records.data import DataRecord
from escoita.records.evaluation import EvaluationRecord
from escoita.records.preparation import PreparationRecord
from escoita.records.training import AdapterRecord, Record, TrainingRecord


RECORDS: tuple[type[Record], ...] = (AdapterRecord, TrainingRecord, DataRecord, EvaluationRecord, PreparationRecord)
NAMES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "none"}
LIMITS = {
    "exclusiveMinimum": "over {}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "pattern": "like {}",
}
_CODE = re.compile(r"(`[^`]+`)")
_CROSS = re.compile(r"\[(`\w+`)\]")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference pages to the files of the site."""
    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def pages() -> dict[str, str]:
    """Return the Markdown of each page, by its name."""
    environment = Environment(  # noqa: S701 - Markdown, which `prose` and `code` escape
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"prose": prose, "code": code}

    def page(template: str, **values: Any) -> str:
        return environment.get_template(template).render(values)

    models: list[type[BaseModel]] = [*RECORDS, Provenance]
    return {
        "commands": page("commands.md.jinja", commands=list(commands())),
        "recipe": page("recipe.md.jinja", sections=list(sections(Recipe))),
        "records": page("records.md.jinja", records=[list(sections(model)) for model in models], columns=SCHEMA),
    }


def commands() -> Iterator[dict[str, Any]]:
    """Yield the help of each command, without groups of commands."""
    waiting = [("escoita", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop(0)
        if found := getattr(command, "commands", None):
            waiting[:0] = [(f"{name} {key}", each) for key, each in found.items()]
            continue
        context = typer.Context(command, info_name=name)
        records = [(param, param.get_help_record(context)) for param in command.get_params(context)]
        yield {
            "name": name,
            "help": command.help,
            "usage": " ".join(command.collect_usage_pieces(context)),
            "parameters": [record for param, record in records if record and param.name != "help"],
        }


def sections(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """Yield a model and the models in it, in depth order: title, places, text and rows of keys."""
    schema = model.model_json_schema()
    places: dict[str, list[str]] = {schema["title"]: []}
    kinds = schema.pop("$defs", {}) | {schema["title"]: schema}
    waiting = [schema["title"]]
    for title in waiting:
        kind = kinds[title]
        text, described = parse_docstring(kind.get("description", ""))
        required = kind.get("required", [])
        rows = []
        for key, value in kind.get("properties", {}).items():
            inner = dict.fromkeys(re.findall(r'"#/\$defs/(\w+)"', json.dumps(value)))
            for name in inner:
                if name not in places:
                    places[name] = []
                    waiting.append(name)
                if kinds[name].get("type") == "object":
                    places[name].append(".".join((*places[title][:1], key)))
            rows.append(
                {
                    "key": key,
                    "kind": kind_of(value),
                    "default": "required" if key in required else default_of(value),
                    "text": value.get("description") or described.get(key, ""),
                }
            )
        yield {"title": title, "places": places[title], "text": text, "rows": rows}


def parse_docstring(docstring: str) -> tuple[str, dict[str, str]]:
    """Return the text of a docstring, and the description of each argument."""
    parts = parse_google(Docstring(docstring))
    text = "\n\n".join(part.value for part in parts if isinstance(part, DocstringSectionText))
    arguments = [each for part in parts if isinstance(part, DocstringSectionParameters) for each in part.value]
    return text, {each.name: each.description for each in arguments}


def kind_of(value: dict[str, Any]) -> str:
    """Return the type of a value in Markdown."""
    if reference := value.get("$ref"):
        title = reference.rpartition("/")[2]
        return f"[{title}](#{title.lower()})"
    for choice in ("anyOf", "oneOf"):
        if choice in value:
            return " or ".join(kind_of(each) for each in value[choice])
    if "enum" in value or "const" in value:
        return ", ".join(map(code, value.get("enum") or [value["const"]]))
    if value.get("type") == "array":
        items = value.get("prefixItems")
        return f"list of {', '.join(map(kind_of, items)) if items else kind_of(value.get('items', {}))}"
    if value.get("type") == "object":
        inside = value.get("additionalProperties")
        return f"keys with {kind_of(inside)}" if isinstance(inside, dict) else "keys with anything"
    limits = [limit_text.format(code(value[limit])) for limit, limit_text in LIMITS.items() if limit in value]
    return ", ".join([NAMES[value["type"]] if "type" in value else "anything", *limits])


def default_of(value: dict[str, Any]) -> str:
    """Return the default of a key as YAML; an empty text if it is null or a section."""
    default = value.get("default")
    return "" if default is None or isinstance(default, dict) else str(json.dumps(default)).strip('"')


def prose(text: str | None) -> str:
    """Return a text as a line of Markdown or a cell: text in backticks is code, and other markup is escaped."""
    parts = _CODE.split(_CROSS.sub(r"\1", " ".join((text or "").split())))
    return "".join(code(part[1:-1]) if at % 2 else escaped(part) for at, part in enumerate(parts))


def code(text: object) -> str:
    """Return a text as code, which can be in a cell."""
    return f"<code>{escaped(str(text))}</code>"


def escaped(text: str) -> str:
    """Return a text whose special characters of Markdown, tables and HTML are escaped."""
    return re.sub(r"[&<>|*_\\`{}\[\]]", lambda found: f"&#{ord(found[0])};", text)
