"""Define the run directory, in which the training, the evaluation and the card of one run write their files."""

from dataclasses import dataclass
from pathlib import Path

from escoita.errors import EscoitaError
from escoita.recipe.schema import Recipe, load_recipe


# The files of an adapter's folder that are published as training wrote them.
UNCHANGED_FILES = (
    "escoita.json",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
# Keys of a recipe that describe a run and that its results do not depend on, and those that training does not read.
DESCRIBING = ("card.", "hub.", "space.")
UNTRAINED = (*DESCRIBING, "eval.", "corpora.test", "corpora.max_rejected_share", "base_revision")
_DESCRIBING_HINT = f"set keys of {', '.join(key.rstrip('.') for key in DESCRIBING)}"


class TrainedKeyError(EscoitaError):
    """Report an override of a key that training read, or that results depend on, in a run directory."""

    problem = "the recipe of a run records what was trained"
    hint = f"set keys of {', '.join(key.rstrip('.') for key in UNTRAINED)}, or train with this key"


@dataclass(frozen=True)
class RunDirectory:
    """
    Represent the layout of `runs/<name>/`.

    Args:
        path (`Path`): The folder of the run.
    """

    path: Path

    def load_recipe(self, overrides: list[str] | None = None, search: bool = True) -> Recipe:
        """
        Load the recipe of the run.

        Args:
            overrides (`list[str]`, *optional*): Overrides, `section.key=value`, of keys that training does not read.
            search (`bool`, *optional*, defaults to `True`): See [`~escoita.recipe.schema.load_recipe`].

        Raises:
            EscoitaError: The folder is not a run directory.
            TrainedKeyError: An override changes a key that training read.
        """
        for override in overrides or []:
            if not override.partition("=")[0].startswith(UNTRAINED):
                raise TrainedKeyError(path=self.path, key="--set", value=override)
        if not self.recipe.is_file():
            raise EscoitaError(
                "not a run directory (no recipe.yaml)", path=self.path, hint="run `escoita train` first"
            )
        return load_recipe(self.recipe, overrides, search)

    def change_recipe(self, overrides: list[str] | None) -> None:
        """
        Change the recipe of the run, whose file then has the new values.

        Args:
            overrides (`list[str]`, *optional*): Overrides of the sections `card`, `hub` and `space`.

        Raises:
            EscoitaError: The folder is not a run directory, or a value is refused.
            TrainedKeyError: An override changes another section.
        """
        for override in overrides or []:
            if not override.startswith(DESCRIBING):
                raise TrainedKeyError(path=self.path, key="--set", value=override, hint=_DESCRIBING_HINT)
        if overrides:
            self.load_recipe(overrides).write(self.recipe)

    def trained_adapter(self) -> str:
        """
        Return the path of the adapter.

        Raises:
            EscoitaError: The adapter is not trained yet.
        """
        if not self.adapter.is_dir():
            raise EscoitaError("not found", path=self.adapter, hint="run `escoita train` first")
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
