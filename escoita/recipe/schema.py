"""Define the recipe, one YAML file for each adapter, and read it."""

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
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from escoita.errors import RecipeError
from escoita.metrics.normalizers import Normalizer, default_normalizer
from escoita.recipe.errors import described
from escoita.records.training import AdapterRecord, Name, Prompt
from escoita.utils.files import write_atomically
from escoita.utils.untrusted import read_yaml


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
        except (re.error, OverflowError, RecursionError) as error:
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


def kind_of(method: Any) -> Any:
    """Which method a mapping of a recipe, or a section, is; LoRA unless it says so."""
    return method.get("kind", "lora") if isinstance(method, dict) else getattr(method, "kind", None)


Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
Column = Literal["id", "audio", "text", "language", "speaker", "gender", "accent", "offset", "duration", "split"]
# What the page is written in.
PageLanguage = Literal["en", "gl", "uz"]


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
    publish_references: bool = Field(
        True, description="Its transcripts may be published beside what was heard; else their hashes and counts are"
    )

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


def _without_default(schema: dict[str, Any]) -> None:
    """Remove a default that depends on another field from a JSON schema."""
    schema.pop("default")


class Baseline(Section):
    """A model to compare with, and how it is evaluated; written as its name alone if nothing else is set."""

    model: str = Field(description="A Whisper or CTC model: a folder, or a repository of the Hub")
    max_new_tokens: int | None = Field(
        None, gt=0, description="Most tokens of a transcript; the model's own limit unless given"
    )

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, document: Any) -> Any:
        return {"model": document} if isinstance(document, str) else document

    @model_serializer
    def _as_written(self) -> str | dict[str, Any]:
        return self.model if self.max_new_tokens is None else dict(self)


class Evaluation(Section):
    """How the adapter is measured."""

    batch_seconds: float = Field(120, gt=0, description="Most audio in a batch, padding counted, in seconds")
    max_new_tokens: int = Field(256, gt=0, description="Most tokens of a transcript of the adapter and its base")
    normalizer: Normalizer = Field(
        "raw",
        description="Applied to the texts before scoring; raw rates are shown next to the normalized ones. Default:"
        " uzbek for uz, galician for gl, raw for other languages; basic is Whisper's BasicTextNormalizer",
        json_schema_extra=_without_default,
    )
    resamples: int = Field(1000, gt=0, description="Bootstrap resamples of an interval")
    base: bool = Field(True, description="Evaluate the base beside the adapter")
    baselines: list[Baseline] = Field(
        [],
        description="Whisper or CTC models to compare with: folders or repositories, or these with settings",
        json_schema_extra=lambda schema: schema.update(items={"anyOf": [{"type": "string"}, schema["items"]]}),
    )
    against: str | None = Field(
        None, description="An earlier run directory, or repository[@revision], whose predictions are compared with"
    )
    probes: bool = Field(True, description="Listen to silence and noise too, and count the text heard in it")


class Card(Section):
    """What only a person can say on the card."""

    title: str
    description: str = ""
    license: str = Field(description="Identifier of the adapter's licence as the Hub knows it, apache-2.0")
    license_name: str | None = Field(None, description="What it is called, where license is other")
    license_link: str | None = Field(None, description="Its address, or a file of the repository, likewise")
    developers: str = ""
    architecture: str = Field(
        "", description="How the base hears, in a few lines; what is known of its family unless given"
    )
    base_terms: str = Field("", description="What the licence of the base obliges")
    intended_use: str = ""
    out_of_scope: str = ""
    limitations: str = ""
    contact: str = ""
    acknowledgements: str = ""
    funding: str = ""
    citation: str = Field("", description="BibTeX; made of title, developers and address unless given")
    tags: list[str] = []
    template: str | None = Field(
        None, description="A Jinja template of yours, whose blocks stand in the place of those of adapter.md.jinja"
    )


class Benchmark(Section):
    """A test corpus that is a registered benchmark of the Hub, whose leaderboard reads `.eval_results/`."""

    corpus: Name = Field(description="Of corpora.test")
    dataset: str = Field(description="Repository of the benchmark, hf-audio/open-asr-leaderboard")
    task: str = Field(description="The task's id in the benchmark's eval.yaml")
    metric: Literal["wer", "cer"] = "wer"
    percent: bool = Field(True, description="The benchmark counts in percent, not in fractions")


class Hub(Section):
    """Where it is published."""

    repo: str | None = Field(None, description="user/name")
    private: bool = False
    collection: str | None = Field(None, description="Slug of a collection that it is put into, user/title-hash")
    benchmarks: list[Benchmark] = Field([], description="Rates that are also written to .eval_results/")
    publish_base_as: Name | None = Field(
        None, description="A base that is a local folder is published under this name of the same user"
    )


class Space(Section):
    """The demo."""

    max_minutes: float = Field(0.5, gt=0, description="Longest recording a visitor may send, in minutes")
    max_megabytes: float = Field(10, gt=0)
    max_queue: int = Field(80, gt=0, description="Visitors who wait at once; the next one is told to come back")
    max_seconds: float = Field(120, gt=0, description="Longest that one request may take, in seconds")
    examples: list[str] = Field([], description="Clips offered with one click")
    adapters: list[str] = Field(
        [], description="Further adapters of the same base that visitors may choose; no other is ever loaded"
    )
    languages: list[PageLanguage] = Field(
        ["en", "gl", "uz"], min_length=1, description="Of the page; the first where the browser asks for none of them"
    )
    feedback: str | None = Field(
        None,
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="Dataset repository, user/dataset, to which corrections go with their clips if visitors consent",
    )
    feedback_private: bool = Field(True, description="That repository is private; one that is not is refused")
    mcp: bool = Field(False, description="Language models may call the page over the Model Context Protocol")
    api: bool = Field(False, description="Programs may call the page over OpenAI's API for transcription, below /v1")


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
    method: Annotated[Annotated[Lora, Tag("lora")] | Annotated[Modules, Tag("modules")], Discriminator(kind_of)]
    prompt: Prompt
    corpora: Corpora
    training: dict[str, Any] = Field(description="Fields of TRL's SFTConfig under their own names")
    validation: Validation = Validation()
    eval: Evaluation = Evaluation()
    card: Card
    hub: Hub = Hub()
    space: Space = Space()
    run_dir: str | None = Field(None, description="runs/<name> unless given")

    @model_validator(mode="before")
    @classmethod
    def _normalizer_of_language(cls, document: Any) -> Any:
        """Write the normalizer of the language into a recipe that names none."""
        if not isinstance(document, dict) or not isinstance(language := document.get("language"), str):
            return document
        settings = document.get("eval", {})
        if not isinstance(settings, dict) or settings.get("normalizer") is not None:
            return document
        return document | {"eval": settings | {"normalizer": default_normalizer(language)}}

    @field_validator("hub")
    @classmethod
    def _benchmarks_are_tested(cls, hub: Hub, others: ValidationInfo) -> Hub:
        corpora = others.data.get("corpora")  # absent where it has mistakes of its own
        tested = {corpus.name for corpus in corpora.test} if corpora else {each.corpus for each in hub.benchmarks}
        for benchmark in hub.benchmarks:
            if benchmark.corpus not in tested:
                raise ValueError(
                    f"benchmarks: {benchmark.corpus} is none of corpora.test ({', '.join(sorted(tested))})"
                )
        return hub

    @property
    def run_path(self) -> Path:
        return Path(self.run_dir or f"runs/{self.name}")

    def generation_settings(self) -> AdapterRecord:
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
        """Return the recipe as YAML with every default written out, so that a later version reads the same recipe."""
        document = self.model_dump(mode="json")
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
        document, tree = read_yaml(text)
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
        raise RecipeError(described(error, path, tree, Recipe, METHODS)) from error


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
        document[last] = read_yaml(value)[0]
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: the value is not YAML") from error
