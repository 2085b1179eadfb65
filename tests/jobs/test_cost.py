"""Test prices and cost estimates."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi

from escoita.errors import EscoitaError
from escoita.jobs.cost import Hardware, estimate, hardware
from escoita.records.training import TrainingRecord
from tests.jobs.conftest import A100


def test_prices_of_the_hub(api: HfApi) -> None:
    found = hardware(api, "a100x4")
    assert (found.gpus, found.usd_per_hour, found.price_source) == (4, pytest.approx(12.0), "the Hub")
    assert "4 x Nvidia A100" in found.description and hardware(api, "a100x4", 9.5).usd_per_hour == 9.5
    with pytest.raises(EscoitaError) as error:
        hardware(api, "abacus")
    assert (error.value.key, error.value.value) == ("--flavor", "abacus")
    assert error.value.hint is not None and error.value.hint.endswith("cpu-basic, a100x4")


def test_a_price_is_required_if_the_hub_is_not_available() -> None:
    offline = HfApi(endpoint="http://127.0.0.1:9", token="hf_ana")
    with pytest.raises(EscoitaError) as error:
        hardware(offline, "a100-large")
    assert (error.value.key, error.value.value) == ("--flavor", "a100-large")
    assert hardware(offline, "a100-large", 2.5) == Hardware("a100-large", "", 1, 2.5, "--price")


def test_costs_are_hours_times_price(tmp_path: Path, quickstart_run: Path) -> None:
    limit, expected = estimate(A100, 6 * 3600, 2, tmp_path)
    assert "6 h" in limit and "72.00 USD" in limit and "2 h" in expected and "24.00 USD" in expected
    _, recorded = estimate(A100, 3600, None, quickstart_run)
    hours = TrainingRecord.read(quickstart_run / "training.json").train_seconds / 3600
    assert f"{hours * 12:.2f} USD" in recorded
