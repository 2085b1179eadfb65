"""What a Space has beside its files: hardware, variables and secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from huggingface_hub import HfApi, SpaceHardware, SpaceRuntime

from escoita.errors import PublishError
from escoita.hub.auth import clear_refusals
from escoita.hub.changes import Head
from escoita.hub.retry import patiently
from escoita.utils.progress import say
from escoita.space.plan import Plan


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
        if head.sha and "HF_TOKEN" in patiently(plan.repo)(api.get_space_secrets, plan.repo):
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
        patiently(repo)(
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
    call = patiently(repo)
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
    runtime: SpaceRuntime = patiently(repo)(api.get_space_runtime, repo)
    return runtime.requested_hardware or runtime.hardware


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]] | None:
    return [{"key": key, "value": value} for key, value in values.items()] or None
