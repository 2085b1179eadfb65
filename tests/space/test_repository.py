"""Test the README.md of a Space, and the checks of its repositories and examples."""

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from escoita.errors import EscoitaError, PublishError
from escoita.recipe.schema import Space
from escoita.space.hosted import Hosted
from escoita.space.repository import (
    MAX_DESCRIPTION,
    DuplicateExampleError,
    example_files,
    front_matter,
    readme,
    require_repository,
    shorten,
)


SOURCES = ["ana/base", "ana/uzbek"]


def hosted_with(title: str = "Uzbek", **settings: object) -> Hosted:
    return Hosted(title=title, base="ana/base", adapters=["ana/uzbek"], space=Space.model_validate(settings))


def front_of(text: str) -> dict[str, object]:
    return dict(yaml.safe_load(text.split("---\n")[1]))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
@example("one\x85two")
def test_any_title_is_escaped(title: str) -> None:
    hosted = hosted_with(title)
    matter = front_matter(hosted, SOURCES, None, "uz", "apache-2.0", [])
    text = readme(matter, hosted, SOURCES, "ana/page")
    assert text.startswith("---\n")
    front, body = text[4:].split("\n---\n", 1)
    assert yaml.safe_load(front) == matter
    kinds = [token.type for token in MarkdownIt("commonmark", {"html": True}).parse(body)]
    assert kinds.count("heading_open") == 1 and kinds.count("fence") == 1 and "html_block" not in kinds


@given(st.text())
def test_shorten_limits_any_text(text: str) -> None:
    assert len(shorten(text)) <= MAX_DESCRIPTION


def test_missing_values_are_omitted() -> None:
    matter = front_matter(hosted_with(), SOURCES, None, "uz", None, [])
    assert not {"license", "suggested_hardware", "preload_from_hub"} & set(matter)
    assert "dataset" not in readme(matter, hosted_with(), SOURCES, "ana/page")


def test_corrections_and_the_mcp_server_are_named() -> None:
    hosted = hosted_with(feedback="ana/corrections", mcp=True)
    matter = front_matter(hosted, SOURCES, "zero-a10g", "uz", None, [])
    text = readme(matter, hosted, SOURCES, "ana/page")
    assert "[ana/corrections](https://huggingface.co/datasets/ana/corrections)" in text
    assert "mcp-server" in front_of(text)["tags"]  # type: ignore[operator]


@pytest.mark.parametrize("name", ["./runs/uzbek", "uzbek", ""])
def test_a_folder_is_not_a_repository(name: str) -> None:
    with pytest.raises(PublishError) as caught:
        require_repository(name, "--adapter")
    assert (caught.value.key, caught.value.value) == ("--adapter", name)
    assert require_repository("ana/uzbek@v1", "--adapter") == "ana/uzbek@v1"


def test_examples_have_different_file_names(tmp_path: Path) -> None:
    first, second = tmp_path / "a/clip.wav", tmp_path / "b/clip.wav"
    for path in (first, second):
        path.parent.mkdir()
        path.touch()
    assert example_files([first, first]) == {"examples/clip.wav": first}
    with pytest.raises(DuplicateExampleError) as duplicate:
        example_files([first, second])
    assert (duplicate.value.value, duplicate.value.other) == (second, first)
    with pytest.raises(EscoitaError) as missing:
        example_files([tmp_path / "missing.wav"])
    assert missing.value.value == tmp_path / "missing.wav"
