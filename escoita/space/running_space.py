"""Wait until a Space runs, and compare its transcript with that of this machine."""

import time
from pathlib import Path

from huggingface_hub import HfApi, SpaceRuntime, get_token

from escoita.errors import PublishError
from escoita.hub.failures import explain_hub_errors
from escoita.hub.retry import retrying
from escoita.space.demo import named_adapters
from escoita.space.hosted import Hosted
from escoita.utils.processes import say


# The log of each stage with an error.
LOG_OF = {"BUILD_ERROR": "build", "RUNTIME_ERROR": "container"}
# Stages that a push does not change.
NOT_STARTED = ("PAUSED", "STOPPED")
# The time between requests.
POLL_SECONDS = 5.0


class NotRunningError(PublishError):
    """
    Report that a Space does not run the pushed commit.

    Args:
        stage (`str`): The stage of the Space, or `timeout`.
    """

    stage: str


def wait_until_running(api: HfApi, repo: str, oid: str, minutes: float) -> None:
    """
    Wait until the Space runs a commit.

    Args:
        api (`HfApi`): The client of the Hub.
        repo (`str`): The Space.
        oid (`str`): The commit; the Space may still run the previous one.
        minutes (`float`): The time limit, in minutes.

    Raises:
        NotRunningError: The Space fails, is paused, or takes too long; the hint has the address of its log.
    """
    deadline = time.monotonic() + 60 * minutes
    page, reported = f"{api.endpoint}/spaces/{repo}", ""

    def settled() -> SpaceRuntime | None:
        left = max(0.0, deadline - time.monotonic())
        try:
            return api.wait_for_space(repo, timeout=left, poll_interval=POLL_SECONDS)
        except TimeoutError:  # otherwise it would be retried like a connection error
            return None

    while True:
        with explain_hub_errors(repo):
            runtime: SpaceRuntime | None = retrying(repo)(settled)
        if runtime is None:
            raise _timeout_error(repo, minutes, page)
        left = deadline - time.monotonic()
        # The Hub may still report the previous commit.
        if runtime.raw.get("sha") in (None, oid) or runtime.stage in NOT_STARTED or left <= 0:
            break
        if reported != runtime.stage:
            reported = runtime.stage
            say(f"{repo}: still {reported}, with the previous commit")
        time.sleep(min(POLL_SECONDS, left))
    if runtime.stage == "RUNNING" and runtime.raw.get("sha") in (None, oid):
        return
    if runtime.stage == "RUNNING":
        raise _timeout_error(repo, minutes, page)
    reason = " ".join(str(runtime.raw.get("errorMessage") or "").split())
    log = LOG_OF.get(str(runtime.stage))
    raise NotRunningError(
        f"the Space is {runtime.stage}{f' ({reason})' if reason else ''}",
        path=repo,
        hint=f"read its log at {page}?logs={log}" if log else f"look at {page}",
        stage=str(runtime.stage),
    )


def transcribe_there(api: HfApi, repo: str, clip: Path) -> str:
    """
    Return the transcript of a clip by the Space.

    Args:
        api (`HfApi`): The client of the Hub.
        repo (`str`): The Space.
        clip (`Path`): The clip.

    Raises:
        PublishError: The page does not answer, or answers with an error.
    """
    from gradio_client import Client, handle_file

    with explain_hub_errors(repo):
        host = retrying(repo)(api.space_info, repo).host
    if not host:
        raise PublishError("the Hub returned no address of the page", path=repo)
    try:
        client = Client(host, token=api.token or get_token(), verbose=False, analytics_enabled=False)
        try:
            return str(client.predict(handle_file(clip), api_name="/transcribe"))
        finally:
            client.close()
    except Exception as error:  # the client raises exceptions of several libraries
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise PublishError(f"the Space runs, but does not transcribe {clip.name} ({reason})", path=repo) from error


def transcribe_here(hosted: Hosted, clip: Path) -> str:
    """Return the transcript of a clip by base and adapter on this machine."""
    from escoita.inference.serving import Engine

    adapters = named_adapters(hosted.adapters)
    allowed = hosted.allow_other_base
    with Engine.load(hosted.base, adapters, hosted.base_revision, hosted.dtype, allow_other_base=allowed) as engine:
        text = ""
        for partial in engine.stream(clip, next(iter(adapters))):
            text = partial.text
    return text


class DifferentTranscriptError(PublishError):
    """
    Report that the Space and this machine transcribe a clip differently.

    Args:
        there (`str`): The transcript by the Space.
        here (`str`): The transcript by this machine.
    """

    there: str
    here: str
    problem = "the Space runs, but its transcript is {there!r}, and the transcript on this machine is {here!r}"
    hint = (
        "check whether base and adapter are the same; other hardware or another precision can also change a transcript"
    )


def compare_transcripts(repo: str, there: str, here: str) -> str:
    """
    Compare the transcripts of a clip by the Space and by this machine.

    Args:
        repo (`str`): The Space.
        there (`str`): The transcript by the Space.
        here (`str`): The transcript by this machine.

    Returns:
        `str`: The result, on one line.

    Raises:
        DifferentTranscriptError: The transcripts differ.
    """
    if there != here:
        raise DifferentTranscriptError(path=repo, there=there, here=here)
    return f"{repo}: runs, with the same transcript as on this machine: {there!r}"


def _timeout_error(repo: str, minutes: float, page: str) -> NotRunningError:
    return NotRunningError(
        f"the Space does not run after {minutes:g} minutes",
        path=repo,
        hint=f"read its log at {page}?logs=build",
        stage="timeout",
    )
