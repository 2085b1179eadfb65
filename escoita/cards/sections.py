"""Write the texts of a card on architecture, example, train/test overlap and training."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

import pyarrow as pa

from escoita.evaluation.predictions import predictions_path, public_ids, read_predictions
from escoita.metrics.normalizers import normalizer
from escoita.metrics.primary import metric_name
from escoita.metrics.wer import character_edits, word_edits
from escoita.models.families import BY_MODEL_TYPE, EXPERIMENTAL, base_license
from escoita.recipe.schema import Lora, Modules, Recipe
from escoita.records.data import DataRecord, Pair
from escoita.records.evaluation import ADAPTER_SYSTEM, EvaluationRecord, Metric
from escoita.records.training import Throughput, TrainingRecord, ValidationPoint
from escoita.run_directory import RunDirectory
from escoita.training.extension import DEFAULT_EPOCHS
from escoita.utils.formatting import code, code_cell, duration, line, percent, speed, thousands
from escoita.utils.languages import is_right_to_left


def architecture(recipe: Recipe, family: str) -> str:
    """
    Return the description of the architecture of the base model.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): Recipe; its `card.architecture` replaces the text of the family.
        family (`str`): Model family in the training record.

    Returns:
        `str`: Plain text; empty for an unknown family.
    """
    info = BY_MODEL_TYPE.get(family)
    return recipe.card.architecture or (info.architecture if info else "")


def experimental(family: str) -> str:
    """Return the sentence about an experimental model family, by its name in the record, or an empty string."""
    info = BY_MODEL_TYPE.get(family)
    return EXPERIMENTAL.format(title=info.title) if info and info.experimental else ""


@dataclass(frozen=True)
class Example:
    """
    Store a clip with its transcripts.

    Args:
        corpus (`str`): Name of the test corpus.
        id (`str`): Id of the clip.
        audio_seconds (`float`): Duration in seconds.
        reference (`str`): Reference transcript.
        hypothesis (`str`): Transcript of the adapter.
        right (`bool`): Whether both are equal under the normalizer of the evaluation.
        rate (`float`, *optional*): Rate of the clip in the primary metric, which is the median of the corpus; None for
            the rule of escoita 0.1.0.
    """

    corpus: str
    id: str
    audio_seconds: float
    reference: str
    hypothesis: str
    right: bool
    rate: float | None = None


def example(run: RunDirectory, recipe: Recipe, evaluation: EvaluationRecord) -> Example | None:
    """
    Choose the example of a card: the clip with the median rate of the first corpus with published references.

    The clips with words in their references are sorted by their rate in the primary metric and then by published id,
    which does not depend on the names of speakers; the example is the middle one, or the first of two. Records of
    escoita 0.1.0 have another rule.

    Args:
        run ([`~escoita.run_directory.RunDirectory`]): Run directory with the predictions.
        recipe ([`~escoita.recipe.schema.Recipe`]): Recipe; defines the corpora whose transcripts may be published.
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): Evaluation; names corpora and normalizer.

    Raises:
        RecordError: A file of predictions cannot be read.
    """
    found = []
    for name, table in _published_predictions(run, recipe, evaluation):
        if not evaluation.is_of_0_1:
            if chosen := _median_example(table, name, evaluation.normalizer, evaluation.primary):
                return chosen
            continue
        found.append(_example_of_0_1(table, name, evaluation.normalizer))
        if found[-1].right:
            return found[-1]
    return found[0] if found else None


def _published_predictions(
    run: RunDirectory, recipe: Recipe, evaluation: EvaluationRecord
) -> Iterator[tuple[str, pa.Table]]:
    """Yield name and predictions of each corpus whose references may be published."""
    private = {corpus.name for corpus in recipe.corpora.test if not corpus.publish_references}
    for result in evaluation.corpora:
        path = predictions_path(run.eval, result.name, ADAPTER_SYSTEM)
        if result.name in private or not path.is_file():
            continue
        table, provenance = read_predictions(path)
        if provenance.references == "open" and len(table):
            yield result.name, table


def _median_example(table: pa.Table, corpus: str, normalizer_name: str, primary: Metric) -> Example | None:
    normalize = normalizer(normalizer_name)
    rows = table.select(["id", "audio_seconds", "reference", "hypothesis"]).to_pylist()
    texts = [[normalize(row[name]) for row in rows] for name in ("reference", "hypothesis")]
    edits = (word_edits if primary == "wer" else character_edits)(*texts)
    ids = public_ids(table["id"].to_pylist(), table["speaker"].to_pylist())
    ranked = sorted(
        (float(total / tokens), name, place)
        for place, (total, tokens, name) in enumerate(
            zip(edits.total.tolist(), edits.reference.tolist(), ids, strict=True)
        )
        if tokens
    )
    if not ranked:
        return None
    rate, _, place = ranked[(len(ranked) - 1) // 2]
    return Example(corpus=corpus, right=rate == 0, rate=rate, **rows[place])


def _example_of_0_1(table: pa.Table, corpus: str, normalizer_name: str) -> Example:
    """Return a correctly transcribed clip with a duration near the median of its corpus."""
    normalize = normalizer(normalizer_name)
    rows = table.select(["id", "audio_seconds", "reference", "hypothesis"]).to_pylist()
    right = [
        row for row in rows if (text := normalize(row["reference"])).strip() and text == normalize(row["hypothesis"])
    ]
    median_seconds = median(row["audio_seconds"] for row in rows)
    chosen = min(right or rows, key=lambda row: abs(row["audio_seconds"] - median_seconds))
    return Example(corpus=corpus, right=bool(right), **chosen)


SAME = {"transcript": "transcript", "speaker": "speaker", "audio": "recording"}


@dataclass(frozen=True)
class Overlap:
    """
    Represent a row of the table on train/test overlap.

    Args:
        title (`str`): Title of the test corpus.
        same (`str`): `transcript`, `speaker` or `recording`.
        clips (`str`): Number and share of the overlapping clips, or `unknown`.
        distinct (`str`): Number of distinct transcripts, speakers or recordings.
        example (`str`): An overlapping clip and its counterpart.
        rtl (`bool`): Whether the example is written from right to left.
    """

    title: str
    same: str
    clips: str
    distinct: str
    example: str
    rtl: bool = False


def overlaps(data: DataRecord, titles: Mapping[str, str]) -> list[Overlap]:
    """
    Return the overlap of each test corpus with training and validation data.

    Args:
        data ([`~escoita.records.data.DataRecord`]): Data record of the same recipe.
        titles (`Mapping[str, str]`): Titles of the test corpora by name; other corpora are left out.
    """
    return [
        Overlap(
            title=titles[leak.corpus],
            same=SAME[leak.by],
            clips=f"{thousands(leak.clips)} ({percent(leak.share)})" if leak.compared else "unknown",
            distinct=thousands(leak.distinct) if leak.compared else "–",
            example=_example(leak.examples[0]) if leak.examples else "–",
            rtl=bool(leak.examples) and is_right_to_left(leak.examples[0].clip.text),
        )
        for leak in data.leaks
        if leak.split == "test" and leak.corpus in titles
    ]


def _example(pair: Pair) -> str:
    return f"“{pair.clip.text}” ({pair.clip.id}; in {pair.like.split} {pair.like.id})"


CURVE = "Loss and error rates during training, by step"
# Alternatives of an expression that are separated. Each is compiled with those before it: the time is quadratic.
MOST_PIECES = 200
TOWERS = {"language": "language_model", "vision": "vision|image", "audio": "audio|speech|encoder|projector"}


def method(recipe: Recipe) -> str:
    """Return the training method as Markdown."""
    config = recipe.method
    if isinstance(config, Modules):
        modules = ", ".join(map(code, config.modules))
        return f"full fine-tuning of the modules {modules}; all other parameters are frozen"
    kind = "Rank-stabilized LoRA" if config.use_rslora else "LoRA"
    return f"{kind}, rank {config.r}, alpha {config.lora_alpha:g}"


def adapted(recipe: Recipe) -> list[tuple[str, str]]:
    """Return the settings of LoRA as Markdown for a table; empty for other methods."""
    config = recipe.method
    if isinstance(config, Modules):
        return []
    settings = {
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": f"{config.lora_dropout:g}",
        "bias": config.bias,
        "use_rslora": config.use_rslora,
    }
    rows = [(code_cell(name), code_cell(value)) for name, value in settings.items()]
    return rows + [
        (f"targets, {tower}", "<br>".join(map(code_cell, layers))) for tower, layers in targets(config).items()
    ]


def targets(lora: Lora) -> dict[str, list[str]]:
    """
    Return the target layers of LoRA by tower, as regular expressions.

    The names in an alternative of the expression give its tower. Alternatives without such a name are under
    `any tower`.
    """
    found: dict[str, list[str]] = {}
    for layers in alternatives(lora.target_modules):
        tower = next((tower for tower, names in TOWERS.items() if re.search(names, layers)), "any tower")
        found.setdefault(tower, []).append(layers)
    return found


def alternatives(expression: str) -> list[str]:
    """Split a regular expression at its outermost `|`: pieces are joined until each compiles."""
    if expression.count("|") > MOST_PIECES:
        return [expression]
    complete, pending = [], ""
    for piece in expression.split("|"):
        pending += ("|" if pending else "") + piece
        try:
            re.compile(pending)
        except (re.error, OverflowError, RecursionError):
            continue
        complete.append(pending)
        pending = ""
    return [expression] if pending else complete


def turns(recipe: Recipe, training: TrainingRecord) -> list[tuple[str, str]]:
    """Return the turns of the training conversation with their content, as Markdown for a table."""
    prompt = recipe.prompt
    info = BY_MODEL_TYPE.get(training.family)
    if info and info.noun == "a CTC model":
        adapter = [("language adapter", code_cell(training.target_lang))] if training.target_lang else []
        return [("encoder", "the audio"), *adapter, ("head", "the characters of the normalized transcript")]
    if (code := training.language_token) is not None:
        token = code if code == "none" else code_cell(f"<|{code}|>")
        return [("encoder", "the audio"), ("language token", token), ("decoder", "the transcript")]
    system = [("system", code_cell(prompt.system))] if prompt.system else []
    if info and info.user_prompt_begins_answer:
        return [*system, ("user", "the audio"), ("assistant", f"{code_cell(prompt.user)}, then the transcript")]
    if "<|audio" in prompt.user:
        content = f"{code_cell(prompt.user)}, in which the audio replaces the placeholder"
    else:
        content = f"the audio, then {code_cell(prompt.user)}" if prompt.user else "the audio"
    return [*system, ("user", content), ("assistant", "the transcript")]


def parameters(training: TrainingRecord) -> str:
    """Return the number of trainable parameters by tower and of all parameters, as Markdown."""
    towers = {tower: count for tower, count in training.trainable_parameters.items() if count}
    parts = ", ".join(f"{line(tower)} tower {thousands(count)}" for tower, count in towers.items())
    return f"{parts}, of {thousands(training.parameters)} in total"


def kind(recipe: Recipe, family: str) -> str:
    """Return the model type, for a method and the name of a model family in the record."""
    info = BY_MODEL_TYPE.get(family)
    noun = info.noun if info else "an audio language model"
    if isinstance(recipe.method, Modules):
        return f"adapter for {noun} (fully fine-tuned modules)"
    return f"LoRA adapter for {noun}"


def base_terms(recipe: Recipe, training: TrainingRecord) -> str:
    """Return the obligations of the license of the base: those of the recipe, or that it is not for commercial use."""
    if recipe.card.base_terms:
        return recipe.card.base_terms
    license_id = base_license(training.base, training.family)
    if not license_id.startswith("cc-by-nc"):
        return ""
    return (
        f"The base model is licensed under {license_id.upper().removesuffix('-4.0')} 4.0: name its authors, and use"
        " it, and this adapter with it, for no commercial purpose."
    )


def trained_with(training: TrainingRecord) -> list[str]:
    """Return the training libraries, with their versions if the record has them."""
    names = {"escoita": "escoita", "trl": "TRL SFTTrainer", "peft": "PEFT", "unsloth": "Unsloth"}
    used = [name for name in names if name != "unsloth" or training.engine == "unsloth"]
    return [f"{names[name]} {training.versions.get(name, '')}".strip() for name in used]


def early_stop(recipe: Recipe, training: TrainingRecord) -> str:
    """Return that early stopping ended the training, or an empty text."""
    patience, steps = recipe.validation.patience, recipe.training.get("max_steps", -1)
    epochs = recipe.training.get("num_train_epochs", DEFAULT_EPOCHS)
    if patience is None or not (isinstance(steps, int) and isinstance(epochs, int | float)):
        return ""
    planned = f"{thousands(steps)} steps" if steps > 0 else f"{epochs:.3g} epochs"
    if training.steps >= steps if steps > 0 else training.epochs > epochs - 0.01:
        return ""
    evaluations = f"{patience} evaluation{'s' * (patience != 1)}"
    name = metric_name(training.primary)
    return f"Training ended before {planned}, because {evaluations} did not lower the validation {name}."


def surroundings(training: TrainingRecord) -> list[str]:
    """Return the settings outside of the training arguments that differ from their defaults."""
    precision = {"bf16": "bfloat16", "fp16": "float16"}.get(training.mixed_precision)
    settings = {
        "base loaded in 4 bits": training.load_in_4bit,
        f"mixed precision ({precision})": precision is not None,
        f"{training.processes} processes": training.processes > 1,
        f"engine {training.engine}": training.engine != "transformers",
    }
    return [setting for setting, holds in settings.items() if holds]


def pace(measured: Throughput) -> str:
    """Return the throughput of the training, in sentences."""
    sentence = (
        f"The median step time was {measured.step_seconds:.3g} seconds, and {percent(measured.waiting_share)} of the"
        f" time was spent waiting for data. The throughput was {speed(measured.audio_hours_per_hour)} hours of audio"
        f" per hour, with a padding ratio of {percent(measured.padding_share)}."
    )
    split = measured.halved_batches
    return sentence + (f" Batches split after running out of memory: {thousands(split)}." if split else "")


def curve(training: TrainingRecord) -> list[str]:
    """Return sentences on the validation results; none if there was no validation."""
    points = [point for point in training.validation if point.step > training.comparable_since]
    if not points:
        return []
    losses = [f"{point.loss:.3g} {_at(point)}" for point in points]
    sentences = [f"The validation loss {_change(losses)}."]
    scored = [point for point in points if point.wer is not None]
    if scored:
        wer, cer = [f"{percent(point.wer)} {_at(point)}" for point in scored], [percent(point.cer) for point in scored]
        sentences.append(
            f"The same {thousands(scored[-1].utterances)} clips of the validation corpora were transcribed at each"
            f" validation: the WER {_change(wer)}, the CER {_change(cer)}."
        )
    rates = {point.step: getattr(point, training.primary) for point in scored}
    if training.kept_step is not None and training.kept_step in rates:
        kept = rates[training.kept_step]
        no_gain = "; on these clips, no step is better than the base" if rates.get(0, math.inf) <= kept else ""
        name = metric_name(training.primary)
        sentences.append(
            f"The adapter is from step {thousands(training.kept_step)}, which has the lowest validation {name},"
            f" {percent(kept)}{no_gain}."
        )
    return sentences


def data_changes(training: TrainingRecord) -> list[str]:
    """Return a sentence for each time that the run resumed with other data, and one on changed validation clips."""
    sentences = []
    for change in training.data_changes:
        counts = f"{thousands(change.added)} rows were added, {thousands(change.removed)} removed and"
        counts += f" {thousands(change.changed)} changed"
        if not (change.added or change.removed or change.changed):
            counts = "only the order of the rows changed"
        uses = [use for use in change.earlier_corpora if use.split == "train"]
        clips, seconds = sum(use.utterances for use in uses), sum(use.audio_seconds for use in uses)
        sentences.append(
            f"After step {thousands(change.step)}, the training resumed with changed data: {counts}. Until then, the"
            f" training data had {thousands(clips)} clips ({duration(seconds)})."
        )
    if training.comparable_since >= 0:
        step = thousands(training.comparable_since)
        sentences.append(f"The validation clips changed too: results up to step {step} are on other clips.")
    return sentences


def extensions(training: TrainingRecord) -> list[str]:
    """Return a sentence for each time that the run was extended."""
    return [
        f"After step {thousands(each.step)}, on {each.date[:10]}, the training was extended from {each.before:,g} to"
        f" {each.now:,g} {each.unit}."
        for each in training.extensions
    ]


def _change(values: list[str]) -> str:
    return f"changed from {values[0]} to {values[-1]}" if len(values) > 1 else f"was {values[0]}"


def _at(point: ValidationPoint) -> str:
    return f"(step {thousands(point.step)})" if point.step else "(base)"
