"""
Test faults that are injected into the Hub double, with LFS and with Xet: the repository is always in the old or in the
new state, the run is unchanged, and the message is one line.
"""

import re
from typing import Any

import pytest

from escoita.recipe.schema import Benchmark
from escoita.run_directory import RunDirectory
from tests.cards.publishing import (
    EARLIER,
    REPO,
    TITLE,
    Push,
    commits,
    content,
    tree,
)
from tests.cards.samples import evaluation, result, system_result
from tests.hub_double import HubDouble
from tests.hub_double.faults import Fault


pytestmark = pytest.mark.slow  # waiting time between attempts

AT_ONCE = {"Retry-After": "0"}
OLD = ["Earlier", "initial commit"]


def assert_old(hub: HubDouble, title: str = "Earlier") -> None:
    """Assert that nothing was published; the newest commit is the previous one, or another author's."""
    assert commits(hub)[0] == title and TITLE not in commits(hub)
    weights = EARLIER["adapter_model.safetensors"]
    assert content(hub, "adapter_model.safetensors") == weights and "training_args.bin" in tree(hub)


def assert_new(hub: HubDouble, run: RunDirectory, *between: str) -> None:
    """Assert that all files were published in one commit."""
    assert commits(hub) == [TITLE, *between, *OLD]
    for name in ("adapter_model.safetensors", "tokenizer.model"):
        assert content(hub, name) == (run.adapter / name).read_bytes()
    assert content(hub, "notes.md") == EARLIER["notes.md"] and "training_args.bin" not in tree(hub)


@pytest.mark.parametrize(
    "path",
    ["/api/whoami", f"/api/models/{REPO}$", "/tree/", "/resolve/", "validate-yaml", "/preupload/", "/commit/"],
)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_request_to_a_busy_hub_is_repeated(
    hub: HubDouble, run: RunDirectory, push: Push, path: str, status: int
) -> None:
    hub.faults.append(Fault("*", path, status=status, headers=AT_ONCE))
    push()
    assert_new(hub, run)
    assert hub.faults[0].times == 0


def test_a_failed_commit_is_repeated(hub: HubDouble, run: RunDirectory, push: Push) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=500))
    assert "HTTP 500" in push().stderr
    assert_new(hub, run)


@pytest.mark.parametrize("lost", [{"status": 500}, {"status": 504}, {"cut": True}])
def test_a_commit_with_a_lost_response_is_not_repeated(
    hub: HubDouble, run: RunDirectory, push: Push, lost: dict[str, Any]
) -> None:
    hub.faults.append(Fault("POST", "/commit/", applied=True, **lost))
    push()
    assert_new(hub, run)
    assert sum(entry.path.endswith("/commit/main") for entry in hub.log) == 1


def test_a_lost_response_is_recovered_after_a_failed_request(hub: HubDouble, run: RunDirectory, push: Push) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=500, applied=True))
    hub.faults.append(Fault("GET", "/commits/", status=503, headers=AT_ONCE, times=8))
    push()
    assert_new(hub, run)


def test_a_commit_that_always_fails_changes_nothing_and_the_next_push_succeeds(
    hub: HubDouble, run: RunDirectory, push: Push
) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=500, headers=AT_ONCE, times=99))
    assert push(code=1).last_line.startswith("ana/uzbek: ")
    assert_old(hub)
    hub.faults.clear()
    push()
    assert_new(hub, run)
    uploads = [entry.path for entry in hub.log if entry.method == "PUT"]
    assert len(uploads) == len(set(uploads))


def test_a_commit_is_repeated_if_the_connection_is_lost(hub: HubDouble, run: RunDirectory, push: Push) -> None:
    hub.faults.append(Fault("POST", "/commit/", cut=True))
    assert "ana/uzbek: " in push().stderr
    assert_new(hub, run)


def test_an_upload_is_repeated_if_the_connection_is_lost(hub: HubDouble, run: RunDirectory, push: Push) -> None:
    hub.faults.append(Fault("*", "^/_lfs/|/xet-write-token/", cut=True))
    push()
    assert_new(hub, run)
    assert hub.faults[0].times == 0


def test_an_interrupted_upload_is_resumed_by_the_next_push(hub: HubDouble, run: RunDirectory, push: Push) -> None:
    hub.faults.append(Fault("*", "^/_lfs/", after=1, status=403, times=99))
    hub.faults.append(Fault("*", "/xet-write-token/", status=403, times=99))
    push(code=1)
    assert_old(hub)
    hub.faults.clear()
    push()
    assert_new(hub, run)
    uploads = [entry for entry in hub.log if entry.method == "PUT"]
    assert len(uploads) == len(set(uploads))  # uploaded files are not sent again


def test_the_waiting_time_of_the_hub_is_respected(hub: HubDouble, run: RunDirectory, push: Push) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=429, headers={"Retry-After": "1"}, times=2))
    assert push().stderr.count("HTTP 429") == 2
    assert_new(hub, run)


def test_a_waiting_time_of_an_hour_is_reported_immediately(hub: HubDouble, push: Push) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=429, headers={"Retry-After": "3600"}, times=99))
    assert {"3600", "429"} <= set(re.findall(r"\d+", push(code=1).last_line))
    assert_old(hub)


@pytest.mark.parametrize(
    "status",
    [401, 403, 404, 409],
)
def test_a_refused_commit_is_reported_in_one_line(hub: HubDouble, push: Push, status: int) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=status, times=99))
    (line,) = push(code=1).stderr.strip().splitlines()
    assert line.startswith("escoita: ana/uzbek: ") and f"HTTP {status}" in line
    assert_old(hub)


def test_repeated_status_412_without_a_change_is_an_error(hub: HubDouble, push: Push) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=412, times=99))
    assert "ana/uzbek: " in push(code=1).stderr
    assert_old(hub)


@pytest.mark.parametrize("path", ["/api/whoami", "validate-yaml", "/preupload/", "^/_lfs/|/xet-write-token/"])
def test_a_token_that_expires_before_the_commit_changes_nothing(hub: HubDouble, push: Push, path: str) -> None:
    hub.faults.append(Fault("*", path, status=401, times=99))
    assert "HTTP 401" in push(code=1).last_line
    assert_old(hub)


def test_a_token_that_expires_after_the_commit_is_reported(hub: HubDouble, run: RunDirectory, push: Push) -> None:
    def expire() -> None:
        hub.faults.append(Fault("GET", "/tree/|/revision/", status=401, times=99))

    hub.faults.append(Fault("POST", "/commit/", before=expire))
    assert "HTTP 401" in push(code=1).last_line
    assert_new(hub, run)


def concurrently(hub: HubDouble, files: dict[str, bytes | None], times: int = 1) -> None:
    """Return a fault: another commit after all files were read, and before the commit."""
    hub.faults.append(
        Fault("POST", "/commit/", times=times, before=lambda: hub.commit(REPO, files, "Somebody else's"))
    )


def test_a_concurrent_commit_of_other_files_is_kept(hub: HubDouble, run: RunDirectory, push: Push) -> None:
    concurrently(hub, {"other.md": b"theirs", "tokenizer.model": (run.adapter / "tokenizer.model").read_bytes()})
    assert "ana/uzbek: " in push().stderr
    assert_new(hub, run, "Somebody else's")
    assert content(hub, "other.md") == b"theirs"


@pytest.mark.parametrize("name", ["training.json", "adapter_model.safetensors", "eval/theirs.parquet"])
def test_a_concurrent_commit_of_the_same_files_is_not_overwritten(hub: HubDouble, push: Push, name: str) -> None:
    concurrently(hub, {name: b"theirs"})
    line = push(code=1).last_line
    assert line.startswith("ana/uzbek: ") and name in line
    assert commits(hub) == ["Somebody else's", *OLD] and content(hub, name) == b"theirs"
    assert "training_args.bin" in tree(hub)


def test_rates_of_a_benchmark_that_somebody_replaces_meanwhile_are_not_deleted(
    hub: HubDouble, run: RunDirectory, push: Push
) -> None:
    systems = [system_result(name).model_copy(update={"unusable": 0}) for name in ("adapter", "base")]
    evaluation(result("clips", systems)).write(run.results)
    recipe = run.load_recipe()
    benchmarks = [Benchmark(corpus="clips", dataset="ana/removed", task="asr")]
    recipe.model_copy(update={"hub": recipe.hub.model_copy(update={"benchmarks": benchmarks})}).write(run.recipe)
    push()
    recipe.write(run.recipe)
    path, theirs = ".eval_results/removed.yaml", b"- {dataset: {id: ana/removed, task_id: asr}, value: 1}\n"
    concurrently(hub, {path: theirs})
    assert path in push(code=1).last_line
    assert commits(hub)[0] == "Somebody else's" and content(hub, path) == theirs
    push()  # the file is no longer one that escoita wrote
    assert content(hub, path) == theirs


def test_a_concurrent_edit_of_the_card_is_merged(hub: HubDouble, run: RunDirectory, push: Push) -> None:
    push()
    made = content(hub, "README.md").decode()
    run.training.write_text(run.training.read_text("utf-8").replace('"steps": 600', '"steps": 700'), "utf-8")
    concurrently(hub, {"README.md": (made + "\nA sentence of somebody else.\n").encode()})
    push()
    card = content(hub, "README.md").decode()
    assert commits(hub) == [TITLE, "Somebody else's", TITLE, *OLD]
    assert card.endswith("\nA sentence of somebody else.\n") and "700" in card


def test_many_concurrent_commits_end_the_push(hub: HubDouble, push: Push) -> None:
    number = iter(range(99))

    def edit() -> None:
        hub.commit(REPO, {f"other-{next(number)}.md": b"theirs"}, "Somebody else's")

    hub.faults.append(Fault("POST", "/commit/", times=99, before=edit))
    assert push(code=1).last_line.startswith("ana/uzbek: ")
    assert_old(hub, "Somebody else's")
