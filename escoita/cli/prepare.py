"""Define the command that turns annotated recordings into rows: `escoita prepare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from escoita.cli.done import done
from escoita.cli.init import (
    AlignerOption,
    ColumnOption,
    ForceOption,
    SpeakerFoldersOption,
    TierOption,
    assign_speakers,
    given_columns,
    print_dialogues,
    print_found,
    refuse_existing,
    refuse_other_suffix,
)
from escoita.errors import CorpusError
from escoita.utils.formatting import duration, percent
from escoita.utils.processes import say


if TYPE_CHECKING:
    from escoita.data.inspection.found import Found
    from escoita.records.preparation import PreparationRecord


def prepare(
    source: Annotated[Path, typer.Argument(help="Folder of recordings and annotations, or one file of either.")],
    language: Annotated[str, typer.Option("--language", help="Language of the transcripts, such as gl or uz-Latn.")],
    out: Annotated[
        Path | None, typer.Option(help="Manifest of the rows, .jsonl (default: NAME-rows.jsonl in this folder).")
    ] = None,
    overlap: Annotated[
        Literal["drop", "keep"], typer.Option(help="What is done with segments that overlap by more than 0.1 s.")
    ] = "drop",
    notes: Annotated[
        Literal["remove", "drop", "keep"],
        typer.Option(help="What is done with notes in brackets: remove the note, drop the segment, or keep the text."),
    ] = "remove",
    drafts_reviewed: Annotated[
        bool, typer.Option("--drafts-reviewed", help="Use unchanged drafts too: a person checked all of them.")
    ] = False,
    aligner: AlignerOption = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            min=0,
            max=1,
            help="Lowest score of an aligned clip that is used (default: 0.2, or 0.02 if the text is romanized).",
        ),
    ] = None,
    tiers: TierOption = None,
    columns: ColumnOption = None,
    speaker_folders: SpeakerFoldersOption = False,
    force: ForceOption = False,
) -> None:
    """
    Turn annotated recordings into rows with times and speakers.

    Overlapping speech, notes in brackets and empty segments are left out or changed by rules, which are counted and
    recorded. Nothing in the folder of the recordings is changed.
    """
    from escoita.data.annotations.rules import SegmentRules
    from escoita.data.inspection import inspect
    from escoita.data.inspection.manifest import manifest_line
    from escoita.data.inspection.segment_rules import preparation_record
    from escoita.data.rows import Utterances
    from escoita.preparation.long_recordings import cut_long_recordings
    from escoita.utils.files import write_atomically
    from escoita.utils.languages import check_language

    language = check_language(language)
    out = out or default_out(source)
    refuse_other_suffix(out)
    record_path = out.with_suffix(".prepare.json")
    refuse_existing((out, record_path), force, "--out")
    rules = SegmentRules(overlap, notes, drafts_reviewed)
    found = inspect(str(source), language, out.with_suffix(""), given_columns(columns), tiers or (), rules)
    print_found(found)
    assign_speakers(found, speaker_folders)
    if aligner is None:
        print_dialogues(found)
    if found.native:
        raise CorpusError("has a layout that is read as it is", path=source, hint="use `escoita init`")
    alignment, scores = cut_long_recordings(found, aligner, language, min_score)
    if not found.rows:
        raise CorpusError("none of the clips can be used", path=source)
    record = preparation_record(source, found, rules, alignment)
    _print_rows(found, record)
    rows = Utterances.of(found.rows).with_unique_ids()
    write_atomically(out, "".join(f"{manifest_line(row, out.parent, scores=scores)}\n" for row in rows))
    record.write(record_path)
    name = out.stem.removesuffix("-rows")
    name = name if name != out.stem else f"{name}-recipe"
    done(
        [f"Rows:   {out}", f"Record: {record_path}"],
        [("init", out, "--language", language, "--name", name)],
    )


def default_out(source: Path) -> Path:
    """Return the manifest that is written by default, in the current folder."""
    return Path(f"{source.resolve().stem or 'recordings'}-rows.jsonl")


def _print_rows(found: "Found", record: "PreparationRecord") -> None:
    from escoita.data.loading import rejected_lines

    for line in rejected_lines(found.rejected):
        say(line)
    for each in record.rounds:
        words = each.word_edits / each.words if each.words else None
        characters = each.character_edits / each.characters if each.characters else None
        counts = f"{each.changed:,} changed, {each.unchanged:,} unchanged, {each.removed:,} removed"
        segments = f"{each.segments:,} segment{'s' * (each.segments != 1)}"
        say(f"Drafts of round {each.round}: {segments}, {counts}")
        say(f"  Edit rate from draft to correction: {percent(words)} of words, {percent(characters)} of characters")
    people = f", {record.speakers:,} speaker{'s' * (record.speakers != 1)}" if record.speakers else ""
    length = f", {duration(record.audio_seconds)}" if record.audio_seconds else ""
    say(f"Segments that are used: {record.rows:,}{length}{people}")
