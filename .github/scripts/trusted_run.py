"""
Check the workflow run whose artifact is to be published. Reads GitHub's answer to `GET /repos/{owner}/{repo}/actions/
runs/{run_id}` from standard input.

    gh api "repos/$GITHUB_REPOSITORY/actions/runs/$RUN_ID" |
      python .github/scripts/trusted_run.py --repository "$GITHUB_REPOSITORY" --branch "$DEFAULT_BRANCH" -- "$RUN_ID"
"""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from escoita.cli.main import script
from escoita.errors import EscoitaError


WORKFLOWS = (".github/workflows/eval.yml", ".github/workflows/publish.yml")
# Events that only people with write access to the repository can cause. A pull request runs the code of its author.
EVENTS = ("push", "schedule", "workflow_dispatch")


def reasons(answer: dict[str, Any], run_id: str, repository: str, branch: str) -> Iterator[str]:
    """
    Yield each reason why the artifact of a run must not be published.

    Args:
        answer (`dict`): GitHub's answer.
        run_id (`str`): The number that was asked for.
        repository (`str`): `owner/name` of this repository.
        branch (`str`): Its default branch.
    """
    if str(answer.get("id")) != run_id:
        yield "the answer describes another run"
    if (event := answer.get("event")) not in EVENTS:
        yield f"its event is {event!r}, not one of {', '.join(EVENTS)}"
    for key in ("repository", "head_repository"):
        # GitHub answers null for the repository of a fork that was deleted.
        if (name := (answer.get(key) or {}).get("full_name")) != repository:
            yield f"its {key} is {name!r}, not {repository}"
    if (head := answer.get("head_branch")) != branch or not branch:
        yield f"its head branch is {head!r}, not {branch!r}"
    # GitHub may append `@` and a reference.
    if (path := str(answer.get("path")).split("@")[0]) not in WORKFLOWS:
        yield f"its workflow is {path!r}, not one of {', '.join(WORKFLOWS)}"


def trusted_run(
    run_id: Annotated[str, typer.Argument(help="Number of the run.")],
    repository: Annotated[str, typer.Option(help="owner/name of this repository.")],
    branch: Annotated[str, typer.Option(help="Default branch of this repository.")],
) -> None:
    """Exit with status 1 unless the run belongs to this repository and to its default branch."""
    try:
        answer = json.load(sys.stdin)
    except ValueError as error:
        raise EscoitaError(f"run {run_id}: GitHub's answer is not JSON ({error}); run the workflow again") from error
    if not isinstance(answer, dict):
        raise EscoitaError(f"run {run_id}: GitHub's answer does not describe a run; check the number")
    if found := list(reasons(answer, run_id, repository, branch)):
        raise EscoitaError(
            f"run {run_id}: its artifact is not published, because {'; '.join(found)}. "
            f"Give the number of a run of eval or publish on {branch}"
        )


if __name__ == "__main__":
    script(trusted_run)
