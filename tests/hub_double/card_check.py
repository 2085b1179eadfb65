"""Check the front matter of a README like the Hub, as far as its rules are known. The real check refuses more.

Sources are its documentation, messages in issues, and the list of refused cards in
https://github.com/espnet/espnet_model_zoo/pull/102: a language that is not an ISO 639 code, a key without a value, a
dataset or base that is not an id, an unknown license, an incomplete model-index.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from .known import LICENSES, PIPELINE_TAGS
from .store import is_repo_id


_FRONT_MATTER = re.compile(r"^\s*---(?:\r\n|\r|\n)([\S\s]*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|$)")
_STRING_FIELDS = ("pipeline_tag", "library_name", "license_name", "license_link")
_RELATIONS = ("adapter", "merge", "quantized", "finetune")
_LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")
_LICENSE_NAME = re.compile(r"[a-z0-9\-.]+")
_LICENSE_FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt")
_NEVER_EMPTY = (
    *("language", "license", "datasets", "base_model", "base_model_relation", "tags", "metrics", "model-index"),
    *_STRING_FIELDS,
)
_SPACE_SDKS = ("gradio", "docker", "static", "streamlit")


@dataclass
class CardCheck:
    """
    Store the result of a check.

    Args:
        metadata (`dict`):
            Front matter; empty if it is missing or invalid.
        errors (`list[str]`):
            Reasons for a refusal; empty if the card is accepted.
        warnings (`list[str]`):
            Warnings.
    """

    metadata: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_card(content: str, repo_type: str) -> CardCheck:
    """
    Check the text of a README.

    Args:
        content (`str`):
            Text of the README.
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
    return CardCheck(metadata=metadata, errors=errors, warnings=list(_remarks(metadata)))


def as_list(value: Any) -> list[Any]:
    """Return a field with one value or a list as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _check_fields(metadata: dict[str, Any]) -> Iterator[str]:
    yield from (f'"{name}" must not be empty' for name in _NEVER_EMPTY if metadata.get(name, "") is None)
    for index, language in enumerate(as_list(metadata.get("language"))):
        if not isinstance(language, str):  # also `no`, which YAML reads as false
            yield f'"language[{index}]" must be a string'
        elif language != language.lower():
            yield f'"language[{index}]" must only contain lowercase characters'
        elif _LANGUAGE.fullmatch(language) is None:
            yield f'"language[{index}]" with value "{language}" is not valid. Use an ISO 639 code of 2 or 3 letters'
    for name, kind in (("base_model", "model"), ("datasets", "dataset")):
        for index, value in enumerate(as_list(metadata.get(name))):
            if not isinstance(value, str) or not is_repo_id(value):
                yield f'"{name}[{index}]" with value "{value}" is not valid. Use a {kind} id from the Hub'
    for name in _STRING_FIELDS:
        if not isinstance(metadata.get(name), str | None):
            yield f'"{name}" must be a string'
    if metadata.get("base_model_relation") not in (None, *_RELATIONS):
        yield f'"base_model_relation" must be one of [{", ".join(_RELATIONS)}]'
    for name in ("tags", "metrics"):
        values = metadata.get(name) or []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            yield f'"{name}" must be an array of strings'
    yield from _check_license(metadata)


def _check_license(metadata: dict[str, Any]) -> Iterator[str]:
    for license_id in as_list(metadata.get("license")):
        if not isinstance(license_id, str) or license_id not in LICENSES:
            yield f'"license" with value "{license_id}" is not valid. Use an id from the Hub, or "other"'
    name, link = metadata.get("license_name"), metadata.get("license_link")
    if isinstance(name, str) and _LICENSE_NAME.fullmatch(name) is None:
        yield f'"license_name" with value "{name}" must match {_LICENSE_NAME.pattern}'
    if isinstance(link, str) and link not in _LICENSE_FILES and not link.startswith(("https://", "http://")):
        yield f'"license_link" with value "{link}" must be a URL or one of [{", ".join(_LICENSE_FILES)}]'


def _remarks(metadata: dict[str, Any]) -> Iterator[str]:
    """Yield a warning for each value that the Hub accepts but ignores."""
    tag = metadata.get("pipeline_tag")
    if isinstance(tag, str) and tag not in PIPELINE_TAGS:
        yield f'"pipeline_tag" with value "{tag}" is not in the official list'
    if "other" in as_list(metadata.get("license")) and not metadata.get("license_name"):
        yield '"license: other" says nothing without "license_name" and "license_link"'


def _check_model_index(model_index: Any) -> Iterator[str]:
    if model_index is None:
        return
    if not isinstance(model_index, list):
        yield '"model-index" must be an array'
        return
    for index, model in enumerate(model_index):
        at = f"model-index[{index}]"
        results = _get(model, "results")
        if not isinstance(_get(model, "name"), str):
            yield f'"{at}.name" is required'
        if not isinstance(results, list):
            yield f'"{at}.results" must be an array'
            continue
        for number, result in enumerate(results):
            yield from _check_result(result, f"{at}.results[{number}]")


def _check_result(result: Any, at: str) -> Iterator[str]:
    """Check one evaluation result of a model-index."""
    dataset, source, metrics = (_get(result, name) for name in ("dataset", "source", "metrics"))
    required = {
        "task.type": _get(_get(result, "task"), "type"),
        "dataset.type": _get(dataset, "type"),
        "dataset.name": _get(dataset, "name"),
    }
    for name, value in required.items():
        if not value:
            yield f'"{at}.{name}" is required'
        elif not isinstance(value, str):
            yield f'"{at}.{name}" must be a string'
    for name in ("config", "split", "revision"):
        if not isinstance(_get(dataset, name), str | None):
            yield f'"{at}.dataset.{name}" must be a string'
    if not isinstance(metrics, list) or not metrics:
        yield f'"{at}.metrics" must be an array with at least one metric'
        return
    for number, metric in enumerate(metrics):
        value = _get(metric, "value")
        if not isinstance(_get(metric, "type"), str):
            yield f'"{at}.metrics[{number}].type" is required'
        if value is None or (isinstance(value, float) and not math.isfinite(value)):  # JSON has no NaN
            yield f'"{at}.metrics[{number}].value" is required'
    if source is not None and not str(_get(source, "url") or "").startswith(("https://", "http://")):
        yield f'"{at}.source.url" must be a URL'


def _get(mapping: Any, key: str) -> Any:
    """Return `mapping[key]`, or None without a mapping or key."""
    return mapping.get(key) if isinstance(mapping, dict) else None
