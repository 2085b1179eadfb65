from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from escoita.evaluation.aggregate import score
from escoita.evaluation.report.plots import SHARES, drawings, shares, wer_by_corpus, wer_by_duration, wer_distribution
from escoita.evaluation.report.render import write_report
from escoita.records.evaluation import EvaluationRecord
from escoita.records.plots import figures_in
from tests.evaluation.report_samples import clips_of, quickstart_clips, with_errors, write_hypotheses


TEXTS = ["bir ikki uch toʻrt besh"] * 6


def drawn_text(svg: str) -> list[str]:
    """Return the visible texts of a plot."""
    root = ElementTree.fromstring(svg)  # noqa: S314  # written here
    return ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("eval")


@pytest.fixture(scope="module")
def record(folder: Path) -> EvaluationRecord:
    for clips in (quickstart_clips(12), clips_of(TEXTS, "other")):
        texts = clips.column("text")
        write_hypotheses(
            folder, clips, {"adapter": with_errors(texts, 0.2), "base": with_errors(texts, 0.8, 1), "tiny": texts}
        )
    return score(folder, "uzbek", 50)


def test_corpora_pool_and_systems_are_labeled(record: EvaluationRecord) -> None:
    text = drawn_text(wer_by_corpus(record))
    assert {"quickstart-uz", "other", "pooled", "adapter", "base", "tiny"} <= set(text)
    figures = [f"{100 * each.normalized.wer:.1f}" for result in record.rows for each in result.systems]
    assert [figure for figure in text if "." in figure] == figures


def test_bars_of_durations_show_the_number_of_clips(record: EvaluationRecord) -> None:
    svg = wer_by_duration(record)
    assert svg is not None
    parts = [part for part in record.pooled.slices if part.by == "duration"]
    assert parts and {part.value for part in parts} <= set(drawn_text(svg))
    assert {f"n = {part.n}" for part in parts} <= set(drawn_text(svg))


def test_without_slices_by_duration_there_is_no_plot(record: EvaluationRecord) -> None:
    pooled = record.pooled.model_copy(update={"slices": []})
    assert wer_by_duration(record.model_copy(update={"pooled": pooled})) is None


def test_shares_of_utterances_by_rate() -> None:
    # 3 / 10 is slightly above 0.3 in floating point; the upper bound of a bar is inclusive.
    found = dict(zip(SHARES, shares(np.array([0, 0.05, 0.1, 3 / 10, 0.1 + 0.2, 1.0, 1.01, 20.0])), strict=True))
    assert {label.replace("\N{NO-BREAK SPACE}", ""): part * 8 for label, part in found.items() if part} == {
        "0": 1,
        "≤10": 2,
        "≤30": 2,
        "≤100": 1,
        ">100": 2,
    }
    assert shares(np.zeros(0)) == [0.0] * len(SHARES)


def test_a_perfect_system_and_an_empty_corpus_can_be_drawn(tmp_path: Path) -> None:
    write_hypotheses(tmp_path, clips_of(TEXTS), {"adapter": TEXTS})
    assert "0.0" in drawn_text(wer_by_corpus(score(tmp_path, resamples=20)))
    assert drawn_text(wer_distribution({"adapter": np.zeros(0)}))


def test_the_same_figures_give_the_same_bytes(record: EvaluationRecord) -> None:
    assert wer_by_corpus(record) == wer_by_corpus(record)
    assert wer_by_duration(record) == wer_by_duration(record)
    assert wer_distribution({"a": np.ones(3)}) == wer_distribution({"a": np.ones(3)})


def test_plots_contain_their_figures(record: EvaluationRecord) -> None:
    ours = record.pooled.main_system.normalized
    figures = figures_in(wer_by_corpus(record))
    assert list(figures) == ["other", "quickstart-uz", "pooled"]
    assert figures["pooled"]["adapter"] == [ours.wer, *ours.wer_ci95]
    by_duration = figures_in(wer_by_duration(record) or "")
    assert sum(part["n"] for part in by_duration.values()) == record.pooled.n
    assert figures_in(wer_distribution({"a": np.zeros(3)}))["a"]["0"] == 1


def test_plots_can_be_drawn_again(record: EvaluationRecord, folder: Path) -> None:
    write_report(folder, record)
    drawn = drawings(folder, record)
    assert {path.name: path.read_text("utf-8") for path in folder.glob("*.svg")} == drawn and len(drawn) == 3
