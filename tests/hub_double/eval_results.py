"""Read results for the leaderboards of benchmarks from `.eval_results/*.yaml` of a model.

A commit with an invalid file is not refused: the file is listed with its problems.
"""

import re
from datetime import date, datetime
from typing import Any

import yaml

from .blobs import BlobStore
from .store import Tree, is_repo_id


_FILE = re.compile(r"\.eval_results/[^/]+\.ya?ml")


def read_eval_results(tree: Tree, blobs: BlobStore) -> list[dict[str, Any]]:
    """Return the results of all files of a tree, in the form of `evalResults` of a model."""
    results: list[dict[str, Any]] = []
    for path, entry in sorted(tree.items()):
        if _FILE.fullmatch(path) is None:
            continue
        try:
            entries = _entries(yaml.safe_load(blobs.text(entry)))
        except (ValueError, yaml.YAMLError) as error:
            results.append({"filename": path, "error": str(error)})
        else:
            results += [{"filename": path, "data": data, "verified": False} for data in entries]
    return results


def _entries(content: Any) -> list[dict[str, Any]]:
    """
    Return the entries of a file.

    Raises:
        `ValueError`: the content is not a list of results.
    """
    if not isinstance(content, list):
        raise ValueError("must be a list")
    for number, entry in enumerate(content):
        for problem in _problems(entry):
            raise ValueError(f"[{number}].{problem}")
    return content


def _problems(entry: Any) -> list[str]:
    """Yield the problems of one result."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dataset"), dict):
        return ["dataset is required"]
    dataset, value, source = entry["dataset"], entry.get("value"), entry.get("source")
    checks = {
        "dataset.id must be the id of a dataset": isinstance(dataset.get("id"), str) and is_repo_id(dataset["id"]),
        "dataset.task_id is required": isinstance(dataset.get("task_id"), str),
        "value must be a number": isinstance(value, int | float) and not isinstance(value, bool),
        "date must be an ISO 8601 date": _is_date(entry.get("date")),
        "source.url is required": source is None or (isinstance(source, dict) and bool(source.get("url"))),
        "notes must be a string": isinstance(entry.get("notes", ""), str),
    }
    return [problem for problem, holds in checks.items() if not holds]


def _is_date(value: Any) -> bool:
    if value is None or isinstance(value, date):
        return True
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True
