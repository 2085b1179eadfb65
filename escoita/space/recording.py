"""What a recording of a visitor may measure, and what is said of one that measures more."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from escoita.audio.decoding import check_header
from escoita.errors import AudioError, AudioLimitError
from escoita.recipe.recipe import Space
from escoita.space.texts import say, spoken_time


# As Gradio counts when it refuses an upload.
MEGABYTE = 2**20


def check_limits(path: Path, settings: Space) -> None:
    """
    Refuses a file before it is decoded, as a small file can hold hours, or many channels.

    A file whose header declares no length (a live recording of a browser) is refused while it is decoded.

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
    with page_words(settings):
        check_header(path, settings.max_minutes * 60)


@contextmanager
def page_words(settings: Space) -> Iterator[None]:
    """
    Says what is over a limit of the decoder in the words of the page.

    Raises:
        AudioError: Instead of [`~escoita.errors.AudioLimitError`].
    """
    try:
        yield
    except AudioLimitError as error:
        name, reason = Path(error.name).name, error.reason
        if error.max_seconds is not None:
            reason = f"longer than the {spoken_time(settings.max_minutes * 60)} that this page takes"
        raise AudioError(name, reason) from error


def limits(settings: Space, language: str = "en") -> str:
    """What a recording may measure, as one says it: `30 seconds and 10 MB`."""
    time = spoken_time(settings.max_minutes * 60, language)
    return say("limits.both", language, time=time, megabytes=f"{settings.max_megabytes:g}")
