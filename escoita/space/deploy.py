"""Deploy a Space: settings, one commit, and a test of the running page."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import HfApi, SpaceHardware, SpaceRuntime

from escoita.errors import EscoitaError, PublishError
from escoita.hub.auth import require_write
from escoita.hub.failures import HubError, explain_hub_errors
from escoita.hub.retry import retrying
from escoita.hub.scan import scan
from escoita.hub.upload import CommitPlan, Head, commit, head_or_empty, print_changes
from escoita.space.repository import Plan, plan_space
from escoita.space.running_space import compare_transcripts, transcribe_here, transcribe_there, wait_until_running
from escoita.utils.processes import say


HARDWARE = sorted(hardware.value for hardware in SpaceHardware)


@dataclass(frozen=True)
class Settings:
    """
    Hold the settings of a Space that are not in its files.

    Args:
        hardware (`str`, *optional*): The Hub's name of the hardware. Defaults to the current hardware, or `cpu-basic`
            for a new Space.
        private (`bool`, *optional*, defaults to `False`): Whether a new Space is private.
        variables (`Mapping[str, str]`): The public variables.
        secrets (`Mapping[str, str]`): The secrets, which only the Space can read.
    """

    hardware: str | None = None
    private: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def described(self) -> str:
        """Return the settings on one line, without the values of secrets."""
        variables = [f"variable {key}={value}" for key, value in self.variables.items()]
        secrets = [f"secret {key}" for key in self.secrets]
        return ", ".join([f"hardware {self.hardware or 'unchanged'}", *variables, *secrets])


def require_hardware(name: str | None) -> None:
    """
    Check that huggingface_hub knows the hardware.

    Raises:
        PublishError: The hardware is unknown.
    """
    if name is not None and name not in HARDWARE:
        raise PublishError(f"expected one of {', '.join(HARDWARE)}", key="--hardware", value=name)


class PublicSpaceError(PublishError):
    """Report that an existing Space is public, but a private one was requested."""

    problem = "the Space is public"
    hint = "change it to private in the settings of the Space"


class MissingTokenError(PublishError):
    """
    Report that a Space has no token for the repositories that need one.

    Args:
        repositories (`str`): The repositories that need a token.
    """

    repositories: str
    problem = "the Space needs a token for {repositories}"
    hint = "use --secret HF_TOKEN=NAME, with NAME the environment variable that contains the token"


class TokenAccessError(PublishError):
    """
    Report that the token of a Space may not use a repository.

    Args:
        repository (`str`): The repository.
        reason (`str`): The answer of the Hub.
    """

    repository: str
    reason: str
    problem = "the token of the Space may not use {repository} ({reason})"
    hint = "accept the terms on the page of the repository as the owner of the token, or give the token access to it"


def require_access(api: HfApi, plan: Plan, token: str) -> None:
    """
    Ask the Hub whether the token of a Space may read its repositories, and write its dataset of corrections.

    A token may be able to see a gated repository, and not to download its files.

    Args:
        api (`HfApi`): The client of the Hub, whose own token is not used.
        plan (`Plan`): The Space.
        token (`str`): The token of the Space.

    Raises:
        TokenAccessError: The token is invalid, or may not use a repository.
    """
    asking = HfApi(endpoint=api.endpoint, token=token)
    for repository in plan.token_for:
        dataset = repository.removeprefix("datasets/")
        kind, write = ("dataset", True) if dataset != repository else ("model", False)
        try:
            with explain_hub_errors(repository):
                retrying(repository)(asking.auth_check, dataset, repo_type=kind, write=write)
        except HubError as error:
            if error.status not in (401, 403, 404):
                raise
            reason = str(error.problem)
            raise TokenAccessError(path=plan.repo, repository=repository, reason=reason) from error


def require_fit(api: HfApi, plan: Plan, settings: Settings, head: Head) -> None:
    """
    Check that a Space has a token if it needs one, and that it is private if that was requested.

    The Hub does not return the value of a secret that the Space already has; then access is not checked.

    Raises:
        TokenAccessError: The token may not use a repository.
        PublicSpaceError: The Space exists and is public.
        MissingTokenError: The Space needs a token.
    """
    if settings.private and head.sha and not head.private:
        raise PublicSpaceError(path=plan.repo)
    if not plan.token_for:
        return
    if (token := settings.secrets.get("HF_TOKEN")) is not None:
        require_access(api, plan, token)
        return
    with explain_hub_errors(plan.repo):
        if head.sha and "HF_TOKEN" in retrying(plan.repo)(api.get_space_secrets, plan.repo):
            used = ", ".join(plan.token_for)
            say(
                f"{plan.repo}: its token stays; whether it may use {used} is not checked (--secret HF_TOKEN=NAME does)"
            )
            return
    raise MissingTokenError(path=plan.repo, repositories=", ".join(plan.token_for))


def create(api: HfApi, repo: str, settings: Settings) -> None:
    """
    Create an empty Space with its settings, so that it is built only once.

    Args:
        api (`HfApi`): The client of the Hub.
        repo (`str`): The Space.
        settings ([`Settings`]): The settings.

    Raises:
        PublishError: The Hub refuses.
    """
    with explain_hub_errors(repo):
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


def update_settings(api: HfApi, repo: str, settings: Settings) -> None:
    """
    Update the settings of an existing Space that differ, because each change restarts it. Secrets are always set.

    Args:
        api (`HfApi`): The client of the Hub.
        repo (`str`): The Space.
        settings ([`Settings`]): The settings.

    Raises:
        PublishError: The Hub refuses, after the files were pushed.
    """
    call = retrying(repo)
    with explain_hub_errors(repo, "space", done="the files were pushed, and not all settings"):
        existing = call(api.get_space_variables, repo) if settings.variables else {}
        for key, value in settings.variables.items():
            if key not in existing or existing[key].value != value:
                call(api.add_space_variable, repo, key, value)
        for key, value in settings.secrets.items():
            call(api.add_space_secret, repo, key, value)
        if settings.hardware and settings.hardware != hardware_of(api, repo):
            call(api.request_space_hardware, repo, settings.hardware)
            say(f"{repo}: requested the hardware {settings.hardware}")


def hardware_of(api: HfApi, repo: str) -> str | None:
    """Return the requested hardware of a Space, or its current hardware."""
    runtime: SpaceRuntime = retrying(repo)(api.get_space_runtime, repo)
    return runtime.requested_hardware or runtime.hardware


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]] | None:
    return [{"key": key, "value": value} for key, value in values.items()] or None


# Modules and clips of an earlier push are deleted if they are not in the new one. Other files stay.
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
    Create or update the Space of a published adapter.

    If the commit is refused, an existing Space is unchanged, and a new one is empty.

    Args:
        api (`HfApi`): The client of the Hub.
        repo (`str`): The Space, `user/space`.
        adapter (`str`): The adapter; see [`~escoita.space.repository.plan_space`] for it and for `recipe`,
            `overrides`, `examples`, `base_revision` and `allow_other_base`.
        settings ([`~escoita.space.deploy.Settings`]): The settings that are not in the files.
        clip (`Path`, *optional*): The clip for the test of the Space. Defaults to the first example.
        dry_run (`bool`, *optional*, defaults to `False`): Whether to print the plan and change nothing.
        minutes (`float`, *optional*, defaults to 30): The time limit until the Space runs, in minutes. With `None` the
            Space is not tested.

    Returns:
        `str`: The result, on one line.

    Raises:
        EscoitaError: An input is missing; nothing was changed.
        PublishError: The Hub refuses, the Space does not run, or its transcript differs from that of this machine.
    """
    require_hardware(settings.hardware)
    require_write(api, repo, repo_type="space", dry_run=dry_run)
    head = head_or_empty(api, repo, "space")
    hardware = settings.hardware
    if hardware is None and head.sha:
        with explain_hub_errors(repo):
            hardware = hardware_of(api, repo)
    plan = plan_space(api, repo, adapter, hardware, recipe, overrides, examples, base_revision, allow_other_base)
    require_fit(api, plan, settings, head)
    scan(plan.files)
    commit_plan = CommitPlan(plan.files, "Publish the page", leftovers=LEFTOVERS)
    test_clip = clip or next(iter(plan.clips), None)
    if minutes is not None and not (test_clip and test_clip.is_file()):
        hint = "use --clip or --example, or --no-wait"
        raise EscoitaError("no clip to test the page with", path=test_clip or repo, hint=hint)
    if dry_run:
        print_changes(repo, commit_plan.changes(head))
        return f"{repo}: {settings.described()}; dry run, nothing was changed"
    if not head.sha:
        create(api, repo, settings)
        oid = commit(api, repo, commit_plan, head_or_empty(api, repo, "space")).oid
    else:
        oid = commit(api, repo, commit_plan, head).oid
        update_settings(api, repo, settings)
    if minutes is None or test_clip is None:
        return f"{api.endpoint}/spaces/{repo}"
    say(f"{repo}: pushed; waiting until it runs")
    wait_until_running(api, repo, oid, minutes)
    there = transcribe_there(api, repo, test_clip)
    say(f"{repo}: runs; transcribing the same clip on this machine")
    return compare_transcripts(repo, there, transcribe_here(plan.hosted, test_clip))
