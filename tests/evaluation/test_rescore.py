import subprocess
import sys
from pathlib import Path

import pytest

from escoita.cards.verify.verify import verify
from escoita.errors import EscoitaError
from escoita.evaluation.aggregate import score
from escoita.evaluation.errors import HashedReferencesError
from escoita.evaluation.predictions import public, read_predictions, write_predictions
from escoita.evaluation.presentation import rescored_text
from escoita.evaluation.report.plots import drawings
from escoita.evaluation.rescore import rescore_folder, rescore_run, rescored
from escoita.records.evaluation import EvaluationRecord, Scoring
from tests.cards.verifiable_run import make_verifiable_run, published, write_files
from tests.conftest import ROOT
from tests.evaluation.samples import write_rows


ROWS = [("Bir, ikki.", "bir ikki", "bir"), ("Uch!", "uch", "Uch!"), ("toʻrt", "toʻrt", "besh")] * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path, ROWS)
    score(tmp_path, "raw", 100).write(tmp_path / "results.json")
    return tmp_path


def stored(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*.parquet")}


def test_another_normalizer_changes_the_rates_and_not_the_predictions(folder: Path) -> None:
    before, predictions = EvaluationRecord.read(folder / "results.json"), stored(folder)
    record = rescore_folder(folder, "basic")
    assert record.pooled.main_system.normalized.wer == 0 < before.pooled.main_system.normalized.wer
    assert record.pooled.main_system.raw == before.pooled.main_system.raw and stored(folder) == predictions
    assert record.rescored == Scoring(normalizer="raw", resamples=100)
    assert EvaluationRecord.read(folder / "results.json") == record and (folder / "report.html").is_file()


def test_the_first_settings_are_kept_until_they_are_used_again(folder: Path) -> None:
    before = EvaluationRecord.read(folder / "results.json")
    rescored(folder, "basic", 50).write(folder / "results.json")
    again = rescored(folder, "uzbek")
    assert again.rescored == Scoring(normalizer="raw", resamples=100) and again.resamples == 50
    again.write(folder / "results.json")
    assert rescored(folder, "raw", 100) == before


def test_words_that_basic_splits_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path, [("नमस्ते दुनिया", "नमस्ते", "दुनिया")] * 3, language="hi")
    score(tmp_path, "unicode", 100).write(tmp_path / "results.json")
    rescored(tmp_path, "basic")
    assert "6 of 6 words" in capsys.readouterr().err
    rescored(tmp_path, "raw")
    assert "words" not in capsys.readouterr().err


def test_another_metric_decides_and_is_disclosed(folder: Path) -> None:
    record = rescored(folder, primary="cer")
    assert record.primary == "cer" and record.rescored == Scoring(normalizer="raw", resamples=100, primary="wer")
    assert all(each.cer is not None for each in record.pooled.differences)
    assert "CER" in rescored_text(record) and "WER" in rescored_text(record)


def test_hashed_references_have_only_the_normalizer_of_their_counts(folder: Path) -> None:
    for path in folder.rglob("*.parquet"):
        write_predictions(public(*read_predictions(path), withheld=True)[0], path)
    with pytest.raises(HashedReferencesError):
        rescored(folder, "basic")


def test_an_unknown_normalizer_and_a_folder_without_results_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EscoitaError) as refusal:
        rescore_folder(folder, "klingon")
    assert (refusal.value.key, refusal.value.value) == ("--normalizer", "klingon")
    with pytest.raises(EscoitaError):
        rescore_folder(tmp_path / "nowhere")


def test_a_rescored_run_is_verified_and_discloses_its_first_settings(tmp_path: Path) -> None:
    run = make_verifiable_run(tmp_path / "run")
    record = rescore_run(run.path, ["eval.normalizer=basic"])
    assert (record.normalizer, record.resamples) == ("basic", 100)
    checks = verify(str(write_files(tmp_path / "published", published(run))), score, drawings)
    assert not [check for check in checks if check.verdict == "differs"]
    assert [check.verdict for check in checks if check.what == "choice of the normalizer"] == ["cannot be proven"]
    assert rescore_run(run.path).rescored is None
    assert rescore_run(run.path, ["eval.primary=cer"]).primary == "cer"
    checks = verify(str(write_files(tmp_path / "by-cer", published(run))), score, drawings)
    assert not [check for check in checks if check.verdict == "differs"]
    with pytest.raises(EscoitaError) as refusal:
        rescore_run(run.path, ["eval.num_beams=5"])
    assert (refusal.value.key, refusal.value.value) == ("--set", "eval.num_beams=5")


def test_an_invented_first_normalizer_is_refused(tmp_path: Path) -> None:
    files = published(make_verifiable_run(tmp_path / "run"))
    record = EvaluationRecord.from_json(files["eval/results.json"])
    invented = Scoring(normalizer="the best one, which won a prize", resamples=100)
    forged = record.model_copy(update={"rescored": invented}).to_json().encode()
    checks = verify(str(write_files(tmp_path / "forged", files | {"eval/results.json": forged})), score, drawings)
    assert {"predictions", "card"} <= {check.what for check in checks if check.verdict == "differs"}


def test_the_command_needs_neither_torch_nor_a_corpus(folder: Path) -> None:
    code = (
        "import sys\nfrom escoita.cli.main import main\n"
        f"sys.argv = ['escoita', 'eval', '--rescore', '--out', {str(folder)!r}, '--normalizer', 'basic']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not {'torch', 'transformers', 'accelerate'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert EvaluationRecord.read(folder / "results.json").normalizer == "basic"


@pytest.mark.parametrize("options", [["--base", "b"], ["--run", "r"], ["--num-beams", "2"], ["--set", "a.b=1"]])
def test_options_of_a_transcription_are_refused(folder: Path, options: list[str]) -> None:
    from typer.testing import CliRunner

    from escoita.cli.main import app

    found = CliRunner().invoke(app, ["eval", "--rescore", "--out", str(folder), *options])
    assert found.exit_code == 2
