"""Define the recipe, one YAML file for each adapter, and read it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from escoita.errors import RecipeError
from escoita.metrics.normalizers import Normalizer, default_normalizer
from escoita.metrics.primary import PrimaryMetric, primary_metric
from escoita.recipe.errors import invalid_recipe, refuse_repeated_keys
from escoita.records.evaluation import Metric
from escoita.records.training import AdapterRecord, LanguageToken, Name, Prompt, TargetLang
from escoita.utils.files import write_atomically
from escoita.utils.languages import language_tag
from escoita.utils.locations import as_written, locate
from escoita.utils.untrusted import read_yaml


# More beams need as many times the memory of one.
MOST_BEAMS = 64
Expectation = Literal["none", "some"] | Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """Represent a section of a recipe; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(Section):
    """Define the trained parameters, and their expected number."""

    trainable: dict[str, Expectation] = Field(
        {"language": "some", "audio": "some"},
        description="Trained parameters of each tower: an exact number, 'some' or 'none'; checked before step 1",
    )
    language_token: LanguageToken | None = Field(
        None,
        description="Language token of Whisper's prompt: the code of a language that Whisper supports, or none;"
        " default: that of the recipe's language, or none if Whisper does not support it",
    )
    target_lang: TargetLang | None = Field(
        None,
        description="Language adapter of MMS that training begins with: a code of MMS, or none for the one in the"
        " weights of the base; default: that of the recipe's language, or none if MMS does not have it",
    )


# The start of the expression that is made of a list of names: PEFT compares each with the end of the name of a layer.
LISTED = r"(?:.*\.)?"


class Lora(Method):
    """Train low-rank adapters (Hu et al. 2021) on the linear layers that a regular expression matches."""

    kind: Literal["lora"] = "lora"
    r: int = Field(8, gt=0, description="Rank")
    lora_alpha: int = Field(16, gt=0, description="Scale: alpha / r")
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    bias: Literal["none", "all", "lora_only"] = "none"
    use_rslora: bool = False
    target_modules: str = Field(
        "",
        description="One regular expression that matches the full name of a linear layer, or a list of last names of"
        " layers; default: the layers of both towers of the model family",
        json_schema_extra=lambda schema: schema.update(
            anyOf=[{"type": schema.pop("type")}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
        ),
    )

    @field_validator("target_modules", mode="before")
    @classmethod
    def _expression_of_names(cls, given: Any) -> Any:
        if isinstance(given, list) and given and all(isinstance(name, str) and name for name in given):
            return f"{LISTED}({'|'.join(map(re.escape, given))})"
        return given

    @field_validator("target_modules")
    @classmethod
    def _compiles(cls, expression: str) -> str:
        try:
            re.compile(expression)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression ({error})") from error
        return expression


class Modules(Method):
    """Train all weights of some modules of the base; the others are frozen."""

    kind: Literal["modules"]
    modules: list[str] = Field(
        [],
        min_length=1,
        description="Suffixes of the names of the trained modules; default: those of the model family",
    )
    trainable: dict[str, Expectation] = Field(
        {"audio": "some"},
        description="Trained parameters of each tower: an exact number, 'some' or 'none'; checked before step 1",
    )


METHODS: dict[str, type[Method]] = {"lora": Lora, "modules": Modules}


def kind_of(method: Any) -> Any:
    """Return the kind of a method, given as a mapping or a section; the default is LoRA."""
    return method.get("kind", "lora") if isinstance(method, dict) else getattr(method, "kind", None)


# A BCP 47 tag; see [`~escoita.utils.languages.language_tag`].
Language = Annotated[
    str,
    AfterValidator(language_tag),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*$"}),
]
Column = Literal["id", "audio", "text", "language", "speaker", "gender", "accent", "offset", "duration", "split"]
# The repository that the reader `fleurs` downloads from.
FLEURS = "google/fleurs"
# The languages of the page.
PageLanguage = Literal["en", "gl", "uz"]


class Corpus(Section):
    """Define a corpus: recordings and transcripts in the layout of a reader, and their metadata."""

    name: Name
    path: str = Field(
        description="File or folder, relative to the current folder, or to the recipe or a folder above it; for hub, a"
        " repository; for fleurs, a folder, or google/fleurs, from which the language is downloaded; for"
        " datacollective, the id of a data set of Mozilla Data Collective"
    )
    reader: Literal[
        "manifest", "common_voice", "datacollective", "fleurs", "openslr", "audiofolder", "parquet", "hub"
    ] = Field("manifest", description="The layout; manifest: rows in JSON lines, csv or tsv")
    split: str | None = Field(None, description="Split of the corpus to read, by its name in the corpus")
    audio_root: str | None = Field(
        None, description="Folder that the paths of a manifest are relative to; default: the folder of the manifest"
    )
    columns: dict[Column, str] = Field(
        {}, description="Names of columns that differ from the usual ones; an empty name excludes a column"
    )
    config: str | None = Field(None, description="Configuration of a dataset of the Hub")
    revision: str | None = Field(
        None, description="Revision of a dataset of the Hub; of FLEURS, the run directory names the commit"
    )
    streaming: bool = Field(False, description="Read from the Hub without downloading the complete dataset")
    limit: int | None = Field(None, gt=0, description="Number of rows to read, from the first")
    weight: float = Field(
        1.0,
        gt=0,
        description="Weight in training: with 2, every clip occurs twice in an epoch; with 0.5, half of them",
    )
    language: Language | None = Field(None, description="Language of rows that name none; default: the recipe's")
    title: str | None = Field(None, description="Title on the card")
    url: str | None = Field(None, description="Download page")
    license: str | None = None
    description: str | None = None
    publish_audio: bool = Field(False, description="Whether its license allows clips in the report")
    publish_references: bool = Field(
        True, description="Whether its transcripts may be published with the hypotheses; else their hashes and counts"
    )

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        reserved = {"pooled": "all corpora together", "probes": "clips without speech"}
        if name in reserved:
            raise ValueError(f"{name} is reserved for {reserved[name]}; choose another name")
        return name

    @property
    def remote(self) -> bool:
        """Return whether `path` names a data set that the reader downloads, not a file or folder."""
        if self.reader == "fleurs":
            return self.path == FLEURS and not Path(FLEURS).exists()
        return self.reader in ("hub", "datacollective")


class Corpora(Section):
    """Define the corpora of training, validation and test."""

    train: list[Corpus] = Field(min_length=1)
    validation: list[Corpus] = []
    test: list[Corpus] = Field(min_length=1)
    compose: bool = Field(True, description="Compose the characters of transcripts (Unicode NFC) before training")
    max_rejected_share: float = Field(0.01, ge=0, le=1, description="Largest accepted fraction of unusable rows")
    split_by: Literal["speaker", "clip"] | None = Field(
        None,
        description="How escoita divided the data into train, validation and test, which the card states; by clip:"
        " speakers of the test may also be in training",
    )

    @field_validator("train", "validation", "test")
    @classmethod
    def _has_unique_names(cls, corpora: list[Corpus]) -> list[Corpus]:
        names = [corpus.name for corpus in corpora]
        if len(set(names)) < len(names):
            raise ValueError(f"the names of corpora must be unique, got {', '.join(names)}")
        return corpora


class Validation(Section):
    """Define the validation during training, which follows `training.eval_strategy`; the base before step 1."""

    clips: int = Field(
        200, ge=0, description="Number of clips of corpora.validation to transcribe, always the same; 0: only the loss"
    )
    patience: int | None = Field(
        None, gt=0, description="Number of evaluations without a lower primary rate after which training stops"
    )


def _without_default(schema: dict[str, Any]) -> None:
    """Remove a default that depends on another field from a JSON schema."""
    schema.pop("default")


class RetentionCorpus(Corpus):
    """Define a test corpus of another language, on which adapter and base are compared to measure forgetting."""

    language: Language = Field(description="Language of rows that name none; not that of the recipe")
    prompt: Prompt | None = Field(
        None, description="Prompt of both systems on this corpus; default: that of the recipe"
    )
    normalizer: Normalizer = Field(
        "raw",
        description="Normalizer of this corpus; default: that of its language, as for eval.normalizer",
        json_schema_extra=_without_default,
    )

    @model_validator(mode="before")
    @classmethod
    def _normalizer_of_language(cls, document: Any) -> Any:
        """Set the normalizer of the language if the entry names none."""
        if not isinstance(document, dict) or not isinstance(language := document.get("language"), str):
            return document
        return document if document.get("normalizer") else document | {"normalizer": default_normalizer(language)}


class Baseline(Section):
    """Define a model to compare with and its settings; it is written as its name if there are no settings."""

    model: str = Field(
        description="A model to compare with, such as Whisper or MMS: a folder, or a repository of the Hub"
    )
    max_new_tokens: int | None = Field(
        None, gt=0, description="Token limit of a transcript; default: the model's own limit"
    )
    num_beams: int | None = Field(
        None, gt=0, le=MOST_BEAMS, description="Number of beams; 1 is greedy decoding; default: eval.num_beams"
    )

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, document: Any) -> Any:
        return {"model": document} if isinstance(document, str) else document

    @model_serializer
    def _as_written(self) -> str | dict[str, Any]:
        settings = {key: value for key, value in self if value is not None}
        return settings if len(settings) > 1 else self.model


class Evaluation(Section):
    """Define the evaluation of the adapter."""

    batch_seconds: float = Field(120, gt=0, description="Most audio in a batch, including padding, in seconds")
    max_new_tokens: int = Field(256, gt=0, description="Token limit of a transcript of the adapter and its base")
    num_beams: int = Field(1, gt=0, le=MOST_BEAMS, description="Number of beams of all systems; 1 is greedy decoding")
    normalizer: Normalizer = Field(
        "raw",
        description="Applied to the texts before scoring; raw rates are shown next to the normalized ones. Default:"
        " uzbek for uz, galician for gl, unicode-turkic for tr and its relatives, unicode for other languages. basic"
        " is Whisper's BasicTextNormalizer; bytes compares texts without composing characters",
        json_schema_extra=_without_default,
    )
    primary: PrimaryMetric = Field(
        "auto",
        description="Metric of verdicts, the gate, the best adapter and early stopping. auto: cer for languages that"
        " have no spaces between words (Thai, Lao, Khmer, Burmese, Chinese, Japanese, Tibetan), else wer",
    )
    resamples: int = Field(1000, gt=0, description="Number of bootstrap resamples")
    base: bool = Field(True, description="Evaluate the base, too")
    baselines: list[Baseline] = Field(
        [],
        description="Models to compare with: folders or repositories, or these with settings",
        json_schema_extra=lambda schema: schema.update(items={"anyOf": [{"type": "string"}, schema["items"]]}),
    )
    against: str | None = Field(
        None, description="An earlier run directory, or repository[@revision], with predictions to compare with"
    )
    retention: list[RetentionCorpus] = Field(
        [], description="Test corpora of other languages, on which base and adapter are compared to measure forgetting"
    )
    probes: bool = Field(True, description="Transcribe silence and noise, too, and count the hallucinated words")


class Card(Section):
    """Define the texts of the card that are written by hand."""

    title: str
    description: str = ""
    license: str = Field(description="Identifier of the adapter's license on the Hub, such as apache-2.0")
    license_name: str | None = Field(None, description="Name of the license, if license is other")
    license_link: str | None = Field(None, description="URL of the license, or a file of the repository, if other")
    developers: str = ""
    architecture: str = Field(
        "", description="Architecture of the base, in a few lines; default: that of its model family"
    )
    base_terms: str = Field("", description="Obligations of the base model's license")
    intended_use: str = ""
    out_of_scope: str = ""
    limitations: str = ""
    contact: str = ""
    acknowledgements: str = ""
    funding: str = ""
    citation: str = Field("", description="BibTeX entry; default: made of title, developers and URL")
    tags: list[str] = []
    template: str | None = Field(None, description="Jinja template whose blocks replace those of adapter.md.jinja")


class Benchmark(Section):
    """Define a test corpus that is a registered benchmark of the Hub, whose leaderboard reads `.eval_results/`."""

    corpus: Name = Field(description="Name in corpora.test")
    dataset: str = Field(description="Repository of the benchmark, such as hf-audio/open-asr-leaderboard")
    task: str = Field(description="Id of the task in the benchmark's eval.yaml")
    metric: Literal["wer", "cer"] = "wer"
    percent: bool = Field(True, description="Whether the benchmark uses percent, not fractions")


class Hub(Section):
    """Define the publication on the Hub."""

    repo: str | None = Field(None, description="Repository of the adapter, user/name")
    private: bool = False
    collection: str | None = Field(None, description="Slug of a collection to add the repository to, user/title-hash")
    benchmarks: list[Benchmark] = Field([], description="Rates that are also written to .eval_results/")
    publish_base_as: Name | None = Field(
        None, description="Name under which the same user publishes a base that is a local folder"
    )


class Space(Section):
    """Define the demo."""

    max_minutes: float = Field(0.5, gt=0, description="Longest recording that may be sent, in minutes")
    max_megabytes: float = Field(10, gt=0, description="Largest recording that may be sent, in megabytes")
    max_queue: int = Field(80, gt=0, description="Most waiting requests; further ones are refused")
    max_seconds: float = Field(120, gt=0, description="Longest time of a request, in seconds")
    examples: list[str] = Field([], description="Example clips of the page")
    example_texts: dict[str, str] = Field({}, description="Sentences of the example clips, by file name")
    adapters: list[str] = Field(
        [], description="Further adapters of the same base to choose from; no other is ever loaded"
    )
    languages: list[PageLanguage] = Field(
        ["en", "gl", "uz"],
        min_length=1,
        description="Languages of the page; the first is used if the browser requests none of them",
    )
    feedback: str | None = Field(
        None,
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="Dataset repository, user/dataset, for corrections with their clips if users consent",
    )
    feedback_private: bool = Field(
        True, description="Whether that repository must be private; a public one is refused"
    )
    mcp: bool = Field(False, description="Whether language models may call the page over the Model Context Protocol")
    api: bool = Field(
        False, description="Whether programs may use the page over OpenAI's API for transcription, below /v1"
    )


class Recipe(Section):
    """Define one adapter: its base model, data, training, evaluation and publication."""

    name: Name
    base: str = Field(description="Base model: a folder, or a repository of the Hub")
    base_revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    load_in_4bit: bool = Field(False, description="Load the linear layers of the base in 4 bits (NF4, bitsandbytes)")
    engine: Literal["transformers", "unsloth"] = Field(
        "transformers", description="Library that loads the base and adds the adapter; unsloth needs escoita[unsloth]"
    )
    language: Language = Field(description="Language, a BCP 47 tag such as gl, uz-Latn or yor")
    method: Annotated[Annotated[Lora, Tag("lora")] | Annotated[Modules, Tag("modules")], Discriminator(kind_of)]
    prompt: Prompt = Field(Prompt(user=""), description="Default: that of the model family")
    corpora: Corpora
    training: dict[str, Any] = Field(
        {},
        description="Fields of TRL's SFTConfig under their own names; learning rate, batch size and precision have"
        " defaults by model family and memory, other fields those of TRL",
    )
    validation: Validation = Validation()
    eval: Evaluation = Evaluation()
    card: Card
    hub: Hub = Hub()
    space: Space = Space()
    run_dir: str | None = Field(None, description="Run directory; default: runs/<name>")

    @model_validator(mode="before")
    @classmethod
    def _normalizer_of_language(cls, document: Any) -> Any:
        """Set the normalizer of the language in a recipe that names none."""
        if not isinstance(document, dict) or not isinstance(language := document.get("language"), str):
            return document
        settings = document.get("eval", {})
        if not isinstance(settings, dict) or settings.get("normalizer") is not None:
            return document
        return document | {"eval": settings | {"normalizer": default_normalizer(language)}}

    @field_validator("hub")
    @classmethod
    def _benchmarks_are_tested(cls, hub: Hub, others: ValidationInfo) -> Hub:
        corpora = others.data.get("corpora")  # absent if it is invalid itself
        tested = {corpus.name for corpus in corpora.test} if corpora else {each.corpus for each in hub.benchmarks}
        for benchmark in hub.benchmarks:
            if benchmark.corpus not in tested:
                raise ValueError(
                    f"benchmarks: {benchmark.corpus} is not in corpora.test ({', '.join(sorted(tested))})"
                )
        return hub

    # The folder that the files of the recipe were found in, if it is not the current one.
    _folder: Path = PrivateAttr(Path())

    @field_validator("eval")
    @classmethod
    def _retention_is_comparable(cls, settings: Evaluation, others: ValidationInfo) -> Evaluation:
        corpora = others.data.get("corpora")
        tested = [corpus.name for corpus in corpora.test] if corpora else []
        names = [*tested, *(corpus.name for corpus in settings.retention)]
        if len(set(names)) < len(names):
            raise ValueError(f"retention: the names of all test corpora must be unique, got {', '.join(names)}")
        if settings.retention and not settings.base:
            raise ValueError("retention: the adapter is compared with the base, which eval.base=false leaves out")
        return settings

    @property
    def primary(self) -> Metric:
        """Return the primary metric, `wer` or `cer`."""
        return primary_metric(self.eval.primary, self.language)

    @property
    def run_path(self) -> Path:
        """Return the run directory; if it is new, its relative path begins where the other files were found."""
        path = Path(self.run_dir or f"runs/{self.name}")
        return path if path.exists() else self._folder / path

    @property
    def evaluated_corpora(self) -> list[Corpus]:
        """Return the test corpora, and those of other languages that measure forgetting."""
        return [*self.corpora.test, *self.eval.retention]

    def generation_settings(self) -> AdapterRecord:
        """Return the settings that a program needs next to the weights: prompt, language and limits."""
        return AdapterRecord(
            language=self.language,
            prompt=self.prompt,
            max_new_tokens=self.eval.max_new_tokens,
            load_in_4bit=self.load_in_4bit,
            language_token=self.method.language_token,
            target_lang=self.method.target_lang,
        )

    def write(self, path: Path) -> None:
        """Write the resolved recipe, which can be loaded again."""
        write_atomically(path, self.to_yaml())

    def to_yaml(self) -> str:
        """Return the recipe as YAML with every default written out, so that a later version reads the same recipe."""
        document = as_written(self.model_dump(mode="json"))
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)

    def located(self, near: Path) -> "Recipe":
        """
        Return the recipe with paths that can be opened from the current folder; see
        [`~escoita.utils.locations.locate`].

        `card.template` is not searched for, because only a template of the current folder is rendered.

        Args:
            near (`Path`): The folder of the recipe.
        """
        folders: list[Path] = []

        def find(name: str) -> str:
            path, folder = locate(name, near)
            folders.extend([folder] if folder else [])
            return path

        def find_corpora(corpora: Sequence[Corpus]) -> list[Corpus]:
            return [
                corpus.model_copy(
                    update={"path": find(corpus.path), "audio_root": corpus.audio_root and find(corpus.audio_root)}
                )
                for corpus in corpora
            ]

        base = find(self.base)
        splits = {split: find_corpora(getattr(self.corpora, split)) for split in ("train", "validation", "test")}
        baselines = [each.model_copy(update={"model": find(each.model)}) for each in self.eval.baselines]
        against = find(self.eval.against) if self.eval.against else None
        retention = find_corpora(self.eval.retention)
        evaluation = {"baselines": baselines, "against": against, "retention": retention}
        sections = {
            "corpora": self.corpora.model_copy(update=splits),
            "eval": self.eval.model_copy(update=evaluation),
            "space": self.space.model_copy(update={"examples": [find(each) for each in self.space.examples]}),
        }
        if not folders:
            return self
        found = self.model_copy(update={"base": base, **sections})
        found._folder = folders[0]
        return found


def load_recipe(path: str | Path, overrides: list[str] | None = None, search: bool = True) -> Recipe:
    """
    Load and validate a recipe.

    Args:
        path (`str` or `Path`): The YAML file.
        overrides (`list[str]`, *optional*): Overrides, `section.key=value` with the value in YAML.
        search (`bool`, *optional*, defaults to `True`): Whether files that are not found from the current folder are
            searched for next to the recipe and in the folders above it.

    Returns:
        [`Recipe`]: The recipe, which is immutable.

    Raises:
        InvalidRecipeError: The recipe has mistakes, each with its line and key.
        RecipeError: The file cannot be read, is not YAML, or an override is malformed.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8")
        document, tree = read_yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecipeError(f"cannot be read ({reason})", path=path) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        row = mark.line + 1 if mark else None
        raise RecipeError(f"not YAML: {' '.join(str(error).split())}", path=path, row=row) from error
    if not isinstance(document, dict):
        raise RecipeError("not a mapping of keys", path=path)
    refuse_repeated_keys(path, text)
    for override in overrides or []:
        _set(document, override)
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        raise invalid_recipe(error, path, tree, Recipe, METHODS) from error
    return recipe.located(path.parent) if search else recipe


def _set(document: dict[str, Any], override: str) -> None:
    keys, equals, value = override.partition("=")
    if not equals or not all(keys.split(".")):
        raise RecipeError("expected section.key=value", key="--set", value=override)
    *sections, last = keys.split(".")
    for section in sections:
        document = document.setdefault(section, {})
        if not isinstance(document, dict):
            raise RecipeError(f"{section!r} is not a section", key="--set", value=override)
    try:
        document[last] = read_yaml(value)[0]
    except yaml.YAMLError as error:
        raise RecipeError("the value is not YAML", key="--set", value=override) from error
