from pathlib import Path

import pytest

from tests.workflows.checkout import clean_clone, plain_environment
from tests.workflows.runner import Runner


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Return a runner with a clean clone."""
    (clone := tmp_path / "clone").mkdir()
    clean_clone(clone)
    return Runner(clone, plain_environment(clone, tmp_path / "home"), tmp_path / "scratch")
