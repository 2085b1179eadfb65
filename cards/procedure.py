"""What a card says of a training: what was trained, how fast, and how it went."""

import math

from escoita.figures import percent, speed, thousands
from escoita.markdown import code
from escoita.recipe import Modules, Recipe
from escoita.records import Pace, TrainingRecord, ValidationPoint


CURVE = "Loss and error rates while training, by step"


def method(recipe: Recipe) -> str:
    """What was trained, and in what the base was held, as Markdown."""
    what = recipe.method
    if isinstance(what, Modules):
        return f"whole modules ({', '.join(map(code, what.modules))}), everything else frozen"
    kind = "Rank-stabilised LoRA" if what.use_rslora else "LoRA"
    return f"{kind}, rank {what.r}, alpha {what.lora_alpha:g}"


def targets(recipe: Recipe) -> str:
    """Which layers the adapter is on; of modules that were trained whole the method says it."""
    what = recipe.method
    return "" if isinstance(what, Modules) else f"Targets of the adapter: {code(what.target_modules)}"


def parameters(training: TrainingRecord) -> str:
    """How many parameters were trained, of how many, and in which towers."""
    towers = {tower: count for tower, count in training.trainable_parameters.items() if count}
    parts = ", ".join(f"{tower} tower {thousands(count)}" for tower, count in towers.items())
    return f"{parts}, of {thousands(training.parameters)} in all"


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
    points = training.validation
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


def _went(values: list[str]) -> str:
    return f"went from {values[0]} to {values[-1]}" if len(values) > 1 else f"was {values[0]}"


def _at(point: ValidationPoint) -> str:
    return f"(step {thousands(point.step)})" if point.step else "(the base)"
