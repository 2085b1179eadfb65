"""Define the command that drafts transcripts into annotation files: `escoita draft`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from escoita.cli.done import done
from escoita.cli.init import TierOption
from escoita.cli.options import AllowOtherBaseOption, BaseOption, BaseRevisionOption, repository
from escoita.cli.prepare import default_out
from escoita.errors import CorpusError
from escoita.utils.files import public_name
from escoita.utils.formatting import duration, shortened, visible
from escoita.utils.processes import say


def draft(
    source: Annotated[Path, typer.Argument(help="Folder of recordings and their annotations, or one recording.")],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Run directory, adapter (folder or user/name@revision), base model or Whisper model.",
            callback=repository,
        ),
    ],
    language: Annotated[
        str | None, typer.Option("--language", help="Language of the recordings (default: that of the adapter).")
    ] = None,
    new_format: Annotated[
        Literal["eaf", "textgrid", "srt", "vtt", "label-studio"],
        typer.Option("--format", help="Format for recordings without an ELAN file or a TextGrid."),
    ] = "eaf",
    tiers: TierOption = None,
    base: BaseOption = None,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
) -> None:
    """
    Draft transcripts of speech that is not transcribed yet.

    The drafts are new tiers of the annotation files. Nothing else in the files changes, and a copy of each is kept.
    Correct the drafts in ELAN, Praat or another tool; `escoita prepare` reads the corrections. If a file does not
    allow a draft, the command reports the reason, drafts the others, and exits with status 1.
    """
    from escoita.data.annotations.drafts import DRAFTS
    from escoita.data.inspection.listing import Listing

    if not source.exists():
        raise CorpusError("not found", path=source)
    listing = Listing(source)
    wanted = {path for path in listing.recordings if source.is_dir() or path.stem == source.stem}
    if not wanted:
        raise CorpusError("contains no recordings", path=source)

    from escoita.inference.model_source import find_model
    from escoita.preparation.drafting import draft_recordings, find_work

    found = find_model(model, base, language, revision=base_revision)
    say(f"Loading {found.adapter or found.base} ...")
    transcriber = found.load(base_revision, allow_other_base=allow_other_base)
    language = language or transcriber.generation_settings.language
    work, notes = find_work(listing, language, tiers or ())
    for line in notes:
        say(visible(shortened(line)))
    failed = count = 0
    total = 0.0
    work = [each for each in work if each.recording in wanted]
    if removed := sum(each.removed for each in work):
        again = f"to draft them again, delete their lines in {listing.root / DRAFTS}"
        say(visible(f"Not drafted again, because the earlier draft was removed: {_segments(removed)}; {again}"))
    for each in draft_recordings(listing.root, work, transcriber, public_name(model), new_format):
        if each.error is not None:
            failed += 1
            say(f"escoita: {each.error}")
        elif each.file is None:
            say(visible(f"{each.recording}: nothing to draft"))
        else:
            count, total = count + each.segments, total + each.audio_seconds
            names = f" in {', '.join(each.tiers)}" if each.tiers else ""
            say(visible(f"{each.file}: {_segments(each.segments)}, {duration(each.audio_seconds)}{names}"))
    say(f"Drafted: {_segments(count)}, {duration(total)}")
    if failed:
        say(f"Recordings without a draft, for the reasons above: {failed:,}")
        raise typer.Exit(1)
    if count:
        chosen = [word for tier in tiers or () for word in ("--tier", tier)]
        force = ["--force"] if default_out(source).exists() else []
        tool = "Import the drafts into Label Studio, correct them, and export them as JSON into the folder"
        done(
            [f"{tool if new_format == 'label-studio' else 'Correct the drafts'}, then:"],
            [("prepare", source, "--language", language, *chosen, *force)],
        )


def _segments(count: int) -> str:
    return f"{count:,} segment{'s' * (count != 1)}"
