"""What the person at the keyboard can mend: each is one clear line and ends a command with exit code 1."""

from pathlib import Path

from escoita.utils.formatting import visible


class EscoitaError(Exception):
    """Names the file, row or key that is wrong and says what to do."""


class AudioError(EscoitaError):
    """
    A clip that cannot be used.

    Args:
        name (`str`): The file, as the person knows it.
        reason (`str`): Why, in a few words that read well after the name and a colon.
    """

    def __init__(self, name: str, reason: str):
        super().__init__(visible(f"{name}: {reason}"))
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # Another process, such as that of ZeroGPU, gets it whole.
        return type(self), (self.name, self.reason)


class AudioLimitError(AudioError):
    """
    A recording that is too long, or has too many samples, to be decoded.

    Args:
        name (`str`): The file, as the person knows it.
        reason (`str`): See [`AudioError`].
        max_seconds (`float`, *optional*): The limit, if the recording is too long.
    """

    def __init__(self, name: str, reason: str, max_seconds: float | None = None):
        super().__init__(name, reason)
        self.max_seconds = max_seconds

    def __reduce__(self) -> tuple[type, tuple[str, str, float | None]]:  # type: ignore[override]
        return type(self), (self.name, self.reason, self.max_seconds)


class CorpusError(EscoitaError):
    """A manifest that cannot be read, or of which too much cannot be used."""


class RecipeError(EscoitaError):
    """A recipe that says something impossible; names the file, the line and the key."""


class OtherBaseError(EscoitaError):
    """
    A base model whose weights are not those that an adapter was trained on.

    Args:
        message (`str`): Names the adapter and the base, and says what to do.
        expected (`str`): Digest that the adapter records, or the revision that it pins.
    """

    def __init__(self, message: str, expected: str):
        super().__init__(visible(message))
        self.expected = expected

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (str(self), self.expected)


class TrainingError(EscoitaError):
    """Training was refused before it began: the batch or the model is not what the recipe says."""


class UntrainedError(TrainingError):
    """
    A training that does not train, or did not.

    Args:
        message (`str`): The whole line.
        towers (`tuple[str, ...]`): The towers concerned; empty if no step was taken.
        step (`int`): Steps taken before.
    """

    def __init__(self, message: str, towers: tuple[str, ...] = (), step: int = 0):
        super().__init__(message)
        self.towers, self.step = towers, step


class ChangedDataError(TrainingError):
    """
    A run would resume with other rows than it was trained on.

    Args:
        message (`str`): The whole line.
        added (`int`): Rows that are new.
        removed (`int`): Rows that are missing.
        changed (`int`): Rows with another text, size or duration.
    """

    def __init__(self, message: str, added: int, removed: int, changed: int):
        super().__init__(message)
        self.added, self.removed, self.changed = added, removed, changed


class BusyError(EscoitaError):
    """
    Too many others wait for the model already.

    Args:
        message (`str`): One line.
        waiting (`int`, *optional*): How many requests wait.
    """

    def __init__(self, message: str, waiting: int | None = None):
        super().__init__(message)
        self.waiting = waiting


class ShareError(BusyError):
    """As many requests of this client wait as one client may have; names no limit of the others."""


class RecordError(EscoitaError):
    """A record that is missing or of another schema."""


class WriteError(EscoitaError):
    """
    A file or folder that cannot be written: the disk is full, or may not be written to.

    Args:
        message (`str`): The whole line.
        path (`Path`): The file or folder.
        free (`int`): Free bytes on its disk.
    """

    def __init__(self, message: str, path: Path, free: int):
        super().__init__(message)
        self.path, self.free = path, free


class PublishError(EscoitaError):
    """The Hub refused, or would refuse, what is to be published."""
