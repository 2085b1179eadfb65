"""Define the records of a training and of an adapter. Every number on a card comes from a record."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from escoita.errors import RecordError
from escoita.utils.files import write_atomically
from escoita.utils.formatting import visible
from escoita.utils.limits import (
    JSON_BYTES,
    LOSS_POINTS,
    RECORD_DIGITS,
    RECORD_VALUES,
    VALIDATION_POINTS,
    parse_json,
    read_bounded,
)


_LONGEST_KEY = 100
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
# Names of systems and corpora are names of files and folders, which have at most 255 bytes.
LONGEST_NAME = 200
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST_NAME)]
TargetLang = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,59}$")]
LanguageToken = Annotated[str, Field(pattern=r"^(none|[a-z]{2,3})$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RecordModel(BaseModel):
    """Represent an immutable part of a record without unknown keys and, by default, with finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", allow_inf_nan=False)

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """
        Read untrusted JSON.

        Raises:
            ValueError: It is not valid JSON within the limits, or does not have the fields of this class; one line.
        """
        try:
            parse_json(content, RECORD_DIGITS, RECORD_VALUES)
        except ValueError as error:
            raise ValueError(f"the file: not usable JSON: {error}") from error
        try:
            return cls.model_validate_json(content, strict=True)  # a text of 4,000 digits is not an integer
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            key = ".".join(map(str, first["loc"]))[:_LONGEST_KEY] or "the file"
            raise ValueError(visible(f"{key}: {first['msg']}")) from error  # a key may contain a line end


class MissingRecordError(RecordError):
    """
    Report a record that is not written yet.

    Args:
        command (`str`): The command that writes it.
    """

    problem = "not found"
    hint = "run `{command}` first"
    command: str


class Record(RecordModel):
    """Represent a record, a JSON file with the version of its schema."""

    model_config = ConfigDict(populate_by_name=True)
    made_by: ClassVar[str]

    schema_version: Literal[1] = Field(1, alias="schema")

    def to_json(self) -> str:
        """Return the content of the record's file, indented JSON."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Write the record."""
        write_atomically(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Self:
        """
        Read a record.

        Raises:
            MissingRecordError: The file is missing.
            RecordError: The file is not a record of this schema.
        """
        try:
            return cls.from_json(read_bounded(path, JSON_BYTES))
        except OSError as error:
            raise MissingRecordError(path=path, command=cls.made_by) from error
        except ValueError as error:
            raise RecordError(f"not a record of schema 1 ({error})", path=path) from error


class Prompt(RecordModel):
    """
    Store the prompt that the model gets with the audio.

    Args:
        system (`str`, *optional*): The system prompt; no system turn if it is empty.
        user (`str`): The user prompt, after the audio.
    """

    system: str = Field("", max_length=20_000)
    user: str = Field(max_length=20_000)


class BaseRecord(RecordModel):
    """
    Describe the base model of an adapter.

    Args:
        name (`str`): The repository of the Hub, or the folder, at training time.
        commit (`str`, *optional*): The commit of the repository; `None` for a folder.
        sha256 (`str`): The digest of its weight files; see [`~escoita.hub.files.weights_digest`].
        expected_sha256 (`str`, *optional*): The digest of the base that the adapter was trained on, in the record of a
            merged model for which `--allow-other-base` accepted another one.
    """

    name: str = Field(max_length=1_000)
    commit: Commit | None = None
    sha256: Sha256
    expected_sha256: Sha256 | None = None


class AdapterRecord(Record):
    """
    Store the generation settings with which a program transcribes as in training, in `adapter/escoita.json`.

    Args:
        language (`str`): The BCP 47 tag.
        prompt ([`Prompt`]): The prompt that the adapter was trained with.
        max_new_tokens (`int`): The token limit of a transcript.
        load_in_4bit (`bool`): Whether the linear layers of its base were in 4 bits.
        rendered_prompt (`str`, *optional*): The prompt as the chat template rendered it in training, with the
            placeholder of the audio; `None` in records of escoita 0.1.0.
        base ([`BaseRecord`], *optional*): The base that it was trained on; `None` in records of escoita 0.1.0.
        language_token (`str`, *optional*): The code of Whisper's language token in the prompt, or `none`; `None` for
            a model without such tokens, and for a Whisper that detects a language that it does not support.
        target_lang (`str`, *optional*): The code of the language adapter of MMS that training began with, or `none`;
            `None` for a model without language adapters.
    """

    made_by = "escoita train"

    language: str
    prompt: Prompt
    max_new_tokens: int = Field(256, gt=0, le=32_768)
    load_in_4bit: bool = False
    rendered_prompt: str | None = Field(None, max_length=200_000)
    base: BaseRecord | None = None
    language_token: LanguageToken | None = None
    target_lang: TargetLang | None = None


class CorpusUse(RecordModel):
    """
    Count the clips of one corpus in a training.

    Args:
        name (`str`): The name of the corpus.
        split (`str`): The split, `train` or `validation`.
        utterances (`int`): The number of clips.
        audio_seconds (`float`): The total length of the clips, in seconds.
        rejected (`int`): The number of rows that could not be used.
    """

    name: str
    split: str
    utterances: int
    audio_seconds: float
    rejected: int


def _number(value: object) -> object:
    """Parse a loss; NaN and infinity are strings, as JSON has no numbers for them."""
    return float(value) if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity") else value


Loss = Annotated[float, Field(allow_inf_nan=True), BeforeValidator(_number)]


class LossPoint(RecordModel):
    """Store the mean training loss since the previous point, at an optimizer step; NaN or infinite on divergence."""

    step: int
    loss: Loss


class ValidationPoint(RecordModel):
    """
    Store the result of a validation during training, at an optimizer step; at step 0, of the base.

    Args:
        step (`int`): The number of steps taken before.
        loss (`float`): The loss on the validation split as the Trainer computes it, the mean over clips of the mean
            of their batches.
        wer (`float`, *optional*): The WER on the fixed sample, a fraction; `None` if nothing is transcribed.
        cer (`float`, *optional*): The CER on the fixed sample, a fraction; `None` if nothing is transcribed.
        utterances (`int`): The number of clips of the sample.
    """

    step: int
    loss: Loss
    wer: float | None = None
    cer: float | None = None
    utterances: int = 0


class Throughput(RecordModel):
    """
    Store the throughput of a training, over all starts and processes.

    Args:
        step_seconds (`float`): The median time of an optimizer step, including waiting for data, in seconds.
        waiting_share (`float`): The fraction of this time spent waiting for the next batch.
        audio_seconds (`float`): The audio of all steps, in seconds; clips count once for each epoch.
        audio_hours_per_hour (`float`): The hours of audio trained on per hour of steps.
        padding_share (`float`): The fraction of the audio of all batches that is padding.
        halved_batches (`int`): The number of batches that were split, because they, or others of their size, ran out
            of memory.
    """

    step_seconds: float
    waiting_share: float
    audio_seconds: float
    audio_hours_per_hour: float
    padding_share: float
    halved_batches: int


class DataChange(RecordModel):
    """
    Describe how the rows differed when a run resumed; [`TrainingRecord.corpora`] counts the final rows.

    Args:
        step (`int`): The number of steps taken on the earlier rows.
        added (`int`): The number of new rows of training and validation.
        removed (`int`): The number of missing rows.
        changed (`int`): The number of rows with another text, size or duration. All three are 0 if only the order
            differs.
        validation (`bool`): Whether validation rows differ, so that rates before and after are not comparable.
        earlier_corpora (`list[CorpusUse]`): The earlier counts of each corpus.
        earlier_rows_sha256 (`str`): The digest of the earlier rows.
    """

    step: int = Field(ge=0)
    added: int = Field(ge=0)
    removed: int = Field(ge=0)
    changed: int = Field(ge=0)
    validation: bool = False
    earlier_corpora: list[CorpusUse] = Field(max_length=1000)
    earlier_rows_sha256: str = Field(max_length=64)


class RunExtension(RecordModel):
    """
    Describe how a run was continued with more steps or epochs than it began with.

    Args:
        step (`int`): The number of steps taken before.
        unit (`str`): The unit of the limits: `steps` or `epochs`.
        before (`float`): The limit before.
        now (`float`): The larger limit.
        date (`str`): The date and time, ISO 8601, UTC.
    """

    step: int = Field(ge=0)
    unit: Literal["steps", "epochs"]
    before: float = Field(gt=0)
    now: float = Field(gt=0)
    date: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")


class TrainingRecord(Record):
    """
    Store the course and the result of a training, in `training.json`.

    Args:
        name (`str`): The name of the run.
        base (`str`): The folder or repository of the base model.
        family (`str`): The model type of the base, such as `gemma4`.
        base_sha256 (`str`): The digest of the base's weight files, which does not depend on its name.
        base_commit (`str`, *optional*): The commit of the base's repository that was loaded; `None` for a folder, and
            in records of schema 1.
        adapter_sha256 (`str`): The digest of the adapter's weight file.
        parameters (`int`): The number of parameters of base and adapter.
        trainable_parameters (`dict[str, int]`): The number of trained parameters of each tower.
        corpora (`list[CorpusUse]`): The clips of each corpus.
        rejected (`list[str]`): Each row that could not be used, with its reason.
        steps (`int`): The number of optimizer steps.
        epochs (`float`): The number of epochs over the training clips.
        train_seconds (`float`): The time of all optimizer steps, including checkpoints, over all starts of the run.
        sessions (`int`): The number of starts of the run: 1, and one for each time that it resumed.
        loss (`list[LossPoint]`): The learning curve.
        validation (`list[ValidationPoint]`): The validations during training.
        normalizer (`str`): The normalizer of the rates of `validation`.
        primary (`str`): The metric that selected the saved adapter, `wer` or `cer`.
        kept_step (`int`, *optional*): The step of the saved adapter, which had the lowest rate; `None` if the last one
            was saved without validation.
        pace ([`Throughput`], *optional*): The throughput.
        processes (`int`): The number of processes.
        engine (`str`): The engine that loaded the base: `transformers` or `unsloth`.
        method (`str`): The method: `lora`, or `modules` whose weights were all trained.
        load_in_4bit (`bool`): Whether the linear layers of the base were in 4 bits.
        mixed_precision (`str`): The precision of mixed-precision training: `bf16`, `fp16`, or `no`.
        device (`str`): The device.
        peak_memory_bytes (`int`): The peak resident memory of the process (of the GPU if there is one).
        energy_joules (`float`, *optional*): The energy that the GPUs used, over all starts; `None` if not measured.
        versions (`dict[str, str]`): The framework versions.
        finished (`str`): The date and time, ISO 8601, UTC.
        seed (`int`, *optional*): The seed of the training; `None` in records of schema 1.
        adapter_files (`dict[str, str]`): The SHA-256 of each file that training wrote next to the weights and that is
            published unchanged: tokenizer, processor, chat template, `escoita.json`. Empty in records of schema 1.
        rows_sha256 (`str`): The digest of the ids, texts, sizes and durations of the rows; empty if it is not known.
        data_changes (`list[DataChange]`): The changes of the rows, one for each time that the run resumed with others.
        extensions (`list[RunExtension]`): The extensions of the run, in their order.
        card_version (`str`, *optional*): The version of escoita that wrote the published card; `None` before then.
        card_template_sha256 (`str`, *optional*): The digest of the templates of that version.
        matplotlib_version (`str`, *optional*): The version that drew the published plots; `None` before publication.
        language_token (`str`, *optional*): The language token of the prompt; see [`AdapterRecord`].
        target_lang (`str`, *optional*): The language adapter that training began with; see [`AdapterRecord`].
        base_transcribes (`bool`): Whether the base can transcribe without an adapter; `False` for a pretrained encoder
            without a head.
    """

    made_by = "escoita train"

    schema_version: Literal[1, 2] = Field(2, alias="schema")  # type: ignore[assignment]  # a newer schema

    name: str
    base: str
    family: str
    base_sha256: str
    adapter_sha256: str
    parameters: int
    trainable_parameters: dict[str, int]
    corpora: list[CorpusUse]
    rejected: list[str]
    steps: int
    epochs: float
    train_seconds: float
    sessions: int
    loss: list[LossPoint] = Field(max_length=LOSS_POINTS)
    validation: list[ValidationPoint] = Field([], max_length=VALIDATION_POINTS)
    normalizer: str = "raw"
    primary: Literal["wer", "cer"] = "wer"
    kept_step: int | None = None
    pace: Throughput | None = None
    processes: int = 1
    engine: str = "transformers"
    method: str = "lora"
    load_in_4bit: bool = False
    mixed_precision: str = "no"
    device: str
    peak_memory_bytes: int
    energy_joules: float | None = None
    versions: dict[str, str]
    finished: str
    seed: int | None = None
    base_commit: Commit | None = None
    adapter_files: dict[str, str] = {}
    rows_sha256: str = Field("", max_length=64)
    data_changes: list[DataChange] = Field([], max_length=1000)
    extensions: list[RunExtension] = Field([], max_length=1000)
    card_version: str | None = None
    card_template_sha256: str | None = None
    matplotlib_version: str | None = None
    language_token: LanguageToken | None = None
    target_lang: TargetLang | None = None
    base_transcribes: bool = True

    @property
    def comparable_since(self) -> int:
        """Return the step after which all validations use the same clips; -1 if those before step 1 do, too."""
        return max((change.step for change in self.data_changes if change.validation), default=-1)
