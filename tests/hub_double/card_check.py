"""What the Hub is known to refuse in the front matter of a README. The real check refuses more."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from .store import is_repo_id


_FRONT_MATTER = re.compile(r"^\s*---(?:\r\n|\r|\n)([\S\s]*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$)")
_STRING_FIELDS = ("pipeline_tag", "library_name", "license_name", "license_link")
_RELATIONS = ("adapter", "merge", "quantized", "finetune")
_SPACE_SDKS = ("gradio", "docker", "static", "streamlit")


@dataclass
class CardCheck:
    """
    The outcome of a check.

    Args:
        metadata (`dict`):
            The front matter; empty when there is none that can be read.
        errors (`list[str]`):
            Why the Hub refuses the card; empty when it takes it.
        warnings (`list[str]`):
            What it only remarks on.
    """

    metadata: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_card(content: str, repo_type: str) -> CardCheck:
    """
    Check the text of a README.

    Args:
        content (`str`):
            The whole README.
        repo_type (`str`):
            `"model"`, `"dataset"` or `"space"`.
    """
    front_matter = _FRONT_MATTER.match(content)
    if front_matter is None:
        return CardCheck(warnings=["empty or missing yaml metadata in repo card"])
    try:
        metadata = yaml.safe_load(front_matter[1]) or {}
    except yaml.YAMLError as error:
        return CardCheck(errors=[f"Invalid YAML in README.md: {error}"])
    if not isinstance(metadata, dict):
        return CardCheck(errors=["Repo card metadata block should be a dict"])
    errors = [*_check_fields(metadata), *_check_model_index(metadata.get("model-index"))]
    if repo_type == "space" and metadata.get("sdk") not in _SPACE_SDKS:
        errors.append('"sdk" must be one of [gradio, docker, static]')
    return CardCheck(metadata=metadata, errors=errors)


def as_list(value: Any) -> list[Any]:
    """A field that may hold one value or a list, as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _check_fields(metadata: dict[str, Any]) -> Iterator[str]:
    for index, language in enumerate(as_list(metadata.get("language"))):
        if not isinstance(language, str) or language != language.lower():
            yield f'"language[{index}]" must only contain lowercase characters'
    for name, kind in (("base_model", "model"), ("datasets", "dataset")):
        for index, value in enumerate(as_list(metadata.get(name))):
            if not isinstance(value, str) or not is_repo_id(value):
                yield f'"{name}[{index}]" with value "{value}" is not valid. Use a {kind} id from the Hub'
    for name in _STRING_FIELDS:
        if name in metadata and not isinstance(metadata[name], str):
            yield f'"{name}" must be a string'
    if metadata.get("base_model_relation") not in (None, *_RELATIONS):
        yield f'"base_model_relation" must be one of [{", ".join(_RELATIONS)}]'
    tags = metadata.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        yield '"tags" must be an array of strings'


def _check_model_index(model_index: Any) -> Iterator[str]:
    if model_index is None:
        return
    if not isinstance(model_index, list):
        yield '"model-index" must be an array'
        return
    for index, model in enumerate(model_index):
        at = f"model-index[{index}]"
        if not isinstance(_get(model, "name"), str):
            yield f'"{at}.name" is required'
        for number, result in enumerate(as_list(_get(model, "results"))):
            yield from _check_result(result, f"{at}.results[{number}]")


def _check_result(result: Any, at: str) -> Iterator[str]:
    """Check one evaluation result of a model-index."""
    dataset, source = _get(result, "dataset"), _get(result, "source")
    required = {
        "task.type": _get(_get(result, "task"), "type"),
        "dataset.type": _get(dataset, "type"),
        "dataset.name": _get(dataset, "name"),
    }
    yield from (f'"{at}.{name}" is required' for name, value in required.items() if not value)
    for name in ("config", "split", "revision"):
        if not isinstance(_get(dataset, name), str | None):
            yield f'"{at}.dataset.{name}" must be a string'
    for number, metric in enumerate(as_list(_get(result, "metrics")) or [{}]):
        for name in ("type", "value"):
            if _get(metric, name) is None:
                yield f'"{at}.metrics[{number}].{name}" is required'
    if source is not None and not _get(source, "url"):
        yield f'"{at}.source.url" is required'


def _get(mapping: Any, key: str) -> Any:
    """`mapping[key]`, or None where there is no mapping or no such key."""
    return mapping.get(key) if isinstance(mapping, dict) else None
