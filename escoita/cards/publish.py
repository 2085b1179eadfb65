"""
Publish a run: adapter, processor, card and records in one commit, which is then read back and compared.

    python cards/push.py --run runs/quickstart-uzbek --repo user/name
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import HfApi

from escoita.cards.benchmarks import is_benchmark_path, is_own_benchmark_file
from escoita.cards.contribute import UnchangedRepositoryError, description
from escoita.cards.editing import existing_card, manual_edits, reviser
from escoita.cards.preflight import validate_card
from escoita.cards.publication import public_transcripts, publication, transcripts_line
from escoita.cards.published_base import base_files, public_base, require_base, require_consent
from escoita.cards.signature import SIGNATURE, fingerprint
from escoita.cards.signing import require_signer, with_signature
from escoita.cards.verify.evaluation_settings import evaluation_differences
from escoita.errors import PublishError
from escoita.hub.auth import require_write, trusted_resource
from escoita.hub.failures import explain_hub_errors
from escoita.hub.retry import retrying
from escoita.hub.scan import scan
from escoita.hub.upload import (
    CARD,
    CommitPlan,
    CommitResult,
    Content,
    Head,
    commit,
    counted,
    head_or_empty,
    print_changes,
    read_file,
    read_head,
    real,
)
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import EvaluationRecord
from escoita.records.training import TrainingRecord
from escoita.run_directory import UNCHANGED_FILES, RunDirectory
from escoita.utils.limits import YAML_CHARACTERS
from escoita.utils.processes import say


def require_tag(api: HfApi, repo: str, tag: str, commit: str) -> None:
    """
    Check that a tag does not exist, or is on the right commit.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): Existing repository, `user/name`.
        tag (`str`): Name of the tag, such as `v1`.
        commit (`str`): Right commit; empty for a commit that is still to be created.

    Raises:
        PublishError: The tag is on another commit; tags are not moved.
    """
    tagged = _tagged_commit(api, repo, tag)
    if tagged and tagged != commit:
        raise PublishError(
            f"the tag exists on commit {tagged[:12]}, and tags are not moved",
            path=repo,
            key="--tag",
            value=tag,
            hint="use another tag",
        )


def require_collection(api: HfApi, slug: str, repo: str) -> bool:
    """
    Check that a collection exists.

    Returns:
        `bool`: Whether the repository has to be added to it.

    Raises:
        PublishError: The collection is not found, or the token of a CI job can write only to the repository.
    """
    with explain_hub_errors(slug, "collection"):
        items = retrying(slug)(api.get_collection, slug).items
    missing = not any(item.item_id == repo and item.item_type == "model" for item in items)
    if missing and trusted_resource(api):
        raise PublishError(
            f"the token of a CI job can write only to {repo}", path=slug, hint="add the repository to it by hand"
        )
    return missing


def put_tag(api: HfApi, repo: str, tag: str, result: CommitResult) -> None:
    """
    Tag a commit; an existing tag is not moved.

    Raises:
        PublishError: The commit was created, but could not be tagged.
    """
    with explain_hub_errors(repo, "tag", key="--tag", value=tag, done=f"{result.url} was created"):
        retrying(repo)(api.create_tag, repo, tag=tag, revision=result.oid, exist_ok=True)
        if (tagged := _tagged_commit(api, repo, tag)) != result.oid:
            problem = f"commit created, but the tag exists on commit {tagged[:12]}"
            raise PublishError(problem, path=result.url, key="--tag", value=tag)


def put_into_collection(api: HfApi, slug: str, repo: str, result: CommitResult) -> None:
    """
    Add the repository to a collection.

    Raises:
        PublishError: The commit was created, but the repository could not be added.
    """
    with explain_hub_errors(slug, "collection", done=f"{result.url} was created, and not added to the collection"):
        retrying(slug)(api.add_collection_item, slug, repo, "model", exists_ok=True)


def _tagged_commit(api: HfApi, repo: str, tag: str) -> str:
    """Return the commit of a tag; empty if there is no such tag."""
    with explain_hub_errors(repo):
        tags = retrying(repo)(api.list_repo_refs, repo).tags
    return next((ref.target_commit for ref in tags if ref.name == tag), "")


# Files of an earlier publication that are removed: results, plots, templates, signatures and pickles. Files for
# leaderboards are read first, because others may have written them.
LEFTOVERS = (
    r"eval/.*|data\.json|data/durations\.svg|training\.svg|card\.md\.jinja|model\.sig|signer\.pub|card\.sha256"
    rf"|{'|'.join(map(re.escape, UNCHANGED_FILES))}"
    r"|(.*/)?[^/]*\.(bin|ckpt|pickle|pkl|pt|pth)"
)
RESULTS = "eval/results.json"


@dataclass(frozen=True)
class Published:
    """
    Store what a push made.

    Args:
        url (`str`): Address of the commit or of the pull request; for a dry run, a summary.
        repo (`str`): Repository of the adapter.
        lines (`tuple[str]`): One line for each repository, tag and collection, with its address.
    """

    url: str
    repo: str
    lines: tuple[str, ...] = ()


def push(
    path: Path,
    repo: str | None = None,
    *,
    pr: bool = False,
    private: bool | None = None,
    tag: str | None = None,
    collection: str | None = None,
    dry_run: bool = False,
    force: bool = False,
    sign: str | None = None,
    publish_base: bool = False,
) -> Published:
    """
    Publish a run.

    A base that is a local folder is published first, under the same owner, if it is missing and `publish_base` is set.

    Args:
        path (`Path`): Run directory, trained and evaluated.
        repo (`str`, *optional*): Target repository, `user/name`; default: `hub.repo` of the recipe.
        pr (`bool`, *optional*, defaults to `False`): Whether a pull request is opened.
        private (`bool`, *optional*): Whether a new repository is private; default: `hub.private` of the recipe.
        tag (`str`, *optional*): Tag of the commit.
        collection (`str`, *optional*): Slug of the collection; default: `hub.collection` of the recipe.
        dry_run (`bool`, *optional*, defaults to `False`): Whether the changes are only printed.
        force (`bool`, *optional*, defaults to `False`): Whether edits by hand in generated sections are overwritten.
        sign (`str`, *optional*): Path of the private key, or `sigstore`; see `escoita/cards/signing.py`.
        publish_base (`bool`, *optional*, defaults to `False`): Whether a base that is a local folder may be published.

    Raises:
        PublicBaseError: The base would be published, and `publish_base` is not set. Nothing was uploaded.
        PublishError: The Hub refuses, or the published files differ from those that were sent. The run is unchanged.
        CardConflict: Generated content was edited by hand on the Hub.
    """
    if pr and tag:
        raise PublishError(
            "a pull request can be tagged only after it is merged", key="--tag", value=tag, hint="remove --tag"
        )
    key = require_signer(sign) if sign else None
    run, api = RunDirectory(path), HfApi()
    recipe = run.load_recipe()
    require_evaluated_as_requested(run, recipe)
    repo = require_write(api, repo or recipe.hub.repo, pr, dry_run=dry_run)
    base, base_missing = require_base(api, recipe, repo, dry_run)
    new_are_private = recipe.hub.private if private is None else private
    if base_missing and not dry_run:
        require_consent(recipe, base, publish_base, new_are_private)
    files = publication(run, recipe, repo, base)
    content: dict[str, Content] = dict(base_files(Path(recipe.base))) if base_missing else {}
    scan(files)
    scan(content)

    head, base_head = head_or_empty(api, repo), head_or_empty(api, base) if base_missing else Head()
    if private is not None and head.sha and head.private != private:
        raise PublishError(
            f"the repository exists and is {'private' if head.private else 'public'}",
            path=repo,
            key="--private",
            hint="change its visibility in its settings on the Hub",
        )
    if CARD in base_head.files:  # an existing card of the base is kept
        content.pop(CARD, None)
    base_plan = CommitPlan(content, "Publish the base of an adapter")
    local = existing_card(run.card)
    plan = CommitPlan(
        files, f"Publish {recipe.name}", leftovers=_leftovers(api, repo, head), pr=pr, revise=reviser(local, force)
    )
    if manual_edits(local):  # text that is only on the Hub is public already
        scan({CARD: plan.onto(head)[CARD]})
    if sign:
        plan = with_signature(plan, head, key, repo, _published_file(api, repo, head, SIGNATURE) or b"", dry_run)
        if key:
            say(f"{repo}: signed with the key {fingerprint(key.public)}; publish this fingerprint for your readers")
    elif SIGNATURE in head.files:
        say(f"{repo}: the existing signature is removed, because this push is not signed (--sign)")
    found = plan.changes(head)
    if tag and head.sha:
        require_tag(api, repo, tag, "" if real(found) else head.sha)
    slug = collection or recipe.hub.collection
    missing_in = bool(slug) and require_collection(api, str(slug), repo)
    if pr and not real(found):
        raise UnchangedRepositoryError(path=repo)
    card = plan.onto(head)[CARD]
    validate_card(card.decode() if isinstance(card, bytes) else card.read_text("utf-8"))
    if dry_run:
        if base_missing:
            print_changes(base, base_plan.changes(base_head))
            if not publish_base:
                say(str(public_base(recipe, base, new_are_private)))
        print_changes(repo, found)
        say(f"{repo}: {transcripts_line(public_transcripts(files))}")
        return Published(f"{repo}: {counted(found)} (dry run: nothing was changed)", repo)

    lines = []
    if base_missing:
        of_base = commit(api, base, base_plan, with_repository(api, base, base_head, new_are_private))
        lines.append(f"Base:       {base}: {of_base.url}")
    if pr:
        plan = replace(plan, description=description(_published_file(api, repo, head, RESULTS), files[RESULTS], found))
    result = commit(api, repo, plan, with_repository(api, repo, head, new_are_private))
    lines.append(f"{'Proposal' if pr else 'Adapter'}:{'' if pr else ' '}   {repo}: {result.url}")
    if result.oid == head.sha:
        say(f"{repo}: up to date; nothing was changed")
    if tag:
        put_tag(api, repo, tag, result)
        lines.append(f"Tag:        {tag}: {api.endpoint}/{repo}/tree/{tag}")
    if missing_in and slug:
        put_into_collection(api, slug, repo, result)
        lines.append(f"Collection: {slug}: {api.endpoint}/collections/{slug}")
    return Published(result.url, repo, tuple(lines))


def require_evaluated_as_requested(run: RunDirectory, recipe: Recipe) -> None:
    """
    Refuse results with other settings than the recipe, because `escoita verify` would report them.

    Args:
        run ([`RunDirectory`]): Run directory with the results.
        recipe ([`Recipe`]): Recipe of the run.

    Raises:
        PublishError: The settings differ; names the first difference.
        RecordError: The run is not evaluated.
    """
    training = TrainingRecord.read(run.training)
    if found := next(evaluation_differences(recipe, EvaluationRecord.read(run.results), training), None):
        raise PublishError(
            f"the settings differ from those of the recipe ({found})",
            path=run.results,
            hint=f"run `escoita eval --run {run.path}` without options that change them, or change the recipe",
        )


def with_repository(api: HfApi, repo: str, head: Head, private: bool) -> Head:
    """Create the repository if it is missing. A later failure leaves it empty."""
    if head.sha:
        return head
    with explain_hub_errors(repo):
        retrying(repo)(api.create_repo, repo, private=private, exist_ok=True)
        return read_head(api, repo)


def _leftovers(api: HfApi, repo: str, head: Head) -> re.Pattern[str]:
    """Return the pattern of removable files, with the files for leaderboards that escoita wrote."""
    found = (
        re.escape(path)
        for path, file in sorted(head.files.items())
        if is_benchmark_path(path)
        and file.size <= YAML_CHARACTERS
        and is_own_benchmark_file(_published_file(api, repo, head, path) or b"")
    )
    return re.compile("|".join([LEFTOVERS, *found]))


def _published_file(api: HfApi, repo: str, head: Head, name: str) -> bytes | None:
    """Return a file of the repository, or none if it does not exist."""
    with explain_hub_errors(repo):
        return read_file(api, repo, head.sha, name) if name in head.files else None
