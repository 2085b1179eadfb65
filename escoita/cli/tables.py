"""Print what the corpora of a recipe hold, and what came of a run, as tables of the terminal or as plain text."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from escoita.evaluation.presentation import Row, notes, rows, titles_of
from escoita.records.data import DataRecord, Leak, OutlierKind, Pair
from escoita.records.evaluation import METRICS, EvaluationRecord, Interval
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.utils.formatting import code, composition, duration, is_hidden, line, speed, visible


# Clips that are...
KINDS: dict[OutlierKind, str] = {
    "long": "longer than the {limit:g} s that the model hears at once",
    "short": "too short for a word",
    "dense": "more text than fits the audio",
    "sparse": "hardly any text for the audio",
    "script": "in another script than the rest",
    "digits": "digits in the text",
    "silent": "nothing can be heard",
    "channel": "mixing the channels to mono cancels them; one channel is used",
    "claim": "of another length than the corpus claims",
}
TRANSCRIPTS = (
    "The same words on both sides are no defect where prompts are read aloud; the figure says how much of a test can"
    " be known by heart."
)
_LETTERS, _SIGNS, _BAR = 120, 40, 14


def print_data(record: DataRecord, console: Console | None = None) -> None:
    """
    Prints a data record: figures, durations, characters, what stands out, what is there twice.

    Args:
        record ([`~escoita.records.data.DataRecord`]): From [`~escoita.data.report.survey`].
        console (`Console`, *optional*): Where to; standard output unless given.
    """
    console = console or Console()
    plain = not console.is_terminal
    sections: dict[str, RenderableType] = {
        "Corpora": _corpora(record, plain),
        "Durations, share of clips": _durations(record, plain),
        "Characters": Group(_letters(record), _signs(record, plain)),
        f"What the normaliser {record.normalizer} does to words": _lines(_normalization(record)),
        "Cannot be used": _lines(_rejected(record)),
        "Stands out": _lines(_outliers(record)),
        "Twice in a split": _lines(_duplicates(record)),
        "Held out, and known from training": _lines(_leaks(record)),
    }
    for title, content in sections.items():
        console.print(Text(title, "bold"))
        console.print(content)
        console.print()


def _percent(share: float) -> str:
    return f"{100 * share:.{1 if share >= 0.001 else 3}f} %"


def _clips(count: int, share: float) -> str:
    return f"{count:,} clip{'s' * (count != 1)} ({_percent(share)})"


def _table(plain: bool, left: Sequence[str], right: Sequence[str]) -> Table:
    """Columns of names, then columns of figures."""
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate([*left, *right]):
        table.add_column(column, justify="left" if place < len(left) else "right", no_wrap=place > 0, overflow="fold")
    return table


def _lines(lines: Iterable[tuple[int, str]]) -> RenderableType:
    """Lines with their depth; those that are deep are cut at the edge, as `data.json` holds them whole."""
    texts = [
        Text("  " * depth + visible(line), no_wrap=depth > 1, overflow="ellipsis" if depth > 1 else "fold")
        for depth, line in lines
    ]
    return Group(*texts) if texts else Text("  nothing")


def _corpora(record: DataRecord, plain: bool) -> RenderableType:
    table = _table(plain, ["corpus", "split"], ["clips", "audio", "longest", "char/s", "speakers", "unused"])
    for data in record.corpora:
        table.add_row(
            data.name,
            data.split,
            f"{data.clips:,}",
            duration(data.audio_seconds),
            f"{data.seconds.max:.1f} s",
            f"{data.characters_per_second.median:.1f}",
            f"{data.speakers:,}" if data.speakers else "unknown",
            f"{data.rejected:,}",
        )
    for missing in record.missing:
        table.add_row(missing.name, missing.split, "not at hand", *[""] * 5)
    return table


def _durations(record: DataRecord, plain: bool) -> RenderableType:
    shares = {split: [clips / sum(bins) for clips in bins] for split, bins in record.histograms.items()}
    largest = max((share for bins in shares.values() for share in bins), default=1.0)
    table = _table(plain, ["from", *(f"{split:<{_BAR + 5}}" for split in shares)], [])
    filled = [place for place in range(len(record.duration_edges)) if any(bins[place] for bins in shares.values())]
    for place in range(filled[0], filled[-1] + 1) if filled else ():
        over = "+" if place == len(record.duration_edges) - 1 else ""
        bars = [_bar(bins[place], largest) for bins in shares.values()]
        table.add_row(f"{record.duration_edges[place]:g}{over} s", *bars)
    return table


def _bar(share: float, largest: float) -> str:
    return f"{'█' * round(_BAR * share / largest) or '▏'} {_percent(share)}" if share else ""


def _characters(record: DataRecord) -> dict[str, Counter[str]]:
    """How often each character is written, by split."""
    counts: dict[str, Counter[str]] = {}
    for data in record.corpora:
        for each in data.inventory:
            counts.setdefault(each.character, Counter())[data.split] += each.count
    return dict(sorted(counts.items(), key=lambda item: -item[1].total()))


def _odd(record: DataRecord) -> dict[str, str]:
    """Characters that are worth a look, and why: signs, and letters that are rare everywhere or only held out."""
    trained = any(data.split == "train" for data in record.corpora)
    common = {each.character for data in record.corpora for each in data.inventory if not each.rare}
    odd = {}
    for character, counts in _characters(record).items():
        if trained and not counts["train"]:
            odd[character] = "not in train"
        elif character not in common:
            odd[character] = "rare"
        elif not _spells(character):
            odd[character] = ""
    return dict(sorted(odd.items(), key=lambda item: _spells(item[0])))  # signs first


def _spells(character: str) -> bool:
    return character == " " or unicodedata.category(character) in ("Lu", "Ll", "Lt", "Lo", "Mn", "Mc")


def _letters(record: DataRecord) -> Text:
    odd = _odd(record)
    letters = [character for character in _characters(record) if character not in odd and character != " "]
    more = f" … and {len(letters) - _LETTERS} more" if len(letters) > _LETTERS else ""
    return Text("Letters, the most frequent first: " + " ".join(map(visible, letters[:_LETTERS])) + more)


def _signs(record: DataRecord, plain: bool) -> RenderableType:
    counts, odd = _characters(record), _odd(record)
    names = {each.character: each.name for data in record.corpora for each in data.inventory}
    table = _table(plain, ["", "code", "name", "note"], ["count"])
    for character in list(odd)[:_SIGNS]:
        mark = unicodedata.category(character)[0] == "M"
        shown = "" if is_hidden(character) or character.isspace() else "◌" * mark + character
        name = names[character].lower() or "no name in Unicode"
        count = f"{counts[character].total():,}"
        table.add_row(Text(shown), f"U+{ord(character):04X}", name, odd[character], count)
    if len(odd) > _SIGNS:
        return Group(table, Text(f"and {len(odd) - _SIGNS} more, in data.json"))
    return table if odd else Text("No signs among them.")


def _normalization(record: DataRecord) -> Iterator[tuple[int, str]]:
    for data in record.corpora:
        made = data.normalization
        counts = {"words joined or dropped": made.merged, "words split": made.split, "nothing left": made.emptied}
        if said := [f"{what} in {_clips(count, count / data.clips)}" for what, count in counts.items() if count]:
            yield 1, f"{data.name}, {data.split}: {', '.join(said)}"
            yield from ((2, f"{before} → {after or '(nothing)'}") for before, after in made.examples)


def _rejected(record: DataRecord) -> Iterator[tuple[int, str]]:
    for data in record.corpora:
        for reason in data.reasons:
            yield 1, f"{data.name}, {data.split}: {reason.rows:,} of {data.clips + data.rejected:,}: {reason.reason}"
            yield from ((2, example) for example in reason.examples)


def _outliers(record: DataRecord) -> Iterator[tuple[int, str]]:
    for data in record.corpora:
        for found in data.outliers:
            what = KINDS[found.kind].format(limit=record.max_audio_seconds)
            yield 1, f"{data.name}, {data.split}: {_clips(found.clips, found.share)}: {what}"
            yield from ((2, f"{odd.clip.id}: {odd.detail}: {odd.clip.text}") for odd in found.examples)


def _duplicates(record: DataRecord) -> Iterator[tuple[int, str]]:
    for found in record.duplicates:
        if found.clips:
            what = {"transcript": "the words of an earlier one", "audio": "an earlier recording"}[found.by]
            again = f"again in {_clips(found.clips, found.share)}"
            yield 1, f"{found.split}: {what}, {again}; {_different(found.by, found.distinct)}"
            yield from _pairs(found.examples)


def _leaks(record: DataRecord) -> Iterator[tuple[int, str]]:
    heading = ""
    for leak in record.leaks:
        before, heading = heading, f"{leak.corpus}, {leak.split}, compared with {' and '.join(leak.seen)}"
        if heading != before:
            yield 1, heading
        yield 2, f"by {leak.by}: {_shared(leak)}"
        yield from _pairs(leak.examples, texts=leak.by != "speaker")
    if any(leak.by == "transcript" and leak.clips for leak in record.leaks):
        yield 1, TRANSCRIPTS
    if learnt := [f"{missing.name} ({missing.split})" for missing in record.missing]:
        yield 1, f"Not compared, as not at hand: {', '.join(learnt)}"


def _shared(leak: Leak) -> str:
    if not leak.compared:
        return "cannot be compared, as not both sides name speakers in one way"
    rest = f"; {leak.compared:,} could be compared" if leak.by == "speaker" else ""
    return (f"{_clips(leak.clips, leak.share)}; {_different(leak.by, leak.distinct)}" if leak.clips else "none") + rest


def _different(by: str, count: int) -> str:
    return f"{count:,} {'recording' if by == 'audio' else by}{'s' * (count != 1)}"


def _pairs(pairs: list[Pair], texts: bool = True) -> Iterator[tuple[int, str]]:
    for pair in pairs:
        clip, like = pair.clip, pair.like
        place = [like.split] * (like.split != clip.split) + [like.corpus] * (like.corpus != clip.corpus) + [like.id]
        yield 3, f"{clip.id}, like {' '.join(place)}: {clip.text}"
        if texts and like.text != clip.text:
            yield 4, f"there: {like.text}"


REPORT = "report.html"
RAW = "raw WER"
INTERVAL = "95 %"
# Of a verdict: "measurable", "comparable".
LONGEST_WORD = 10
# Hypotheses that are empty, that loop, and that were cut at the token limit.
FAULTS = "empty/loop/cut"
# The columns of rates; the interval follows the first rate.
RATES = [name.upper() for name in METRICS]
FIGURES = ("N", *RATES, RAW, FAULTS)


def print_summary(path: Path, console: Console | None = None) -> None:
    """
    Prints what each system heard in each corpus, the minutes of training, and where the files are.

    Args:
        path (`Path`): The run directory.
        console (`Console`, *optional*): Where to; standard output unless given.

    Raises:
        RecordError: The run is not trained or not evaluated yet.
    """
    run, console = RunDirectory(path), console or Console()
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    console.print(_rates_table(evaluation, training.name))
    evaluated = {"Results": run.results, "Report": run.eval / REPORT}
    places = _places({"Adapter": run.adapter, **evaluated, "Card": run.card})
    _say([*_trained(training), *_notes(evaluation), *places], console)


def markdown_summary(path: Path) -> str:
    """
    The same in Markdown, as the summary of a CI job shows it; not where the files are, which nobody there can open.

    Args:
        path (`Path`): The run directory.

    Raises:
        RecordError: The run is not trained or not evaluated yet.
    """
    run = RunDirectory(path)
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    shown = [cells for row in _rows(evaluation) for cells in _cells(row, evaluation.normalizer)]
    rules = ["---:" if heading in FIGURES else "---" for heading in _headings(evaluation)]
    cells = [map(line, _headings(evaluation)), rules, *(map(line, row) for row in shown)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    notes = "\n".join(f"- {line(note)}" for note in [*_trained(training), *_notes(evaluation)])
    return f"### {code(training.name)}\n\n{table}\n\n{notes}\n"


def print_evaluation(folder: Path, table: bool = True, console: Console | None = None) -> None:
    """
    Prints what came of an evaluation: what each system heard in each corpus, and where the files are.

    Args:
        folder (`Path`): Of the results.
        table (`bool`, *optional*, defaults to `True`): Rates too; else only where the files are.
        console (`Console`, *optional*): Where to; standard output unless given.

    Raises:
        RecordError: Nothing is evaluated there.
    """
    results, console = folder / "results.json", console or Console()
    evaluation = EvaluationRecord.read(results)
    if table:
        console.print(_rates_table(evaluation))
        _say(_notes(evaluation), console)
    _say(_places({"Results": results, "Report": folder / REPORT}), console)


def _rates_table(evaluation: EvaluationRecord, title: str = "") -> Table:
    table = Table(title=escape(title) or None, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in _headings(evaluation):
        figure = heading in FIGURES
        # A heading of several words takes several lines, so that the table fits into 80 columns.
        shown = heading.replace(" ", "\n").replace("/", "/\n") if figure else heading
        verdict = heading == _headings(evaluation)[-1]
        table.add_column(
            shown,
            justify="right" if figure else "left",
            no_wrap=figure or heading == INTERVAL,
            overflow="fold",
            min_width=LONGEST_WORD if verdict else None,
        )
    for row in _rows(evaluation):
        for cells in _cells(row, evaluation.normalizer):
            table.add_row(*cells)
        table.add_section()
    return table


def _headings(evaluation: EvaluationRecord) -> tuple[str, ...]:
    raw = [RAW] if evaluation.normalizer != "raw" else []
    return ("corpus", "N", "system", RATES[0], INTERVAL, *RATES[1:], *raw, FAULTS, f"{evaluation.main_system.name} is")


def _trained(training: TrainingRecord) -> Iterator[str]:
    """How long it took, how fast it went, and what was heard meanwhile."""
    pace = training.pace
    fast = f", {pace.step_seconds:.3g} s a step, {speed(pace.audio_hours_per_hour)} h of audio an hour" if pace else ""
    yield f"Trained in {training.train_seconds / 60:.1f} minutes, {training.steps} steps{fast}"
    heard = {point.step: point.wer for point in training.validation if point.wer is not None}
    if heard:
        (first, before), (last, after) = list(heard.items())[0], list(heard.items())[-1]
        step = training.kept_step
        kept = f"; kept step {step}, WER {heard[step]:.3f}" if step in heard else ""
        yield f"WER while training {before:.3f} at step {first}, {after:.3f} at step {last}{kept}"


def _notes(evaluation: EvaluationRecord) -> Iterator[str]:
    if len(evaluation.corpora) > 1:
        yield f"Pooled by words: {composition((each.name, each.word_share) for each in evaluation.corpora)}"
    if evaluation.normalizer != "raw":
        yield f"{' and '.join(RATES)} of texts normalized by {evaluation.normalizer}; raw WER of the texts as they are"
    yield f"{FAULTS}: clips with an empty hypothesis, with a loop, and with a hypothesis cut at the token limit"
    yield from notes(evaluation)


def _places(files: Mapping[str, Path]) -> Iterator[str]:
    return (f"{what + ':':<9}{file}" for what, file in files.items() if file.exists())


def _say(lines: Iterable[str], console: Console) -> None:
    for said in lines:
        console.print(said, highlight=False, markup=False, soft_wrap=True)


def _rows(evaluation: EvaluationRecord) -> list[Row]:
    """Return the rows with short titles, as 80 columns need them."""
    return rows(evaluation, titles_of(evaluation, pooled=evaluation.pooled.name), mean="mean of the corpora")


def _cells(row: Row, normalizer: str) -> Iterator[list[str]]:
    """Yield the cells of the base, of the judged system, and of each other system."""
    title, clips = row.title, "" if row.clips is None else str(row.clips)
    for each in row.base_first:
        first, *others = (f"{getattr(each.rates, name):.3f}" for name in METRICS)
        raw = [f"{each.raw.wer:.3f}" if each.raw else ""] if normalizer != "raw" else []
        faults = f"{each.faults.empty}/{each.faults.loop}/{each.faults.truncated}" if each.faults else ""
        yield [title, clips, each.system, first, _interval(each.rates.wer_ci95), *others, *raw, faults, each.verdict]
        title = clips = ""


def _interval(bounds: Interval) -> str:
    return f"{bounds[0]:.3f}–{bounds[1]:.3f}"
