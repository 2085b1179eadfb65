"""Tokens told as they come, while a batch of clips is heard."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList


# Told the row of a batch, the place of a token in its transcript, and the token; answers whether the row is to go on.
# A row may begin anew, at place 0, where memory ran out. One that has ended is told its padding.
Watch = Callable[[int, int, int], bool]


class Watching(StoppingCriteria):
    """
    Asked by `generate` after each token, once for the whole batch: the only place at which a row can end by itself.

    Args:
        watch ([`Watch`]): Told of each token.
        told (`int`): Length of the prompt, in tokens.
    """

    def __init__(self, watch: Watch, told: int):
        self.watch, self.told = watch, told

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        place = input_ids.shape[1] - self.told - 1
        on = [self.watch(row, place, token) for row, token in enumerate(input_ids[:, -1].tolist())]
        return ~torch.tensor(on, device=input_ids.device)


def watched(watch: Watch | None, told: int) -> dict[str, Any]:
    """What `generate` takes so that it is watched; nothing where nobody watches."""
    return {} if watch is None else {"stopping_criteria": StoppingCriteriaList([Watching(watch, told)])}


def of_row(watch: Watch, row: int) -> Watch:
    """For a batch that holds one row of a greater one alone."""
    return lambda _, place, token: watch(row, place, token)
