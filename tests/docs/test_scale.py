"""Check the figures of docs/scale.md against the computation."""

import re
from dataclasses import fields

import pytest

from escoita.jobs.cost import ASSUMED, Assumptions, table, training, transcription
from tests.conftest import ROOT


PAGE = (ROOT / "docs/scale.md").read_text("utf-8")
CLIP_SECONDS = 5
CORPORA = [("650,429 clips", 650_429 * CLIP_SECONDS / 3600), ("100,000 hours", 100_000.0)]


def test_the_table_is_computed() -> None:
    assert table(CORPORA) in PAGE
    assert f"{CORPORA[0][1]:.0f} hours" in PAGE and f"{CLIP_SECONDS} s" in PAGE


def test_the_page_lists_each_assumption_with_its_value() -> None:
    for field in fields(Assumptions):
        assert re.search(rf"\| `{field.name}` \| {getattr(ASSUMED, field.name):g} \|", PAGE), field.name


def test_the_clips_are_those_of_the_recipe() -> None:
    assert "650,429 clips" in (ROOT / "recipes/gemma4-uzbek.yaml").read_text("utf-8")


def test_time_and_price_are_computed_from_the_assumptions() -> None:
    assumed = Assumptions(10, 50, 2, 0.5, 0.25)
    assert training(100, 1, assumed).hours == 10 and training(100, 1, assumed).usd == 20
    assert training(100, 8, assumed).hours == pytest.approx(2.5) and training(100, 8, assumed).usd == pytest.approx(40)
    assert training(100, 16, assumed).hours == pytest.approx(2.5)
    assert transcription(100, 4, assumed).hours == pytest.approx(0.5) and transcription(
        100, 4, assumed
    ).usd == pytest.approx(4)
