"""Where the pieces of a run are: the folder in which the rooms meet."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunDirectory:
    """
    The layout of `runs/<name>/`.

    Args:
        path (`Path`): The folder of the run.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def training(self) -> Path:
        return self.path / "training.json"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def eval(self) -> Path:
        return self.path / "eval"

    @property
    def results(self) -> Path:
        return self.eval / "results.json"

    @property
    def card(self) -> Path:
        return self.path / "README.md"
