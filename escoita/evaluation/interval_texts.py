"""
Write rates and differences with their intervals, and the speakers that these apply to.

With fewer than ten speakers, the bootstrap resamples clips; its interval is labeled, and the interval over speakers
stands next to it.
"""

from collections.abc import Callable, Mapping

from escoita.records.evaluation import CorpusResult, Difference, EvaluationRecord, Interval, Metric
from escoita.utils.formatting import interval, percent, points, points_interval, thousands


def scope_of(few_speakers: bool, speakers: int | None) -> str:
    """
    Return the scope of intervals whose clips were resampled: `over clips of these N speakers`.

    Args:
        few_speakers (`bool`): Whether clips of fewer than ten speakers were resampled.
        speakers (`int`, *optional*): Number of all speakers.

    Returns:
        `str`: Empty if speakers were resampled or are unknown.
    """
    if not few_speakers:
        return ""
    return f"over clips of {of_speakers(speakers)}"


def of_speakers(speakers: int | None) -> str:
    """Return a number of speakers as the object of a preposition: `this speaker`, `these 5 speakers`."""
    if speakers is None:
        return "these speakers"
    return "this speaker" if speakers == 1 else f"these {thousands(speakers)} speakers"


def with_speakers(
    written: Callable[[Interval], str], ci95: Interval, speaker_ci95: Interval | None, scope: str
) -> str:
    """
    Return an interval, with its scope and with the interval over speakers if there are few speakers.

    Args:
        written (`Callable`): Function that formats an interval.
        ci95 (`tuple[float, float]`): Interval of the bootstrap.
        speaker_ci95 (`tuple[float, float]`, *optional*): Interval over speakers.
        scope (`str`): Scope from [`scope_of`].
    """
    text = f"{written(ci95)} {scope}" if scope else written(ci95)
    return f"{text}; {written(speaker_ci95)} over speakers" if speaker_ci95 else text


def rate(result: CorpusResult, metric: Metric = "wer") -> str:
    """Return a rate of the main system with its intervals, for a cell of a table."""
    return f"{percent(result.main_system.normalized.rate(metric))} ({_bounds(result, metric)})"


def rate_in_words(result: CorpusResult, metric: Metric = "wer") -> str:
    """Return a rate of the main system with its intervals, for a sentence."""
    return f"{percent(result.main_system.normalized.rate(metric))} (95 % CI: {_bounds(result, metric)})"


def _bounds(result: CorpusResult, metric: Metric) -> str:
    """Return the intervals of a rate of the main system."""
    rates, scope = result.main_system.normalized, scope_of(result.few_speakers, result.speakers)
    return with_speakers(interval, rates.ci95(metric), rates.speaker_ci95(metric), scope)


def change(difference: float, ci95: Interval, speaker_ci95: Interval | None = None, scope: str = "") -> str:
    """Return a difference in percentage points with its intervals, for a cell of a table."""
    return f"{points(difference)} ({with_speakers(points_interval, ci95, speaker_ci95, scope)})"


def change_in_words(difference: Difference, result: CorpusResult) -> str:
    """Return a difference of two systems on a corpus with its intervals, for a sentence."""
    scope = scope_of(result.few_speakers, result.speakers)
    bounds = with_speakers(points_interval, difference.ci95, difference.speaker_ci95, scope)
    return f"{points(difference.value)} points (95 % CI: {bounds})"


def notes_on_speakers(record: EvaluationRecord, titles: Mapping[str, str]) -> list[str]:
    """
    Return a sentence on each corpus with fewer than ten speakers.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): The evaluation.
        titles (`Mapping[str, str]`): Titles of the corpora by name.
    """
    return [
        _note(titles[result.name], result.speakers, bool(rates.wer_speaker_ci95 or rates.cer_speaker_ci95))
        for result in record.corpora
        for rates in [result.main_system.normalized]
        if result.few_speakers and result.speakers is not None
    ]


def _note(title: str, speakers: int, has_interval: bool) -> str:
    number = f"{thousands(speakers)} {'speaker' if speakers == 1 else 'speakers'}"
    others = (
        "The intervals over speakers apply to other speakers."
        if has_interval
        else "There is no interval for other speakers: it needs three speakers whose rates differ."
    )
    return (
        f"{title} has clips of {number}, fewer than ten: the intervals over clips apply to other clips of the same"
        f" speakers. {others}"
    )
