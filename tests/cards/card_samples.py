"""Make cards of sample records, and parse them."""

from pathlib import Path

from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from escoita.cards.build import build_card
from escoita.recipe.schema import Recipe
from escoita.records.data import DataRecord
from escoita.records.evaluation import EvaluationRecord
from escoita.records.training import TrainingRecord
from tests.cards.samples import (
    recipe,
    write_run,
)


MARKDOWN = MarkdownIt("commonmark").enable("table")
TWO = {
    "test": [
        {"name": "clips", "path": "a.jsonl", "title": "Some clips"},
        {"name": "more", "path": "b.jsonl", "title": "More"},
    ]
}


def make_card(
    path: Path,
    chosen: Recipe | None = None,
    training_record: TrainingRecord | None = None,
    evaluation_record: EvaluationRecord | None = None,
    data_record: DataRecord | None = None,
    base: str = "user/base",
    adapter: str = "user/adapter",
) -> str:
    chosen = chosen or recipe()
    run = write_run(path, chosen, training_record, evaluation_record, data_record)
    return build_card(run, chosen, base, adapter)


def table_rows(card: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, rendered from Markdown."""
    tokens = MARKDOWN.parse(ModelCard(card).text)
    start = next(i for i, token in enumerate(tokens) if token.type == "inline" and token.content == heading)
    rows: list[list[str]] = []
    for token in tokens[start + 1 :]:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            rows[-1].append("".join(child.content for child in token.children or []))
    return rows


def headings(card: str) -> list[str]:
    tokens = MARKDOWN.parse(ModelCard(card).text)
    return [after.content for token, after in zip(tokens, tokens[1:], strict=False) if token.type == "heading_open"]


def code_blocks(card: str) -> list[str]:
    return [token.content for token in MARKDOWN.parse(ModelCard(card).text) if token.type == "fence"]
