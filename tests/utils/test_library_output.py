import subprocess
import sys

from tests.conftest import ROOT


PROGRAM = """
import warnings
from escoita.utils.library_output import configure_libraries
{before}
configure_libraries()
from huggingface_hub.utils import are_progress_bars_disabled, logging
log = logging.get_logger("huggingface_hub.utils._http")
log.warning("Retrying in 1s\\nwith details")
log.warning("Ignored error while caching")
log.info("quiet")
warnings.warn("`gradient_checkpointing` is deprecated and will be removed", FutureWarning)
warnings.warn("other\\nlines", UserWarning)
print(are_progress_bars_disabled())
"""


def run(before: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", PROGRAM.format(before=before)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)


def test_messages_of_libraries_are_one_line_each_and_bars_need_a_terminal() -> None:
    done = run("")
    assert done.stderr.splitlines() == ["huggingface_hub: Retrying in 1s", "warning: other"]
    assert done.stdout.strip() == "True"


def test_a_library_that_was_imported_before_gets_the_same_handler() -> None:
    assert run("import huggingface_hub.utils").stderr.splitlines()[:1] == ["huggingface_hub: Retrying in 1s"]
