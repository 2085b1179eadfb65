"""Find the published base of an adapter: a repository with the weights of the training."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from rich.filesize import decimal

from escoita.errors import PublishError
from escoita.hub.auth import require_write, trusted_resource
from escoita.hub.failures import explain_hub_errors
from escoita.hub.files import is_repo_id
from escoita.hub.retry import retrying
from escoita.recipe.schema import Recipe
from escoita.records.training import TrainingRecord
from escoita.utils.files import sha256


PUBLISHED_SUFFIXES = {".json", ".jinja", ".md", ".model", ".safetensors"}


class OtherPublishedBaseError(PublishError):
    """
    Report a repository with other weights than the folder of the base.

    Args:
        folder (`Path`): The folder of the base.
    """

    problem = "differs from the base in {folder}"
    hint = "set hub.publish_base_as to another name"
    folder: Path


class PublicBaseError(PublishError):
    """
    Report a base on this machine that would be published without an explicit request.

    Args:
        folder (`Path`): The folder of the base.
        size (`int`): The size of its files in bytes.
    """

    hint = "add --publish-base to publish it too, or set base to a published one"
    folder: Path
    size: int


def require_consent(recipe: Recipe, base: str, publish_base: bool, private: bool) -> None:
    """
    Check that the user asked for the publication of a base that is a local folder.

    Args:
        recipe ([`Recipe`]): Recipe with the base.
        base (`str`): Repository that the base would get.
        publish_base (`bool`): Whether `--publish-base` was given.
        private (`bool`): Whether the repository would be private.

    Raises:
        PublicBaseError: The option was not given.
    """
    if not publish_base:
        raise public_base(recipe, base, private)


def public_base(recipe: Recipe, base: str, private: bool) -> PublicBaseError:
    """Return the error that names the base, its repository and its size; see [`require_consent`]."""
    folder = Path(recipe.base)
    size = sum(path.stat().st_size for path in base_files(folder).values())
    kind = "private" if private else "public"
    problem = f"the base in {folder.name} would become a {kind} repository of {decimal(size)} ({size:,} bytes)"
    return PublicBaseError(problem, path=base, folder=folder, size=size)


def published_base(recipe: Recipe, repo: str) -> str:
    """Return the repository of the base; a base in a folder is published by the owner of the adapter."""
    if not Path(recipe.base).is_dir():
        return recipe.base
    return f"{repo.split('/')[0]}/{recipe.hub.publish_base_as or Path(recipe.base).name}"


def checked_base_name(recipe: Recipe, repo: str) -> str:
    """
    Return the repository of the base, checked without network.

    Args:
        recipe ([`Recipe`]): Recipe with the base.
        repo (`str`): Repository of the adapter, `user/name`.

    Raises:
        PublishError: The base has the repository of the adapter, no valid name, or no safetensors in its folder.
    """
    base = published_base(recipe, repo)
    if base == repo:
        raise PublishError("the adapter and its base have the same repository", path=repo, hint="use another --repo")
    if Path(recipe.base).is_dir():
        base_files(Path(recipe.base))
        if not is_repo_id(base):
            raise PublishError(
                "not the name of a repository", key="hub.publish_base_as", value=base, hint="set a valid name"
            )
    elif not is_repo_id(base):
        raise PublishError(
            "neither an existing folder nor the name of a repository, user/name", key="base", value=base
        )
    return base


def base_revision(recipe: Recipe, training: TrainingRecord) -> str | None:
    """Return the commit of the base in the training record, or the revision in the recipe if there is none."""
    return training.base_commit or recipe.base_revision


def require_base(api: HfApi, recipe: Recipe, repo: str, dry_run: bool = False) -> tuple[str, bool]:
    """
    Check that the base is on the Hub, or can be published from its folder.

    Args:
        api (`HfApi`): Client of the Hub.
        recipe ([`Recipe`]): Recipe with the base.
        repo (`str`): Repository of the adapter, `user/name`.
        dry_run (`bool`, *optional*, defaults to `False`): Whether nothing is to be written.

    Returns:
        `tuple[str, bool]`: Repository of the base, and whether it has to be published from its folder.

    Raises:
        PublishError: The base is not found, or cannot be published.
    """
    base = checked_base_name(recipe, repo)
    if Path(recipe.base).is_dir():
        if base_is_published(api, Path(recipe.base), base):
            return base, False
        if trusted_resource(api):
            raise PublishError(
                f"base not found, and the token of a CI job can write only to {repo}",
                path=base,
                hint="publish the base first: run `escoita push --publish-base` once with your own token",
            )
        require_write(api, base, dry_run=dry_run)
        return base, True
    with explain_hub_errors(base, "base", value=recipe.base_revision):
        retrying(base, known=False)(api.model_info, base, revision=recipe.base_revision)
    return base, False


def base_is_published(api: HfApi, folder: Path, repo: str) -> bool:
    """
    Return whether a repository has the weights of a folder. A repository without weights, left by an interrupted
    push, is filled.

    Raises:
        PublishError: The repository has other weights.
    """
    with explain_hub_errors(repo):
        try:
            siblings = retrying(repo, known=False)(api.model_info, repo, files_metadata=True).siblings or []
        except RepositoryNotFoundError:
            return False
    published = {file.rfilename: file.lfs.sha256 for file in siblings if file.lfs}
    weights = {name: path for name, path in base_files(folder).items() if name.endswith(".safetensors")}
    for name, path in weights.items():
        if name in published and published[name] != sha256(path):
            raise OtherPublishedBaseError(path=repo, value=name, folder=folder)
    if weights.keys() <= published.keys():
        return True
    if other := next((name for name in published if name.endswith(".safetensors") and name not in weights), None):
        raise OtherPublishedBaseError(path=repo, value=other, folder=folder)
    return False


def base_files(folder: Path) -> dict[str, Path]:
    """
    Collect the files of a base in a local folder: configuration, tokenizer, processor, safetensors, README, and
    subfolders with adapters of the base, such as the speech LoRA of Phi-4.

    Raises:
        PublishError: The folder has no safetensors.
    """
    folders = [folder, *(config.parent for config in sorted(folder.glob("*/adapter_config.json")))]
    files = {
        path.relative_to(folder).as_posix(): path
        for each in folders
        for path in sorted(each.iterdir())
        if path.suffix in PUBLISHED_SUFFIXES
    }
    if not any(name.endswith(".safetensors") for name in files):
        raise PublishError("no safetensors, so the base cannot be published", path=folder)
    return files
