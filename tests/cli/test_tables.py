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
    rates,
    recipe,
    result,
    system_result,
    training,
    validated_training,
    write_run,
)


def printed(path: Path, record: EvaluationRecord, width: int = 80, trained: TrainingRecord | None = None) -> list[str]:
    run = write_run(path / "run", recipe(), trained, evaluation_record=record)
    console = Console(width=width, record=True, file=(path / "out").open("w", encoding="utf-8"))
    print_summary(run.path, console)
    return console.export_text().splitlines()


def test_the_row_of_the_base_precedes_that_of_the_adapter(tmp_path: Path) -> None:
    lines = printed(tmp_path, evaluation())
    base = next(line for line in lines if " base " in line)
    adapter = lines[lines.index(base) + 1]
    assert any(line.startswith("clips: 1,234 clips") for line in lines)
    assert base.split() == ["base", "1.252", "1.200–1.300", "0.812", "0/0/0", "better"]
    assert adapter.split() == ["adapter", "0.071", "0.065–0.077", "0.023", "0/0/0"]
    assert any("12.6 minutes" in line and "600 steps" in line for line in lines)
    assert f"Results: {tmp_path / 'run/eval/results.json'}" in lines


@pytest.mark.parametrize("normalizer", ["raw", "uzbek"])
def test_the_summary_fits_80_columns(tmp_path: Path, normalizer: str) -> None:
    systems = [system_result(), system_result("base"), system_result("whisper-large-v3-turbo", rates(0.5))]
    same = [difference(), difference("whisper-large-v3-turbo", verdict="no measurable difference")]
    corpora = [result(f"a-corpus-with-a-long-name-{number}", systems, differences=same) for number in range(2)]
    lines = printed(tmp_path, evaluation(*corpora, normalizer=normalizer))
    table = lines[: next(index for index, line in enumerate(lines) if line.startswith("Trained"))]
    assert max(map(len, table)) <= 80
    text = "".join(table)
    for figure in ("0.071", "1.252", "0.500", "0.110", "0.333", "1.200–1.300"):
        assert figure in text
    assert "pooled" in text and "mean" in text and "measurable" in text
    shares = "a-corpus-with-a-long-name-0 100.00 %, a-corpus-with-a-long-name-1 100.00 %"
    assert any(line.endswith(shares) for line in lines)


def test_one_corpus_has_no_total(tmp_path: Path) -> None:
    text = "".join(printed(tmp_path, evaluation()))
    assert "pooled" not in text and "mean of" not in text


def test_throughput_and_validation_wer_are_printed(tmp_path: Path) -> None:
    lines = printed(tmp_path, evaluation(), trained=validated_training())
    assert any(all(number in line for number in ("12.6", "600", "0.251", "143")) for line in lines)
    assert any(all(number in line for number in ("1.265", "0.031", "step 300", "0.024")) for line in lines)


def test_without_validation_wer_no_line_is_printed(tmp_path: Path) -> None:
    points = [point.model_copy(update={"wer": None, "cer": None}) for point in validated_training().validation]
    with_wer = printed(tmp_path / "with", evaluation(), trained=validated_training())
    without = printed(tmp_path / "without", evaluation(), trained=training(validation=points))
    assert any("1.265" in line for line in with_wer) and not any("step" in line.split("steps")[-1] for line in without)


def test_the_normalizer_is_printed(tmp_path: Path) -> None:
    lines = printed(tmp_path, evaluation(normalizer="uzbek"))
    assert any("uzbek" in line for line in lines)


def test_a_table_of_one_system_has_no_empty_column(tmp_path: Path) -> None:
    one = evaluation(result("clips", [system_result("base")]))
    one.write(tmp_path / "results.json")
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w", encoding="utf-8"))
    print_evaluation(tmp_path, console)
    (heading,) = [line for line in console.export_text().splitlines() if line.strip().startswith("system")]
    assert heading.split()[-1] != "is"


def test_an_evaluation_without_a_run_is_printed_with_its_paths(tmp_path: Path) -> None:
    evaluation(normalizer="uzbek").write(tmp_path / "results.json")
    (tmp_path / "report.html").touch()
    console = Console(width=80, record=True, file=(tmp_path / "out").open("w", encoding="utf-8"))
    print_evaluation(tmp_path, console)
    text = console.export_text()
    assert "1.252" in text and "uzbek" in text
    assert text.endswith(f"Results: {tmp_path / 'results.json'}\nReport:  {tmp_path / 'report.html'}\n")


def test_a_run_without_results_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe(), training())
    run.results.unlink()
    with pytest.raises(RecordError):
        print_summary(run.path)


def test_the_summary_in_markdown_is_a_table_with_notes(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe(), validated_training(), evaluation_record=evaluation(normalizer="uzbek"))
    lines = markdown_summary(run.path).splitlines()
    assert lines[0] == f"### `{validated_training().name}`"
    base = next(row for row in lines if "| base |" in row)
    assert base == "| clips | 1234 | base | 1.252 | 1.200–1.300 | 0.812 | 1.252 | 0/0/0 | better |"
    assert lines[lines.index(base) + 1] == "|  |  | adapter | 0.071 | 0.065–0.077 | 0.023 | 0.071 | 0/0/0 |  |"
    assert any(line.startswith("- ") and "uzbek" in line for line in lines)


def test_names_are_escaped_in_markdown(tmp_path: Path) -> None:
    run = write_run(tmp_path, recipe(), evaluation_record=evaluation(result("a_b_c")))
    assert "| a\\_b\\_c |" in markdown_summary(run.path)
