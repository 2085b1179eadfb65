"""From the file that a visitor sent to what was heard, or a message that says what is wrong with the file."""

from pathlib import Path
from typing import TYPE_CHECKING

from escoita.audio import is_longer
from escoita.errors import AudioError, EscoitaError
from escoita.recipe import Space
from space.texts import say, spoken_time


if TYPE_CHECKING:
    from escoita.transcribe import Transcriber
    from escoita.transcript import Transcript


# As Gradio counts when it refuses an upload.
MEGABYTE = 2**20


def hear(transcriber: "Transcriber", settings: Space, path: str | None) -> "Transcript":
    """
    Transcribes the recording of a visitor.

    Args:
        transcriber ([`~escoita.transcribe.Transcriber`]): Base and adapter.
        settings ([`~escoita.recipe.Space`]): The limits of the page.
        path (`str`, *optional*): The recording; none when the visitor gave none.

    Raises:
        EscoitaError: A message for the visitor; it names the file without the folder it was put into.
    """
    if path is None:
        raise EscoitaError("Nothing to transcribe yet: record something, or choose a file.")
    try:
        check_limits(Path(path), settings)
        return transcriber.transcribe_file(path)
    except AudioError as error:
        raise AudioError(Path(error.name).name, error.reason) from error


def check_limits(path: Path, settings: Space) -> None:
    """
    Refuses a file before it is decoded, as a small file can hold hours.

    Raises:
        AudioError: It is gone, empty, or over a limit of the page.
    """
    if not path.is_file():
        raise AudioError(path.name, "deleted here meanwhile; record or choose it again")
    size = path.stat().st_size
    if size == 0:
        raise AudioError(path.name, "the file is empty")
    if size > settings.max_megabytes * MEGABYTE:
        limit = f"{settings.max_megabytes:g} MB"
        raise AudioError(path.name, f"{size / MEGABYTE:.1f} MB is over the {limit} that this page takes")
    if is_longer(path, settings.max_minutes * 60):
        raise AudioError(path.name, f"longer than the {spoken_time(settings.max_minutes * 60)} that this page takes")


def limits(settings: Space, language: str = "en") -> str:
    """What a recording may measure, as one says it: `30 seconds and 10 MB`."""
    time = spoken_time(settings.max_minutes * 60, language)
    return say("limits.both", language, time=time, megabytes=f"{settings.max_megabytes:g}")
