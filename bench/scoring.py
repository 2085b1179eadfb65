"""Measure the scoring of a test set with the size of the Galician card's, compared with jiwer."""

import random
from collections.abc import Mapping, Sequence
from statistics import median

import jiwer
import pyarrow as pa

from bench.clock import timed
from bench.measurement import Measurement
from bench.quickstart import load_clips, with_errors
from escoita.evaluation.aggregate import made_rates
from escoita.evaluation.counts import KINDS
from escoita.evaluation.prediction_folder import CorpusPredictions
from escoita.evaluation.tally import Counts, Tally, count, pooled, tally
from escoita.metrics.wer import character_edits, word_edits
from escoita.records.evaluation import ADAPTER_SYSTEM, Rates
from escoita.utils.processes import say


# The sizes on the Galician card: 64,527 utterances, 74 % of them in one corpus.
SIZES = {"commonvoice": 14_563, "fleurs": 212, "transcrispeech": 1_710, "falai": 47_760, "openslr": 282}
# More errors than on the card, because texts without errors take almost no time.
WRONG_WORDS = 0.1
PHRASES = 3
RESAMPLES = 1000
ROUNDS = 5

# References and hypotheses of each corpus.
Texts = dict[str, tuple[list[str], list[str]]]


def measure_scoring(sizes: Mapping[str, int] = SIZES, rounds: int = ROUNDS) -> list[Measurement]:
    """
    Measure edits, their kinds and resamples of all corpora and their pool, compared with WER and CER of jiwer only.

    Both get the same normalized texts and use one core; CPU time is measured.

    Args:
        sizes (`Mapping[str, int]`, *optional*): Number of utterances of each corpus.
        rounds (`int`, *optional*, defaults to 5): Number of measurements of each, in alternation.
    """
    texts = corpora_with_errors(sizes)
    references, hypotheses = ([text for corpus in texts.values() for text in corpus[side]] for side in (0, 1))
    ours, everything, theirs = [], [], []
    for number in range(1, rounds + 1):
        say(f"Scoring: round {number} of {rounds}")
        rates, spent = timed(lambda: scored(texts))
        ours.append(spent.cpu)
        _, spent = timed(lambda: counted_with_faults(texts))
        everything.append(spent.cpu)
        known, spent = timed(lambda: (jiwer.wer(references, hypotheses), jiwer.cer(references, hypotheses)))
        theirs.append(spent.cpu)
    against = f"jiwer's WER and CER alone: {median(theirs):.3g} s"
    pool = rates[-1]
    return [
        Measurement(
            f"Scoring {len(references):,} utterances, {RESAMPLES:,} resamples",
            median(their / our for their, our in zip(theirs, ours, strict=True)),
            "times as fast",
            against,
            at_least=2,
        ),
        Measurement("Scoring, time", median(ours), "s of CPU", against),
        Measurement("Scoring, time with faults and changed words", median(everything), "s of CPU", against),
        Measurement(
            "Scoring, rates that differ",
            sum(rate != other for rate, other in zip((pool.wer, pool.cer), known, strict=True)),
            "of 2",
            "jiwer's, to the last digit",
            at_most=0,
        ),
    ]


def corpora_with_errors(sizes: Mapping[str, int]) -> Texts:
    """Return corpora of Galician sentences of about ten words, of which one in ten is wrong."""
    sentences, draw = load_clips("gl").column("text"), random.Random(0)  # noqa: S311 - draws need no secrecy
    words = sorted({word for text in sentences for word in text.split()})
    texts: Texts = {}
    for name, size in sizes.items():
        references = [" ".join(draw.choices(sentences, k=PHRASES)) for _ in range(size)]
        texts[name] = (references, [with_errors(text, WRONG_WORDS, words, draw) for text in references])
    return texts


def scored(texts: Texts) -> list[Rates]:
    """Return rates and intervals of each corpus, then of the pool, from the functions that make `results.json`."""
    return _rates([tally(name, counted(*corpus), RESAMPLES) for name, corpus in texts.items()])


def counted(references: Sequence[str], hypotheses: Sequence[str]) -> Counts:
    """Return the edits of a corpus without speakers, so that utterances are resampled, which takes longest."""
    words, characters = word_edits(references, hypotheses), character_edits(references, hypotheses)
    columns = {
        ("raw", "words"): words.reference,
        ("raw", "characters"): characters.reference,
        ("raw", "words", ADAPTER_SYSTEM): words.total,
        ("raw", "characters", ADAPTER_SYSTEM): characters.total,
    } | {("raw", kind, ADAPTER_SYSTEM): getattr(words, kind) for kind in KINDS}
    return Counts(columns, "utterance", len(references), [""] * len(references), 0, 0, {}, {})


def counted_with_faults(texts: Texts) -> list[Rates]:
    """Return the same rates after all counts of an evaluation, with faults and words that a normalizer changes."""
    corpora = [CorpusPredictions(name, 0, {ADAPTER_SYSTEM: _predictions(*corpus)}) for name, corpus in texts.items()]
    return _rates([tally(corpus.name, count(corpus, "raw"), RESAMPLES) for corpus in corpora])


def _predictions(references: list[str], hypotheses: list[str]) -> pa.Table:
    rows = len(references)
    return pa.table(
        {"reference": references, "hypothesis": hypotheses, "speaker": [""] * rows, "truncated": [False] * rows}
    )


def _rates(tallies: list[Tally]) -> list[Rates]:
    return [made_rates(tallied, "raw", ADAPTER_SYSTEM) for tallied in [*tallies, pooled(tallies)]]
