"""Test that any published file is read, compared or refused with one line, and that verification always ends."""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from escoita.cards.listing import require_plain
from escoita.cards.publication import checksums
from escoita.cards.verify import verify as module
from escoita.cards.verify.adapter import base_of
from escoita.cards.verify.check import Check
from escoita.cards.verify.front_matter import front_matter
from escoita.cards.verify.published_files import check_files, check_leaderboards
from escoita.cards.verify.verify import print_checks, verify
from escoita.errors import EscoitaError
from escoita.evaluation.aggregate import score
from escoita.evaluation.counts import read_counts
from escoita.evaluation.prediction_folder import read_folder
from escoita.evaluation.report.plots import drawings
from escoita.hub.scan import scan
from escoita.records.data import DataRecord
from escoita.records.evaluation import EvaluationRecord
from escoita.records.plots import figures_in
from escoita.records.training import AdapterRecord, TrainingRecord
from escoita.utils.formatting import is_hidden
from tests.cards.verifiable_run import make_verifiable_run, published, write_files
from tests.fuzz.inputs import TRIED, altered, batched, batches, fuzzed, mutated, survivors
from tests.fuzz.test_texts import written


Files = Mapping[str, bytes]
# The number of complete verifications, each of which takes a quarter of a second.
few = settings(fuzzed, max_examples=max(5, TRIED // 20))
JSON = ("training.json", "data.json", "eval/results.json", "adapter_config.json", "escoita.json")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return published(make_verifiable_run(tmp_path_factory.mktemp("open") / "run"))


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return published(make_verifiable_run(tmp_path_factory.mktemp("hidden") / "run", hidden=True))


def tried_on(inputs: st.SearchStrategy[bytes], name: str, read: Callable[[Path], Any], profile: Any = fuzzed) -> None:
    """Read each input from a file; an error is one line with the name of the file."""

    @profile
    @given(inputs)
    def tried(content: bytes) -> None:
        with written(content, name) as path:
            try:
                read(path)
            except EscoitaError as error:
                assert path.name in str(error) and "\n" not in str(error) and len(str(error)) < 1000

    tried()


READERS: dict[str, Callable[[Path], Any]] = {
    "training.json": lambda path: TrainingRecord.read(path).to_json(),
    "data.json": lambda path: DataRecord.read(path).histograms,
    "eval/results.json": lambda path: EvaluationRecord.read(path).to_json(),
    "escoita.json": lambda path: AdapterRecord.read(path).to_json(),
    "adapter_config.json": lambda path: base_of(path.parent),
}


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("how", ["values", "bytes"])
def test_json_is_read_or_refused(files: Files, name: str, how: str) -> None:
    inputs = altered([json.loads(files[name])]) if how == "values" else mutated([files[name]])
    tried_on(inputs, Path(name).name, READERS[name])


def test_digests_are_compared_or_refused(files: Files) -> None:
    def read(path: Path) -> None:
        (path.parent / "README.md").write_text("x")
        for check in check_files(path.parent):
            assert all("\n" not in line for line in check.lines)

    tried_on(mutated([files["SHA256SUMS"]]), "SHA256SUMS", read)


@pytest.mark.parametrize("name", ["training.svg", "data/durations.svg", "eval/wer-by-corpus.svg"])
def test_the_data_of_a_plot_are_read_or_none(files: Files, name: str) -> None:
    plot = files[name].decode()
    (figures,) = re.findall("<metadata>(.*?)</metadata>", plot)

    @fuzzed
    @given(altered([json.loads(figures)]) | mutated([files[name]]))
    def tried(content: bytes) -> None:
        text = content.decode("utf-8", "replace")
        found = figures_in(text if text.startswith("<") else plot.replace(figures, text))
        json.dumps(found, allow_nan=False)

    tried()


def test_the_header_of_safetensors_is_scanned_or_refused(files: Files) -> None:
    @fuzzed
    @given(mutated([files["adapter_model.safetensors"]]))
    def tried(content: bytes) -> None:
        try:
            scan({"adapter_model.safetensors": content})
        except EscoitaError as error:
            assert "\n  adapter_model.safetensors" in str(error)

    tried()


def test_front_matter_is_read_or_refused(files: Files) -> None:
    front = files["README.md"].split(b"\n---\n")[0] + b"\n---\n"

    @fuzzed
    @given(mutated([front, b"---\nbase_model: [a]\nmodel-index:\n- results: []\n---\n"]))
    def tried(content: bytes) -> None:
        try:
            front_matter(content.decode("utf-8", "replace"))
        except EscoitaError as error:
            assert str(error).startswith("README.md: ") and "\n" not in str(error)

    tried()


def test_leaderboard_files_are_compared(files: Files) -> None:
    expected = b"- dataset: {id: a/b, task_id: clips}\n  value: 10.0\n  date: '2026-01-01'\n"

    @fuzzed
    @given(mutated([expected]) | altered([[{"value": 1.0}]]))
    def tried(content: bytes) -> None:
        with written(b"", "x") as path:
            folder = write_files(path.parent, {".eval_results/clips.yaml": content})
            assert len(list(check_leaderboards(folder, {".eval_results/clips.yaml": expected}))) == 1

    tried()


def test_counts_are_read_or_refused(hidden: Files, tmp_path: Path) -> None:
    folder = write_files(tmp_path, hidden) / "eval"
    (corpus,) = read_folder(folder, ["clips"])[1]

    @batched
    @given(batches(mutated([hidden["eval/clips/counts.parquet"]])))
    def tried(contents: list[bytes]) -> None:
        with survivors(contents, "counts.parquet") as paths:
            for path in paths:
                try:
                    read_counts(path, corpus, "raw")
                except EscoitaError as error:
                    assert "counts.parquet" in str(error) and "\n" not in str(error)

    tried()


@fuzzed
@given(st.dictionaries(st.text() | st.text("a/.\\A:\0é", max_size=8), st.integers(0, 1 << 40), max_size=8))
def test_a_list_of_files_is_accepted_or_refused(sizes: dict[str, int]) -> None:
    try:
        require_plain("ana/uzbek", sizes)
    except EscoitaError as error:
        assert not any(map(is_hidden, str(error))) and len(str(error)) < 500
    else:
        assert not any(name.startswith("/") or ".." in name.split("/") or "\0" in name for name in sizes)
        assert len({name.lower() for name in sizes}) == len(sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*JSON, "README.md", "recipe.yaml", "training.svg", "eval/clips/predictions.parquet"])
def test_verification_returns_checks_or_one_line(files: Files, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub cannot be reached."""
    monkeypatch.setattr(module, "HfApi", partial(HfApi, endpoint="http://127.0.0.1:9", token=False))
    inputs = altered([json.loads(files[name])]) if name in JSON else mutated([files[name]])

    @few
    @given(inputs)
    def tried(content: bytes) -> None:
        with written(b"", "x") as path:
            changed = {**files, name: content}
            folder = write_files(path.parent / "folder", changed | {"SHA256SUMS": checksums(changed)})
            try:
                checks: list[Check] = verify(str(folder), score, drawings)
            except EscoitaError as error:
                assert "\n" not in str(error)
                return
            out = StringIO()
            print_checks(checks, Console(file=out, soft_wrap=True))
            assert str(path.parent) not in out.getvalue()

    tried()
