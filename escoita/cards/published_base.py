"""The base that a card names: a repository that a reader can find, with the weights that were trained on."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from escoita.errors import PublishError
from escoita.hub.auth import clear_refusals, require_write, trusted_resource
from escoita.hub.files import is_repo_id
from escoita.hub.retry import retrying
from escoita.recipe.schema import Recipe
from escoita.records.training import TrainingRecord
from escoita.utils.files import sha256


PUBLISHED_SUFFIXES = {".json", ".jinja", ".md", ".model", ".safetensors"}


def published_base(recipe: Recipe, repo: str) -> str:
    """Repository of the base: its own, or for a folder the one it is published as, under the owner of the adapter."""
    if not Path(recipe.base).is_dir():
        return recipe.base
    return f"{repo.split('/')[0]}/{recipe.hub.publish_base_as or Path(recipe.base).name}"


def base_apart(recipe: Recipe, repo: str) -> str:
    """
    Return the repository of the base, as far as it can be checked without asking the Hub.

    Args:
        recipe ([`Recipe`]): Names the base.
        repo (`str`): Where the adapter goes, `user/name`.

    Raises:
        PublishError: It is that of the adapter, or its name is none of a repository, or its folder has no safetensors.
    """
    base = published_base(recipe, repo)
    if base == repo:
        raise PublishError(f"{repo}: is the repository of the base; give the adapter another")
    if Path(recipe.base).is_dir():
        base_files(Path(recipe.base))
        if not is_repo_id(base):
            raise PublishError(f"{base}: not the name of a repository; set hub.publish_base_as for the base")
    elif not is_repo_id(base):
        raise PublishError(f"base {base}: neither a folder here nor the name of a repository, user/name")
    return base


def base_revision(recipe: Recipe, training: TrainingRecord) -> str | None:
    """Return the commit of the base that was trained on, or what the recipe says if no commit was recorded."""
    return training.base_commit or recipe.base_revision


def require_base(api: HfApi, recipe: Recipe, repo: str) -> tuple[str, bool]:
    """
    Checks that the base is on the Hub, or can be published there from its folder.

    Args:
        api (`HfApi`): Client of the Hub.
        recipe ([`Recipe`]): Names the base.
        repo (`str`): Where the adapter goes, `user/name`.

    Returns:
        `tuple[str, bool]`: The base's repository, and whether it is still to be published from its folder.

    Raises:
        PublishError: Says in one line what is wrong.
    """
    base = base_apart(recipe, repo)
    if Path(recipe.base).is_dir():
        if base_is_there(api, Path(recipe.base), base):
            return base, False
        if trusted_resource(api):
            raise PublishError(
                f"{base}: the base is not there, and the token of a CI job writes to {repo} alone; publish it "
                "first, by one push with a token of your own"
            )
        require_write(api, base)
        return base, True
    with clear_refusals(f"base {base}"):
        retrying(base, known=False)(api.model_info, base, revision=recipe.base_revision)
    return base, False


def base_is_there(api: HfApi, folder: Path, repo: str) -> bool:
    """
    Whether a repository holds the weights of a folder already. One without any is there where an earlier push made the
    repository and was cut off; it is filled.

    Raises:
        PublishError: It holds others.
    """
    with clear_refusals(repo):
        try:
            siblings = retrying(repo, known=False)(api.model_info, repo, files_metadata=True).siblings or []
        except RepositoryNotFoundError:
            return False
    there = {file.rfilename: file.lfs.sha256 for file in siblings if file.lfs}
    weights = {name: path for name, path in base_files(folder).items() if name.endswith(".safetensors")}
    for name, path in weights.items():
        if name in there and there[name] != sha256(path):
            raise PublishError(f"{repo}: holds another {name} than {folder}; set hub.publish_base_as to another name")
    if weights.keys() <= there.keys():
        return True
    if other := next((name for name in there if name.endswith(".safetensors") and name not in weights), None):
        raise PublishError(f"{repo}: holds {other}, {folder} does not; set hub.publish_base_as to another name")
    return False


def base_files(folder: Path) -> dict[str, Path]:
    """
    Collects a base that is a local folder: configuration, tokenizer, processor, weights as safetensors, its README,
    and the adapters that belong to it, as Phi-4's for speech, each in a folder of its own.

    Raises:
        PublishError: It holds no safetensors.
    """
    folders = [folder, *(config.parent for config in sorted(folder.glob("*/adapter_config.json")))]
    files = {
        path.relative_to(folder).as_posix(): path
        for each in folders
        for path in sorted(each.iterdir())
        if path.suffix in PUBLISHED_SUFFIXES
    }
    if not any(name.endswith(".safetensors") for name in files):
        raise PublishError(f"{folder}: holds no safetensors, so it cannot be published as a base")
    return files
