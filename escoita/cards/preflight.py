"""Check before training whether the adapter can be published."""

from collections.abc import Callable, Iterator
from pathlib import Path

from huggingface_hub import HfApi, ModelCard

from escoita.cards.benchmarks import require_benchmarks
from escoita.cards.metadata import metadata
from escoita.cards.publication import public_recipe
from escoita.cards.published_base import base_files, checked_base_name, require_base, require_consent
from escoita.cards.template import template_files
from escoita.errors import EscoitaError, PublishError
from escoita.hub.auth import require_name, require_write
from escoita.hub.failures import explain_hub_errors
from escoita.hub.retry import retrying
from escoita.hub.scan import scan
from escoita.hub.vocabulary import check_card
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.space.repository import require_settings
from escoita.utils.processes import say


# Stands for the repository of a recipe that names none.
ANY_REPOSITORY = "user/adapter"


def preflight(recipe: Recipe, publish_base: bool = False) -> None:
    """
    Check everything that needs no network, and then token, repository, write permission, base and metadata of the card
    on the Hub.

    Args:
        recipe ([`Recipe`]): Recipe that is to be trained and published.
        publish_base (`bool`, *optional*, defaults to `False`): Whether a base in a local folder may be published.

    Raises:
        PublishError: Publishing would fail; one line for each problem.
    """
    require_publishable(recipe)
    api = HfApi()
    repo = require_write(api, recipe.hub.repo)
    base, base_missing = require_base(api, recipe, repo)
    if base_missing:
        require_consent(recipe, base, publish_base, recipe.hub.private)
    validate_card(f"---\n{metadata(recipe, None, base)}\n---\n")


def require_publishable(recipe: Recipe) -> None:
    """
    Check everything that publishing would refuse and that needs no network.

    Args:
        recipe ([`Recipe`]): Recipe that is to be trained; it may name no repository.

    Raises:
        PublishError: Publishing would fail; one line for each problem.
    """
    if found := list(refusals(recipe)):
        raise PublishError("\n".join(found))


def refusals(recipe: Recipe) -> Iterator[str]:
    """
    Yield the problems that publishing would have, from the same functions that publishing calls, without network.

    Args:
        recipe ([`Recipe`]): Recipe that is to be trained.
    """
    repo = recipe.hub.repo or ANY_REPOSITORY
    for check in _checks(recipe, repo):
        try:
            check()
        except EscoitaError as error:
            yield from str(error).splitlines()


def _checks(recipe: Recipe, repo: str) -> Iterator[Callable[[], object]]:
    yield lambda: require_name(repo)
    if "/" in repo:  # the name of the base and the metadata follow from the user's name
        if recipe.hub.repo is None and Path(recipe.base).is_dir():  # the name of the published base is not known
            yield lambda: base_files(Path(recipe.base))
        else:
            yield lambda: checked_base_name(recipe, repo)
        yield lambda: check_card(f"---\n{metadata(recipe, None, recipe.base)}\n---\n")
    yield lambda: require_benchmarks(recipe)
    yield lambda: scan({"recipe.yaml": public_recipe(recipe, "user/base").encode()})
    yield lambda: scan(template_files(recipe, RunDirectory(recipe.run_path)))
    yield lambda: require_settings(recipe.space, published=recipe.hub.repo is not None)


def validate_card(content: str) -> None:
    """
    Check the metadata of a card against the lists of the Hub, and with its validation service.

    Raises:
        PublishError: A value is not on a list, or the Hub refuses the metadata.
    """
    check_card(content)
    with explain_hub_errors("card"):
        try:
            retrying("card", known=False)(ModelCard(content).validate)
        except ValueError as error:
            raise PublishError(f"metadata refused by the Hub ({' '.join(str(error).split())})", path="card") from error


def check_publishing(recipe: Recipe, push: bool, dry_run: bool, publish_base: bool = False) -> None:
    """
    Check before a training whether its adapter can be published.

    Args:
        recipe ([`Recipe`]): Recipe that is to be trained.
        push (`bool`): Whether the adapter is to be published: token and repository are checked too.
        dry_run (`bool`): Whether nothing is to be trained.
        publish_base (`bool`, *optional*, defaults to `False`): Whether a base in a local folder may be published.

    Raises:
        EscoitaError: Publishing would fail. Without `push` and `dry_run`, the problems are only printed.
    """
    if push:
        preflight(recipe, publish_base)
    elif dry_run:
        require_publishable(recipe)
    else:
        for line in refusals(recipe):
            say(f"{line} (`escoita push` would refuse it)")
