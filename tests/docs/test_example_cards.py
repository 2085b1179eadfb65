from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from escoita.cards.front_matter import blocks


FOLDER = Path(__file__).parents[2] / "docs/examples"


@pytest.mark.parametrize("name, words", [("gemma4-uzbek", "LoRA"), ("phi4-galician", "fully fine-tuned modules")])
def test_an_example_card_states_that_it_is_one_and_is_current(name: str, words: str) -> None:
    card = (FOLDER / name / "README.md").read_text("utf-8")
    made = blocks(card)
    assert not any(block.edited for block in made) and {"results", "usage", "training"} <= {
        block.name for block in made
    }
    assert made[0].text.startswith(
        "> **An example of a card, not of a model.** Every figure here is of escoita's quick"
    )
    assert words in card
    tokens = MarkdownIt("commonmark").enable("table").parse(card.split("\n---\n", 1)[1])
    images = [child.attrs["src"] for token in tokens for child in token.children or [] if child.type == "image"]
    assert len(images) > 3 and all((FOLDER / name / str(image)).is_file() for image in images)
