"""
Name what an evaluation contains: systems and their decoding, normalizers, corpora and faults.

Card, report, summary, gate and demo page share these texts, the rows of `rows.py` and the sentences of
`verdict_texts.py`. The demo page uses only the rows and titles; the translations of its sentences are in
`space/texts`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from escoita.metrics.primary import metric_name
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import ADAPTER_SYSTEM, BASE, EARLIER, METRICS, EvaluationRecord, Metric, System
from escoita.utils.formatting import code, thousands


@dataclass(frozen=True)
class Fault:
    """
    Store the two names of a fault.

    Args:
        label (`str`): Name in the heading of a column, or next to an utterance.
        phrase (`str`): Name within a sentence, before a count.
    """

    label: str
    phrase: str


# By their fields in `Faults`.
FAULTS = {
    "empty": Fault("empty", "empty transcripts"),
    "loop": Fault("loop", "repetition loops"),
    "wrong_script": Fault("wrong script", "wrong script"),
    "wrong_language": Fault("wrong language", "wrong language"),
    "chat_like": Fault("chat-like answer", "answers instead of transcripts"),
    "truncated": Fault("token limit reached", "transcripts cut off at the token limit"),
}
# Description of each normalizer, for sentences that begin with "Texts were".
NORMALIZER_TEXTS = {
    "raw": "compared without normalization",
    "bytes": "compared without normalization, even of Unicode forms",
    "basic": "normalized as by Whisper's BasicTextNormalizer: lower case, no punctuation",
    "galician": "normalized for Galician: lower case, no punctuation, accents and ñ kept",
    "uzbek": "normalized for Uzbek: lower case, no punctuation, apostrophes in one spelling",
    "uzbek-latin": "normalized for Uzbek: lower case, no punctuation, apostrophes in one spelling, all in Latin",
    "unicode": "normalized for all scripts: one case, no punctuation, letters, combining marks and digits kept",
    "unicode-turkic": (
        "normalized for Turkic languages in Latin script: one case with ı and i, no punctuation, letters, combining"
        " marks and digits kept"
    ),
}


def normalizer_text(normalizer: str) -> str:
    """Return the description of a normalizer, for a sentence that begins with "Texts were"."""
    return NORMALIZER_TEXTS.get(normalizer, f"normalized by {normalizer}")


def rescored_text(record: EvaluationRecord) -> str:
    """Return the sentence on predictions that were scored again; empty for others."""
    first = record.rescored
    if first is None:
        return ""
    changed = first.primary != record.primary
    now, before = (f", with the {metric_name(each.primary)} for verdicts" * changed for each in (record, first))
    return (
        f"The stored predictions were scored again with the normalizer {record.normalizer} and"
        f" {thousands(record.resamples)} resamples{now}; the evaluation used {first.normalizer} and"
        f" {thousands(first.resamples)}{before}."
    )


def name_of(system: System | str) -> str:
    """Return the name of a system within a sentence: `the adapter`, `the base`, or the name of a baseline."""
    name = system if isinstance(system, str) else system.name
    return {ADAPTER_SYSTEM: "the adapter", BASE: "the base", EARLIER: "the earlier revision"}.get(name, name)


def model_of(system: System) -> str:
    """Return the models that a system consists of: its base, with the adapter before it if there is one."""
    return f"{system.adapter} on {system.base}" if system.adapter else system.base


def decoding_text(system: System) -> str:
    """Return how a system searches for the text of a clip: `greedy`, or the number of its beams."""
    beams = system.decoding.num_beams
    if beams is None:
        return "chosen by the server"
    search = "greedy" if beams == 1 else f"{beams} beams"
    penalties = (f"{name} {value:g}" for name, value in system.decoding.penalties.items())
    return ", ".join([search, *penalties])


def conditions_text(system: System) -> str:
    """Return the other conditions of decoding: the source of the language, and the longest audio at once."""
    decoding = system.decoding
    sources = {
        "clip": "given the language of each clip",
        "prompt": "given a prompt",
        "none": "not given a language",
    }
    longest = f"at most {decoding.segment_seconds:g} s at once" if decoding.segment_seconds else ""
    written = f"writes {len(system.characters)} different characters" if system.characters else ""
    return "; ".join(filter(None, (sources.get(decoding.language or ""), longest, detector_text(system), written)))


def detector_text(system: System) -> str:
    """Return the method that found the speech in long recordings; empty if there were none."""
    return f"speech in long recordings found by {system.speech_detector}" if system.speech_detector else ""


def decodings(record: EvaluationRecord, name: Callable[[str], str] = name_of) -> str:
    """
    Return the decoding of all systems, such as `greedy`, or `greedy (the adapter, the base), 5 beams (whisper-small)`.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The evaluation.
        name (`Callable[[str], str]`, *optional*): Function that returns the name of a system within a sentence.
    """
    groups: dict[str, list[str]] = {}
    for system in record.systems:
        groups.setdefault(decoding_text(system), []).append(name(system.name))
    if len(groups) == 1:
        return next(iter(groups))
    return ", ".join(f"{text} ({', '.join(names)})" for text, names in groups.items())


def source_of(system: System) -> str:
    """Return the repository or folder of a system that is compared with the adapter."""
    return f"{system.name} revision, {system.adapter}" if system.adapter else system.base


def sources_of(record: EvaluationRecord) -> dict[str, str]:
    """Return the name of each system within a sentence, which for baselines and earlier revisions is [`source_of`]."""
    names = {system.name: source_of(system) for system in record.systems} | {BASE: "the base"}
    return names | {record.main_system.name: "the adapter"}


def pooled_title(primary: Metric, corpora: str = "All") -> str:
    """
    Return the title of several corpora pooled, such as `All, pooled by words`.

    Args:
        primary (`str`): Primary metric, whose tokens weight the corpora.
        corpora (`str`, *optional*, defaults to `"All"`): Description of the corpora.
    """
    return f"{corpora}, pooled by {METRICS[primary]}"


def titles_of(record: EvaluationRecord, recipe: Recipe | None = None, pooled: str | None = None) -> dict[str, str]:
    """
    Return the title of each corpus, and of all corpora pooled.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The evaluation.
        recipe ([`~escoita.recipe.schema.Recipe`], *optional*): Recipe with titles of corpora. A corpus without a title
            has its name as title.
        pooled (`str`, *optional*): Title of all corpora pooled. Defaults to [`pooled_title`].
    """
    tests = recipe.evaluated_corpora if recipe else []
    titles = {result.name: result.name for result in record.corpora}
    titles |= {corpus.name: corpus.title or corpus.name for corpus in tests}
    return titles | {record.pooled.name: pooled or pooled_title(record.primary)}


def other_base_note(system: System) -> str:
    """
    Return the note that a system was evaluated on another base than its adapter was trained on.

    Returns:
        `str`: Sentences as Markdown, the same as in the template of the card; empty if the bases are the same.
    """
    if not system.expected_base_sha256:
        return ""
    commit = f" at commit {code(system.base_commit)}" if system.base_commit else ""
    return (
        f"these figures were measured on {code(system.base)}{commit}, whose weights have the SHA-256"
        f" {code(system.base_sha256)}. The adapter was trained on a base whose weights have the SHA-256"
        f" {code(system.expected_base_sha256)}."
    )
