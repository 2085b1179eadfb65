"""Write the sections of a card: architecture, example, overlap and training."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import pyarrow as pa

from escoita.evaluation.predictions import predictions_path, read_predictions
from escoita.metrics.normalizers import normalizer
from escoita.models.families import BY_MODEL_TYPE
from escoita.recipe.schema import Lora, Modules, Recipe
from escoita.records.data import DataRecord, Pair
from escoita.records.evaluation import SUBJECT, EvaluationRecord
from escoita.records.training import Throughput, TrainingRecord, ValidationPoint
from escoita.run_directory import RunDirectory
from escoita.utils.formatting import code, code_cell, duration, line, percent, speed, thousands


def architecture(recipe: Recipe, family: str) -> str:
    """
    How the base hears, as Markdown is made of it.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): What its card says comes first.
        family (`str`): As the training record calls it.

    Returns:
        `str`: Plain text; empty where nobody knows.
    """
    info = BY_MODEL_TYPE.get(family)
    return recipe.card.architecture or (info.architecture if info else "")


@dataclass(frozen=True)
class Example:
    """
    A clip and its transcripts.

    Args:
        corpus (`str`): Name of the test corpus.
        id (`str`): The clip's there.
        audio_seconds (`float`): Its length.
        reference (`str`): What was said.
        hypothesis (`str`): What the adapter heard.
        right (`bool`): Whether these are the same under the normaliser of the evaluation.
    """

    corpus: str
    id: str
    audio_seconds: float
    reference: str
    hypothesis: str
    right: bool


def example(run: RunDirectory, recipe: Recipe, evaluation: EvaluationRecord) -> Example | None:
    """
    A clip that the adapter got right, of about the median length of its corpus; where it got none right, one of about
    that length. The first corpus with a right one counts, else the first; where references may not be published, none.

    Which clip it is depends on nothing that publication changes, the names of clips and speakers.

    Args:
        run ([`~escoita.run_directory.RunDirectory`]): Holds the predictions.
        recipe ([`~escoita.recipe.schema.Recipe`]): Says of which corpora transcripts may be published.
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): Names corpora and normaliser.

    Raises:
        RecordError: A file of predictions is broken.
    """
    secret = {corpus.name for corpus in recipe.corpora.test if not corpus.publish_references}
    found = []
    for result in evaluation.corpora:
        path = predictions_path(run.eval, result.name, SUBJECT)
        if result.name in secret or not path.is_file():
            continue
        table, provenance = read_predictions(path)
        if provenance.references == "open" and len(table):
            found.append(_of(table, result.name, evaluation.normalizer))
            if found[-1].right:
                return found[-1]
    return found[0] if found else None


def _of(table: pa.Table, corpus: str, form: str) -> Example:
    same = normalizer(form)
    rows = table.select(["id", "audio_seconds", "reference", "hypothesis"]).to_pylist()
    right = [row for row in rows if (said := same(row["reference"])).strip() and said == same(row["hypothesis"])]
    usual = median(row["audio_seconds"] for row in rows)
    chosen = min(right or rows, key=lambda row: abs(row["audio_seconds"] - usual))
    return Example(corpus=corpus, right=bool(right), **chosen)


SAME = {"transcript": "words", "speaker": "speaker", "audio": "recording"}


@dataclass(frozen=True)
class Overlap:
    """
    What one test corpus shares in one way.

    Args:
        title (`str`): Of the corpus.
        same (`str`): Words, speaker or recording.
        clips (`str`): How many of its clips, and their share; or that it cannot be known.
        distinct (`str`): How many different words, speakers or recordings that is.
        example (`str`): One of the clips, and the one that it shares something with.
    """

    title: str
    same: str
    clips: str
    distinct: str
    example: str


def overlaps(data: DataRecord, titles: Mapping[str, str]) -> list[Overlap]:
    """
    What the test corpora share with what the model learns from.

    Args:
        data ([`~escoita.records.data.DataRecord`]): Of the same recipe.
        titles (`Mapping[str, str]`): What the card calls the test corpora; of others nothing is said.
    """
    return [
        Overlap(
            title=titles[leak.corpus],
            same=SAME[leak.by],
            clips=f"{thousands(leak.clips)} ({percent(leak.share)})" if leak.compared else "not known",
            distinct=thousands(leak.distinct) if leak.compared else "–",
            example=_example(leak.examples[0]) if leak.examples else "–",
        )
        for leak in data.leaks
        if leak.split == "test" and leak.corpus in titles
    ]


def _example(pair: Pair) -> str:
    return f"“{pair.clip.text}” ({pair.clip.id}; in {pair.like.split} {pair.like.id})"


CURVE = "Loss and error rates while training, by step"
# Pieces of an expression that are told apart. Each is compiled with those before it: the time grows with the square.
MOST_PIECES = 200
TOWERS = {"language": "language_model", "vision": "vision|image", "audio": "audio|speech|encoder|projector"}


def method(recipe: Recipe) -> str:
    """What was trained, and in what the base was held, as Markdown."""
    what = recipe.method
    if isinstance(what, Modules):
        return f"whole modules ({', '.join(map(code, what.modules))}), everything else frozen"
    kind = "Rank-stabilised LoRA" if what.use_rslora else "LoRA"
    return f"{kind}, rank {what.r}, alpha {what.lora_alpha:g}"


def adapted(recipe: Recipe) -> list[tuple[str, str]]:
    """Each setting of a low-rank adapter with its value, as Markdown for a table; none of modules trained whole."""
    what = recipe.method
    if isinstance(what, Modules):
        return []
    settings = {
        "r": what.r,
        "lora_alpha": what.lora_alpha,
        "lora_dropout": f"{what.lora_dropout:g}",
        "bias": what.bias,
        "use_rslora": what.use_rslora,
    }
    rows = [(code_cell(name), code_cell(value)) for name, value in settings.items()]
    return rows + [
        (f"targets, {tower}", "<br>".join(map(code_cell, layers))) for tower, layers in targets(what).items()
    ]


def targets(lora: Lora) -> dict[str, list[str]]:
    """
    The layers that an adapter is on, by tower, as regular expressions.

    Which alternative of the one expression is of which tower shows from the names in it, as the families' classes have
    them; `any tower` has those that name none.
    """
    found: dict[str, list[str]] = {}
    for layers in alternatives(lora.target_modules):
        tower = next((tower for tower, names in TOWERS.items() if re.search(names, layers)), "any tower")
        found.setdefault(tower, []).append(layers)
    return found


def alternatives(expression: str) -> list[str]:
    """What stands between the outermost `|` of a regular expression: pieces are joined until each compiles."""
    if expression.count("|") > MOST_PIECES:
        return [expression]
    whole, held = [], ""
    for piece in expression.split("|"):
        held += ("|" if held else "") + piece
        try:
            re.compile(held)
        except (re.error, OverflowError, RecursionError):
            continue
        whole.append(held)
        held = ""
    return [expression] if held else whole


def turns(recipe: Recipe, family: str) -> list[tuple[str, str]]:
    """Each turn of the conversation that it was trained on, with what is in it, as Markdown for a table."""
    prompt = recipe.prompt
    system = [("system", code_cell(prompt.system))] if prompt.system else []
    info = BY_MODEL_TYPE.get(family)
    if info and info.user_prompt_begins_answer:
        return [*system, ("user", "the audio"), ("assistant", f"{code_cell(prompt.user)}, then the transcript")]
    if "<|audio" in prompt.user:
        said = f"{code_cell(prompt.user)}, whose mark is where the audio stands"
    else:
        said = f"the audio, then {code_cell(prompt.user)}" if prompt.user else "the audio"
    return [*system, ("user", said), ("assistant", "the transcript")]


def parameters(training: TrainingRecord) -> str:
    """How many parameters were trained, of how many, and in which towers, as Markdown."""
    towers = {tower: count for tower, count in training.trainable_parameters.items() if count}
    parts = ", ".join(f"{line(tower)} tower {thousands(count)}" for tower, count in towers.items())
    return f"{parts}, of {thousands(training.parameters)} in all"


def kind(recipe: Recipe) -> str:
    """The type of the model, in the words of a reader who looks for one."""
    if isinstance(recipe.method, Modules):
        return "adapter of an audio language model: modules trained whole"
    return "adapter of an audio language model: low-rank (LoRA)"


def trained_with(training: TrainingRecord) -> list[str]:
    """The programs that trained it, with their versions where the record has them."""
    names = {"escoita": "escoita", "trl": "TRL SFTTrainer", "peft": "PEFT", "unsloth": "Unsloth"}
    wanted = [name for name in names if name != "unsloth" or training.engine == "unsloth"]
    return [f"{names[name]} {training.versions.get(name, '')}".strip() for name in wanted]


def surroundings(training: TrainingRecord) -> list[str]:
    """What beside the arguments decides how a training comes out, where it is not what it is without a word."""
    precision = {"bf16": "bfloat16", "fp16": "float16"}.get(training.mixed_precision)
    said = {
        "base in 4 bits": training.load_in_4bit,
        f"steps in mixed precision, {precision}": precision is not None,
        f"{training.processes} processes": training.processes > 1,
        f"engine {training.engine}": training.engine != "transformers",
    }
    return [what for what, holds in said.items() if holds]


def pace(measured: Throughput) -> str:
    """How fast it went, in one sentence."""
    said = (
        f"A step took {measured.step_seconds:.3g} seconds (median), {percent(measured.waiting_share)} of the time"
        f" spent waiting for data; {speed(measured.audio_hours_per_hour)} hours of audio were trained on in an hour,"
        f" {percent(measured.padding_share)} of what was computed being padding."
    )
    halved = measured.halved_batches
    return said + (f" Batches taken in halves, for want of memory: {thousands(halved)}." if halved else "")


def curve(training: TrainingRecord) -> list[str]:
    """How it went, in sentences; none where nothing was evaluated."""
    points = [point for point in training.validation if point.step > training.comparable_since]
    if not points:
        return []
    losses = [f"{point.loss:.3g} {_at(point)}" for point in points]
    said = [f"The validation loss {_went(losses)}."]
    heard = [point for point in points if point.wer is not None]
    if heard:
        wer, cer = [f"{percent(point.wer)} {_at(point)}" for point in heard], [percent(point.cer) for point in heard]
        said.append(
            f"{thousands(heard[-1].utterances)} clips of the validation corpora, always the same ones, were heard each"
            f" time: WER {_went(wer)}, CER {_went(cer)}."
        )
    rates = {point.step: point.wer for point in points if point.wer is not None}
    if training.kept_step is not None and training.kept_step in rates:
        kept = rates[training.kept_step]
        vain = "; none heard these clips better than the base" if rates.get(0, math.inf) <= kept else ""
        said.append(
            f"This adapter is that of step {thousands(training.kept_step)}, of the lowest WER of all adapters,"
            f" {percent(kept)}{vain}."
        )
    return said


def data_changes(training: TrainingRecord) -> list[str]:
    """A sentence for each time that the run resumed with other rows, and one on the clips of validation."""
    said = []
    for change in training.data_changes:
        counts = f"{thousands(change.added)} were added, {thousands(change.removed)} removed and"
        counts += f" {thousands(change.changed)} changed"
        if not (change.added or change.removed or change.changed):
            counts = "only their order changed"
        uses = [use for use in change.earlier_corpora if use.split == "train"]
        clips, seconds = sum(use.utterances for use in uses), sum(use.audio_seconds for use in uses)
        said.append(
            f"After step {thousands(change.step)} the training resumed with other rows: {counts}. Before, it was"
            f" trained on {thousands(clips)} clips ({duration(seconds)})."
        )
    if training.comparable_since >= 0:
        step = thousands(training.comparable_since)
        said.append(f"The clips of validation changed, too: the validations up to step {step} are of other clips.")
    return said


def _went(values: list[str]) -> str:
    return f"went from {values[0]} to {values[-1]}" if len(values) > 1 else f"was {values[0]}"


def _at(point: ValidationPoint) -> str:
    return f"(step {thousands(point.step)})" if point.step else "(the base)"
