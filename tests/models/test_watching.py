"""Each family tells the tokens that it then returns, and lets a row end by itself."""

from typing import Any

import numpy as np
import pytest
import torch

from escoita.models import family_of
from escoita.models.base import watch_of_row
from escoita.records.training import AdapterRecord, Prompt
from tests.samples import tone


SPOKEN = AdapterRecord(language="gl", prompt=Prompt(user="Listen."), max_new_tokens=8)
CLIPS = [tone(300, 0.4), tone(500, 0.7), tone(700, 0.4)]


@pytest.fixture(scope="module", params=["quickstart/gemma4", "quickstart/phi4"])
def loaded(request: pytest.FixtureRequest) -> Any:
    family = family_of(request.param)
    model = family.load_model(request.param, dtype="float32").eval()
    model.generation_config.eos_token_id = [10**6]  # no row ends by itself
    return family, model, family.load_processor(request.param)


def generated(loaded: Any, clips: list[np.ndarray], watch: Any = None) -> torch.Tensor:
    family, model, processor = loaded
    with torch.inference_mode():
        return family.generate(model, family.encode(processor, clips, SPOKEN.prompt), SPOKEN, watch)


def test_every_token_is_told_at_its_place(loaded: Any) -> None:
    told: dict[tuple[int, int], int] = {}

    def watch(row: int, place: int, token: int) -> bool:
        told[row, place] = token
        return True

    tokens = generated(loaded, CLIPS, watch)
    assert torch.equal(tokens, generated(loaded, CLIPS))
    assert told == {(row, place): int(token) for row, line in enumerate(tokens) for place, token in enumerate(line)}


def test_a_row_that_nobody_wants_ends_and_the_others_go_on(loaded: Any) -> None:
    whole = generated(loaded, CLIPS)
    tokens = generated(loaded, CLIPS, lambda row, place, token: row != 1 or place < 2)
    assert torch.equal(tokens[[0, 2]], whole[[0, 2]])
    assert torch.equal(tokens[1, :3], whole[1, :3])
    assert len(set(tokens[1, 3:].tolist())) == 1  # padding


def test_a_batch_that_nobody_wants_ends(loaded: Any) -> None:
    assert generated(loaded, CLIPS, lambda row, place, token: False).shape == (3, 1)


def test_a_row_of_a_greater_batch_keeps_its_number() -> None:
    assert watch_of_row(lambda *token: token == (4, 7, 99), 4)(0, 7, 99)
