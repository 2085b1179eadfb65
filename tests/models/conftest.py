"""Provide bases that several tests read and none may change."""

from pathlib import Path

import pytest

from tests.models.phi4_samples import write_phi4


@pytest.fixture(scope="session")
def phi4_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny Phi-4-multimodal with a speech LoRA, in the native layout."""
    return Path(write_phi4(tmp_path_factory.mktemp("phi4") / "native"))
