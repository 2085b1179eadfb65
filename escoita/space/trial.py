"""Waits until a Space runs, asks it for a transcript as any program would, and compares it with the model's here."""

import time
from pathlib import Path

from huggingface_hub import HfApi, SpaceRuntime, get_token

from escoita.errors import PublishError
from escoita.hub.auth import clear_refusals
from escoita.hub.retry import patiently
from escoita.utils.progress import say
from escoita.space.demo import named
from escoita.space.hosted import Hosted


# Which log tells why.
LOG_OF = {"BUILD_ERROR": "build", "RUNTIME_ERROR": "container"}
# What a push does not end.
STILL = ("PAUSED", "STOPPED")
POLL_SECONDS = 5.0


def wait_until_it_runs(api: HfApi, repo: str, oid: str, minutes: float, poll_seconds: float = POLL_SECONDS) -> None:
    """
    Waits for the Space to run a commit.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): The Space.
        oid (`str`): The commit; the Space may still run the one before.
        minutes (`float`): Most that this may take.
        poll_seconds (`float`, *optional*, defaults to 5): Between looks.

    Raises:
        PublishError: It fails, is paused, or takes longer; the line says where its log is.
    """
    deadline = time.monotonic() + 60 * minutes
    page, told = f"{api.endpoint}/spaces/{repo}", ""

    def settled() -> SpaceRuntime | None:
        left = max(0.0, deadline - time.monotonic())
        try:
            return api.wait_for_space(repo, timeout=left, poll_interval=poll_seconds)
        except TimeoutError:  # else it would be taken for a line that broke, and waited for again
            return None

    while True:
        with clear_refusals(repo):
            runtime: SpaceRuntime | None = patiently(repo)(settled)
        if runtime is None:
            raise PublishError(_late(repo, minutes, page))
        left = deadline - time.monotonic()
        # Of the newest commit the Hub may not speak at once.
        if runtime.raw.get("sha") in (None, oid) or runtime.stage in STILL or left <= 0:
            break
        if told != runtime.stage:
            told = runtime.stage
            say(f"{repo}: still {told} as before the push")
        time.sleep(min(poll_seconds, left))
    if runtime.stage == "RUNNING" and runtime.raw.get("sha") in (None, oid):
        return
    if runtime.stage == "RUNNING":
        raise PublishError(_late(repo, minutes, page))
    why = " ".join(str(runtime.raw.get("errorMessage") or "").split())
    log = LOG_OF.get(str(runtime.stage))
    raise PublishError(
        f"{repo}: is {runtime.stage}{f' ({why})' if why else ''}; "
        + (f"its log is at {page}?logs={log}" if log else f"look at {page}")
    )


def ask(api: HfApi, repo: str, clip: Path) -> str:
    """
    Transcript of a clip, by the Space.

    Raises:
        PublishError: The page does not answer, or answers with a message.
    """
    from gradio_client import Client, handle_file

    with clear_refusals(repo):
        host = patiently(repo)(api.space_info, repo).host
    if not host:
        raise PublishError(f"{repo}: the Hub does not say where its page is")
    try:
        client = Client(host, token=api.token or get_token(), verbose=False, analytics_enabled=False)
        try:
            return str(client.predict(handle_file(clip), api_name="/transcribe"))
        finally:
            client.close()
    except Exception as error:  # the client raises what befalls it: of the line, of the page, of its answer
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise PublishError(f"{repo}: runs, but does not transcribe {clip.name} ({reason})") from error


def heard_here(hosted: Hosted, clip: Path) -> str:
    """Transcript of a clip, by base and adapter on this machine."""
    from escoita.inference.serving import Engine

    adapters = named(hosted.adapters)
    allowed = hosted.allow_other_base
    with Engine.load(hosted.base, adapters, hosted.base_revision, hosted.dtype, allow_other_base=allowed) as engine:
        text = ""
        for partial in engine.stream(clip, next(iter(adapters))):
            text = partial.text
    return text


def compared(repo: str, there: str, here: str) -> str:
    """
    Compares what the Space heard with what is heard here.

    Returns:
        `str`: One line.

    Raises:
        PublishError: They differ.
    """
    if there != here:
        raise PublishError(
            f"{repo}: runs, but heard {there!r}, and the model here {here!r}; other hardware or precision may round "
            "otherwise, so listen to it, and look whether base and adapter are the same"
        )
    return f"{repo}: runs, and heard what the model hears here: {there!r}"


def _late(repo: str, minutes: float, page: str) -> str:
    return f"{repo}: does not run yet after {minutes:g} minutes; its log is at {page}?logs=build"
