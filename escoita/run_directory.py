"""The run directory: where training, evaluation and card of one run write their files."""

from dataclasses import dataclass
from pathlib import Path

from escoita.errors import EscoitaError
from escoita.recipe.schema import Recipe, load_recipe


# Files of an adapter's folder that are published as training wrote them.
UNCHANGED_FILES = (
    "escoita.json",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class RunDirectory:
    """
    The layout of `runs/<name>/`.

    Args:
        path (`Path`): The folder of the run.
    """

    path: Path

    def load_recipe(self, overrides: list[str] | None = None) -> Recipe:
        """
        Loads the recipe of the run.

        Raises:
            EscoitaError: This is no run directory.
        """
        if not self.recipe.is_file():
            raise EscoitaError(f"{self.path}: no run directory, as it holds no recipe.yaml; escoita train makes one")
        return load_recipe(self.recipe, overrides)

    def trained_adapter(self) -> str:
        """
        Path of the adapter.

        Raises:
            EscoitaError: It is not trained yet.
        """
        if not self.adapter.is_dir():
            raise EscoitaError(f"{self.path}: holds no adapter yet; escoita train makes it")
        return str(self.adapter)

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
    def best(self) -> Path:
        return self.path / "best"

    @property
    def eval(self) -> Path:
        return self.path / "eval"

    @property
    def results(self) -> Path:
        return self.eval / "results.json"

    @property
    def card(self) -> Path:
        return self.path / "README.md"

    @property
    def curve(self) -> Path:
        return self.path / "training.svg"

    @property
    def tracking(self) -> Path:
        return self.path / "tracking"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def durations(self) -> Path:
        return self.path / "data/durations.svg"
