"""Test pull requests, tags, collections, visibility and dry runs with the real client over HTTP."""

import pytest

from escoita.recipe.schema import Benchmark
from escoita.run_directory import RunDirectory
from tests.cards.publishing import (
    BASE,
    CARD,
    REPO,
    TITLE,
    Push,
    commits,
    content,
    tree,
)
from tests.cards.samples import evaluation, rates, result, system_result
from tests.hub_double import HubDouble, Repo
from tests.hub_double.faults import Fault
from tests.hub_double.store import Collection


pytestmark = pytest.mark.slow


SLUG = "ana/speech-0123456789abcdef01234567"


def state(hub: HubDouble) -> dict[str, dict[str, str]]:
    return {repo.id: dict(repo.refs) for repo in hub.store.repos.values()}


def test_a_dry_run_shows_each_file_and_changes_nothing(hub: HubDouble, push: Push) -> None:
    before = state(hub)
    shown = push("--dry-run", "--tag", "v1").stdout
    rows = {words[0]: words[-1] for line in shown.splitlines() if (words := line.split())}
    assert (rows["README.md"], rows["adapter_model.safetensors"], rows["training.json"]) == (
        "changed",
        "changed",
        "added",
    )
    assert rows["training_args.bin"] == "deleted" and "notes.md" not in rows
    assert shown.splitlines()[-1].startswith(f"{REPO}: ")
    assert state(hub) == before
    assert {entry.method for entry in hub.log if "validate-yaml" not in entry.path} <= {"GET", "HEAD"}


def test_dry_run_creates_no_repository(hub: HubDouble, push: Push) -> None:
    shown = push("--dry-run", repo="ana/new").stdout
    assert "added" in shown and ("model", "ana/new") not in hub.store.repos
    push()
    shown = push("--dry-run").stdout
    assert shown.splitlines()[-1].startswith(f"{REPO}: ") and "unchanged" in shown.splitlines()[-1]
    assert not {"added", "changed", "deleted"} & {line.split()[-1] for line in shown.splitlines()[:-1] if line.split()}


def test_a_pull_request_describes_the_changes_and_keeps_the_branch(
    hub: HubDouble, push: Push, run: RunDirectory
) -> None:
    push()
    old = state(hub)[REPO]["refs/heads/main"]
    better = [system_result(normalized=rates(0.05)), system_result("base")]
    evaluation(result("clips", better), result("more")).write(run.results)
    chosen = run.load_recipe()
    tests = [*chosen.corpora.test, chosen.corpora.test[0].model_copy(update={"name": "more"})]
    chosen.model_copy(update={"corpora": chosen.corpora.model_copy(update={"test": tests})}).write(run.recipe)
    shown = push("--pr").stdout
    assert shown.strip() == f"{hub.url}/{REPO}/discussions/1"
    assert state(hub)[REPO]["refs/heads/main"] == old
    assert content(hub, "eval/results.json", revision="refs/pr/1") != content(hub, "eval/results.json")
    repo = hub.store.repos["model", REPO]
    message = repo.at("refs/pr/1").message
    assert "| clips | 1234 | 7.12 % (6.51 to 7.73 %) | 5.00 % (6.51 to 7.73 %) |" in message
    assert "| All, pooled by words |" in message and "Changed: `README.md`" in message


def test_a_pull_request_with_a_lost_response_is_not_opened_twice(hub: HubDouble, push: Push) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=500, applied=True))
    hub.faults.append(Fault("GET", "/refs$", after=1, status=503, headers={"Retry-After": "0"}, times=7))
    shown = push("--pr").stdout
    assert shown.strip() == f"{hub.url}/{REPO}/discussions/1"
    assert [ref for ref in state(hub)[REPO] if ref.startswith("refs/pr/")] == ["refs/pr/1"]


def test_another_users_repository_accepts_only_a_pull_request(hub: HubDouble, push: Push) -> None:
    hub.store.create(Repo("model", "bea/uzbek"), author="bea")
    hub.commit("bea/uzbek", {"README.md": CARD.encode()}, "Earlier")
    assert push(repo="bea/uzbek", code=1).last_line.startswith("bea/uzbek: ")
    shown = push("--pr", repo="bea/uzbek").stdout
    assert shown.strip() == f"{hub.url}/bea/uzbek/discussions/1"
    assert commits(hub, "bea/uzbek")[0] == "Earlier"
    assert CARD.split("---\n")[-1].strip() in content(hub, "README.md", "bea/uzbek", "refs/pr/1").decode()


@pytest.mark.parametrize(
    ("arguments", "repo", "line"),
    [
        (["--pr"], "ana/new", "ana/new: "),
        (["--pr", "--tag", "v1"], REPO, "--tag v1: "),
        (["--private"], REPO, "ana/uzbek: --private: "),
        (["--collection", "ana/none-0123"], REPO, "ana/none-0123: "),
    ],
)
def test_invalid_options_are_refused_before_publishing(
    hub: HubDouble, push: Push, arguments: list[str], repo: str, line: str
) -> None:
    before = state(hub)
    assert push(*arguments, repo=repo, code=1).last_line.startswith(line)
    assert state(hub) == before


def test_no_pull_request_without_changes(hub: HubDouble, push: Push) -> None:
    push()
    before = state(hub)
    assert push("--pr", code=1).last_line.startswith("ana/uzbek: ")
    assert state(hub) == before


def test_a_repository_can_be_made_private(hub: HubDouble, push: Push) -> None:
    push("--private", repo="ana/new")
    assert hub.store.repos["model", "ana/new"].private and commits(hub, "ana/new")[0] == TITLE


@pytest.mark.slow
def test_a_tag_is_set_once_and_never_moved(hub: HubDouble, push: Push, run: RunDirectory) -> None:
    push("--tag", "v1")
    first = state(hub)[REPO]
    assert first["refs/tags/v1"] == first["refs/heads/main"]
    push("--tag", "v1")
    assert state(hub)[REPO] == first
    (run.adapter / "tokenizer.model").write_bytes(b"\0another")
    line = push("--tag", "v1", code=1).last_line
    assert line.startswith(f"{REPO}: --tag v1: ") and first["refs/heads/main"][:12] in line
    assert state(hub)[REPO] == first


def test_a_failed_tag_is_set_by_the_next_push(hub: HubDouble, push: Push) -> None:
    hub.faults.append(Fault("POST", "/tag/", status=403))
    assert "HTTP 403" in push("--tag", "v1", code=1).last_line
    assert commits(hub)[0] == TITLE
    push("--tag", "v1")
    assert state(hub)[REPO]["refs/tags/v1"] == state(hub)[REPO]["refs/heads/main"] and commits(hub).count(TITLE) == 1


def test_a_repository_is_added_to_a_collection_once(hub: HubDouble, push: Push) -> None:
    hub.store.collections[SLUG] = Collection(SLUG, "Speech")
    for _ in range(2):
        push("--collection", SLUG)
    assert list(hub.store.collections[SLUG].items) == [("model", REPO)]


def test_earlier_pickles_are_deleted_and_added_files_are_kept(hub: HubDouble, push: Push) -> None:
    push()
    assert "notes.md" in tree(hub) and "training_args.bin" not in tree(hub)
    assert "# What somebody wrote by hand" in content(hub, "README.md").decode()


def test_rates_of_removed_benchmarks_are_deleted_and_those_of_others_are_kept(
    hub: HubDouble, push: Push, run: RunDirectory
) -> None:
    systems = [system_result(name).model_copy(update={"unusable": 0}) for name in ("adapter", "base")]
    evaluation(result("clips", systems)).write(run.results)
    recipe = run.load_recipe()
    benchmarks = [
        Benchmark(corpus="clips", dataset=f"ana/{name}", task="asr") for name in ("removed", "current", "mixed")
    ]
    recipe.model_copy(update={"hub": recipe.hub.model_copy(update={"benchmarks": benchmarks})}).write(run.recipe)
    push()
    removed, current, mixed = (f".eval_results/{each.dataset.removeprefix('ana/')}.yaml" for each in benchmarks)
    assert {removed, current, mixed} <= tree(hub)
    other = b"- {dataset: {id: ana/other, task_id: asr}, value: 1, source: {name: other, url: 'https://a.b'}}\n"
    added = {mixed: content(hub, mixed) + other, ".eval_results/clips.yaml": other, "card.md.jinja": b""}
    hub.commit(REPO, added, "Other")
    recipe.model_copy(update={"hub": recipe.hub.model_copy(update={"benchmarks": benchmarks[1:2]})}).write(run.recipe)
    push()
    assert {path for path in tree(hub) if path.startswith(".eval_results/")} == {current, mixed, *added} - {
        "card.md.jinja"
    }
    assert "card.md.jinja" not in tree(hub) and commits(hub)[:3] == [TITLE, "Other", TITLE]
    assert commits(hub, BASE) == ["initial commit"]
