"""Records of a training and of an adapter. Every figure of a card comes from a record."""

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
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RecordModel(BaseModel):
    """A piece of a record: frozen, without unknown keys; every number is finite unless its field says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", allow_inf_nan=False)

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """
        Reads what may be a stranger's.

        Raises:
            ValueError: It is not JSON that can be used, or is not such a piece; one line says why.
        """
        try:
            parse_json(content, RECORD_DIGITS, RECORD_VALUES)
        except ValueError as error:
            raise ValueError(f"the file: not JSON that can be used: {error}") from error
        try:
            return cls.model_validate_json(content, strict=True)  # a text of 4,000 digits is no integer
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))[:_LONGEST_KEY] or "the file"
            raise ValueError(visible(f"{where}: {first['msg']}")) from error  # a key may hold a line end


class Record(RecordModel):
    """Written and read as JSON with the version of its schema."""

    model_config = ConfigDict(populate_by_name=True)
    made_by: ClassVar[str]

    schema_version: Literal[1] = Field(1, alias="schema")

    def to_json(self) -> str:
        """The record as its file has it: indented JSON."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Writes the record."""
        write_atomically(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Self:
        """
        Reads a record.

        Raises:
            RecordError: The file is missing, or is not a record of this schema.
        """
        try:
            return cls.from_json(read_bounded(path, JSON_BYTES))
        except OSError as error:
            raise RecordError(f"{path}: no such record yet; {cls.made_by} writes it") from error
        except ValueError as error:
            raise RecordError(f"{path}: not a record of schema 1 ({error})") from error


class Prompt(RecordModel):
    """
    What the model is told beside the audio.

    Args:
        system (`str`, *optional*): The system turn; none when empty.
        user (`str`): The user's text, after the audio.
    """

    system: str = Field("", max_length=20_000)
    user: str = Field(max_length=20_000)


class BaseRecord(RecordModel):
    """
    The base model of an adapter.

    Args:
        name (`str`): Repository of the Hub, or folder, as it was named at training time.
        commit (`str`, *optional*): Commit of the repository; none for a folder.
        sha256 (`str`): Digest of its weight files; see [`~escoita.hub.files.weights_digest`].
        expected_sha256 (`str`, *optional*): Of a merged model: digest of the base that the adapter was trained on, if
            `--allow-other-base` accepted another one.
    """

    name: str = Field(max_length=1_000)
    commit: Commit | None = None
    sha256: Sha256
    expected_sha256: Sha256 | None = None


class AdapterRecord(Record):
    """
    `adapter/escoita.json`: what a program needs beside the weights in order to transcribe as in training.

    Args:
        language (`str`): ISO code, lower case.
        prompt ([`Prompt`]): The prompt it was trained with.
        max_new_tokens (`int`): Most tokens of a transcript.
        load_in_4bit (`bool`): The linear layers of its base were in 4 bits.
        rendered_prompt (`str`, *optional*): The prompt as the chat template wrote it in training, with the
            placeholder of the audio; none in records of escoita 0.1.0.
        base ([`BaseRecord`], *optional*): The base that it was trained on; none in records of escoita 0.1.0.
    """

    made_by = "escoita train"

    language: str
    prompt: Prompt
    max_new_tokens: int = Field(256, gt=0, le=32_768)
    load_in_4bit: bool = False
    rendered_prompt: str | None = Field(None, max_length=200_000)
    base: BaseRecord | None = None


class CorpusUse(RecordModel):
    """
    What one corpus gave to training.

    Args:
        name (`str`): The corpus.
        split (`str`): `train` or `validation`.
        utterances (`int`): Clips used.
        audio_seconds (`float`): Their length together.
        rejected (`int`): Rows that could not be used.
    """

    name: str
    split: str
    utterances: int
    audio_seconds: float
    rejected: int


def _number(value: object) -> object:
    """JSON has no NaN and no infinity; pydantic writes such a loss as a string."""
    return float(value) if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity") else value


Loss = Annotated[float, Field(allow_inf_nan=True), BeforeValidator(_number)]


class LossPoint(RecordModel):
    """Mean training loss since the point before, at an optimizer step; NaN or infinite where training diverged."""

    step: int
    loss: Loss


class ValidationPoint(RecordModel):
    """
    What an evaluation while training found, at an optimizer step; at step 0 of the base.

    Args:
        step (`int`): Steps taken before.
        loss (`float`): Of the validation split, as the Trainer takes it: the mean over clips of their batches' means.
        wer (`float`, *optional*): Of the fixed sample, a fraction; none when nothing is heard.
        cer (`float`, *optional*): The same of characters.
        utterances (`int`): Clips of the sample.
    """

    step: int
    loss: Loss
    wer: float | None = None
    cer: float | None = None
    utterances: int = 0


class Throughput(RecordModel):
    """
    How fast training went, over all sessions and processes.

    Args:
        step_seconds (`float`): Of an optimizer step, waiting for data included; the median.
        waiting_share (`float`): Of the time of steps, spent waiting for the next batch, a fraction.
        audio_seconds (`float`): Of all clips that steps were taken on, as often as they were heard.
        audio_hours_per_hour (`float`): Hours of audio trained on in an hour of steps.
        padding_share (`float`): Of the audio of all batches, added to make clips as long as the longest beside them, a
            fraction.
        halved_batches (`int`): That were taken in halves: they ran out of memory, or were cut beforehand, as others of
            their size had.
    """

    step_seconds: float
    waiting_share: float
    audio_seconds: float
    audio_hours_per_hour: float
    padding_share: float
    halved_batches: int


class DataChange(RecordModel):
    """
    Rows that were not the same when a run resumed; [`TrainingRecord.corpora`] counts those of the end.

    Args:
        step (`int`): Steps taken before, on the earlier rows.
        added (`int`): Rows of training and validation that are new.
        removed (`int`): Rows that are missing.
        changed (`int`): Rows with another text, size or duration. All three are 0 if only the order differs.
        validation (`bool`): Rows of validation are among them, so rates before and after are not comparable.
        earlier_corpora (`list[CorpusUse]`): What each corpus gave before.
        earlier_rows_sha256 (`str`): Digest of the earlier rows.
    """

    step: int = Field(ge=0)
    added: int = Field(ge=0)
    removed: int = Field(ge=0)
    changed: int = Field(ge=0)
    validation: bool = False
    earlier_corpora: list[CorpusUse] = Field(max_length=1000)
    earlier_rows_sha256: str = Field(max_length=64)


class TrainingRecord(Record):
    """
    `training.json`: what happened.

    Args:
        name (`str`): The run.
        base (`str`): Folder or repository of the base model.
        family (`str`): Model type of the base, `gemma4`.
        base_sha256 (`str`): Digest of the base's weight files, whatever the base is called.
        base_commit (`str`, *optional*): Commit of the base's repository that was loaded; none for a folder, and in
            records of schema 1.
        adapter_sha256 (`str`): Digest of the adapter's weight file.
        parameters (`int`): Parameters of base and adapter together.
        trainable_parameters (`dict[str, int]`): Trained parameters of each tower.
        corpora (`list[CorpusUse]`): What was trained on.
        rejected (`list[str]`): Each row that could not be used, with its reason.
        steps (`int`): Optimizer steps.
        epochs (`float`): Passes over the training clips.
        train_seconds (`float`): Time spent in optimizer steps, checkpoints included, over all sessions of the run.
        sessions (`int`): 1, and one more for every time the run was killed and went on.
        loss (`list[LossPoint]`): The learning curve.
        validation (`list[ValidationPoint]`): The same on clips that were not trained on.
        normalizer (`str`): Under which the rates of `validation` were taken.
        kept_step (`int`, *optional*): After which the adapter was kept, as no other had a lower WER; none when the
            last one was kept unheard.
        pace ([`Throughput`], *optional*): Seconds, shares and audio.
        processes (`int`): That trained together.
        engine (`str`): What loaded the base: `transformers` or `unsloth`.
        method (`str`): `lora`, or `modules` that were trained whole.
        load_in_4bit (`bool`): The linear layers of the base were in 4 bits.
        mixed_precision (`str`): What steps were computed in beside the precision of the weights: `bf16`, `fp16`, or
            `no`.
        device (`str`): Where it ran.
        peak_memory_bytes (`int`): Peak resident memory of the process (of the GPU where there is one).
        energy_joules (`float`, *optional*): That its GPUs took, over all sessions; none where it was not measured.
        versions (`dict[str, str]`): Framework versions.
        finished (`str`): Date and time, ISO 8601, UTC.
        seed (`int`, *optional*): Seed of the training; `None` in records of schema 1.
        adapter_files (`dict[str, str]`): SHA-256 of each file that training wrote next to the weights and that is
            published unchanged: tokenizer, processor, chat template, `escoita.json`. Empty in records of schema 1.
        rows_sha256 (`str`): Digest of the ids, texts, sizes and durations of the rows; empty if it is not known.
        data_changes (`list[DataChange]`): Each time that the run resumed with other rows.
        card_version (`str`, *optional*): Version of escoita that wrote the published card; `None` before publication.
        card_template_sha256 (`str`, *optional*): Digest of the templates of that version.
        matplotlib_version (`str`, *optional*): Version that drew the published plots; `None` before publication.
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
    card_version: str | None = None
    card_template_sha256: str | None = None
    matplotlib_version: str | None = None

    @property
    def comparable_since(self) -> int:
        """The step after which all validations are of the same clips; -1 if those before step 1 are, too."""
        return max((change.step for change in self.data_changes if change.validation), default=-1)
