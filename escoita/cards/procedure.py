"""What a card says of a training: what was trained, how fast, and how it went."""

import math
import re

from escoita.utils.figures import duration, percent, speed, thousands
from escoita.utils.markdown import code, code_cell, line
from escoita.recipe.method import Lora, Modules
from escoita.recipe.recipe import Recipe
from escoita.records.training import Pace, TrainingRecord, ValidationPoint


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
    if family == "qwen3_asr":  # what the recipe says begins the answer
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


def pace(measured: Pace) -> str:
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
