"""What training reports to beside its own record: there before step 1, and with its files in the run directory."""

import importlib.util
import os
from collections.abc import Collection

from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from escoita.errors import RecipeError
from escoita.run_directory import RunDirectory


# The variable by which each is told where to write. Trackio reads it once in a process.
FOLDERS = {"tensorboard": "TENSORBOARD_LOGGING_DIR", "trackio": "TRACKIO_DIR"}
# What was put there for an earlier run of this process, and so is not the user's word.
_ours: dict[str, str] = {}


def require_trackers(names: Collection[str]) -> None:
    """
    Checks that everything that training is to report to is there.

    Args:
        names (`Collection[str]`): As `training.report_to` has them.

    Raises:
        RecipeError: Says what is missing and how to install it.
    """
    there = get_available_reporting_integrations() if names else []
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise RecipeError(f"training.report_to: there is no {name!r}, only {', '.join(INTEGRATION_TO_CALLBACK)}")
        # Transformers is content with tensorboardX.
        if name not in there or (name == "tensorboard" and importlib.util.find_spec(name) is None):
            package = "'escoita[tracking]'" if name in FOLDERS else name
            raise RecipeError(f"training.report_to: {name} is not installed: pip install {package}")


def keep_inside(run: RunDirectory, names: Collection[str]) -> None:
    """
    Lets TensorBoard and Trackio write below `tracking/` of the run, unless the environment names other folders.

    Args:
        run ([`RunDirectory`]): About to be trained.
        names (`Collection[str]`): What training reports to.
    """
    for name in FOLDERS.keys() & names:
        variable = FOLDERS[name]
        if os.environ.get(variable) in (None, _ours.get(variable)):
            os.environ[variable] = _ours[variable] = str((run.tracking / name).resolve())
