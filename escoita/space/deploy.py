"""Deploy a Space: settings, one commit, and a trial of the running page."""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import HfApi, SpaceHardware, SpaceRuntime, get_token

from escoita.errors import EscoitaError, PublishError
from escoita.hub.auth import clear_refusals, is_there, require_write
from escoita.hub.retry import retrying
from escoita.hub.scan import scan
from escoita.hub.upload import CommitPlan, Head, commit, print_changes, read_head
from escoita.space.demo import named
from escoita.space.hosted import Hosted
from escoita.space.repository import Plan, plan_space
from escoita.utils.processes import say


HARDWARE = sorted(hardware.value for hardware in SpaceHardware)


@dataclass(frozen=True)
class Settings:
    """
    What is asked for beside the files.

    Args:
        hardware (`str`, *optional*): As the Hub calls it; as it is unless given, and `cpu-basic` of a new Space.
        private (`bool`, *optional*, defaults to `False`): Of a Space that is made.
        variables (`Mapping[str, str]`): Seen by everybody.
        secrets (`Mapping[str, str]`): Seen by the Space alone.
    """

    hardware: str | None = None
    private: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def described(self) -> str:
        """One line, without the value of any secret."""
        variables = [f"variable {key}={value}" for key, value in self.variables.items()]
        secrets = [f"secret {key}" for key in self.secrets]
        return ", ".join([f"hardware {self.hardware or 'as it is'}", *variables, *secrets])


def require_hardware(name: str | None) -> None:
    """
    Checks that there is such hardware, as far as huggingface_hub knows.

    Raises:
        PublishError: There is not.
    """
    if name is not None and name not in HARDWARE:
        raise PublishError(f"--hardware {name}: none of {', '.join(HARDWARE)}")


def require_fit(api: HfApi, plan: Plan, settings: Settings, head: Head) -> None:
    """
    Checks that the Space has a token where it needs one, and that it is not public where a private one is wanted.

    Raises:
        PublishError: It has none, or it is public.
    """
    if settings.private and head.sha and not head.private:
        raise PublishError(f"{plan.repo}: is public already; change that in its settings")
    if not plan.token_for or "HF_TOKEN" in settings.secrets:
        return
    with clear_refusals(plan.repo):
        if head.sha and "HF_TOKEN" in retrying(plan.repo)(api.get_space_secrets, plan.repo):
            return
    raise PublishError(
        f"{plan.repo}: needs a token for {', '.join(plan.token_for)}; give it with --secret HF_TOKEN=NAME, where NAME "
        "is the variable of this shell that holds it"
    )


def make(api: HfApi, repo: str, settings: Settings) -> None:
    """
    Makes a Space, empty, with all that it has beside its files: it builds once.

    Raises:
        PublishError: The Hub refuses.
    """
    with clear_refusals(repo):
        retrying(repo)(
            api.create_repo,
            repo,
            repo_type="space",
            space_sdk="gradio",
            private=settings.private,
            exist_ok=True,
            space_hardware=settings.hardware,
            space_variables=_pairs(settings.variables),
            space_secrets=_pairs(settings.secrets),
        )


def change(api: HfApi, repo: str, settings: Settings) -> None:
    """
    Sets what differs of a Space that is there: each change starts it anew. Secrets cannot be read, and are always set.

    Raises:
        PublishError: The Hub refuses; the files are pushed by then.
    """
    call = retrying(repo)
    with clear_refusals(f"{repo}: its files are pushed, but not all of its settings"):
        there = call(api.get_space_variables, repo) if settings.variables else {}
        for key, value in settings.variables.items():
            if key not in there or there[key].value != value:
                call(api.add_space_variable, repo, key, value)
        for key, value in settings.secrets.items():
            call(api.add_space_secret, repo, key, value)
        if settings.hardware and settings.hardware != hardware_of(api, repo):
            call(api.request_space_hardware, repo, settings.hardware)
            say(f"{repo}: asked for {settings.hardware}")


def hardware_of(api: HfApi, repo: str) -> str | None:
    """What a Space runs on, or will."""
    runtime: SpaceRuntime = retrying(repo)(api.get_space_runtime, repo)
    return runtime.requested_hardware or runtime.hardware


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]] | None:
    return [{"key": key, "value": value} for key, value in values.items()] or None


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
            runtime: SpaceRuntime | None = retrying(repo)(settled)
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
        host = retrying(repo)(api.space_info, repo).host
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


def transcribe_here(hosted: Hosted, clip: Path) -> str:
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


# Of an earlier push: modules and clips that a new one does not hold. What somebody put beside them stays.
LEFTOVERS = re.compile(r"(escoita|space|examples)/.*")


def deploy(
    api: HfApi,
    repo: str,
    adapter: str,
    settings: Settings,
    *,
    recipe: Path | None = None,
    overrides: list[str] | None = None,
    examples: Iterable[Path] = (),
    clip: Path | None = None,
    dry_run: bool = False,
    minutes: float | None = 30.0,
    base_revision: str | None = None,
    allow_other_base: bool = False,
) -> str:
    """
    Makes a Space of a published adapter, or makes it anew.

    A commit that is refused leaves a Space as it was; of a new one an empty Space is left.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): The Space, `user/space`.
        adapter (`str`): As [`plan_space`] takes it, and so `recipe`, `overrides` and `examples`.
        settings ([`~escoita.space.deploy.Settings`]): What it has beside its files.
        clip (`Path`, *optional*): What it is asked for; its first example unless given.
        dry_run (`bool`, *optional*, defaults to `False`): Prints what would be pushed, and changes nothing.
        minutes (`float`, *optional*, defaults to 30): Most to wait until it runs; `None` does not wait, nor ask.
        base_revision (`str`, *optional*): See [`~escoita.space.repository.plan_space`], and so `allow_other_base`.

    Returns:
        `str`: What came of it, in one line.

    Raises:
        EscoitaError: Something is missing; nothing was changed.
        PublishError: The Hub refuses, the Space does not run, or it hears something else than the model here.
    """
    require_hardware(settings.hardware)
    require_write(api, repo, repo_type="space")
    head = _head(api, repo)
    hardware = settings.hardware
    if hardware is None and head.sha:
        with clear_refusals(repo):
            hardware = hardware_of(api, repo)
    plan = plan_space(api, repo, adapter, hardware, recipe, overrides, examples, base_revision, allow_other_base)
    require_fit(api, plan, settings, head)
    scan(plan.files)
    wanted = CommitPlan(plan.files, "Publish the page", leftovers=LEFTOVERS)
    tried = clip or next(iter(plan.clips), None)
    if minutes is not None and not (tried and tried.is_file()):
        raise EscoitaError(f"{tried or repo}: no clip to try the page with; give --clip or --example, or --no-wait")
    if dry_run:
        print_changes(repo, wanted.changes(head))
        return f"{repo}: {settings.described()}; a dry run, nothing was changed"
    if not head.sha:
        make(api, repo, settings)
        oid = commit(api, repo, wanted, _head(api, repo)).oid
    else:
        oid = commit(api, repo, wanted, head).oid
        change(api, repo, settings)
    if minutes is None or tried is None:
        return f"{api.endpoint}/spaces/{repo}"
    say(f"{repo}: pushed; waiting until it runs")
    wait_until_it_runs(api, repo, oid, minutes)
    there = ask(api, repo, tried)
    say(f"{repo}: runs; asking the model here for the same clip")
    return compared(repo, there, transcribe_here(plan.hosted, tried))


def _head(api: HfApi, repo: str) -> Head:
    """What is there of a Space; an empty one where there is none."""
    with clear_refusals(repo):
        return read_head(api, repo, repo_type="space") if is_there(api, repo, "space") else Head()
