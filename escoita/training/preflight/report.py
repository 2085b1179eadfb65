"""Run all preflight checks of a recipe, and print their findings."""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from escoita.data.rows import Utterances
from escoita.errors import EscoitaError
from escoita.models import family_of
from escoita.models.base import Family, special_tokens_of
from escoita.models.families import FamilyInfo
from escoita.models.trainable import TrainableFamily
from escoita.recipe.schema import Recipe
from escoita.run_directory import RunDirectory
from escoita.training.preflight.checks import (
    PUBLISHING,
    Base,
    Finding,
    Mark,
    find_base,
    find_disk,
    find_family,
    find_license,
    find_machine,
    find_versions,
    findings_of,
    look_up,
    precision,
    training_value,
)
from escoita.training.preflight.corpora import Sampled, find_corpora
from escoita.training.preflight.language import find_language
from escoita.training.preflight.model import (
    Longest,
    encode_longest,
    find_lengths,
    find_memory,
    find_trainable,
    find_trial,
)
from escoita.training.preflight.prompt import find_prompt
from escoita.training.preflight.tokens import find_tokens, find_vocabulary, longest_text
from escoita.utils.formatting import visible
from escoita.utils.processes import stage


STYLES: dict[Mark, str] = {"ok": "green", "warning": "yellow", "refusal": "bold red"}


def print_findings(findings: Iterable[Finding], console: Console | None = None) -> bool:
    """
    Print findings, each with its mark, its result and its advice.

    Args:
        findings (`Iterable[Finding]`): The findings, in the order in which they are printed.
        console (`Console`, *optional*): The console; defaults to standard output.

    Returns:
        `bool`: `True` if no finding is a refusal.
    """
    console = console or Console()
    listed = list(findings)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for finding in listed:
        # Text and not markup, because names, prompts and transcripts come from data.
        table.add_row(Text(finding.mark, STYLES[finding.mark]), _body(finding))
    console.print(table)
    marks = [finding.mark for finding in listed]
    refused, warned = marks.count("refusal"), marks.count("warning")
    console.print()
    verdict = "Training would fail." if refused else "No problem found that would make training fail."
    if refused and all(each.about == PUBLISHING for each in listed if each.mark == "refusal"):
        verdict = "Training would succeed, but publishing would fail."
    console.print(Text(f"{verdict} {_count(refused, 'refusal')}, {_count(warned, 'warning')}."))
    for finding in listed:  # the table may fill several screens
        if finding.mark == "refusal":
            console.print(Text(f"refusal: {visible(finding.about)}: {visible(finding.found)}"))
    return not refused


def _body(finding: Finding) -> Text:
    body = Text(f"{visible(finding.about)}: {visible(finding.found)}")
    if finding.advice:
        body.append(f"\n→ {visible(finding.advice)}", "bold")
    for line in finding.details:
        body.append(f"\n{visible(line)}", "dim")
    return body


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def examine(recipe: Recipe) -> Iterator[Finding]:
    """
    Run all checks that need neither weights nor a training step.

    Args:
        recipe ([`Recipe`]): The recipe.

    Returns:
        `Iterator[Finding]`: The findings. If the base is not found, that is one of them, and checks that need it do
        not run.
    """
    from escoita.training.defaults import differences, with_defaults

    about = look_up(recipe)
    family, missing = _family(recipe, about)
    info = family.info if family else None
    if family:
        try:
            recipe, written = with_defaults(recipe), recipe
            if chosen := differences(written, recipe):
                yield Finding("ok", "defaults", f"chosen by family and memory: {', '.join(chosen)}")
        except EscoitaError as error:
            yield Finding("refusal", "recipe", str(error), error=error)
            return

    yield from findings_of("libraries", lambda: find_versions(recipe, info))
    yield from findings_of("machine", lambda: find_machine(recipe))
    settings = findings_of("recipe", lambda: find_settings(recipe, info))
    yield from settings
    yield from findings_of("language", lambda: find_language(recipe))
    if family is None:
        yield Finding("refusal", "base", missing, "name a folder or a repository, or check network and token")
        yield from find_corpora(recipe, Family.max_audio_seconds, (), Sampled())
        found = "prompt, trained parameters, memory and disk were not checked, because they need the base"
        yield Finding("warning", "base", found)
        return

    yield from find_base(recipe, about, family.info.name)
    yield from find_family(family.info)
    yield from find_license(recipe, about)
    # A recipe that is already refused is not tried.
    accepted = not any(finding.mark == "refusal" for finding in settings)
    yield from _with_base(recipe, family, about, accepted)


def find_settings(recipe: Recipe, info: FamilyInfo | None) -> Iterator[Finding]:
    """
    Check the training section of a recipe against TRL and the family of the base.

    Args:
        recipe ([`Recipe`]): The recipe.
        info ([`~escoita.models.families.FamilyInfo`], *optional*): The family of the base, if it is known.
    """
    from escoita.training.arguments import sft_config, without_effect
    from escoita.training.checkpointing import refuse_other_recipe

    yield from (Finding("warning", "recipe", line, "leave it out") for line in without_effect(recipe))
    run = RunDirectory(recipe.run_path)
    # The check of the machine covers the precision, which must not hide other mistakes here.
    sft_config(recipe.model_copy(update={"training": recipe.training | {"bf16": False, "fp16": False}}), run)
    sizes = ("per_device_train_batch_size", "gradient_accumulation_steps")
    batch, steps = (training_value(recipe, key) for key in sizes)
    yield Finding("ok", "recipe", f"{recipe.method.kind}, {recipe.engine}, batch {batch} × {steps}")
    if info and not info.trains_in_fp16 and precision(recipe) == "fp16":
        found = f"{info.name} does not support fp16"
        yield Finding("refusal", "precision", found, "set training.fp16: false and training.bf16: true")
    refuse_other_recipe(run, recipe)


def _family(recipe: Recipe, about: Base) -> tuple[TrainableFamily | None, str]:
    """Return the family of the base, or `None` and the reason."""
    if not about.available:
        return None, f"{recipe.base}: not found as a folder or in the cache, and {about.unknown}"
    try:
        return family_of(recipe.base, recipe.base_revision), ""
    except EscoitaError as error:
        return None, str(error)


def _with_base(recipe: Recipe, family: TrainableFamily, about: Base, accepted: bool) -> Iterator[Finding]:
    """Run the checks that need the processor and the configuration of the base."""
    from escoita.training.datasets import row_problem

    loaded: dict[str, Any] = {}
    sampled = Sampled()

    def load() -> Iterator[Finding]:
        try:
            loaded["processor"] = family.load_processor(recipe.base, recipe.base_revision)
        except (OSError, ValueError) as error:
            raise EscoitaError(f"its processor cannot be loaded ({_line(error)})", path=recipe.base) from error
        yield from ()

    yield from findings_of("base", load)
    processor = loaded.get("processor")
    marks = sorted(special_tokens_of(processor.tokenizer).values()) if processor else ()
    problem = row_problem(family, processor, recipe.eval.normalizer) if processor else None
    tokenizer = processor.tokenizer if processor and family.token_limit else None
    tested: list[Utterances] = []
    yield from find_corpora(recipe, family.max_audio_seconds, marks, sampled, problem, tokenizer, tested)
    if processor and sampled.clips:
        if family.own_vocabulary:
            found = findings_of("vocabulary", lambda: find_vocabulary(recipe, family, processor, sampled, tested))
            yield from found
            if any(finding.mark == "refusal" for finding in found):
                return
        clip = min(sampled.clips, key=lambda clip: clip.audio_seconds)  # the shortest, so that it can be read
        yield from findings_of("prompt", lambda: find_prompt(recipe, family, processor, clip))
        yield from findings_of("tokens", lambda: find_tokens(family, processor, sampled.clips))
        yield from findings_of("model", lambda: _find_model(recipe, family, processor, sampled, about, accepted))


def _find_model(
    recipe: Recipe, family: TrainableFamily, processor: Any, sampled: Sampled, about: Base, accepted: bool
) -> Iterator[Finding]:
    from escoita.training.backends import untrained

    with stage("Building the model without its weights"):
        model = untrained(recipe, processor)
    yield from findings_of("trained", lambda: find_trainable(recipe, family, model))
    if accepted:
        with stage("Trying one step on a small copy"):
            tried = findings_of("trial", lambda: find_trial(recipe, family, processor, sampled.clips, model))
        yield from tried
    seconds = sampled.longest if sampled.all_known else family.max_audio_seconds
    short = _tokens(family, encode_longest(recipe, family, processor, Longest(seconds, "a", True), 1))
    limit = training_value(recipe, "max_length") or math.inf
    text = longest_text(sampled.rows, processor.tokenizer, limit - short, partial(family.row_problem, processor))
    longest = Longest(seconds, text, sampled.all_known)
    rows = training_value(recipe, "per_device_train_batch_size")
    batch = encode_longest(recipe, family, processor, longest, rows)
    clip = max(sampled.clips, key=lambda clip: clip.audio_seconds)
    decoded = encode_longest(recipe, family, processor, Longest(clip.audio_seconds, clip.text, True), 1)
    tokens, decoded_tokens = (_tokens(family, each) for each in (batch, decoded))
    yield from find_lengths(recipe, family, longest, tokens, decoded_tokens)
    try:
        with stage("Estimating the memory of a step"):
            found, memory = find_memory(recipe, model, batch, longest)
    except (RuntimeError, ValueError, TypeError) as error:
        advice = "train two steps with --set training.max_steps=2 and read peak_memory_bytes in training.json"
        yield Finding("warning", "memory", f"cannot be estimated for this model ({_line(error)})", advice)
        return
    yield from found
    yield from find_disk(recipe, memory, about.download_bytes)


def _tokens(family: TrainableFamily, batch: dict[str, Any]) -> int:
    """Return the number of tokens of the first clip of a batch."""
    return len(family.rows(batch)[0].tokens)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
