"""The recipe: one YAML file that says all there is to say of one adapter."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    field_validator,
)

from escoita.errors import RecipeError
from escoita.files import write_atomically
from escoita.records import AdapterRecord, Prompt
from escoita.text import Normalizer


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
Column = Literal["id", "audio", "text", "language", "speaker", "gender", "accent", "offset", "duration", "split"]
Expectation = Literal["none", "some"] | Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A part of a recipe; keys that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(Section):
    """What is trained, and how much of it there must be."""

    trainable: dict[str, Expectation] = Field(
        {"language": "some", "audio": "some"},
        description="Trained parameters of each tower: an exact count, 'some' or 'none'; checked before step 1",
    )


class Lora(Method):
    """Low-rank adapters (Hu et al. 2021) on the linear layers that a regular expression names."""

    kind: Literal["lora"] = "lora"
    r: int = Field(8, gt=0, description="Rank")
    lora_alpha: int = Field(16, gt=0, description="Scale: alpha / r")
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    bias: Literal["none", "all", "lora_only"] = "none"
    use_rslora: bool = False
    target_modules: str = Field(description="One regular expression that matches the whole name of a linear layer")

    @field_validator("target_modules")
    @classmethod
    def _compiles(cls, expression: str) -> str:
        try:
            re.compile(expression)
        except re.error as error:
            raise ValueError(f"no regular expression ({error})") from error
        return expression


class Modules(Method):
    """Some modules of the base, trained whole; everything else stays as it is."""

    kind: Literal["modules"]
    modules: list[str] = Field(min_length=1, description="What the names of the trained modules end with")
    trainable: dict[str, Expectation] = Field(
        {"audio": "some"},
        description="Trained parameters of each tower: an exact count, 'some' or 'none'; checked before step 1",
    )


METHODS: dict[str, type[Method]] = {"lora": Lora, "modules": Modules}


def _kind(method: Any) -> Any:
    return method.get("kind", "lora") if isinstance(method, dict) else getattr(method, "kind", None)


class Corpus(Section):
    """Recordings and transcripts in one of the layouts that a reader knows, and what is known of them."""

    name: Name
    path: str = Field(description="File or folder, relative to where the command runs; for hub, a repository")
    reader: Literal["manifest", "common_voice", "fleurs", "openslr", "audiofolder", "parquet", "hub"] = Field(
        "manifest", description="The layout; manifest: rows in JSON lines, csv or tsv"
    )
    split: str | None = Field(None, description="The part of the corpus that is read, as the corpus calls it")
    columns: dict[Column, str] = Field(
        {}, description="What the corpus calls a column, where it has another name; an empty name leaves it out"
    )
    config: str | None = Field(None, description="Configuration of a dataset of the Hub")
    revision: str | None = Field(None, description="Of a dataset of the Hub")
    streaming: bool = Field(False, description="Read from the Hub without keeping the whole dataset")
    limit: int | None = Field(None, gt=0, description="Read the first rows only")
    weight: float = Field(1.0, gt=0, description="In training: 2 hears every clip twice in an epoch, 0.5 one half")
    language: Language | None = Field(None, description="Of rows that name none; the recipe's unless given")
    title: str | None = Field(None, description="What the card calls it")
    url: str | None = Field(None, description="Where it can be had")
    license: str | None = None
    description: str | None = None
    publish_audio: bool = Field(False, description="Its licence lets clips be shipped inside the report")

    @field_validator("name")
    @classmethod
    def _not_taken(cls, name: str) -> str:
        taken = {"pooled": "all of them together", "probes": "clips in which nothing is said"}
        if name in taken:
            raise ValueError(f"no corpus can be called {name}: that is what records call {taken[name]}")
        return name


class Corpora(Section):
    """What is trained and tested on."""

    train: list[Corpus] = Field(min_length=1)
    validation: list[Corpus] = []
    test: list[Corpus] = Field(min_length=1)
    max_rejected_share: float = Field(0.01, ge=0, le=1, description="Over this share of bad rows the run refuses")

    @field_validator("train", "validation", "test")
    @classmethod
    def _told_apart(cls, corpora: list[Corpus]) -> list[Corpus]:
        names = [corpus.name for corpus in corpora]
        if len(set(names)) < len(names):
            raise ValueError(f"two corpora have the same name among {', '.join(names)}; records tell them apart by it")
        return corpora


class Validation(Section):
    """What is heard while training, each time that `training.eval_strategy` evaluates; the base before step 1."""

    clips: int = Field(
        200, ge=0, description="Of corpora.validation, always the same ones; 0: the loss alone is evaluated"
    )
    patience: int | None = Field(
        None, gt=0, description="Training stops after so many evaluations that did not lower the WER"
    )


class Evaluation(Section):
    """How the adapter is measured."""

    batch_seconds: float = Field(120, gt=0, description="Most audio in a batch, padding counted, in seconds")
    max_new_tokens: int = Field(256, gt=0)
    normalizer: Normalizer = Field(
        "raw", description="basic: as Whisper's BasicTextNormalizer; results carry the raw rates beside it"
    )
    resamples: int = Field(1000, gt=0, description="Bootstrap resamples of an interval")
    base: bool = Field(True, description="Evaluate the base beside the adapter")
    baselines: list[str] = Field([], description="Whisper or CTC models to stand beside: folders or repositories")
    against: str | None = Field(
        None, description="An earlier run directory, or repository[@revision], whose predictions are compared with"
    )
    probes: bool = Field(True, description="Listen to silence and noise too, and count the text heard in it")


class Card(Section):
    """What only a person can say on the card."""

    title: str
    description: str = ""
    license: str = Field(description="Identifier of the adapter's licence as the Hub knows it, apache-2.0")
    developers: str = ""
    base_terms: str = Field("", description="What the licence of the base obliges")
    intended_use: str = ""
    limitations: str = ""
    tags: list[str] = []


class Hub(Section):
    """Where it is published."""

    repo: str | None = Field(None, description="user/name")
    private: bool = False
    publish_base_as: Name | None = Field(
        None, description="A base that is a local folder is published under this name of the same user"
    )


class Space(Section):
    """The demo."""

    max_minutes: float = Field(0.5, gt=0, description="Longest recording a visitor may send, in minutes")
    max_megabytes: float = Field(10, gt=0)
    examples: list[str] = Field([], description="Clips offered with one click")


class Recipe(Section):
    """One adapter: what is made from what, how it is measured, and where it goes."""

    name: Name
    base: str = Field(description="A folder, or a repository of the Hub")
    base_revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    load_in_4bit: bool = Field(False, description="Linear layers of the base in 4 bits (NF4, bitsandbytes)")
    engine: Literal["transformers", "unsloth"] = Field(
        "transformers", description="What loads the base and puts the adapter on it; unsloth needs escoita[unsloth]"
    )
    language: Language
    method: Annotated[Annotated[Lora, Tag("lora")] | Annotated[Modules, Tag("modules")], Discriminator(_kind)]
    prompt: Prompt
    corpora: Corpora
    training: dict[str, Any] = Field(description="Fields of TRL's SFTConfig under their own names")
    validation: Validation = Validation()
    eval: Evaluation = Evaluation()
    card: Card
    hub: Hub = Hub()
    space: Space = Space()
    run_dir: str | None = Field(None, description="runs/<name> unless given")

    @property
    def run_path(self) -> Path:
        return Path(self.run_dir or f"runs/{self.name}")

    def spoken(self) -> AdapterRecord:
        """What a program is told beside the weights: prompt, language and limits."""
        return AdapterRecord(
            language=self.language,
            prompt=self.prompt,
            max_new_tokens=self.eval.max_new_tokens,
            load_in_4bit=self.load_in_4bit,
        )

    def write(self, path: Path) -> None:
        """Writes what was asked for, resolved, so that it loads again."""
        write_atomically(path, self.to_yaml())

    def to_yaml(self) -> str:
        """The recipe as a file says it."""
        document = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """
    Loads and validates a recipe.

    Args:
        path (`str` or `Path`): The YAML file.
        overrides (`list[str]`, *optional*): `section.key=value`, the value in YAML.

    Returns:
        [`Recipe`]: Frozen.

    Raises:
        RecipeError: Names the file, the line and the key, and the nearest key that is known.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8")
        document, tree = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys")
    for override in overrides or []:
        _set(document, override)
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeError(_describe(error, path, tree)) from error


def nearest(key: str, known: list[str]) -> str:
    """A hint at the known key that a misspelt one resembles, or an empty string."""
    matches = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _set(document: dict[str, Any], override: str) -> None:
    keys, equals, value = override.partition("=")
    if not equals or not all(keys.split(".")):
        raise RecipeError(f"--set {override}: write section.key=value")
    *sections, last = keys.split(".")
    for section in sections:
        document = document.setdefault(section, {})
        if not isinstance(document, dict):
            raise RecipeError(f"--set {override}: {section!r} is not a section")
    try:
        document[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: the value is not YAML") from error


def _describe(error: ValidationError, path: Path, tree: yaml.Node | None) -> str:
    """All mistakes, one a line, each with its line in the file where it has one."""
    lines = []
    for mistake in error.errors():
        location = [part for part in mistake["loc"] if part not in ("literal['none','some']", "constrained-int")]
        message = mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] == "string_type" and isinstance(mistake["input"], bool):
            message += "; to YAML, no and yes are not words unless quoted: 'no'"
        if mistake["type"] == "string_pattern_mismatch" and location[-1] == "language":
            message += "; write its code, such as gl"
        if location[-1] == "[key]":
            location.pop()
            message = f"unknown key; there are {mistake['ctx']['expected']}"
        if mistake["type"] == "extra_forbidden":
            known = list(_section(location[:-1]).model_fields)
            message = f"unknown key{nearest(str(location[-1]), known)}"
        if mistake["type"] == "union_tag_invalid":
            location.append("kind")
            message = f"there are {', '.join(METHODS)}"
        if location[:1] == ["method"] and location[1:2] and location[1] in METHODS:
            del location[1]  # which of the methods it is, says its own key
        line = _line(tree, location)
        lines.append(f"{path}{f':{line}' if line else ''}: {'.'.join(map(str, location))}: {message}")
    return "\n".join(lines)


def _section(location: list[Any]) -> type[BaseModel]:
    """The section that a location of pydantic leads to."""
    section: type[BaseModel] = Recipe
    for part in location:
        if part in METHODS:
            section = METHODS[part]
        elif isinstance(part, str):
            annotation = section.model_fields[part].annotation
            inner = [annotation, *getattr(annotation, "__args__", ())]
            known = (item for item in inner if isinstance(item, type) and issubclass(item, BaseModel))
            section = next(known, section)  # of the methods, the kind that follows is the section
    return section


def _line(node: yaml.Node | None, location: list[Any]) -> int | None:
    """The line, counted from 1, of the deepest key of a location that stands in the file; none for an override."""
    line = None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == part]
            if not found:
                return line
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
