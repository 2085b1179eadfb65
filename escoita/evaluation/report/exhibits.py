"""The plots and tables of the report, ready to be set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from escoita.records.evaluation import EvaluationRecord, Slice
from escoita.utils.figures import percent, thousands
from escoita.evaluation.report.confusions import Confusions
from escoita.evaluation.report.heard import Heard
from escoita.evaluation.report.plots import SHARES, shares, wer_by_corpus, wer_by_duration, wer_distribution
from escoita.evaluation.presentation import share


# Words of each list of confusions: as many as a person reads.
_MOST = 20


@dataclass(frozen=True)
class Table:
    """
    Figures in rows.

    Args:
        title (`str`): What they are.
        head (`list[str]`): Names of the columns; the first names the rows.
        rows (`list[list[str]]`): What stands in them.
    """

    title: str
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Plot:
    """
    A plot of the report.

    Args:
        name (`str`): Of its file, without the ending.
        title (`str`): What it shows.
        caption (`str`): Stands below it.
        svg (`str`): An `<svg>` element.
        table ([`Table`], *optional*): Its figures, where no other table has them.
    """

    name: str
    title: str
    caption: str
    svg: str
    table: Table | None = None


@dataclass(frozen=True)
class Confused:
    """
    What went wrong most often.

    Args:
        title (`str`): In which way.
        head (`list[str]`): Names of the columns.
        rows (`list[tuple[list[str], int]]`): Words and how often, most often first.
        kinds (`int`): How many rows there would be of all.
    """

    title: str
    head: list[str]
    rows: list[tuple[list[str], int]]
    kinds: int


def plots(record: EvaluationRecord, heard: Mapping[str, Sequence[Heard]]) -> list[Plot]:
    """
    Draws what the report and the card show.

    Args:
        record ([`~escoita.records.evaluation.EvaluationRecord`]): Gives the rates.
        heard (`Mapping[str, Sequence[Heard]]`): Of each system, corpus by corpus.
    """
    together = ", all corpora together" if len(record.corpora) > 1 else ""
    caption = "With 95 % intervals; the figures are in the table above."
    drawn = [Plot("wer-by-corpus", "WER by corpus", caption, wer_by_corpus(record))]
    if by_duration := wer_by_duration(record):
        parts = [part for part in record.rows[-1].slices if part.by == "duration"]
        title = f"WER by length of the clip{together}"
        caption = "n counts clips; where they are few, the rate is rough."
        drawn.append(Plot("wer-by-duration", title, caption, by_duration, _slices(title, parts, record)))
    rates = {name: np.concatenate([part.wer for part in parts]) for name, parts in heard.items()}
    columns = {name: shares(found) for name, found in rates.items()}
    rows = [[label, *(share(column[row]) for column in columns.values())] for row, label in enumerate(SHARES)]
    title = f"Utterances by their WER{together}"
    caption = "0: heard without an error. \N{LESS-THAN OR EQUAL TO}\N{NO-BREAK SPACE}10: up to 10 %, and so on."
    table = Table(title, ["WER, %", *columns], rows)
    return [*drawn, Plot("wer-distribution", title, caption, wer_distribution(rates), table)]


def slice_tables(record: EvaluationRecord) -> list[Table]:
    """WER by speaker, gender and accent, of each corpus that tells two or more apart; durations are plotted."""
    tables = []
    for result in record.rows:
        name = "All together" if result.unit == "corpus" else result.name
        for by, group in groupby(result.slices, key=lambda part: part.by):
            parts = list(group)
            if by != "duration" and len(parts) > 1:
                tables.append(_slices(f"{name}, by {by}", parts, record))
    return tables


def confusion_tables(counted: Confusions) -> list[Confused]:
    """The words most often heard as others, not heard, and heard without being said."""
    return [
        Confused("Heard as another", ["said", "heard", "times"], *_most(counted.substituted)),
        Confused("Not heard", ["said", "times"], *_most(counted.deleted)),
        Confused("Heard but not said", ["heard", "times"], *_most(counted.inserted)),
    ]


def _slices(title: str, parts: Sequence[Slice], record: EvaluationRecord) -> Table:
    systems = [system.name for system in record.systems]
    rows = [
        [
            part.value,
            thousands(part.n),
            thousands(part.reference_words),
            *(percent(part.wer[name]) for name in systems),
        ]
        for part in parts
    ]
    return Table(title, ["", "clips", "words", *systems], rows)


def _most(counts: Counter[tuple[str, ...]]) -> tuple[list[tuple[list[str], int]], int]:
    """Most often first, and among equals by the words, whatever corpus they came from."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(list(words), count) for words, count in ranked[:_MOST]], len(counts)
