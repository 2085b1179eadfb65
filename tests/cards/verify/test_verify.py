"""Test that verification reports each kind of tampering, in a repository of the Hub double and in a folder."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi

from escoita.cards.front_matter import blocks
from escoita.cards.publication import checksums
from escoita.cards.verify import verify as module
from escoita.cards.verify.check import Check
from escoita.cards.verify.verify import NothingToVerifyError, conclusions, passed, print_checks, to_json, verify
from escoita.errors import EscoitaError, PublishError
from escoita.evaluation.aggregate import score
from escoita.evaluation.predictions import described, parquet, read_predictions, write_predictions
from escoita.evaluation.report.plots import drawings
from escoita.evaluation.report.render import write_report
from escoita.records.evaluation import EvaluationRecord
from tests.cards.forgeries import FORGERIES
from tests.cards.publishing import BASE, REPO, Command, client_environment
from tests.cards.verifiable_run import (
    OTHER_WEIGHTS,
    ROWS,
    WEIGHTS,
    make_verifiable_run,
    published,
    write_files,
)
from tests.conftest import ROOT
from tests.hub_double import HubDouble, Repo, serve


Files = dict[str, bytes]
Tamper = Callable[[Files, Path], None]
CARD, RESULTS = "README.md", "eval/results.json"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    return published(make_verifiable_run(tmp_path_factory.mktemp("open") / "run"))


@pytest.fixture(scope="module")
def hidden_files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    return published(make_verifiable_run(tmp_path_factory.mktemp("hidden") / "run", hidden=True))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """Return a double with the base, which this process uses."""
    with serve(tmp_path / "hub") as double:
        put_base(double, WEIGHTS["base"])
        monkeypatch.setattr(module, "HfApi", partial(HfApi, endpoint=double.url, token=False))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield double


def put_base(hub: HubDouble, weights: bytes) -> None:
    if ("model", BASE) not in hub.store.repos:
        hub.store.create(Repo("model", BASE), author="ana")
    hub.commit(BASE, {"model.safetensors": weights}, "The base")


def put(hub: HubDouble, files: Mapping[str, bytes]) -> None:
    hub.store.create(Repo("model", REPO), author="ana")
    hub.commit(REPO, files, "Publish")


def differing(checks: list[Check]) -> dict[str, str]:
    return {check.what: "\n".join(check.lines) for check in checks if check.verdict == "differs"}


# One forgery of each kind of file; test_verify_forgeries.py tests all others in a folder.
TAMPERED = [
    "figure",
    "code-repository",
    "index-value",
    "rate",
    "hypotheses",
    "row-gone",
    "plot-path",
    "weights",
    "prompt",
]


def test_honest_repository_passes_in_strict_mode(
    hub: HubDouble, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    put(hub, files)
    checks = verify(REPO, score, drawings)
    assert passed(checks, strict=True)
    print_checks(checks)
    output = capsys.readouterr()
    commit = hub.store.repos["model", REPO].at("main").id
    assert f"{REPO} at commit {commit}" in output.err
    assert all(line in output.out for line in conclusions(checks)) and len(conclusions(checks)) == 3
    document = json.loads(to_json(REPO, checks))
    assert document["counts"] == {
        "holds": len(checks) - document["counts"]["cannot be proven"],
        "differs": 0,
        "not checked": 0,
        "cannot be proven": len([check for check in checks if check.verdict == "cannot be proven"]),
    }
    assert {check["verdict"] for check in document["checks"]} == {"holds", "cannot be proven"}


@pytest.mark.parametrize("name", TAMPERED)
@pytest.mark.parametrize("sums", ["old sums", "new sums"])
def test_tampering_is_named(hub: HubDouble, files: Files, name: str, sums: str) -> None:
    forgery, changed = FORGERIES[name], dict(files)
    forgery.change(changed)
    if sums == "new sums":
        changed["SHA256SUMS"] = checksums(changed)
    put(hub, changed)
    checks = verify(REPO, score, drawings)
    found = differing(checks)
    assert forgery.check in found and not passed(checks)
    listed = any(changed[each] != content for each, content in files.items() if each not in (CARD, "SHA256SUMS"))
    assert ("checksums" in found) == (sums == "old sums" and listed)


def test_text_outside_of_blocks_is_not_checked(hub: HubDouble, files: Files, tmp_path: Path) -> None:
    card = files[CARD].decode()
    start = blocks(card)[1].start
    mine = card[:start] + "\nWER 0.00 % on my own clips, bea/uzbek.\n\n" + card[start:]
    assert not differing(verify(str(write_files(tmp_path, files | {CARD: mine.encode()})), score, drawings))


def test_other_file_is_listed(hub: HubDouble, files: Files, tmp_path: Path) -> None:
    changed = files | {"notes.md": b"mine"}
    checks = verify(str(write_files(tmp_path / "folder", changed)), score, drawings)
    assert passed(checks, strict=True)
    (other,) = [check for check in checks if check.what == "other files"]
    assert other.verdict == "cannot be proven" and "notes.md" in other.lines[0]


def test_missing_checksums_differ(hub: HubDouble, files: Files, tmp_path: Path) -> None:
    rest = {name: content for name, content in files.items() if name != "SHA256SUMS"}
    assert "records" in differing(verify(str(write_files(tmp_path, rest)), score, drawings))


def test_custom_template_passes_if_allowed(hub: HubDouble, files: Files, tmp_path: Path) -> None:
    changed = dict(files)
    FORGERIES["custom-template"].change(changed)
    changed["SHA256SUMS"] = checksums(changed)
    checks = verify(str(write_files(tmp_path, changed)), score, drawings)
    assert passed(checks) and not passed(checks, strict=True)
    assert passed(checks, strict=True, allow_custom_template=True)


def test_repository_that_was_renamed_verifies(
    hub: HubDouble, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.store.create(Repo("model", "ana/renamed"), author="ana")
    hub.commit("ana/renamed", files, "Publish")
    assert "repositories in the code" in differing(verify("ana/renamed", score, drawings))
    asked = HfApi.model_info

    def redirected(api: HfApi, repo: str, **options: Any) -> Any:
        return asked(api, "ana/renamed" if repo == REPO else repo, **options)

    monkeypatch.setattr(HfApi, "model_info", redirected)
    assert not differing(verify("ana/renamed", score, drawings))


def test_broken_recipe_is_one_difference(hub: HubDouble, files: Files, tmp_path: Path) -> None:
    changed = files | {"recipe.yaml": b"name: ["}
    changed["SHA256SUMS"] = checksums(changed)
    assert list(differing(verify(str(write_files(tmp_path, changed)), score, drawings))) == ["recipe.yaml"]


def test_repository_of_version_0_1_0_verifies(hub: HubDouble) -> None:
    checks = verify(str(ROOT / "tests/fixtures/published-0.1.0"), score, drawings)
    assert not differing(checks) and passed(checks) and not passed(checks, strict=True)
    assert {check.what for check in checks if check.verdict == "not checked"} >= {"version of the card"}


def test_repository_of_version_0_1_0_that_was_forged_differs(hub: HubDouble, tmp_path: Path) -> None:
    folder = tmp_path / "forged"
    shutil.copytree(ROOT / "tests/fixtures/published-0.1.0", folder)
    card = (folder / CARD).read_text("utf-8")
    (folder / CARD).write_text(card.replace("**4.37 %**", "**0.37 %**"), "utf-8")
    assert list(differing(verify(str(folder), score, drawings))) == ["card: results"]


def test_another_base_that_was_accepted_is_shown_and_verifies(hub: HubDouble, tmp_path: Path) -> None:
    run = make_verifiable_run(tmp_path / "run")
    trained, other = EvaluationRecord.read(run.results).main_system.base_sha256, "f" * 64
    for path in run.eval.glob("*/predictions*.parquet"):
        table, provenance = read_predictions(path)
        changes = {"base_sha256": other, "base_commit": "c" * 40, "expected_base_sha256": trained}
        system = provenance.system.model_copy(update=changes)
        write_predictions(described(table, provenance.model_copy(update={"system": system})), path)
    score(run.eval, "raw", 100).write(run.results)
    write_report(run.eval, EvaluationRecord.read(run.results))
    assert trained[:12] in (run.eval / "report.html").read_text("utf-8")
    put(hub, published(run))
    card = published(run)[CARD].decode()
    assert f"` at commit `{'c' * 40}`, whose weights have the SHA-256 `{other}`." in card
    assert "**Different base model:**" in card and trained in card
    assert passed(verify(REPO, score, drawings), strict=True)


def test_another_base_on_the_hub_is_reported(hub: HubDouble, files: Files) -> None:
    put(hub, files)
    put_base(hub, OTHER_WEIGHTS)
    found = differing(verify(REPO, score, drawings))
    assert list(found) == ["base's weights"] and REPO.split("/")[0] in found["base's weights"]


def test_an_unavailable_base_is_not_checked(hub: HubDouble, files: Files) -> None:
    put(hub, files)
    del hub.store.repos["model", BASE]
    checks = verify(REPO, score, drawings)
    assert passed(checks) and not passed(checks, strict=True)
    assert [check.what for check in checks if check.verdict == "not checked"] == ["base's weights"]


def test_private_transcripts_use_published_counts_or_references(
    hub: HubDouble, hidden_files: Files, tmp_path: Path
) -> None:
    put(hub, hidden_files)
    first = {check.what: check for check in verify(REPO, score, drawings)}
    assert first[RESULTS].verdict == "holds" and first["transcripts of clips"].verdict == "not checked"
    assert "--references" in first["transcripts of clips"].lines[0]
    # Terms of the documentation, for which readers of the card search.
    assert (
        "from counts only" in first["transcripts of clips"].lines[0] and "from counts only" in first[RESULTS].lines[0]
    )
    assert hidden_files[CARD].decode().count("Some clips are recomputed from counts only") == 1

    manifest = tmp_path / "test.jsonl"
    rows = [json.dumps({"audio_filepath": f"{place}.ogg", "text": row[0]}) for place, row in enumerate(ROWS)]
    manifest.write_text("\n".join(reversed(rows)) + "\n", "utf-8")
    checks = verify(REPO, score, drawings, references=[f"clips={manifest}"])
    assert not differing(checks)
    lines = {check.what: check.lines for check in checks}["transcripts of clips"]
    assert "4 digests" in lines[0] and "test.jsonl" in lines[0]

    manifest.write_text("\n".join(rows[1:]) + "\n", "utf-8")
    found = differing(verify(REPO, score, drawings, references=[f"clips={manifest}"]))
    assert "row 1" in found["transcripts of clips"]


COUNTS = "eval/clips/counts.parquet"


def recounted(files: Files, changes: Mapping[str, int]) -> dict[str, bytes]:
    """Return the files with other counts of the first clip."""
    table = pq.read_table(pa.BufferReader(files[COUNTS]))
    for name, value in changes.items():
        column = table[name].to_pylist()
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array([value, *column[1:]], table[name].type))
    return {**files, COUNTS: parquet(table)}


def test_counts_that_contradict_the_predictions_are_refused(hidden_files: Files, tmp_path: Path) -> None:
    # The base has two words for the two reference words, one of which is wrong, and one word more.
    for changes in (
        {"raw/words/base": 0},
        {"raw/words/base": 0, "raw/substitutions/base": 0, "raw/insertions/base": 0},
    ):
        changed = recounted(hidden_files, changes)
        changed["SHA256SUMS"] = checksums(changed)
        found = differing(verify(str(write_files(tmp_path, changed)), score, drawings))
        assert "predictions" in found


def test_consistent_counts_that_are_forged_differ_from_record_or_references(
    hidden_files: Files, tmp_path: Path
) -> None:
    forged = recounted(hidden_files, {"raw/words/base": 1, "raw/substitutions/base": 0})
    forged["SHA256SUMS"] = checksums(forged)
    folder = write_files(tmp_path / "counts", forged)
    assert RESULTS in differing(verify(str(folder), score, drawings))
    # If the record is computed from them, only a person with the references detects them.
    score(folder / "eval", "raw", 100).write(folder / RESULTS)
    manifest = tmp_path / "test.jsonl"
    rows = [json.dumps({"audio_filepath": f"{place}.ogg", "text": row[0]}) for place, row in enumerate(ROWS)]
    manifest.write_text("\n".join(rows) + "\n", "utf-8")
    checks = verify(str(folder), score, drawings)
    assert RESULTS not in differing(checks)
    assert "transcripts of clips" in {check.what for check in checks if check.verdict == "not checked"}
    assert RESULTS in differing(verify(str(folder), score, drawings, references=[f"clips={manifest}"]))


@pytest.mark.parametrize(
    "reference",
    ["clips", "clips=nowhere.jsonl"],
)
def test_invalid_reference_is_refused(files: Files, tmp_path: Path, reference: str) -> None:
    with pytest.raises(EscoitaError) as error:
        verify(str(write_files(tmp_path, files)), score, drawings, references=[reference])
    assert (error.value.key, error.value.value) == ("--references", reference)


@pytest.mark.parametrize(
    ("present", "error", "value"),
    [
        ({}, NothingToVerifyError, RESULTS),
        ({RESULTS: b"{}"}, NothingToVerifyError, CARD),
        ({RESULTS: b"{}", CARD: b"# A card", "adapter/x": b""}, PublishError, None),
    ],
)
def test_folder_that_escoita_did_not_publish_is_refused(
    tmp_path: Path, present: Files, error: type[PublishError], value: str | None
) -> None:
    with pytest.raises(error) as refusal:
        verify(str(write_files(tmp_path, present)), score, drawings)
    assert (refusal.value.path, refusal.value.value) == (str(tmp_path), value)


def test_unknown_repository_and_revision_are_refused(hub: HubDouble, files: Files) -> None:
    for name in ("nowhere", "ana/nothing"):
        with pytest.raises(PublishError) as error:
            verify(name, score, drawings)
        assert error.value.path == name
    put(hub, files)
    with pytest.raises(PublishError) as error:
        verify(REPO, score, drawings, "v9")
    assert (error.value.path, error.value.value) == (REPO, "v9")


def test_an_earlier_commit_can_be_verified(hub: HubDouble, files: Files) -> None:
    put(hub, files)
    first = hub.store.repos["model", REPO].at("main").id
    changed = dict(files)
    FORGERIES["figure-and-digest"].change(changed)
    hub.commit(REPO, changed, "Tampered")
    assert differing(verify(REPO, score, drawings)) and not differing(verify(REPO, score, drawings, first))


def test_output_contains_no_control_characters(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_checks([Check("a\x1b[2Jname", "differs", ["[red]a\rline[/red]"])])
    output = capsys.readouterr().out
    assert "\x1b" not in output and "\r" not in output and "[red]" in output


@pytest.fixture(params=["lfs", pytest.param("xet", marks=pytest.mark.slow)])
def real_hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub", xet=request.param == "xet") as double:
        yield double


@pytest.mark.slow
def test_push_then_verify_then_tamper(real_hub: HubDouble, command: Command, tmp_path: Path) -> None:
    run = make_verifiable_run(tmp_path / "run")
    put_base(real_hub, WEIGHTS["base"])
    pushed = command(
        "-m",
        "escoita",
        "push",
        "--run",
        str(run.path),
        "--repo",
        REPO,
        "--publish-base",
        **client_environment(real_hub),
    )
    assert pushed.returncode == 0, pushed.stderr
    good = command("-m", "escoita", "verify", REPO, **client_environment(real_hub, None))
    assert good.returncode == 0, good.stdout + good.stderr
    assert ", 0 differ, 0 not checked" in good.stdout
    strict = command("-m", "escoita", "verify", REPO, "--strict", "--json", **client_environment(real_hub, None))
    assert strict.returncode == 0 and json.loads(strict.stdout)["counts"]["differs"] == 0
    real_hub.commit(REPO, {"adapter_model.safetensors": OTHER_WEIGHTS}, "Tampered")
    bad = command("-m", "escoita", "verify", REPO, **client_environment(real_hub, None))
    assert bad.returncode == 1 and "adapter's weights" in bad.stdout and "Traceback" not in bad.stderr


@pytest.mark.slow
@pytest.mark.parametrize("free_bytes", [0, 4096])
def test_a_full_disk_while_publishing_changes_nothing(
    real_hub: HubDouble, command: Command, tmp_path: Path, free_bytes: int
) -> None:
    run = make_verifiable_run(tmp_path / "run")
    put_base(real_hub, WEIGHTS["base"])
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    arguments = ["push", "--run", str(run.path), "--repo", REPO, "--publish-base"]
    full = command("-c", on_a_full_disk(free_bytes, *arguments), **client_environment(real_hub))
    assert full.returncode == 1 and "Traceback" not in full.stderr, full.stderr
    assert [line for line in full.stderr.splitlines() if "MB are free" in line], full.stderr
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    again = command("-m", "escoita", *arguments, **client_environment(real_hub))
    assert again.returncode == 0, again.stderr


def on_a_full_disk(free_bytes: int, *arguments: str) -> str:
    """Return a script that runs a command with a limited size of files."""
    return (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({free_bytes}, {free_bytes}))\n"
        "from escoita.cli.main import main\n"
        f"sys.argv = {['escoita', *arguments]!r}\n"
        "main()\n"
    )


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_next_attempt_succeeds(
    real_hub: HubDouble, command: Command, tmp_path: Path
) -> None:
    run = make_verifiable_run(tmp_path / "run")
    put_base(real_hub, WEIGHTS["base"])
    pushed = command(
        "-m",
        "escoita",
        "push",
        "--run",
        str(run.path),
        "--repo",
        REPO,
        "--publish-base",
        **client_environment(real_hub),
    )
    assert pushed.returncode == 0, pushed.stderr
    full = command("-c", on_a_full_disk(4096, "verify", REPO), **client_environment(real_hub, None))
    assert full.returncode == 1 and "Traceback" not in full.stderr, full.stderr
    assert [line for line in full.stderr.strip().splitlines() if "File too large" in line], full.stderr
    good = command("-m", "escoita", "verify", REPO, **client_environment(real_hub, None))
    assert good.returncode == 0, good.stdout + good.stderr
