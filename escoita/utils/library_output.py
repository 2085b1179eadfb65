"""Control what libraries print: progress bars, log lines and warnings."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from escoita.utils.formatting import visible
from escoita.utils.processes import say


# Beginnings of log lines about files that could not be cached; the error that follows names the folder.
ABOUT_THE_CACHE = ("Ignor", "Could not cache")
LONGEST_LINE = 300


def _is_shown(record: logging.LogRecord) -> bool:
    return "`generation_config` together with generation-related arguments" not in record.getMessage()


def quiet_libraries() -> None:
    """Silence warnings of libraries that concern neither the user nor the result."""
    # PEFT imports bitsandbytes if it is installed, which warns on some CPUs about a package that is not needed.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    # Whisper's `generate` of transformers 5.23 itself passes the arguments that this line is about.
    logging.getLogger("transformers.generation.utils").addFilter(_is_shown)
    # transformers 5.23 renamed an argument that TRL and PEFT still set.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*deprecated", category=FutureWarning)


def _is_no_report(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return "LOAD REPORT" not in text or any(problem in text for problem in ("MISMATCH", "CONVERSION"))


@contextmanager
def without_load_report() -> Iterator[None]:
    """Leave out the table of missing keys that Transformers prints, unless the keys are of other sizes."""
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(_is_no_report)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_report)


def configure_libraries() -> None:
    """
    Show the progress bars of libraries only in a terminal, and print their log lines and warnings as one line each,
    except those of [`quiet_libraries`]. Call it before the libraries are imported.
    """
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    quiet_libraries()
    warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated", category=DeprecationWarning)
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    before = logging.getLoggerClass()
    logging.setLoggerClass(_HubLogger)
    hub = logging.getLogger("huggingface_hub")
    logging.setLoggerClass(before)
    hub.handlers = [_OneLine()]
    hub.propagate = False


class _HubLogger(logging.Logger):
    """Represent the logger of huggingface_hub without the handler that it adds when it is imported."""

    def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802
        """Add no handler."""


class _OneLine(logging.Handler):
    """Print the first line of a message, such as that of a retry, as a log line of the command."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        text = record.getMessage()
        if record.levelno >= logging.WARNING and not text.startswith(ABOUT_THE_CACHE):
            _print(f"{record.name.split('.')[0]}: {text}")


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    _print(f"warning: {message}")


def _print(text: str) -> None:
    lines = [visible(line) for line in text.strip().splitlines()] or [""]
    say(lines[0][:LONGEST_LINE])
