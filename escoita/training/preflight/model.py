"""Check a recipe with the shapes of its model and some clips of its corpora."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.data.clips import ClipWarnings, cached_seconds, check_clips
from escoita.data.loading import refuse_over_share, refuse_silence
from escoita.data.readers import read_corpus
from escoita.data.rows import SCHEMA, Rejected, Utterance, Utterances
from escoita.data.token_lengths import over_limit
from escoita.errors import AudioError
from escoita.metrics.normalizers import normalizer
from escoita.models import family_of
from escoita.models.ctc_vocabulary import training_text, unknown_characters, unknown_line
from escoita.models.loading import skip_list
from escoita.models.trainable import IGNORED, TrainableFamily
from escoita.recipe.schema import Corpus, Recipe
from escoita.training.data_collator import SpeechCollator
from escoita.training.preflight.checks import Finding, Mark, findings_of, free_memory, precision, training_value
from escoita.training.preflight.language import find_texts
from escoita.training.preflight.memory import GIGABYTE, Activations, Estimate, Load, count_activations, estimate
from escoita.training.sanity_checks import check_batch, check_trainable, count_trainable
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


BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
COMPUTE_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}
PARTS = {
    "base": "frozen weights",
    "tables": "embeddings",
    "trained": "trained weights",
    "copies": "copies for matrix products",
    "gradients": "gradients",
    "optimizer": "optimizer states",
    "activations": "activations",
    "workspace": "temporary tensors of a step",
    "context": "CUDA and its kernels",
}


@dataclass(frozen=True)
class Longest:
    """
    Describe the clips of the largest batch.

    Args:
        seconds (`float`): The duration of each clip in seconds.
        text (`str`): The transcript of each clip.
        certain (`bool`): Whether such a clip exists; otherwise not all durations are known, and the clip has the
            longest duration that the family supports.
    """

    seconds: float
    text: str
    certain: bool


def find_trainable(recipe: Recipe, family: TrainableFamily, model: Any) -> Iterator[Finding]:
    """
    Compare the trainable parameters with those that the recipe expects.

    Args:
        recipe ([`Recipe`]): The recipe, with the method.
        family ([`TrainableFamily`]): The family of the base.
        model (`PeftModel`): The model from [`~escoita.training.backends.untrained`].
    """
    counts = count_trainable(family, model)
    check_trainable(counts, recipe.method.trainable)
    towers = ", ".join(f"{tower} {count:,}" for tower, count in counts.items())
    yield Finding("ok", "trained", f"{sum(counts.values()):,} parameters ({towers})")


def find_lengths(
    recipe: Recipe, family: TrainableFamily, longest: Longest, tokens: int, decoded_tokens: int
) -> Iterator[Finding]:
    """
    Compare the longest clip with the limit of the family, and with `training.max_length`.

    Args:
        recipe ([`Recipe`]): The recipe.
        family ([`TrainableFamily`]): The family of the base, which limits the duration of clips.
        longest ([`Longest`]): The longest clip.
        tokens (`int`): The number of tokens of its row.
        decoded_tokens (`int`): The number of tokens of the longest decoded clip with its transcript.
    """
    subject = "the longest clip has" if longest.certain else "a clip may have, as not all were decoded,"
    found = f"{subject} {longest.seconds:.1f} s of {family.max_audio_seconds:g}, {tokens} tokens"
    limit = training_value(recipe, "max_length")
    if limit and tokens > limit:
        advice = f"raise it to {tokens}: training stops at a longer clip, because audio must not be truncated"
        certain = f", {decoded_tokens} in a decoded clip" if decoded_tokens > limit else ""
        mark: Mark = "refusal" if certain else "warning"
        yield Finding(mark, "length", f"{found}{certain}; training.max_length is {limit}", advice)
    else:
        yield Finding("ok", "length", found)


def encode_longest(
    recipe: Recipe, family: TrainableFamily, processor: Any, longest: Longest, rows: int
) -> dict[str, torch.Tensor]:
    """
    Return a batch of the longest clips, with noise as audio, because only the shapes matter.

    Args:
        recipe ([`Recipe`]): The recipe, with the prompt.
        family ([`TrainableFamily`]): The family of the base.
        processor (`ProcessorMixin`): The processor of the family.
        longest ([`Longest`]): The duration and the transcript of each clip.
        rows (`int`): The number of clips.
    """
    noise = np.random.default_rng(0).normal(0, 0.1, max(1600, round(longest.seconds * SAMPLING_RATE)))
    encoded = min(rows, 2)
    audio = [noise.astype(np.float32)] * encoded
    settings = family.resolved_settings(processor, recipe.generation_settings())
    batch = family.encode_with_targets(processor, audio, [longest.text] * encoded, settings)
    return {key: value[[0] * rows] if value.shape[:1] == (encoded,) else value for key, value in batch.items()}


def find_memory(
    recipe: Recipe, model: Any, batch: dict[str, torch.Tensor], longest: Longest
) -> tuple[list[Finding], Estimate]:
    """
    Compare the memory of a training step with the free memory.

    Args:
        recipe ([`Recipe`]): The recipe, with precision, optimizer and gradient checkpointing.
        model (`PeftModel`): The model from [`~escoita.training.backends.untrained`].
        batch (`dict[str, torch.Tensor]`): The largest batch, whose clips are equal.
        longest ([`Longest`]): The duration and the transcript of these clips.

    Returns:
        `tuple[list[Finding], Estimate]`: The findings, and the estimate for the largest batch.
    """
    load, activations = _load(recipe, model, batch)
    full = estimate(model, load, activations)
    free, rows = free_memory(), len(batch["labels"])
    available = f"{free / GIGABYTE:.1f} GB are free"
    clips = f"a batch of {rows} clips of {longest.seconds:.1f} s"
    found = f"about {full.total / GIGABYTE:.2f} GB for {clips}; {available}"
    width = max(map(len, PARTS.values()))
    parts = {PARTS[part.name]: getattr(full, part.name) / GIGABYTE for part in fields(full)}
    details = tuple(f"{name:<{width}} {size:8.3f} GB" for name, size in parts.items() if size)
    one = full  # a single clip is only estimated if the batch does not fit
    if full.total > free and rows > 1:
        one = estimate(model, replace(load, tokens=load.tokens // rows), activations.of_one(rows))
    if one.total > free:
        advice = "use a GPU with more memory, load_in_4bit: true, or training.gradient_checkpointing: true"
        found = f"about {one.total / GIGABYTE:.2f} GB for a single clip of {longest.seconds:.1f} s; {available}"
        return [Finding("refusal", "memory", found, advice, details)], full
    if full.total > 0.9 * free:
        advice = "use smaller batches and more accumulation steps; batches that do not fit are split, which is slow"
        return [Finding("warning", "memory", found, advice, details)], full
    return [Finding("ok", "memory", found, details=details)], full


def _load(recipe: Recipe, model: Any, batch: dict[str, torch.Tensor]) -> tuple[Load, Activations]:
    config = model.get_base_model().config
    computed = COMPUTE_DTYPES[precision(recipe)]
    of_base = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    dtype = of_base if recipe.dtype == "auto" else recipe.dtype
    stored = getattr(config, "quantization_config", None) or {}
    whole = family_of(recipe.base, recipe.base_revision).unquantized_modules
    load = Load(
        dtype_bytes=BYTES.get(dtype, 4),
        compute_bytes=computed.itemsize,
        recast=computed.itemsize < 4 and str(computed) != f"torch.{dtype}",
        four_bit=recipe.load_in_4bit,
        optimizer=str(training_value(recipe, "optim")),
        checkpointing=bool(training_value(recipe, "gradient_checkpointing")),
        tokens=int((batch["labels"] != IGNORED).sum()) if torch.cuda.is_available() else batch["labels"].numel(),
        skipped=skip_list(stored if isinstance(stored, dict) else {}, whole) if recipe.load_in_4bit else (),
        on_gpu=torch.cuda.is_available(),
    )
    return load, count_activations(model, batch, computed)


# Fields that need several processes; the preflight check has one.
MULTI_PROCESS_FIELDS = ("deepspeed", "fsdp", "fsdp_config", "parallelism_config")


def find_trial(
    recipe: Recipe, family: TrainableFamily, processor: Any, clips: Sequence[Utterance], model: Any
) -> Iterator[Finding]:
    """
    Take one training step on a small copy of the base.

    Args:
        recipe ([`Recipe`]): The recipe, with base, method and training.
        family ([`TrainableFamily`]): The family of the base.
        processor (`ProcessorMixin`): The processor of the family.
        clips (`Sequence[Utterance]`): The clips of the training corpora, of which the shortest are used.
        model (`PeftModel`): The model from [`~escoita.training.backends.untrained`].
    """
    from escoita.training.sft import table
    from escoita.training.trial import ROWS, check_by_trial

    if recipe.engine == "unsloth":
        yield Finding("warning", "trial", "engine: unsloth is not tried before training")
        return
    shortest = sorted(clips, key=lambda clip: clip.audio_seconds)[:ROWS]
    excluded = [field for field in MULTI_PROCESS_FIELDS if field in recipe.training]
    check_by_trial(recipe, family, processor, table(Utterances.of(shortest)), model, excluded)
    if excluded:
        advice = "start the training with --dry-run in all processes, which tries all of them except deepspeed"
        yield Finding("warning", "trial", f"training.{', training.'.join(excluded)}: not tried", advice)
    yield Finding("ok", "trial", "one step on a copy of the base with two layers and small widths succeeds")


DECODED = 50
# Rows whose lengths are looked up in the cache, which takes a few seconds for so many.
MOST_LOOKED_UP = 200_000
_SHOWN = 3


@dataclass
class Sampled:
    """
    Hold the sample of the training corpora.

    Args:
        clips (`list[Utterance]`): The decoded and usable clips.
        claimed (`float`): The longest duration in seconds that a corpus states for a usable clip; 0 if none does.
        all_known (`bool`): Whether the duration of each clip is stated by its corpus, or known from decoding, now or
            by an earlier command.
        rows (`list[Utterances]`): All rows, also those that were not decoded.
        in_epoch (`int`): The number of clips in an epoch, by the weights of the corpora.
    """

    clips: list[Utterance] = field(default_factory=list)
    claimed: float = 0.0
    all_known: bool = True
    rows: list[Utterances] = field(default_factory=list)
    in_epoch: int = 0

    @property
    def longest(self) -> float:
        """Return the longest duration in seconds."""
        return max([self.claimed, *(clip.audio_seconds for clip in self.clips)])


def find_corpora(
    recipe: Recipe,
    max_audio_seconds: float,
    marks: Collection[str],
    trained: Sampled,
    row_problem: Callable[[str, float], str] | None = None,
    tokenizer: Any = None,
    tested: list[Utterances] | None = None,
) -> Iterator[Finding]:
    """
    Read all rows of each corpus, and decode some of its clips.

    Args:
        recipe ([`Recipe`]): The recipe, with the corpora.
        max_audio_seconds (`float`): The longest clip that the model accepts, in seconds.
        marks (`Collection[str]`): The special tokens of the model, which transcripts must not contain.
        trained ([`Sampled`]): The sample of the training split, which is filled.
        row_problem (`Callable[[str, float], str]`, *optional*): See [`~escoita.data.clips.check_clips`].
        tokenizer (`PreTrainedTokenizer`, *optional*): The tokenizer of the base, if it is known; all transcripts are
            compared with `eval.max_new_tokens`.
        tested (`list[Utterances]`, *optional*): The list that receives the rows of the test corpora.
    """
    validated = "eval_strategy" not in recipe.training or training_value(recipe, "eval_strategy") != "no"
    read = {"train", "validation"} if validated else {"train"}
    for split in ("train", "validation", "test"):
        for corpus in getattr(recipe.corpora, split):
            limit = max_audio_seconds if split != "test" else None  # evaluation splits longer clips
            into = trained if split == "train" else Sampled()
            problem = row_problem if split != "test" else None
            about = f"{split} {corpus.name}"
            found = findings_of(about, partial(_find_corpus, about, corpus, recipe, limit, marks, into, problem))
            if tested is not None and split == "test":
                tested += into.rows
            if tokenizer is not None and into.rows:
                rows = into.rows[-1]
                found += findings_of(
                    about, partial(find_over_limit, recipe, about, rows, max_audio_seconds, tokenizer)
                )
            for finding in found:
                yield finding if split in read else _not_read(finding)
    if trained.clips and not trained.in_epoch:
        yield Finding("refusal", "train", "with the weights of corpora.train, an epoch has no clip", "raise weight")


def find_over_limit(
    recipe: Recipe, about: str, rows: Utterances, max_audio_seconds: float, tokenizer: Any
) -> Iterator[Finding]:
    """
    Compare the transcripts of a corpus with the token limit of a transcript.

    Args:
        recipe ([`Recipe`]): The recipe, with the limit.
        about (`str`): The split and the name of the corpus.
        rows ([`~escoita.data.rows.Utterances`]): The rows; longer clips are left out, as each segment has the limit.
        max_audio_seconds (`float`): The longest clip that the model accepts, in seconds.
        tokenizer (`PreTrainedTokenizer`): The tokenizer of the base.
    """
    whole = rows.where(~(known_seconds(rows) > max_audio_seconds))
    if over := over_limit(whole, tokenizer, recipe.eval.max_new_tokens):
        yield Finding("warning", about, str(over), f"raise eval.max_new_tokens above {over.most_tokens}")


def spread(rows: Utterances, count: int) -> np.ndarray:
    """
    Return the indices of the rows to decode: equally spaced from first to last, and the longest stated duration.

    Args:
        rows ([`Utterances`]): The rows of a corpus.
        count (`int`): The number of equally spaced rows.
    """
    even = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)
    claims = np.array([claim or 0.0 for claim in rows.each("duration")])
    return np.unique(np.append(even, claims.argmax())) if len(rows) else even


def _find_corpus(
    about: str,
    corpus: Corpus,
    recipe: Recipe,
    limit: float | None,
    marks: Collection[str],
    into: Sampled,
    row_problem: Callable[[str, float], str] | None,
) -> Iterator[Finding]:
    rows, malformed = read_corpus(corpus, recipe.language)
    refuse_over_share(len(rows), malformed, recipe.corpora.max_rejected_share)
    chosen = spread(rows, DECODED)
    known = known_seconds(rows)
    noticed = ClipWarnings()
    usable, broken = check_clips(rows.take(chosen), limit, marks, f"Decoding {corpus.name}", noticed, row_problem)
    refuse_silence(noticed)
    claims = [claim or 0.0 for claim in rows.each("duration")]
    into.clips.extend(usable)
    into.in_epoch += round(corpus.weight * len(rows))
    accepted = known[known <= (math.inf if limit is None else limit)]  # training rejects longer clips
    into.claimed = max([into.claimed, *accepted.tolist()])
    into.all_known &= len(chosen) == len(rows) or not np.isnan(known).any()
    into.rows.append(rows)
    found = f"{len(rows):,} rows{_hours(claims)}; {len(chosen)} of them decoded"
    if malformed:
        found += f"; {len(malformed):,} rows without recording or text"
    for line in noticed.lines():
        yield Finding("warning", about, line, "check these recordings; escoita data lists all")
    yield from find_texts(recipe, about, rows)
    if not broken:
        yield Finding("warning" if malformed else "ok", about, found, details=_first(malformed))
        return
    found += f", {len(broken)} of them unusable"
    # The same rule as in training if all clips were decoded; a single unusable clip of a sample may be the only one.
    unusable = len(malformed) + len(broken) * len(rows) / len(chosen)
    too_many = unusable > recipe.corpora.max_rejected_share * (len(rows) + len(malformed))
    if not usable or (too_many and (len(broken) > 1 or len(chosen) == len(rows))):
        advice = "correct them or leave them out, or raise corpora.max_rejected_share; escoita data lists all"
        yield Finding("refusal", about, found, advice, _first(broken))
    else:
        yield Finding("warning", about, found, "escoita data lists all", _first(broken))


def known_seconds(rows: Utterances) -> np.ndarray:
    """
    Return the lengths that earlier commands measured, or else those that the corpus states; nothing is decoded.

    Args:
        rows ([`Utterances`]): The rows of a corpus.

    Returns:
        `np.ndarray`: The lengths in seconds, of shape `(rows,)`; NaN for an unknown length.
    """
    stated = np.array([claim or math.nan for claim in rows.each("duration")], np.float64)
    if not np.isnan(stated).any() or len(rows) > MOST_LOOKED_UP:
        return stated
    measured = cached_seconds(rows)
    return np.where(np.isnan(measured), stated, measured)


def find_vocabulary(
    recipe: Recipe, family: TrainableFamily, processor: Any, trained: Sampled, tested: Sequence[Utterances]
) -> Iterator[Finding]:
    """
    Build the vocabulary of the training transcripts, and compare the references of the test with it.

    Args:
        recipe ([`Recipe`]): The recipe, with the normalizer.
        family ([`TrainableFamily`]): The family of the base, whose adapters have their own vocabulary.
        processor (`ProcessorMixin`): The processor of the base, which gets the vocabulary.
        trained ([`Sampled`]): The sample of the training split, whose transcripts are normalized.
        tested (`Sequence[Utterances]`): The rows of the test corpora.
    """
    normalize = training_text(normalizer(recipe.eval.normalizer))
    trained.clips = [replace(clip, text=normalize(clip.text)) for clip in trained.clips]
    trained.rows = [
        rows.with_texts({index: normalize(text) for index, text in enumerate(rows.each("text"))})
        for rows in trained.rows
    ]
    family.learn_vocabulary(processor, (text for rows in trained.rows for text in rows.each("text")))
    tokens = processor.tokenizer.get_vocab()
    characters = "".join(token for token in tokens if len(token) == 1)
    yield Finding("ok", "vocabulary", f"{len(tokens)} tokens of the training transcripts", details=(characters,))
    texts = (normalize(text) for rows in tested for text in rows.each("text"))
    if line := unknown_line(unknown_characters(texts, tokens)):
        advice = "correct the transcripts, use another eval.normalizer, or train on clips with them"
        yield Finding("warning", "vocabulary", f"test: {line}", advice)


def find_tokens(family: TrainableFamily, processor: Any, clips: Sequence[Utterance]) -> Iterator[Finding]:
    """
    Report how many tokens the tokenizer of the base makes of the transcripts.

    A tokenizer that has seen little text of a language makes more tokens of each byte, which a model transcribes more
    slowly, and which reach its limit in shorter clips.

    Args:
        family ([`TrainableFamily`]): The family of the base.
        processor (`ProcessorMixin`): The processor of the family.
        clips (`Sequence[Utterance]`): The clips of the training corpora.
    """
    texts = [clip.text for clip in clips]
    longest = max(len(target) for target in family.targets(processor, texts))
    tokens = processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
    per_byte = sum(map(len, tokens)) / sum(len(text.encode()) for text in texts)
    found = f"{per_byte:.2f} tokens per byte of the transcripts; {longest} in the longest of {len(texts):,}"
    yield Finding("ok", "tokens", found)


def longest_text(
    parts: list[Utterances],
    tokenizer: Any,
    most_tokens: float,
    row_problem: Callable[[str], str] = lambda text: "",
) -> str:
    """
    Return the transcript with the most tokens among those that may exceed a limit, else the one with the most bytes.

    A text has at most as many tokens as bytes, because tokenizers fall back to bytes. Only texts with more bytes than
    the limit are tokenized.

    Args:
        parts (`list[Utterances]`): The rows of the corpora; at least one row.
        tokenizer (`PreTrainedTokenizer`): The tokenizer of the base.
        most_tokens (`float`): The limit.
        row_problem (`Callable[[str], str]`, *optional*): The function that returns why a transcript is not trained
            on; such a transcript is left out.
    """
    texts = pa.chunked_array([chunk for part in parts for chunk in _texts(part)], pa.string())
    sizes = pc.binary_length(texts).to_numpy()
    by_size = np.argsort(-sizes, kind="stable").tolist()
    # The largest texts come first, and no text has more tokens than bytes, so the search can end early.
    best, most = "", -1
    for index in by_size:
        if sizes[index] <= max(most, most_tokens):
            break
        text = str(texts[index])
        if row_problem(text):
            continue
        if (count := len(tokenizer(text, add_special_tokens=False)["input_ids"])) > most:
            best, most = text, count
    return best or next((text for index in by_size if not row_problem(text := str(texts[index]))), "")


def _texts(rows: Utterances) -> list[pa.Array]:
    column = rows.table["text"].take(pa.array(rows.order))
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _not_read(finding: Finding) -> Finding:
    """Return a finding about a corpus that training does not read, where a refusal becomes a warning."""
    if finding.mark != "refusal":
        return finding
    return replace(finding, mark="warning", found=f"{finding.found}; training does not read it, evaluation would fail")


def _first(rejected: list[Rejected]) -> tuple[str, ...]:
    more = (f"and {len(rejected) - _SHOWN} more",) if len(rejected) > _SHOWN else ()
    return (*map(str, rejected[:_SHOWN]), *more)


def _hours(claims: list[float]) -> str:
    """Return the total duration, if the corpus states the duration of every clip."""
    return f", {sum(claims) / 3600:,.1f} h according to the corpus" if claims and all(claims) else ""
