"""Test repositories of untrusted authors that could mislead, stop or crash verification."""

import json
import tempfile
from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi

from escoita.cards.listing import FileKindError, SizeLimitError, UnsafeNameError
from escoita.cards.publication import checksums
from escoita.cards.verify import verify as module
from escoita.cards.verify.check import Check
from escoita.cards.verify.recompute import MOST_RESAMPLES
from escoita.cards.verify.verify import verify
from escoita.errors import EscoitaError, PublishError
from escoita.evaluation.aggregate import score
from escoita.evaluation.predictions import parquet
from escoita.evaluation.report.plots import drawings
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.utils.formatting import visible
from tests.cards.publishing import BASE
from tests.cards.verifiable_run import make_verifiable_run, published, write_files
from tests.fuzz.inputs import no_text


pytestmark = pytest.mark.slow


Files = dict[str, bytes]
CARD, RESULTS, BOARD = "README.md", "eval/results.json", ".eval_results/open-asr-leaderboard.yaml"
PREDICTIONS = "eval/clips/predictions.parquet"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
OWN = """{% extends "adapter.md.jinja" %}
{% block results %}{% call section("results") %}
WER 0.01 %
{% endcall %}{% endblock %}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """Return a run; the Hub is unreachable, so that the base is not checked."""
    monkeypatch.setattr(module, "HfApi", partial(HfApi, endpoint="http://127.0.0.1:9", token=False))
    return make_verifiable_run(tmp_path / "run")


def with_recipe(run: RunDirectory, section: str, **changes: Any) -> Files:
    """Return the published files of the run with another recipe."""
    asked = run.load_recipe().model_dump(mode="json")
    asked[section] |= changes
    run.recipe.write_text(Recipe.model_validate(asked).to_yaml(), "utf-8")
    return published(run)


def checked(folder: Path, files: Mapping[str, bytes]) -> dict[str, Check]:
    """Return each check by its subject, after the digests were updated."""
    there = write_files(folder, {**files, "SHA256SUMS": checksums(files)})
    return {check.what: check for check in verify(str(there), score, drawings)}


def test_template_of_the_publisher_is_not_rendered(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.md.jinja").write_text(OWN, "utf-8")
    files = with_recipe(run, "card", template="own.md.jinja")
    assert b"WER 0.01 %" in files[CARD]
    files["card.md.jinja"] = b"{% for a in range(10**12) %}{% endfor %}{{ nothing.at_all }}"
    checks = checked(tmp_path / "there", files)
    assert (checks["card: results"].verdict, checks["card: results"].custom) == ("not checked", True)
    assert "0.01 %" in checks["card: results"].lines[0]
    assert checks["card: evaluation"].verdict == "holds"


def test_rates_for_leaderboards_are_recomputed(run: RunDirectory, tmp_path: Path) -> None:
    asked = {"corpus": "clips", "dataset": "hf-audio/open-asr-leaderboard", "task": "clips"}
    files = with_recipe(run, "hub", benchmarks=[asked])
    assert checked(tmp_path / "true", files)[BOARD].verdict == "holds"
    better = files | {BOARD: files[BOARD].replace(b"value: 10.0", b"value: 1.0")}
    assert list(checked(tmp_path / "better", better)[BOARD].lines) == ["entry 1.value: 1.0 published, 10.0 recomputed"]
    for content in (b"- [", b"[" * 5000):
        assert checked(tmp_path / "broken", files | {BOARD: content})[BOARD].verdict == "differs"
    remaining = {name: content for name, content in files.items() if name != BOARD}
    assert checked(tmp_path / "gone", remaining)[BOARD].verdict == "differs"
    more = files | {".eval_results/more.yml": b"- {value: 0}"}
    assert checked(tmp_path / "more", more)[".eval_results/more.yml"].verdict == "cannot be proven"


@pytest.mark.parametrize(
    "change, line",
    [
        ({"resamples": 0}, "resamples"),
        ({"resamples": -5}, "resamples"),
        ({"resamples": MOST_RESAMPLES + 1}, str(MOST_RESAMPLES + 1)),
        ({"normalizer": "../x"}, "../x"),
    ],
)
def test_record_with_impossible_settings_is_one_line(
    run: RunDirectory, tmp_path: Path, change: dict[str, Any], line: str
) -> None:
    files = published(run)
    record = json.dumps(json.loads(files[RESULTS]) | change).encode()
    check = checked(tmp_path / "there", files | {RESULTS: record})["predictions"]
    assert check.verdict == "differs" and line in check.lines[0]


def test_long_values_of_records_are_shortened(run: RunDirectory, tmp_path: Path) -> None:
    files = published(run)
    record = json.loads(files[RESULTS])
    record["corpora"][0]["language"] = "x" * 100_000
    record["systems"][0]["decoding"]["penalties"] = {"y" * 100_000: 1.0}
    check = checked(tmp_path / "there", files | {RESULTS: json.dumps(record).encode()})[RESULTS]
    assert len(check.lines) == 2 and all(len(line) < 500 for line in check.lines)


@pytest.mark.parametrize(("name", "what"), [("adapter_config.json", "consistency"), ("recipe.yaml", "recipe.yaml")])
def test_deeply_nested_files_are_reported_in_one_line(run: RunDirectory, tmp_path: Path, name: str, what: str) -> None:
    check = checked(tmp_path / "there", published(run) | {name: b"[" * 20_000})[what]
    assert check.verdict == "differs" and len(check.lines) == 1 and "nesting levels" in check.lines[0]


def test_the_number_of_reported_figures_is_limited(run: RunDirectory, tmp_path: Path) -> None:
    files = published(run)
    card = files[CARD].replace(b"## Results", b"## Results " + b"7 " * 500)
    lines = checked(tmp_path / "there", files | {CARD: card})["card: results"].lines
    assert lines[0].endswith("7, 7 and 480 more on the card, nothing recomputed")


@pytest.mark.parametrize("name", ["extra.BIN", "folder/old.Pt", "x.npy", ".cache/x.bin"])
def test_pickles_are_found_for_any_spelling_of_their_name(run: RunDirectory, tmp_path: Path, name: str) -> None:
    checks = checked(tmp_path / "there", published(run) | {name: b"x"})
    assert list(checks["safetensors alone"].lines) == [f"{name}: may contain a pickle"]


MANY = {
    "last marks": b"<!-- escoita:made 000000000000 x -->\n" * 50_000,
    "blocks": b"<!-- escoita:begin a 000000000000 -->\nx\n<!-- escoita:end a -->\n" * 20_000,
}


@pytest.mark.parametrize("kind", MANY)
def test_too_many_marks_are_reported_in_one_line(run: RunDirectory, tmp_path: Path, kind: str) -> None:
    files = published(run)
    checks = checked(tmp_path / "there", files | {CARD: files[CARD] + MANY[kind]})
    assert checks["card"].verdict == "differs" and "500 marks" in checks["card"].lines[0]
    assert checks["eval/results.json"].verdict == "holds"


def test_predictions_that_are_not_text_are_reported_in_one_line(run: RunDirectory, tmp_path: Path) -> None:
    files = published(run)
    table = pq.read_table(BytesIO(files[PREDICTIONS]))
    table = table.set_column(table.schema.get_field_index("hypothesis"), "hypothesis", no_text(len(table)))
    check = checked(tmp_path / "there", files | {PREDICTIONS: parquet(table)})["predictions"]
    assert list(check.lines) == [f"{PREDICTIONS}: not a file of predictions"]


@pytest.mark.parametrize("loss", ["NaN", "Infinity", "-Infinity"])
def test_a_validation_loss_that_is_not_a_number_is_refused(run: RunDirectory, tmp_path: Path, loss: str) -> None:
    files = published(run)
    record = json.loads(files["training.json"])
    record["validation"][-1]["loss"] = loss
    check = checked(tmp_path / "there", files | {"training.json": json.dumps(record).encode()})["numbers"]
    assert check.verdict == "differs" and f"the validation loss of step {record['validation'][-1]['step']}" in str(
        check
    )


@pytest.mark.parametrize(
    "config",
    [
        b"[]",
        b'{"base_model_name_or_path": ["ana/base"]}',
        b'{"base_model_name_or_path": {"a": 1}}',
        b'{"base_model_name_or_path": 5}',
        b'{"base_model_name_or_path": "ana/base", "r": NaN}',
        b'{"base_model_name_or_path": "ana/base", "r": 1' + b"0" * 5000 + b"}",
        b'{"base_model_name_or_path": "' + b"a" * 100_000 + b'"}',
        b"\xff",
    ],
    ids=["list", "base is a list", "base is a mapping", "base is a number", "NaN", "digits", "long name", "bytes"],
)
def test_invalid_configuration_is_one_line(run: RunDirectory, tmp_path: Path, config: bytes) -> None:
    check = checked(tmp_path / "there", published(run) | {"adapter_config.json": config})["weights"]
    assert check.verdict == "differs" and len(check.lines) == 1 and len(check.lines[0]) < 300
    assert "adapter_config.json: " in check.lines[0]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("README.md", b"x" * 5_000_000, SizeLimitError),
        (PREDICTIONS, POINTER, FileKindError),
        ("training.json", POINTER, FileKindError),
        ("\x1b[2Jx.bin", b"", UnsafeNameError),
    ],
)
def test_folder_with_unexpected_files_is_refused(
    run: RunDirectory, tmp_path: Path, name: str, content: bytes, error: type[PublishError]
) -> None:
    folder = str(write_files(tmp_path / "there", published(run) | {name: content}))
    with pytest.raises(error) as refusal:
        verify(folder, score, drawings)
    assert refusal.value.path == folder and visible(name) in str(refusal.value)


def test_checks_contain_no_local_paths(run: RunDirectory, tmp_path: Path) -> None:
    files = published(run)
    for name in ("training.json", "data.json", RESULTS, "adapter_config.json", "recipe.yaml", PREDICTIONS, CARD):
        output = "\n".join(map(str, checked(tmp_path / "there", files | {name: b"{"}).values()))
        assert str(tmp_path) not in output and tempfile.gettempdir() not in output, output


def test_a_base_that_is_not_a_repository_is_reported_in_one_line(run: RunDirectory, tmp_path: Path) -> None:
    asked = run.load_recipe().model_copy(update={"base": "../../../etc"})
    asked.write(run.recipe)
    files = published(run)
    files["recipe.yaml"] = files["recipe.yaml"].replace(BASE.encode(), b"../../../etc")
    check = checked(tmp_path / "there", files)["base's weights"]
    assert check.verdict == "not checked" and check.lines[0].startswith("../../../etc: ")


@pytest.mark.parametrize(("corpus", "text"), [("nope", "a"), ("probes", "a"), ("../clips", "a"), ("clips", None)])
def test_transcripts_of_unknown_clips_are_refused(
    run: RunDirectory, tmp_path: Path, corpus: str, text: str | None
) -> None:
    manifest = tmp_path / "test.jsonl"
    manifest.write_text(json.dumps({"audio_filepath": "a.ogg", "text": text}) if text else "no manifest", "utf-8")
    folder = str(write_files(tmp_path / "there", published(run)))
    with pytest.raises(EscoitaError) as error:
        verify(folder, score, drawings, references=[f"{corpus}={manifest}"])
    assert (error.value.key, error.value.value) == ("--references", f"{corpus}={manifest}")
