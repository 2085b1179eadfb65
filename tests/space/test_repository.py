"""README.md of a Space."""

import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from escoita.recipe.schema import Space
from escoita.space.hosted import Hosted
from escoita.space.repository import SHORT, front_matter, readme, short


SOURCES = ["ana/base", "ana/uzbek"]


def about(title: str = "Uzbek", **settings: object) -> Hosted:
    return Hosted(title=title, base="ana/base", adapters=["ana/uzbek"], space=Space.model_validate(settings))


def front_of(text: str) -> dict[str, object]:
    return dict(yaml.safe_load(text.split("---\n")[1]))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
@example("one\x85two")
def test_no_title_breaks_the_front_matter_or_becomes_markup(title: str) -> None:
    hosted = about(title)
    matter = front_matter(hosted, SOURCES, None, "uz", "apache-2.0", [])
    text = readme(matter, hosted, SOURCES, "ana/page")
    assert text.startswith("---\n")
    front, body = text[4:].split("\n---\n", 1)
    assert yaml.safe_load(front) == matter
    kinds = [token.type for token in MarkdownIt("commonmark", {"html": True}).parse(body)]
    assert kinds.count("heading_open") == 1 and kinds.count("fence") == 1 and "html_block" not in kinds


@given(st.text())
def test_a_short_description_is_short(text: str) -> None:
    assert len(short(text)) <= SHORT


def test_what_is_not_there_is_not_named() -> None:
    matter = front_matter(about(), SOURCES, None, "uz", None, [])
    assert not {"license", "suggested_hardware", "preload_from_hub"} & set(matter)
    assert "dataset" not in readme(matter, about(), SOURCES, "ana/page")


def test_a_page_that_takes_corrections_or_serves_language_models_says_so() -> None:
    hosted = about(feedback="ana/corrections", mcp=True)
    matter = front_matter(hosted, SOURCES, "zero-a10g", "uz", None, [])
    text = readme(matter, hosted, SOURCES, "ana/page")
    assert "[ana/corrections](https://huggingface.co/datasets/ana/corrections)" in text
    assert "mcp-server" in front_of(text)["tags"]  # type: ignore[operator]
