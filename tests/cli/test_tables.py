from pathlib import Path

import pytest
from rich.console import Console

from escoita.cli.tables import markdown_summary, print_evaluation, print_summary
from escoita.errors import RecordError
from escoita.records.evaluation import EvaluationRecord
from escoita.records.training import TrainingRecord
from tests.cards.samples import (
    difference,
    evaluation,
    heard,
    heard_training,
    rates,
    recipe,
    result,
    training,
    write_run,
)


def printed(path: Path, record: EvaluationRecord, width: int = 80, trained: TrainingRecord | None = None) -> list[str]:
    run = write_run(path / "run", recipe(), trained, evaluation_record=record)
    console = Console(width=width, record=True, file=(path / "out").open("w", encoding="utf-8"))
    print_summary(run.path, console)
    return console.export_text().splitlines()


def test_base_and_adapter_stand_one_above_the_other(tmp_path: Path) -> None:
    lines = printed(tmp_path, evaluation())
    base = next(line for line in lines if " base " in line)
    adapter = lines[lines.index(base) + 1]
    assert base.split() == ["clips", "1234", "base", "1.252", "1.200–1.300", "0.812", "0/0/0", "better"]
    assert adapter.split() == ["adapter", "0.071", "0.065–0.077", "0.023", "0/0/0"]
    assert "Trained in 12.6 minutes, 600 steps" in lines
    assert f"Results: {tmp_path / 'run/eval/results.json'}" in lines


@pytest.mark.parametrize("normalizer", ["raw", "uzbek"])
def test_it_fits_eighty_columns(tmp_path: Path, normalizer: str) -> None:
    systems = [heard(), heard("base"), heard("whisper-large-v3-turbo", rates(0.5))]
    same = [difference(), difference("whisper-large-v3-turbo", verdict="no measurable difference")]
    corpora = [result(f"a-corpus-with-a-long-name-{place}", systems, differences=same) for place in range(2)]
    lines = printed(tmp_path, evaluation(*corpora, normalizer=normalizer))
    table = lines[: next(place for place, line in enumerate(lines) if line.startswith("Trained"))]
    assert max(map(len, table)) <= 80
    text = "".join(table)
    for figure in ("0.071", "1.252", "0.500", "0.110", "0.333", "1.200–1.300"):
        assert figure in text
    assert "pooled" in text and "mean" in text and "measurable" in text
    shares = "a-corpus-with-a-long-name-0 100.00 %, a-corpus-with-a-long-name-1 100.00 %"
    assert f"Pooled by words: {shares}" in lines


def test_one_corpus_needs_no_pool(tmp_path: Path) -> None:
    text = "".join(printed(tmp_path, evaluation()))
    assert "pooled" not in text and "mean of" not in text and "normaliser" not in text


def test_how_training_went(tmp_path: Path) -> None:
    lines = printed(tmp_path, evaluation(), trained=heard_training())
    assert "Trained in 12.6 minutes, 600 steps, 0.251 s a step, 143 h of audio an hour" in lines
    assert "WER while training 1.265 at step 0, 0.031 at step 600; kept step 300, WER 0.024" in lines


def test_where_nothing_was_heard_while_training_nothing_is_said_of_it(tmp_path: Path) -> None:
    unheard = [point.model_copy(update={"wer": None, "cer": None}) for point in heard_training().validation]
    lines = printed(tmp_path, evaluation(), trained=training(validation=unheard))
    assert not any(line.startswith("WER while") for line in lines)


def test_a_normaliser_is_named(tmp_path: Path) -> None:
    lines = printed(tmp_path, evaluation(normalizer="uzbek"))
    assert any("normalized by uzbek" in line for line in lines)


@pytest.mark.parametrize("table", [True, False])
def test_an_evaluation_without_a_run_says_what_was_heard_and_where_it_is(tmp_path: Path, table: bool) -> None:
    evaluation(normalizer="uzbek").write(tmp_path / "results.json")
    (tmp_path / "report.html").touch()
    console = Console(width=80, record=True, file=(tmp_path / "out").open("w", encoding="utf-8"))
    print_evaluation(tmp_path, table, console)
    text = console.export_text()
    assert ("1.252" in text and "normalized by uzbek" in text) is table
    assert text.endswith(f"Results: {tmp_path / 'results.json'}\nReport:  {tmp_path / 'report.html'}\n")


def test_a_run_without_results_is_one_line(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe(), training())
    run.results.unlink()
    with pytest.raises(RecordError, match="no such record yet; escoita eval writes it$"):
        print_summary(run.path)


def test_in_markdown_it_is_a_table_and_what_stands_beneath_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe(), heard_training(), evaluation_record=evaluation(normalizer="uzbek"))
    lines = markdown_summary(run.path).splitlines()
    assert lines[0] == f"### `{heard_training().name}`"
    base = next(row for row in lines if "| base |" in row)
    assert base == "| clips | 1234 | base | 1.252 | 1.200–1.300 | 0.812 | 1.252 | 0/0/0 | better |"
    assert lines[lines.index(base) + 1] == "|  |  | adapter | 0.071 | 0.065–0.077 | 0.023 | 0.071 | 0/0/0 |  |"
    assert any(line.startswith("- ") and "normalized by uzbek" in line for line in lines)


def test_in_markdown_no_name_is_markup(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe(), evaluation_record=evaluation(result("a_b_c")))
    assert "| a\\_b\\_c |" in markdown_summary(run.path)
