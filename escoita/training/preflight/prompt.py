"""Check a training batch of one clip, and show its text and the part that carries loss."""

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from escoita.data.rows import SCHEMA, Utterance
from escoita.errors import AudioError
from escoita.models.trainable import IGNORED, TrainableFamily
from escoita.recipe.schema import Recipe
from escoita.training.data_collator import SpeechCollator
from escoita.training.preflight.checks import Finding
from escoita.training.sanity_checks import check_batch
from escoita.utils.formatting import visible


TRAINED = "⟦", "⟧"
REPEATED = 4


def find_prompt(recipe: Recipe, family: TrainableFamily, processor: Any, clip: Utterance) -> Iterator[Finding]:
    """
    Make a training batch of one clip, check it, and show its text.

    Args:
        recipe ([`Recipe`]): The recipe, with the prompt.
        family ([`TrainableFamily`]): The family of the base.
        processor (`ProcessorMixin`): The processor of the family.
        clip ([`Utterance`]): A clip of a training corpus.
    """
    row = {name: getattr(clip, name) for name in SCHEMA.names}
    settings = family.resolved_settings(processor, recipe.generation_settings())
    try:
        batch = SpeechCollator(family, processor, settings)([row])
    except AudioError as error:  # the file was removed after it was decoded
        yield Finding("warning", "prompt", str(error), error=error)
        return
    check_batch(family, processor, batch, [clip.text])
    ((tokens, labels),) = family.rows(batch)
    trained = sum(label != IGNORED for label in labels)
    found = f"{len(tokens)} tokens for {clip.audio_seconds:.1f} s, of which {trained} carry loss"
    if family.own_vocabulary:
        yield Finding("ok", "target", found, details=("".join(processor.tokenizer.convert_ids_to_tokens(tokens)),))
        return
    names = processor.tokenizer.convert_ids_to_tokens(tokens)
    shown = written(names, [label != IGNORED for label in labels], processor.tokenizer.convert_tokens_to_string)
    details = (f"the text in {TRAINED[0]} {TRAINED[1]} carries loss:", *shown.split("\n"))
    yield Finding("ok", "prompt", found, details=details)


def written(tokens: list[str], trained: list[bool], join: Callable[[list[str]], str]) -> str:
    """
    Return tokens as text, with tokens that carry loss in brackets, and repeated tokens, such as audio tokens, once.

    Args:
        tokens (`list[str]`): The tokens in the vocabulary's form.
        trained (`list[bool]`): Whether each token carries loss.
        join (`Callable[[list[str]], str]`): The function that makes text of tokens.
    """
    text = ""
    for carries, pairs in groupby(zip(tokens, trained, strict=True), key=lambda pair: pair[1]):
        runs = [list(run) for _, run in groupby(token for token, _ in pairs)]
        parts = [
            part
            for repeated, group in groupby(runs, key=lambda run: len(run) >= REPEATED)
            for part in _parts([*group], repeated, join)
        ]
        text += "".join([TRAINED[0], *parts, TRAINED[1]] if carries else parts)
    return "\n".join(visible(line) for line in text.split("\n"))


def _parts(runs: list[list[str]], repeated: bool, join: Callable[[list[str]], str]) -> list[str]:
    if repeated:
        return [f"{join(run[:1])}×{len(run)} " for run in runs]
    return [join([token for run in runs for token in run])]
