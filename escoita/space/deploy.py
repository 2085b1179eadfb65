"""
Pushes a Space: one commit, hardware, variables and secrets; then waits until it runs, and asks it for a transcript.

    escoita space push --repo user/space --adapter user/adapter --hardware zero-a10g
"""

import re
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import HfApi

from escoita.errors import EscoitaError
from escoita.hub.auth import clear_refusals, is_there, require_write
from escoita.hub.changes import Head, print_changes
from escoita.hub.commit import Wanted, commit, read_head
from escoita.hub.scan import scan
from escoita.utils.progress import say
from escoita.space.plan import plan_space
from escoita.space.settings import Settings, change, hardware_of, make, require_fit, require_hardware
from escoita.space.trial import ask, compared, heard_here, wait_until_it_runs


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
        adapter (`str`): As [`~escoita.space.plan.plan_space`] takes it, and so `recipe`, `overrides` and `examples`.
        settings ([`~escoita.space.settings.Settings`]): What it has beside its files.
        clip (`Path`, *optional*): What it is asked for; its first example unless given.
        dry_run (`bool`, *optional*, defaults to `False`): Prints what would be pushed, and changes nothing.
        minutes (`float`, *optional*, defaults to 30): Most to wait until it runs; `None` does not wait, nor ask.
        base_revision (`str`, *optional*): See [`~escoita.space.plan.plan_space`], and so `allow_other_base`.

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
    wanted = Wanted(plan.files, "Publish the page", leftovers=LEFTOVERS)
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
    return compared(repo, there, heard_here(plan.hosted, tried))


def _head(api: HfApi, repo: str) -> Head:
    """What is there of a Space; an empty one where there is none."""
    with clear_refusals(repo):
        return read_head(api, repo, repo_type="space") if is_there(api, repo, "space") else Head()
