"""
Publish a run: adapter, processor, card and records in one commit, then read back and compared.

    python cards/push.py --run runs/quickstart-uzbek --repo user/name
"""

import re
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi

from escoita.cards.contribute import description
from escoita.cards.editing import by_hand, reviser, standing_card
from escoita.cards.preflight import validate_card
from escoita.cards.publication import publication
from escoita.cards.published_base import base_files, require_base
from escoita.cards.signature import SIGNATURE, fingerprint
from escoita.cards.signing import require_signer, with_signature
from escoita.cards.verify.consistency import evaluation_differences
from escoita.errors import PublishError
from escoita.hub.auth import clear_refusals, is_there, require_write, trusted_resource
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
    print_changes,
    read_file,
    read_head,
    real,
)
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import EvaluationRecord
from escoita.run_directory import UNCHANGED_FILES, RunDirectory
from escoita.utils.processes import say


def require_tag(api: HfApi, repo: str, tag: str, commit: str) -> None:
    """
    Checks that a tag is free, or is where it is to be.

    Args:
        api (`HfApi`): Client of the Hub.
        repo (`str`): `user/name`; it is there.
        tag (`str`): Such as `v1`.
        commit (`str`): Where it is to be; empty for a commit that is still to be made.

    Raises:
        PublishError: It is on another commit; tags are not moved.
    """
    there = _tagged(api, repo, tag)
    if there and there != commit:
        raise PublishError(
            f"{repo}: the tag {tag} is on commit {there[:12]} already; give another, tags are not moved"
        )


def require_collection(api: HfApi, slug: str, repo: str) -> bool:
    """
    Checks that there is a collection.

    Returns:
        `bool`: Whether the repository is still to be put into it.

    Raises:
        PublishError: There is none; or it is a CI job that publishes, whose token writes to the repository alone.
    """
    with clear_refusals(slug, "collection"):
        items = retrying(slug)(api.get_collection, slug).items
    missing = not any(item.item_id == repo and item.item_type == "model" for item in items)
    if missing and trusted_resource(api):
        raise PublishError(
            f"{slug}: the token of a CI job writes to {repo} alone; put it into the collection yourself"
        )
    return missing


def put_tag(api: HfApi, repo: str, tag: str, landed: CommitResult) -> None:
    """
    Tags a commit; a tag that is there already is left.

    Raises:
        PublishError: The commit is made, the tag is not.
    """
    with clear_refusals(f"{landed.url} is made, but not tagged {tag}"):
        retrying(repo)(api.create_tag, repo, tag=tag, revision=landed.oid, exist_ok=True)
        if (there := _tagged(api, repo, tag)) != landed.oid:
            raise PublishError(f"{landed.url} is made, but the tag {tag} is on commit {there[:12]}")


def put_into_collection(api: HfApi, slug: str, repo: str, landed: CommitResult) -> None:
    """
    Puts the repository into a collection.

    Raises:
        PublishError: The commit is made, but it is not in the collection.
    """
    with clear_refusals(f"{landed.url} is made, but not put into {slug}", "collection"):
        retrying(slug)(api.add_collection_item, slug, repo, "model", exists_ok=True)


def _tagged(api: HfApi, repo: str, tag: str) -> str:
    """The commit that a tag is on; empty where there is no such tag."""
    with clear_refusals(repo):
        tags = retrying(repo)(api.list_repo_refs, repo).tags
    return next((ref.target_commit for ref in tags if ref.name == tag), "")


# Of an earlier publication: figures that this card does not speak of, what made it, and pickles.
LEFTOVERS = (
    r"eval/.*|data\.json|data/durations\.svg|training\.svg|card\.md\.jinja|model\.sig|signer\.pub|card\.sha256"
    rf"|{'|'.join(map(re.escape, UNCHANGED_FILES))}"
    r"|(.*/)?[^/]*\.(bin|ckpt|pickle|pkl|pt|pth)"
)
RESULTS = "eval/results.json"


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
) -> str:
    """
    Publishes a run.

    A base that is a local folder is published first, under the same owner, where it is missing.

    Args:
        path (`Path`): The run directory, trained and evaluated.
        repo (`str`, *optional*): `user/name`; the recipe's `hub.repo` unless given.
        pr (`bool`, *optional*, defaults to `False`): As a pull request that says what changes.
        private (`bool`, *optional*): Whether a repository that is made here is private; the recipe's unless given.
        tag (`str`, *optional*): Of the commit.
        collection (`str`, *optional*): Slug of one that it is put into; the recipe's `hub.collection` unless given.
        dry_run (`bool`, *optional*, defaults to `False`): Prints what would become of each file, and changes nothing.
        force (`bool`, *optional*, defaults to `False`): Overwrites what a person changed in the blocks of the card.
        sign (`str`, *optional*): Path of a private key to sign with, or `sigstore`; see `escoita/cards/signing.py`.

    Returns:
        `str`: Address of the commit or of the pull request.

    Raises:
        PublishError: The Hub refuses, or what is there afterwards is not what was sent. The run is left as it was.
        CardConflict: A person has changed on the Hub what is made from records.
    """
    if pr and tag:
        raise PublishError(f"--tag {tag}: a pull request is tagged once it is merged; leave --tag away")
    key = require_signer(sign) if sign else None
    run, api = RunDirectory(path), HfApi()
    recipe = run.load_recipe()
    require_evaluated_as_requested(run, recipe)
    repo = require_write(api, repo or recipe.hub.repo, pr)
    base, base_missing = require_base(api, recipe, repo)
    files = publication(run, recipe, repo, base)
    content: dict[str, Content] = dict(base_files(Path(recipe.base))) if base_missing else {}
    scan(files)
    scan(content)

    head, base_head = head_or_none(api, repo), head_or_none(api, base) if base_missing else Head()
    if private is not None and head.sha and head.private != private:
        raise PublishError(
            f"{repo}: is {'private' if head.private else 'public'} already; change that in its settings"
        )
    if CARD in base_head.files:  # whoever wrote the card of a base keeps it
        content.pop(CARD, None)
    wanted_base = CommitPlan(content, "Publish the base of an adapter")
    local = standing_card(run.card)
    wanted = CommitPlan(
        files, f"Publish {recipe.name}", leftovers=_leftovers(recipe), pr=pr, revise=reviser(local, force)
    )
    if by_hand(local):  # what is on the Hub alone is public already
        scan({CARD: wanted.onto(head)[CARD]})
    if sign:
        wanted = with_signature(wanted, head, key, repo, _standing(api, repo, head, SIGNATURE) or b"", dry_run)
        if key:
            say(f"{repo}: signed with the key {fingerprint(key.public)}; tell readers this fingerprint")
    elif SIGNATURE in head.files:
        say(f"{repo}: the signature there is removed, because this push is not signed; sign it with --sign")
    found = wanted.changes(head)
    if tag and head.sha:
        require_tag(api, repo, tag, "" if real(found) else head.sha)
    slug = collection or recipe.hub.collection
    missing_in = slug if slug and require_collection(api, slug, repo) else None
    if pr and not real(found):
        raise PublishError(f"{repo}: holds all of it already; there is nothing to open a pull request for")
    card = wanted.onto(head)[CARD]
    validate_card(card.decode() if isinstance(card, bytes) else card.read_text("utf-8"))
    if dry_run:
        if base_missing:
            print_changes(base, wanted_base.changes(base_head))
        print_changes(repo, found)
        return f"{repo}: {counted(found)}; a dry run, nothing was changed"

    private = recipe.hub.private if private is None else private
    if base_missing:
        commit(api, base, wanted_base, made(api, base, base_head, private))
    if pr:
        wanted = replace(wanted, description=description(_standing(api, repo, head, RESULTS), files[RESULTS], found))
    landed = commit(api, repo, wanted, made(api, repo, head, private))
    if landed.oid == head.sha:
        say(f"{repo}: holds all of it already; nothing was changed")
    if tag:
        put_tag(api, repo, tag, landed)
    if missing_in:
        put_into_collection(api, missing_in, repo, landed)
    return landed.url


def require_evaluated_as_requested(run: RunDirectory, recipe: Recipe) -> None:
    """
    Refuse results that were not made as the recipe says: what is published would fail `escoita verify`.

    Args:
        run ([`RunDirectory`]): Holds the results.
        recipe ([`Recipe`]): The recipe of the run.

    Raises:
        PublishError: With the first difference, and what to do.
        RecordError: The run is not evaluated yet.
    """
    if found := next(evaluation_differences(recipe, EvaluationRecord.read(run.results)), None):
        raise PublishError(
            f"{run.results}: was not made as {run.recipe} says ({found}); run escoita eval --run {run.path} without"
            " options that change it, or change the recipe"
        )


def head_or_none(api: HfApi, repo: str) -> Head:
    """What is there; an empty head where there is no repository yet."""
    with clear_refusals(repo):
        return read_head(api, repo) if is_there(api, repo) else Head()


def made(api: HfApi, repo: str, head: Head, private: bool) -> Head:
    """Makes the repository if it is missing; an empty one is all that a refusal after this leaves behind."""
    if head.sha:
        return head
    with clear_refusals(repo):
        retrying(repo)(api.create_repo, repo, private=private, exist_ok=True)
        return read_head(api, repo)


def _leftovers(recipe: Recipe) -> re.Pattern[str]:
    """What an earlier publication may have left, rates of the tested corpora for leaderboards among it."""
    tested = "|".join(re.escape(corpus.name) for corpus in recipe.corpora.test)
    return re.compile(rf"{LEFTOVERS}|\.eval_results/({tested})\.yaml")


def _standing(api: HfApi, repo: str, head: Head, name: str) -> bytes | None:
    """A file that is in the repository, if it is."""
    with clear_refusals(repo):
        return read_file(api, repo, head.sha, name) if name in head.files else None
