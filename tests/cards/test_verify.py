"""Each kind of tampering, in a repository of the Hub double and in a folder: verification names what was changed."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import huggingface_hub
import pyarrow as pa
import pytest
from huggingface_hub import HfApi

from cards import verify as module
from cards.blocks import blocks, marked
from cards.checks.check import Check
from cards.publication import checksums
from cards.verify import print_checks, verify
from escoita.errors import EscoitaError
from escoita.predictions import described, read_predictions, replaced, write_predictions
from eval.page.drawings import drawings
from eval.results import score
from tests.cards.proven import (
    OTHER_WEIGHTS,
    ROWS,
    WEIGHTS,
    make_proven_run,
    published,
    with_record,
    write_files,
)
from tests.cards.publishing import BASE, REPO, Command, reach
from tests.hub_double import HubDouble, Repo, serve


Files = dict[str, bytes]
Tamper = Callable[[Files, Path], None]
CARD, RESULTS, HEARD = "README.md", "eval/results.json", "eval/clips/predictions.parquet"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    return published(make_proven_run(tmp_path_factory.mktemp("open") / "run"))


@pytest.fixture(scope="module")
def hidden_files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    return published(make_proven_run(tmp_path_factory.mktemp("hidden") / "run", hidden=True))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """A double that holds the base, and to which this process talks."""
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


def replaced_once(name: str, pattern: str, replacement: str) -> Tamper:
    def tamper(files: Files, folder: Path) -> None:
        text, times = re.subn(pattern, replacement, files[name].decode(), count=1, flags=re.DOTALL)
        assert times == 1
        files[name] = text.encode()

    return tamper


def with_rates(**changes: float) -> Tamper:
    def tamper(files: Files, folder: Path) -> None:
        files[RESULTS] = with_record(files, **changes)

    return tamper


def with_table(change: Callable[[pa.Table], pa.Table]) -> Tamper:
    def tamper(files: Files, folder: Path) -> None:
        path = write_files(folder, {"heard.parquet": files[HEARD]}) / "heard.parquet"
        table, provenance = read_predictions(path)
        write_predictions(described(change(table), provenance), path)
        files[HEARD] = path.read_bytes()

    return tamper


def heard_better(table: pa.Table) -> pa.Table:
    return replaced(table, {"hypothesis": table["reference"].to_pylist()})


def without(name: str) -> Tamper:
    def tamper(files: Files, folder: Path) -> None:
        del files[name]

    return tamper


def swapped(files: Files, folder: Path) -> None:
    files["adapter_model.safetensors"] = OTHER_WEIGHTS


def other_base(files: Files, folder: Path) -> None:
    config = json.loads(files["adapter_config.json"]) | {"base_model_name_or_path": "bea/base"}
    files["adapter_config.json"] = json.dumps(config).encode()


def forged_block(files: Files, folder: Path) -> None:
    """The number is changed, and the digest of the block is made to fit."""
    card = files[CARD].decode()
    block = next(block for block in blocks(card) if block.name == "results")
    text = block.text.replace("10.00 %", "1.00 %")
    files[CARD] = (card[: block.start] + marked("results", text) + card[block.end :]).encode()


def second_block(files: Files, folder: Path) -> None:
    """The true block is there too, at the end, where nobody looks."""
    card = files[CARD].decode()
    block = next(block for block in blocks(card) if block.name == "results")
    forged_block(files, folder)
    files[CARD] += card[block.start : block.end].encode()


def consistent(files: Files, folder: Path) -> None:
    """A lower rate in the record, and a card that says the same; only the predictions know better."""
    with_rates(wer=0.05)(files, folder)
    replaced_once(CARD, r"10\.00 %", "5.00 %")(files, folder)
    replaced_once(CARD, r"value: 0\.1\n", "value: 0.05\n")(files, folder)


TAMPERED: dict[str, tuple[Tamper, str, str]] = {
    "number": (
        replaced_once(CARD, r"\*\*10\.00 %", "**1.00 %"),
        "card: results",
        "1.00 on the card, 10.00 recomputed",
    ),
    "forged block": (forged_block, "card: results", "1.00 on the card, 10.00 recomputed"),
    "second block": (second_block, "card: results", "1.00 on the card, 10.00 recomputed"),
    "verdict": (
        replaced_once(CARD, "no measurable difference", "better"),
        "card: results",
        "better on the card, no measurable difference recomputed",
    ),
    "rate": (
        with_rates(wer=0.05),
        RESULTS,
        "corpora.clips.systems.adapter.normalized.wer: 0.05 published, 0.1 recomputed",
    ),
    "record and card": (consistent, RESULTS, "normalized.wer: 0.05 published, 0.1 recomputed"),
    "index": (
        replaced_once(CARD, r"value: 0\.1\n", "value: 0.01\n"),
        "model-index",
        "Some clips, WER (fraction, raw): 0.01 on the card, 0.1 recomputed",
    ),
    "index entry gone": (
        replaced_once(CARD, r"    - type: cer.*?normalizer: raw\n", ""),
        "model-index",
        "CER (fraction, raw): is missing, 0.079 recomputed",
    ),
    "index entry added": (
        replaced_once(CARD, r"    metrics:\n", "    metrics:\n    - {type: wer, name: WER of mine, value: 0.0}\n"),
        "model-index",
        "Some clips, WER of mine: 0.0 on the card, which no record gives",
    ),
    "hypothesis": (with_table(heard_better), RESULTS, "normalized.wer: 0.1 published, 0.0 recomputed"),
    "row": (with_table(lambda table: table.slice(0, 3)), "records", "not the same clips"),
    "plot": (
        replaced_once("eval/wer-by-corpus.svg", r'"adapter": \[0\.1, ', '"adapter": [0.01, '),
        "plot eval/wer-by-corpus.svg",
        "clips.adapter.0: 0.01 published, 0.1 recomputed",
    ),
    "curve": (
        replaced_once("training.svg", r"\[25, 2\.5\]", "[25, 0.5]"),
        "plot training.svg",
        "loss.0.1: 0.5 published, 2.5 recomputed",
    ),
    "durations": (
        replaced_once("data/durations.svg", r"<metadata>.*?</metadata>", ""),
        "plot data/durations.svg",
        "holds no figures",
    ),
    "base on the card": (
        replaced_once(CARD, "base_model: ana/base", "base_model: bea/base"),
        "name of the base",
        "README.md: names bea/base, and not ana/base",
    ),
    "base of the adapter": (other_base, "name of the base", "adapter_config.json: names bea/base, and not ana/base"),
    "snippet": (
        replaced_once(CARD, 'adapter="ana/uzbek"', 'adapter="bea/uzbek"'),
        "repositories in the code",
        "bea/uzbek, instead of ana/uzbek or ana/base",
    ),
    "weights": (swapped, "adapter's weights", "eval/results.json is of other weights"),
    "no weights": (without("adapter_model.safetensors"), "adapter's weights", "there is no adapter_model.safetensors"),
    "versions": (
        replaced_once(CARD, r"Framework versions: (.*?)peft 0\.21\.2", r"Framework versions: \1peft 0.99.0"),
        "framework versions",
        "peft: 0.99.0 on the card, 0.21.2 in training.json",
    ),
    "pickle": (
        lambda files, folder: files.update({"extra.bin": b"x"}),
        "safetensors alone",
        "extra.bin: may hold a pickle",
    ),
    "predictions besides": (
        lambda files, folder: files.update({"eval/other/predictions.parquet": files[HEARD]}),
        RESULTS,
        "eval/other: is published, but not in the record",
    ),
    "unreadable": (lambda files, folder: files.update({HEARD: b"nothing"}), "records", "not a file of predictions"),
}


def test_what_was_published_holds(hub: HubDouble, files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    put(hub, files)
    checks = verify(REPO, score, drawings)
    assert print_checks(checks) and not differing(checks)
    said = capsys.readouterr()
    commit = hub.store.repos["model", REPO].at("main").id
    assert f"{REPO} at commit {commit}" in said.err
    assert "holds        base's weights" in said.out and ", 0 differ, 0 not checked" in said.out


@pytest.mark.parametrize("kind", TAMPERED)
@pytest.mark.parametrize("sums", ["old sums", "new sums"])
def test_what_was_changed_is_named(hub: HubDouble, files: Files, tmp_path: Path, kind: str, sums: str) -> None:
    tamper, what, line = TAMPERED[kind]
    changed = dict(files)
    tamper(changed, tmp_path)
    if sums == "new sums":
        changed["SHA256SUMS"] = checksums(changed)
    put(hub, changed)
    checks = verify(REPO, score, drawings)
    found = differing(checks)
    assert line in found[what], found
    assert not print_checks(checks)
    meant = changed.keys() - {CARD} != files.keys() - {CARD} or any(
        changed[name] != content for name, content in files.items() if name not in (CARD, "SHA256SUMS")
    )
    assert ("checksums" in found) == (sums == "old sums" and meant and kind != "pickle")


@pytest.mark.parametrize("kind", TAMPERED)
def test_in_a_folder_too(hub: HubDouble, files: Files, tmp_path: Path, kind: str) -> None:
    tamper, what, line = TAMPERED[kind]
    if kind == "snippet":
        pytest.skip("a folder has no name that its snippets could miss, but that of the first")
    changed = dict(files)
    tamper(changed, tmp_path)
    found = differing(verify(str(write_files(tmp_path / "folder", changed)), score, drawings))
    assert line in found[what], found
    assert str(tmp_path) not in "".join(found.values())


def test_text_around_the_blocks_is_the_authors(hub: HubDouble, files: Files, tmp_path: Path) -> None:
    card = files[CARD].decode()
    start = blocks(card)[1].start
    mine = card[:start] + "\nWER 0.00 % on my own clips, bea/uzbek.\n\n" + card[start:]
    assert not differing(verify(str(write_files(tmp_path, files | {CARD: mine.encode()})), score, drawings))


def test_other_words_with_the_same_figures_are_not_checked(hub: HubDouble, files: Files, tmp_path: Path) -> None:
    card = files[CARD].decode().replace("Lower is better.", "The lower the better.")
    checks = verify(str(write_files(tmp_path, files | {CARD: card.encode()})), score, drawings)
    assert not differing(checks)
    (words,) = [check for check in checks if check.what == "card: results"]
    assert words.verdict == "not checked"
    assert list(words.lines) == [
        "its figures are the same, one after the other; but a person changed its words, which nothing proves"
    ]


def test_a_block_that_was_taken_out_and_a_file_besides_are_not_checked(
    hub: HubDouble, files: Files, tmp_path: Path
) -> None:
    card = files[CARD].decode()
    block = next(block for block in blocks(card) if block.name == "citation")
    card = card[: block.start] + card[block.end :]
    changed = files | {CARD: card.encode(), "notes.md": b"mine"}
    checks = verify(str(write_files(tmp_path / "folder", changed)), score, drawings)
    assert not differing(checks)
    skipped = {check.what: check.lines[0] for check in checks if check.verdict == "not checked"}
    assert skipped == {
        "card: citation": "the card has no such block; what it says of this is its author's",
        "other files": "notes.md",
    }


def test_another_base_on_the_hub_is_said(hub: HubDouble, files: Files) -> None:
    put(hub, files)
    put_base(hub, OTHER_WEIGHTS)
    found = differing(verify(REPO, score, drawings))
    assert list(found) == ["base's weights"] and "holds others than were trained on" in found["base's weights"]


def test_a_base_that_cannot_be_asked_is_not_checked(hub: HubDouble, files: Files) -> None:
    put(hub, files)
    del hub.store.repos["model", BASE]
    checks = verify(REPO, score, drawings)
    assert print_checks(checks)
    assert [check.what for check in checks if check.verdict == "not checked"] == ["base's weights"]


def test_hashed_transcripts_are_counted_as_published_or_from_who_has_them(
    hub: HubDouble, hidden_files: Files, tmp_path: Path
) -> None:
    put(hub, hidden_files)
    first = {check.what: check for check in verify(REPO, score, drawings)}
    assert first[RESULTS].verdict == "holds" and first["transcripts of clips"].verdict == "not checked"
    assert "taken as it stands, unless --references gives them" in first["transcripts of clips"].lines[0]

    manifest = tmp_path / "test.jsonl"
    rows = [json.dumps({"audio_filepath": f"{place}.ogg", "text": row[0]}) for place, row in enumerate(ROWS)]
    manifest.write_text("\n".join(reversed(rows)) + "\n", "utf-8")
    checks = verify(REPO, score, drawings, references=[f"clips={manifest}"])
    assert not differing(checks)
    told = {check.what: check.lines for check in checks}
    assert "4 digests are those of test.jsonl" in told["transcripts of clips"][0]

    manifest.write_text("\n".join(rows[1:]) + "\n", "utf-8")
    found = differing(verify(REPO, score, drawings, references=[f"clips={manifest}"]))
    assert "holds no transcript of the digest in row 1" in found["transcripts of clips"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("clips", "--references clips: write corpus=MANIFEST"),
        ("clips=nowhere.jsonl", "there is no such file"),
    ],
)
def test_what_is_no_manifest_is_refused(files: Files, tmp_path: Path, given: str, line: str) -> None:
    with pytest.raises(EscoitaError, match=line):
        verify(str(write_files(tmp_path, files)), score, drawings, references=[given])


@pytest.mark.parametrize(
    ("present", "line"),
    [
        ({}, "holds no eval/results.json, so it was not published by escoita"),
        ({RESULTS: b"{}"}, "holds no README.md"),
        ({RESULTS: b"{}", CARD: b"# A card", "adapter/x": b""}, "is a run directory"),
    ],
)
def test_what_is_not_of_escoita_is_one_line(tmp_path: Path, present: Files, line: str) -> None:
    with pytest.raises(EscoitaError, match=line):
        verify(str(write_files(tmp_path, present)), score, drawings)


def test_a_name_that_is_none_and_a_revision_that_is_not_there(hub: HubDouble, files: Files) -> None:
    with pytest.raises(EscoitaError, match="nowhere: neither a folder here nor the name of a repository"):
        verify("nowhere", score, drawings)
    with pytest.raises(EscoitaError, match="ana/nothing: there is no such repository"):
        verify("ana/nothing", score, drawings)
    put(hub, files)
    with pytest.raises(EscoitaError, match="ana/uzbek: there is no branch, tag or commit v9"):
        verify(REPO, score, drawings, "v9")


def test_an_earlier_commit_is_verified_as_it_was(hub: HubDouble, files: Files) -> None:
    put(hub, files)
    first = hub.store.repos["model", REPO].at("main").id
    changed = dict(files)
    forged_block(changed, Path())
    hub.commit(REPO, changed, "Tampered")
    assert differing(verify(REPO, score, drawings)) and not differing(verify(REPO, score, drawings, first))


def test_hostile_text_moves_no_cursor(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_checks([Check("a\x1b[2Jname", "differs", ["[red]a\rline[/red]"])])
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\r" not in said and "[red]" in said


@pytest.fixture(params=["lfs", "xet"])
def real_hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub", xet=request.param == "xet") as double:
        yield double


def test_push_then_verify_then_tamper(real_hub: HubDouble, command: Command, tmp_path: Path) -> None:
    run = make_proven_run(tmp_path / "run")
    put_base(real_hub, WEIGHTS["base"])
    pushed = command("-m", "escoita", "push", "--run", str(run.path), "--repo", REPO, **reach(real_hub))
    assert pushed.returncode == 0, pushed.stderr
    good = command("-m", "escoita", "verify", REPO, **reach(real_hub, None))
    assert good.returncode == 0, good.stdout + good.stderr
    assert ", 0 differ, 0 not checked" in good.stdout
    changed = published(run)
    swapped(changed, tmp_path)
    real_hub.commit(REPO, changed, "Tampered")
    bad = command("-m", "escoita", "verify", REPO, **reach(real_hub, None))
    assert bad.returncode == 1 and "differs      adapter's weights" in bad.stdout and "Traceback" not in bad.stderr


@pytest.mark.parametrize("room", [0, 4096])
def test_a_full_disk_while_publishing_changes_nothing(
    real_hub: HubDouble, command: Command, tmp_path: Path, room: int
) -> None:
    run = make_proven_run(tmp_path / "run")
    put_base(real_hub, WEIGHTS["base"])
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    arguments = ["push", "--run", str(run.path), "--repo", REPO]
    full = command("-c", on_a_full_disk(room, *arguments), **reach(real_hub))
    assert full.returncode == 1 and "Traceback" not in full.stderr, full.stderr
    assert [line for line in full.stderr.splitlines() if "MB are free" in line], full.stderr
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    again = command("-m", "escoita", *arguments, **reach(real_hub))
    assert again.returncode == 0, again.stderr


def on_a_full_disk(room: int, *arguments: str) -> str:
    """A script that runs a command which can write no file of more bytes than there is room for."""
    return (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        "from escoita.cli import main\n"
        f"sys.argv = {['escoita', *arguments]!r}\n"
        "main()\n"
    )


def test_a_full_disk_is_one_line_and_the_next_attempt_goes_on(
    real_hub: HubDouble, command: Command, tmp_path: Path
) -> None:
    run = make_proven_run(tmp_path / "run")
    put_base(real_hub, WEIGHTS["base"])
    pushed = command("-m", "escoita", "push", "--run", str(run.path), "--repo", REPO, **reach(real_hub))
    assert pushed.returncode == 0, pushed.stderr
    full = command("-c", on_a_full_disk(4096, "verify", REPO), **reach(real_hub, None))
    assert full.returncode == 1 and "Traceback" not in full.stderr, full.stderr
    assert [line for line in full.stderr.strip().splitlines() if "File too large" in line], full.stderr
    good = command("-m", "escoita", "verify", REPO, **reach(real_hub, None))
    assert good.returncode == 0, good.stdout + good.stderr
