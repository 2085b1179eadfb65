"""Check a recipe against the shapes of its model and some clips of its corpora."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.data.clips import Noticed, check_clips
from escoita.data.loading import refuse_over_share, refuse_silence
from escoita.data.readers import read_corpus
from escoita.data.rows import SCHEMA, Rejected, Utterance, Utterances
from escoita.errors import AudioError
from escoita.models import family_of
from escoita.models.chat import IGNORED, ChatFamily
from escoita.models.loading import skip_list
from escoita.recipe.schema import Corpus, Recipe
from escoita.training.data_collator import SpeechCollator
from escoita.training.preflight.checks import Finding, Mark, asked, findings_of, free_memory, precision
from escoita.training.preflight.memory import GIGABYTE, Estimate, Load, count_activations, estimate
from escoita.training.sanity_checks import check_batch, check_trainable, count_trainable
from escoita.utils.formatting import visible


TRAINED = "⟦", "⟧"
REPEATED = 4


def find_prompt(recipe: Recipe, family: ChatFamily, processor: Any, clip: Utterance) -> Iterator[Finding]:
    """
    Makes a batch of one clip as training does, checks it, and writes it out.

    Args:
        recipe ([`Recipe`]): Its prompt.
        family ([`ChatFamily`]): Of the base.
        processor: The family's processor.
        clip ([`Utterance`]): Of a training corpus.
    """
    row = {name: getattr(clip, name) for name in SCHEMA.names}
    try:
        batch = SpeechCollator(family, processor, recipe.prompt)([row])
    except AudioError as error:  # it went away since it was heard
        yield Finding("warning", "prompt", str(error))
        return
    check_batch(family, processor, batch, [clip.text])
    tokens, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    trained = sum(label != IGNORED for label in labels)
    found = f"{len(tokens)} tokens for {clip.audio_seconds:.1f} s, of which {trained} carry loss"
    names = processor.tokenizer.convert_ids_to_tokens(tokens)
    shown = written(names, [label != IGNORED for label in labels], processor.tokenizer.convert_tokens_to_string)
    details = (f"what {TRAINED[0]} {TRAINED[1]} hold carries loss:", *shown.split("\n"))
    yield Finding("ok", "prompt", found, details=details)


def written(tokens: list[str], trained: list[bool], join: Callable[[list[str]], str]) -> str:
    """
    Tokens as text: what carries loss in marks, and a token that repeats, such as that of audio, written once.

    Args:
        tokens (`list[str]`): As the vocabulary has them.
        trained (`list[bool]`): Which of them carry loss.
        join (`Callable[[list[str]], str]`): Makes text of tokens, as the tokenizer does.
    """
    text = ""
    for carries, pairs in groupby(zip(tokens, trained, strict=True), key=lambda pair: pair[1]):
        runs = [list(run) for _, run in groupby(token for token, _ in pairs)]
        parts = [
            part
            for often, together in groupby(runs, key=lambda run: len(run) >= REPEATED)
            for part in _parts([*together], often, join)
        ]
        text += "".join([TRAINED[0], *parts, TRAINED[1]] if carries else parts)
    return "\n".join(visible(line) for line in text.split("\n"))


def _parts(runs: list[list[str]], often: bool, join: Callable[[list[str]], str]) -> list[str]:
    if often:
        return [f"{join(run[:1])}×{len(run)} " for run in runs]
    return [join([token for run in runs for token in run])]


BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
COMPUTED = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}
PARTS = {
    "base": "frozen weights",
    "tables": "embeddings that are only looked up",
    "trained": "trained weights",
    "copies": "copies in the precision of the products",
    "gradients": "their gradients",
    "optimizer": "their optimizer states",
    "activations": "kept for the backward pass",
    "workspace": "for moments, within a step",
    "context": "CUDA and its kernels",
}


@dataclass(frozen=True)
class Longest:
    """
    The batch that takes most.

    Args:
        seconds (`float`): Of its clips.
        text (`str`): Their transcript.
        certain (`bool`): There is such a clip; else it is as long as the family hears, as not all are known.
    """

    seconds: float
    text: str
    certain: bool


def find_trainable(recipe: Recipe, family: ChatFamily, model: Any) -> Iterator[Finding]:
    """
    Compares what trains with what the recipe says.

    Args:
        recipe ([`Recipe`]): Its method.
        family ([`ChatFamily`]): Names the towers.
        model: Of [`~escoita.training.sft.untrained`].
    """
    counts = count_trainable(family, model)
    check_trainable(counts, recipe.method.trainable)
    towers = ", ".join(f"{tower} {count:,}" for tower, count in counts.items())
    yield Finding("ok", "trained", f"{sum(counts.values()):,} parameters ({towers})")


def find_lengths(recipe: Recipe, family: ChatFamily, longest: Longest, tokens: int, heard: int) -> Iterator[Finding]:
    """
    Compares the longest clip with what the family hears, and with the limit over which training stops at a clip.

    Args:
        recipe ([`Recipe`]): Its `training.max_length`.
        family ([`ChatFamily`]): Hears so many seconds.
        longest ([`Longest`]): Batch.
        tokens (`int`): In a row of it.
        heard (`int`): The same of the longest clip that was decoded, with its own transcript.
    """
    known = "the longest clip has" if longest.certain else "clips may have, as not all were heard,"
    found = f"{known} {longest.seconds:.1f} s of {family.max_audio_seconds:g}, {tokens} tokens"
    planned = asked(recipe, "max_length")
    if planned and tokens > planned:
        advice = f"raise it to {tokens}: training stops at a clip of more, as audio must not be cut"
        certain = f", {heard} in one that was heard" if heard > planned else ""
        mark: Mark = "refusal" if certain else "warning"
        yield Finding(mark, "length", f"{found}{certain}, over training.max_length {planned}", advice)
    else:
        yield Finding("ok", "length", found)


def encode_longest(
    recipe: Recipe, family: ChatFamily, processor: Any, longest: Longest, rows: int
) -> dict[str, torch.Tensor]:
    """
    A batch of the longest clips, of noise, as nothing but its shapes counts.

    Args:
        recipe ([`Recipe`]): Its prompt.
        family ([`ChatFamily`]): Of the base.
        processor: The family's processor.
        longest ([`Longest`]): What a clip is like.
        rows (`int`): Clips.
    """
    noise = np.random.default_rng(0).normal(0, 0.1, max(1600, round(longest.seconds * SAMPLING_RATE)))
    encoded = min(rows, 2)
    audio = [noise.astype(np.float32)] * encoded
    batch = family.encode_with_targets(processor, audio, [longest.text] * encoded, recipe.prompt)
    return {key: value[[0] * rows] if value.shape[:1] == (encoded,) else value for key, value in batch.items()}


def find_memory(
    recipe: Recipe, model: Any, batches: dict[int, dict[str, torch.Tensor]], longest: Longest
) -> tuple[list[Finding], Estimate]:
    """
    Compares what a step takes with what is free.

    Args:
        recipe ([`Recipe`]): Precision, optimizer, checkpointing.
        model: Of [`~escoita.training.sft.untrained`].
        batches (`dict[int, dict[str, torch.Tensor]]`): The largest batch, and one clip of it, by number of clips.
        longest ([`Longest`]): What those clips are like.

    Returns:
        `tuple[list[Finding], Estimate]`: What was found, and the estimate of the largest batch.
    """
    estimates = {rows: estimate(model, *_load(recipe, model, batch)) for rows, batch in batches.items()}
    full, one = estimates[max(estimates)], estimates[min(estimates)]
    free = free_memory()
    room = f"{free / GIGABYTE:.1f} GB are free"
    clips = f"a batch of {max(estimates)}, of {longest.seconds:.1f} s"
    found = f"about {full.total / GIGABYTE:.2f} GB for {clips}; {room}"
    width = max(map(len, PARTS.values()))
    parts = {PARTS[part.name]: getattr(full, part.name) / GIGABYTE for part in fields(full)}
    details = tuple(f"{name:<{width}} {size:8.3f} GB" for name, size in parts.items() if size)
    if one.total > free:
        advice = "a GPU with more memory, load_in_4bit: true, or training.gradient_checkpointing: true"
        found = f"about {one.total / GIGABYTE:.2f} GB for one clip of {longest.seconds:.1f} s alone; {room}"
        return [Finding("refusal", "memory", found, advice, details)], full
    if full.total > 0.9 * free:
        advice = "batches that do not fit are taken in halves, slowly; take a smaller batch, and accumulate"
        return [Finding("warning", "memory", found, advice, details)], full
    return [Finding("ok", "memory", found, details=details)], full


def _load(recipe: Recipe, model: Any, batch: dict[str, torch.Tensor]) -> tuple[Load, Any]:
    config = model.get_base_model().config
    computed = COMPUTED[precision(recipe)]
    of_base = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    dtype = of_base if recipe.dtype == "auto" else recipe.dtype
    stored = getattr(config, "quantization_config", None) or {}
    whole = family_of(recipe.base, recipe.base_revision).whole_in_4bit
    load = Load(
        dtype_bytes=BYTES.get(dtype, 4),
        compute_bytes=computed.itemsize,
        recast=computed.itemsize < 4 and str(computed) != f"torch.{dtype}",
        four_bit=recipe.load_in_4bit,
        optimizer=str(asked(recipe, "optim")),
        checkpointing=bool(asked(recipe, "gradient_checkpointing")),
        tokens=int((batch["labels"] != IGNORED).sum()) if torch.cuda.is_available() else batch["labels"].numel(),
        skipped=skip_list(stored if isinstance(stored, dict) else {}, whole) if recipe.load_in_4bit else (),
        on_gpu=torch.cuda.is_available(),
    )
    return load, count_activations(model, batch, computed)


# They need several processes, and this is one.
OF_SEVERAL_PROCESSES = ("deepspeed", "fsdp", "fsdp_config", "parallelism_config")


def find_trial(
    recipe: Recipe, family: ChatFamily, processor: Any, clips: Sequence[Utterance], model: Any
) -> Iterator[Finding]:
    """
    Takes one training step on a small copy of the base.

    Args:
        recipe ([`Recipe`]): Base, method and training.
        family ([`ChatFamily`]): Of the base.
        processor: The family's processor.
        clips (`Sequence[Utterance]`): Of the training corpora; the shortest ones are trained on.
        model: Of [`~escoita.training.sft.untrained`].
    """
    from escoita.training.sft import table
    from escoita.training.trial import ROWS, check_by_trial

    if recipe.engine == "unsloth":
        yield Finding("warning", "trial", "engine: unsloth is not tried before training")
        return
    shortest = sorted(clips, key=lambda clip: clip.audio_seconds)[:ROWS]
    left_out = [field for field in OF_SEVERAL_PROCESSES if field in recipe.training]
    check_by_trial(recipe, family, processor, table(Utterances.of(shortest)), model, left_out)
    if left_out:
        advice = "start the training with --dry-run in all processes, which tries all but deepspeed"
        yield Finding("warning", "trial", f"training.{', training.'.join(left_out)}: not tried", advice)
    yield Finding("ok", "trial", "one step on a copy of the base with two layers and small widths succeeds")


DECODED = 50
_SHOWN = 3


@dataclass
class Sampled:
    """
    What was heard of the training corpora.

    Args:
        clips (`list[Utterance]`): Decoded and usable.
        claimed (`float`): Longest length in seconds that a corpus claims of a usable clip; 0 where none does.
        all_known (`bool`): Of each clip either the corpus claims a length, or it was decoded.
        in_epoch (`int`): Clips of an epoch, by the weights of the corpora.
    """

    clips: list[Utterance] = field(default_factory=list)
    claimed: float = 0.0
    all_known: bool = True
    in_epoch: int = 0

    @property
    def longest(self) -> float:
        """In seconds."""
        return max([self.claimed, *(clip.audio_seconds for clip in self.clips)])


def find_corpora(
    recipe: Recipe, max_audio_seconds: float, marks: Collection[str], trained: Sampled
) -> Iterator[Finding]:
    """
    Reads all rows of each corpus, and decodes a few clips of it.

    Args:
        recipe ([`Recipe`]): Lists them.
        max_audio_seconds (`float`): Longest clip that the model hears whole, in seconds.
        marks (`Collection[str]`): Special tokens of the model, which no transcript may hold.
        trained ([`Sampled`]): Takes what is heard of the training split.
    """
    heard = "eval_strategy" not in recipe.training or asked(recipe, "eval_strategy") != "no"
    read = {"train", "validation"} if heard else {"train"}
    for split in ("train", "validation", "test"):
        for corpus in getattr(recipe.corpora, split):
            limit = max_audio_seconds if split != "test" else None  # in evaluation longer ones are cut
            into = trained if split == "train" else Sampled()
            about = f"{split} {corpus.name}"
            for finding in findings_of(about, partial(_find_corpus, about, corpus, recipe, limit, marks, into)):
                yield finding if split in read else _not_read(finding)
    if trained.clips and not trained.in_epoch:
        yield Finding("refusal", "train", "by the weights of corpora.train, an epoch holds no clip", "raise weight")


def spread(rows: Utterances, count: int) -> np.ndarray:
    """
    Indices of rows that are looked at: from first to last at even steps, the longest by claim among them.

    Args:
        rows ([`Utterances`]): Of a corpus.
        count (`int`): Of them.
    """
    even = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)
    claims = np.array([claim or 0.0 for claim in rows.each("duration")])
    return np.unique(np.append(even, claims.argmax())) if len(rows) else even


def _find_corpus(
    about: str, corpus: Corpus, recipe: Recipe, limit: float | None, marks: Collection[str], into: Sampled
) -> Iterator[Finding]:
    rows, malformed = read_corpus(corpus, recipe.language)
    refuse_over_share(len(rows), malformed, recipe.corpora.max_rejected_share)
    chosen = spread(rows, DECODED)
    noticed = Noticed()
    heard, broken = check_clips(rows.take(chosen), limit, marks, f"Hearing {corpus.name}", noticed)
    refuse_silence(noticed)
    claims = [claim or 0.0 for claim in rows.each("duration")]
    into.clips.extend(heard)
    into.in_epoch += round(corpus.weight * len(rows))
    into.claimed = max([into.claimed, *(claim for claim in claims if limit is None or claim <= limit)])
    into.all_known &= len(chosen) == len(rows) or all(claims)
    said = f"{len(rows):,} rows{_hours(claims)}; {len(chosen)} of them decoded"
    if malformed:
        said += f"; {len(malformed):,} rows without recording or text"
    for line in noticed.lines():
        yield Finding("warning", about, line, "listen to them; escoita data lists all")
    if not broken:
        yield Finding("warning" if malformed else "ok", about, said, details=_first(malformed))
        return
    said += f", of which {len(broken)} cannot be used"
    # As training judges where all were heard; a single bad one of a sample may be the only one.
    unusable = len(malformed) + len(broken) * len(rows) / len(chosen)
    too_many = unusable > recipe.corpora.max_rejected_share * (len(rows) + len(malformed))
    if not heard or (too_many and (len(broken) > 1 or len(chosen) == len(rows))):
        advice = "mend or leave them out, or raise corpora.max_rejected_share; escoita data lists all"
        yield Finding("refusal", about, said, advice, _first(broken))
    else:
        yield Finding("warning", about, said, "escoita data lists all", _first(broken))


def _not_read(finding: Finding) -> Finding:
    """Training survives what it does not read."""
    if finding.mark != "refusal":
        return finding
    return replace(finding, mark="warning", found=f"{finding.found}; training does not read it, evaluation would fail")


def _first(rejected: list[Rejected]) -> tuple[str, ...]:
    more = (f"and {len(rejected) - _SHOWN} more",) if len(rejected) > _SHOWN else ()
    return (*map(str, rejected[:_SHOWN]), *more)


def _hours(claims: list[float]) -> str:
    """Together, where the corpus claims the length of every clip."""
    return f", {sum(claims) / 3600:,.1f} h by their own account" if claims and all(claims) else ""
