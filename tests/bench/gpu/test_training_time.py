"""Test the estimate of training times, and that docs/gpu.md shows it."""

import pytest

from bench.gpu.training_time import GALICIAN, GPUS, UZBEK, Gpu, Work, step_seconds, time_table
from tests.conftest import ROOT


PAGE = ROOT / "docs/gpu.md"
BY_NAME = {gpu.name: gpu for gpu in GPUS}


@pytest.mark.parametrize("gpu, hours", [("RTX 4090", 16), ("RTX 5090 laptop", 25), ("H100", 8)])
def test_the_uzbek_recipe_takes_about_as_long_as_expected(gpu: str, hours: float) -> None:
    estimated = step_seconds(UZBEK, BY_NAME[gpu]) * UZBEK.steps / 3600
    assert hours / 1.3 < estimated < hours * 1.3


def test_a_slow_gpu_computes_and_a_fast_one_waits_for_the_host() -> None:
    work = Work("a", 10, tokens=1000, frozen=1e9, audio_frames=0, audio=0, passes=1, read=0, kernels=1000)
    slow, fast = Gpu("slow", 10, 1000), Gpu("fast", 10_000, 1000)
    assert step_seconds(work, slow) == pytest.approx(2 * 3 * 1000 * 1e9 / (0.4 * 10e12))
    assert step_seconds(work, fast) == pytest.approx(0.029)


def test_reading_weights_takes_time() -> None:
    work = Work("a", 10, tokens=0, frozen=0, audio_frames=0, audio=0, passes=2, read=1e9, kernels=0)
    assert step_seconds(work, Gpu("a", 10, 500)) == pytest.approx(3 * 2 * 1 / 500)


def test_the_page_shows_the_table() -> None:
    assert time_table([UZBEK, GALICIAN]) in PAGE.read_text("utf-8")


def test_the_steps_are_those_of_the_recipe() -> None:
    assert f"{UZBEK.steps:,} steps" in (ROOT / "recipes/gemma4-uzbek.yaml").read_text("utf-8")
