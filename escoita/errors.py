"""Define the errors that a user can correct: one line each, and exit status 1."""

from pathlib import Path
from typing import Any

from escoita.utils.formatting import shortened, visible


class EscoitaError(Exception):
    """
    Report a mistake that the user can correct.

    `str()` gives one line from one template: `PATH:ROW: KEY: VALUE: PROBLEM; HINT`. What is not given is left out.
    A subclass may set `problem` and `hint` as templates of [`str.format`], which are filled with all fields.

    Args:
        problem (`str`, *optional*): The mistake, without place and advice. Defaults to the template of the class.
        path (`str` or `Path`, *optional*): The file, folder, repository or URL concerned.
        row (`int`, *optional*): The line of a text file, or the row of a table, counted from 1.
        key (`str`, *optional*): The key of a recipe (`training.bf16`), the column, or the option (`--repo`).
        value (`Any`, *optional*): The value that was refused.
        hint (`str`, *optional*): The advice, as an imperative. Defaults to the template of the class.
        fields (`Any`): Further attributes of a subclass, which declares their types.
    """

    problem: str = ""
    hint: str | None = None

    def __init__(
        self,
        problem: str | None = None,
        *,
        path: str | Path | None = None,
        row: int | None = None,
        key: str | None = None,
        value: Any = None,
        hint: str | None = None,
        **fields: Any,
    ):
        super().__init__()
        self.path, self.row, self.key, self.value = path, row, key, value
        self.__dict__.update(fields)
        # A given text is not a template: it may hold braces.
        self.problem = type(self).problem.format(**self.__dict__) if problem is None else problem
        if hint is None and (template := type(self).hint) is not None:
            hint = template.format(**self.__dict__)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.__dict__)

    def __str__(self) -> str:
        # A file of others may contain a name of millions of characters.
        place = _line(str(self.path)) if self.path is not None else ""
        if self.row is not None:
            place += f":{self.row}" if place else f"row {self.row}"
        named = _line(self.key) if self.key is not None else ""
        if self.value is not None:
            value = _line(str(self.value)) or "''"
            named += f" {value}" if named.startswith("--") else f": {value}" if named else value
        problem = "\n".join(_line(line) for line in self.problem.split("\n"))
        line = ": ".join(part for part in (place, named, problem) if part)
        return line if self.hint is None else f"{line}; {_line(self.hint)}"


def _line(text: str) -> str:
    return visible(shortened(text))


def _restored(error_class: type[EscoitaError], fields: dict[str, Any]) -> EscoitaError:
    """Return a pickled error in another process, such as that of ZeroGPU."""
    error = error_class.__new__(error_class)
    error.__dict__.update(fields)
    return error


class AudioError(EscoitaError):
    """Report a clip that cannot be used; `path` is its name as the user knows it."""


class AudioLimitError(AudioError):
    """
    Report a recording that is too long, or has too many samples, to be decoded.

    Args:
        max_seconds (`float`, *optional*): The limit, if the recording is too long.
    """

    max_seconds: float | None = None


class CorpusError(EscoitaError):
    """Report a manifest that cannot be read, or a corpus with too many unusable rows."""


class RecipeError(EscoitaError):
    """Report a mistake in a recipe by file, line and key."""


class OtherBaseError(EscoitaError):
    """
    Report a base model whose weights differ from those that an adapter was trained on.

    Args:
        expected (`str`): The SHA-256 digest that the adapter records, or the revision that it pins.
    """

    expected: str


class TrainingError(EscoitaError):
    """Report why a training cannot start or continue."""


class UntrainedError(TrainingError):
    """
    Report a training that does not change the weights.

    Args:
        towers (`tuple[str, ...]`): The towers concerned; empty if no step was taken.
        step (`int`): The number of steps taken before.
    """

    towers: tuple[str, ...] = ()
    step: int = 0


class ChangedDataError(TrainingError):
    """
    Report that a run would resume with other rows than it was trained on.

    Args:
        added (`int`): The number of new rows.
        removed (`int`): The number of missing rows.
        changed (`int`): The number of rows with another text, size or duration.
    """

    added: int
    removed: int
    changed: int


class BusyError(EscoitaError):
    """
    Report that too many requests wait for the model.

    Args:
        waiting (`int`, *optional*): The number of waiting requests.
    """

    waiting: int | None = None


class ShareError(BusyError):
    """Report that a client has as many waiting requests as one client may have."""


class RecordError(EscoitaError):
    """Report a record that is missing, of another schema, or inconsistent with its files."""


class WriteError(EscoitaError):
    """
    Report a file or folder that cannot be written.

    Args:
        free (`int`): The number of free bytes on its disk.
    """

    free: int


class PublishError(EscoitaError):
    """Report that the Hub refused, or would refuse, a publication or another request."""
