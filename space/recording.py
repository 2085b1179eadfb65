"""What a recording of a visitor may measure, and what is said of one that measures more."""

from pathlib import Path

from escoita.audio import is_longer
from escoita.errors import AudioError
from escoita.recipe import Space
from space.texts import say, spoken_time


# As Gradio counts when it refuses an upload.
MEGABYTE = 2**20


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
