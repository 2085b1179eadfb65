"""Check that the files and folders that a recipe names exist, before anything is loaded."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import yaml

from escoita.errors import CorpusError
from escoita.recipe.advice import nearest
from escoita.recipe.errors import InvalidRecipeError, Mistake, row_of
from escoita.recipe.schema import Recipe
from escoita.utils.processes import say
from escoita.utils.untrusted import read_yaml


# A base or adapter with this form is a folder, not a repository of the Hub.
FOLDER = re.compile(r"[./~\\].*|[A-Za-z]:.*|.*/.*/.*")
Location = tuple[str | int, ...]
# The keys of files that each command reads.
CORPORA = ("corpora.train", "corpora.validation", "corpora.test")
CARD_AND_PAGE = ("card.template", "space.examples")


def refuse_missing_files(recipe: Recipe, path: Path, needed: Collection[str], later: Collection[str] = ()) -> None:
    """
    Refuse a recipe of which a file or folder is missing; all missing ones are named, without loading a library.

    Args:
        recipe ([`Recipe`]): The recipe.
        path (`Path`): The file of the recipe.
        needed (`Collection[str]`): The keys whose files are needed, such as `base` and `corpora.train`.
        later (`Collection[str]`, *optional*): The keys whose files are needed by later commands; if only such files
            are missing, a line for each is logged.

    Raises:
        InvalidRecipeError: A needed file is missing.
    """
    try:
        tree = read_yaml(path.read_text("utf-8"))[1]
    except (OSError, UnicodeDecodeError, yaml.YAMLError):  # the recipe was loaded from another text
        tree = None
    mistakes = [
        (location, Mistake(path, row_of(tree, list(location)), _key(location), *_described(name)))
        for location, name in missing_files(recipe)
    ]
    now = [mistake for location, mistake in mistakes if _key(location).startswith(tuple(needed))]
    then = [mistake for location, mistake in mistakes if _key(location).startswith(tuple(later))]
    if now:
        found = tuple(now + then)
        raise InvalidRecipeError("\n".join(map(str, found)), mistakes=found)
    for mistake in then:
        say(f"Needed later: {mistake}")


def refuse_missing_manifests(manifests: Sequence[Path]) -> None:
    """
    Refuse manifests that do not exist; all missing ones are named, without loading a library.

    Args:
        manifests (`Sequence[Path]`): The values of `--corpus`.

    Raises:
        CorpusError: A manifest does not exist; the error is that of the first one if there is only one.
    """
    missing = []
    for path in manifests:
        if not path.exists():
            problem, hint = _described(str(path))
            missing.append(CorpusError(problem, key="--corpus", hint=hint))
    if len(missing) > 1:
        raise CorpusError("\n".join(map(str, missing)), key="--corpus")
    if missing:
        raise missing[0]


def _key(location: Location) -> str:
    return ".".join(map(str, location))


def files_of_training(recipe: Recipe, push: bool = False) -> tuple[list[str], list[str]]:
    """
    Return the keys whose files training reads, and those whose files are needed later.

    Args:
        recipe ([`Recipe`]): The recipe; without an evaluation during training, validation corpora are not read.
        push (`bool`, *optional*, defaults to `False`): Whether evaluation and publication follow at once.
    """
    validated = recipe.training.get("eval_strategy") not in ("no", False)
    needed = ["base", "corpora.train", *(["corpora.validation"] if validated else [])]
    later = ["corpora.test", "eval.retention", *CARD_AND_PAGE]
    return (needed + later, []) if push else (needed, later)


def missing_files(recipe: Recipe) -> Iterator[tuple[Location, str]]:
    """Yield the key and the value of each file or folder of a recipe that does not exist."""
    if FOLDER.fullmatch(recipe.base) and not Path(recipe.base).exists():
        yield ("base",), recipe.base
    for split in ("train", "validation", "test"):
        for index, corpus in enumerate(getattr(recipe.corpora, split)):
            if not corpus.remote and not _exists(corpus.path):
                yield ("corpora", split, index, "path"), corpus.path
            if corpus.audio_root and not Path(corpus.audio_root).exists():
                yield ("corpora", split, index, "audio_root"), corpus.audio_root
    for index, retained in enumerate(recipe.eval.retention):
        if not retained.remote and not _exists(retained.path):
            yield ("eval", "retention", index, "path"), retained.path
        if retained.audio_root and not Path(retained.audio_root).exists():
            yield ("eval", "retention", index, "audio_root"), retained.audio_root
    if recipe.card.template and not Path(recipe.card.template).exists():
        yield ("card", "template"), recipe.card.template
    for index, example in enumerate(recipe.space.examples):
        if not Path(example).exists():
            yield ("space", "examples", index), example


def _exists(path: str) -> bool:
    """Return whether a file or folder exists, or a pattern of files, whose reader reports that none matches."""
    return Path(path).exists() or any(sign in path for sign in "*?[")


def _described(name: str) -> tuple[str, str | None]:
    """Return the problem and the hint for a missing file."""
    path = Path(name)
    parent = next(folder for folder in path.parents if folder.is_dir())
    if parent != path.parent:
        folder = Path(*path.parts[: len(parent.parts) + 1])
        return f"{name!r} is not found; {str(parent)!r} has no folder {folder.name!r}", _similar(folder, parent)
    return f"{name!r} is not found", _similar(path, parent)


def _similar(path: Path, parent: Path) -> str | None:
    names = sorted(each.name for each in parent.iterdir())
    other_suffix = (name for name in names if Path(name).stem == path.stem)
    found = next(other_suffix, None) or nearest(path.name, names)
    return f"did you mean {str(parent / found)!r}?" if found else None
