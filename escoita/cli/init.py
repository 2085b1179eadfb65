"""Define the commands that begin with recordings: `escoita init` and `escoita split`."""

import os
import re
import shlex
import shutil
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from escoita.cli.done import done
from escoita.cli.options import repository
from escoita.errors import EscoitaError
from escoita.resources import resource
from escoita.utils.formatting import duration, shortened, visible
from escoita.utils.processes import say


if TYPE_CHECKING:
    from escoita.data.inspection.found import Found
    from escoita.data.inspection.manifest import Division
    from escoita.records.data import Split
    from escoita.records.preparation import AlignerRecord
    from escoita.training.starting_bases import BaseChoice

# With less training speech, in seconds, published comparisons favor another kind of model:
# docs/explanation/models.md.
LITTLE_SECONDS, LITTLE_BASE = 3600, "facebook/mms-1b-all"
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column", help="Name of a column, such as text=Transcrición; an empty name excludes one; repeatable."
    ),
]
TierOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tier", help="Tier of annotation files that contains the transcripts, by name or type; repeatable."
    ),
]
AlignerOption = Annotated[
    str | None,
    typer.Option(
        "--aligner",
        help="CTC model that cuts long recordings by their text files: run directory, adapter or model.",
        callback=repository,
    ),
]
SpeakerFoldersOption = Annotated[
    bool, typer.Option("--speaker-folders", help="The folder of each recording is the name of its speaker.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]


class ExistingFileError(EscoitaError):
    """
    Report a file that a command would overwrite.

    Args:
        option (`str`): The option that names the file.
    """

    problem = "exists"
    hint = "give another {option}, or overwrite it with --force"
    option: str


def init(
    source: Annotated[str, typer.Argument(help="Folder, table or archive, or dataset of the Hub (user/name).")],
    language: Annotated[str, typer.Option("--language", help="Language of the transcripts, such as gl or uz-Latn.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the recipe, NAME.yaml (default: that of the folder).")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Base model, a folder or repository (default: by the GPU).", callback=repository),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(help="Memory of the GPU that will train, such as 24GB, or none (default: that here).")
    ] = None,
    license: Annotated[
        str | None, typer.Option("--license", help="License of the recordings, an identifier of the Hub.")
    ] = None,
    publish_transcripts: Annotated[
        bool | None,
        typer.Option(
            "--publish-transcripts/--private-transcripts",
            help="Whether the transcripts of the test may be published (default: private, unless you agree).",
        ),
    ] = None,
    columns: ColumnOption = None,
    tiers: TierOption = None,
    speaker_folders: SpeakerFoldersOption = False,
    aligner: AlignerOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; what is not given has its default.")] = False,
    force: ForceOption = False,
) -> None:
    """
    Inspect recordings with transcripts, and write a recipe.

    Questions are asked only on a terminal. Nothing is overwritten without --force, and nothing in the folder of the
    recordings is changed.
    """
    from escoita.utils.languages import check_language

    language = check_language(language)
    name = _name(name, source)
    recipe, manifest, extracted = Path(f"{name}.yaml"), Path(f"{name}.jsonl"), Path(f"{name}-audio")
    record = Path(f"{name}.prepare.json")
    refuse_existing((recipe, manifest, record), force, "--name")
    remove_extracted(extracted, force)

    from escoita.data.annotations.rules import SegmentRules
    from escoita.data.inspection import inspect
    from escoita.data.inspection.manifest import SPLITS, check_and_divide, manifest_lines
    from escoita.data.inspection.segment_rules import preparation_record
    from escoita.data.readers import read_corpus
    from escoita.recipe.schema import Corpus, load_recipe
    from escoita.training.starting_bases import base_named, choose_base, gpu_gigabytes
    from escoita.training.starting_recipe import Start, recipe_text
    from escoita.utils.files import write_atomically

    gigabytes = gpu_gigabytes(gpu)
    choice = base_named(base, gigabytes) if base else choose_base(gigabytes)
    found = inspect(source, language, extracted, given_columns(columns), tiers or ())
    print_found(found)
    assign_speakers(found, speaker_folders)
    alignment: AlignerRecord | None = None
    scores: dict[str, float] = {}
    if aligner is None:
        print_dialogues(found)
    else:
        from escoita.preparation.long_recordings import cut_long_recordings

        alignment, scores = cut_long_recordings(found, aligner, language)
    others = {row.language for row in found.rows} - {"", language}
    if others:
        say(f"Rows in other languages than {language}: {', '.join(sorted(others))}; they keep their language")
    corpora: dict[Split, dict[str, Any]] = dict(found.native)
    longest, clips, seconds, by, lines = 30.0, None, None, None, [f"Found: {found.layout}"]
    if alignment is not None:
        lines.append(f"Aligned by {alignment.model}, whose license is {alignment.license or 'not stated'}")
    if not corpora:
        division = check_and_divide(found, longest_clip(choice))
        print_division(division)
        root = Path(source) if Path(source).is_dir() else Path(source).parent
        if all(Path(row.audio).is_relative_to(extracted) for row in division.rows):
            root = extracted
        write_atomically(manifest, "".join(f"{line}\n" for line in manifest_lines(division, root, scores)))
        if alignment is not None:
            preparation_record(source, division.outcome(found), SegmentRules(), alignment).write(record)
        keys = {"path": str(manifest), "audio_root": str(root)}
        corpora = {split: {**keys, "split": split} for split in SPLITS if division.size(split)[0]}
        clips, seconds, _ = division.size("train")
        longest, by = max(row.audio_seconds for row in division.rows), division.by
        lines += _sizes(division)
    elif corpora["train"]["reader"] != "hub":
        for split in corpora:
            rows, _ = read_corpus(Corpus(name=name, **corpora[split]), language)
            clips = len(rows) if split == "train" else clips
            lines.append(f"{split}: {len(rows):,} clips")
            say(lines[-1])
    public, license = _ask(publish_transcripts, license, yes)
    start = Start(
        name,
        language,
        choice,
        corpora,
        clips,
        longest,
        gigabytes,
        by,
        public,
        license or "",
        [visible(shortened(line)) for line in lines],
    )
    write_atomically(recipe, recipe_text(start))
    load_recipe(recipe)
    _print_base(choice, gigabytes)
    if base is None and seconds is not None and seconds < LITTLE_SECONDS:
        say(f"  Training has {duration(seconds)} of speech. Models such as {LITTLE_BASE} often need less data than")
        say("  this base: see docs/explanation/models.md, and choose one with --base.")
    made = [f"Recipe: {recipe}", *([f"Rows:   {manifest}"] if "audio_root" in corpora["train"] else [])]
    if alignment is not None:
        made.append(f"Record: {record}")
    else:
        record.unlink(missing_ok=True)  # an earlier call wrote it about other rows
    done(made, [("train", recipe), ("data", recipe)])


def split(
    manifest: Annotated[Path, typer.Argument(help="Table of recordings and transcripts, in any format of init.")],
    out: Annotated[
        Path | None, typer.Option(help="Manifest with the splits, .jsonl (default: NAME-splits.jsonl next to it).")
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Language, such as uz-Latn, for tables that are not in UTF-8.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the splits.", min=0)] = 3407,
    columns: ColumnOption = None,
    speaker_folders: SpeakerFoldersOption = False,
    again: Annotated[bool, typer.Option("--again", help="Ignore the splits that the table has.")] = False,
    force: ForceOption = False,
) -> None:
    """Divide a table into train, validation and test. They have no common speakers and sentences."""
    out = out or manifest.with_name(f"{manifest.stem}-splits.jsonl")
    refuse_other_suffix(out)
    refuse_existing((out,), force, "--out")

    from dataclasses import replace

    from escoita.data.inspection import inspect
    from escoita.data.inspection.manifest import check_and_divide, manifest_lines
    from escoita.utils.files import write_atomically
    from escoita.utils.languages import check_language

    if not manifest.is_file():
        raise EscoitaError("not found, or not a file", path=manifest)
    language = check_language(language) if language else ""
    found = inspect(str(manifest), language, out.with_suffix(""), given_columns(columns))
    if found.native:
        raise EscoitaError("has splits already", path=manifest)
    if again:
        found.rows = [replace(row, split="") for row in found.rows]
    print_found(found)
    assign_speakers(found, speaker_folders)
    division = check_and_divide(found, float("inf"), seed)
    print_division(division)
    write_atomically(out, "".join(f"{line}\n" for line in manifest_lines(division, out.parent)))
    done([f"Rows: {out}", "In a recipe: path: " + shlex.quote(str(out)) + ", and split: train, validation or test"])


def given_columns(columns: list[str] | None) -> dict[Any, str]:
    """
    Return the columns that the user names, by our names.

    Raises:
        EscoitaError: An option is not of the form `text=NAME`, or names another column.
    """
    from typing import get_args

    from escoita.recipe.schema import Column

    given = {}
    for each in columns or ():
        ours, equals, theirs = each.partition("=")
        if not equals or ours not in get_args(Column):
            hint = f"write one of {', '.join(get_args(Column))}, an equals sign and the name in the table"
            raise EscoitaError("not a column", key="--column", value=each, hint=hint)
        given[ours] = theirs
    return given


def refuse_existing(paths: tuple[Path, ...], force: bool, option: str) -> None:
    """
    Refuse to overwrite files.

    Args:
        paths (`tuple[Path, ...]`): The files.
        force (`bool`): Whether files may be overwritten.
        option (`str`): The option that names them.

    Raises:
        ExistingFileError: A file exists, and `force` is not set; or a folder does.
    """
    for path in paths:
        if os.path.lexists(path) and (not force or path.is_dir()):
            raise ExistingFileError(path=path, option=option)


def refuse_other_suffix(path: Path) -> None:
    """
    Refuse the name of a manifest that does not say its format.

    Raises:
        EscoitaError: The name does not end in `.jsonl`.
    """
    if path.suffix.lower() != ".jsonl":
        raise EscoitaError(
            "the rows are written as JSON lines", path=path, key="--out", hint="use a name that ends in .jsonl"
        )


def remove_extracted(folder: Path, force: bool) -> None:
    """
    Remove the recordings that an earlier call extracted, if `force` is given; another folder is kept.

    Raises:
        ExistingFileError: An earlier call made the folder, and `force` is not set.
    """
    from escoita.data.inspection.extraction import MARK

    if (folder / MARK).is_file() and not folder.is_symlink():
        if not force:
            raise ExistingFileError(path=folder, option="--name")
        shutil.rmtree(folder)


def assign_speakers(found: "Found", by_folder: bool) -> None:
    """
    Set the speaker of each row that names none to the folder of its recording, or print that folders may be speakers.

    Args:
        found ([`~escoita.data.inspection.found.Found`]): The rows, which are changed in place.
        by_folder (`bool`): Whether the folder of each recording is the name of its speaker.
    """
    from dataclasses import replace

    from escoita.data.inspection.columns import split_name

    if by_folder:
        found.rows = [row if row.speaker else replace(row, speaker=Path(row.audio).parent.name) for row in found.rows]
        return
    if found.turns or any(row.speaker for row in found.rows):
        return
    folders = sorted({Path(row.audio).parent.name for row in found.rows})
    # Folders of one recording each are not speakers, nor those whose names are splits.
    if 2 <= len(folders) <= len(found.rows) / 2 and not any(map(split_name, folders)):
        shown = ", ".join(map(visible, folders[:3])) + (", …" if len(folders) > 3 else "")
        say(
            f"No speakers are named, and the recordings are in {len(folders):,} folders ({shown}). If each is a"
            " speaker, add --speaker-folders, so that no speaker of the test is in training."
        )


def longest_clip(choice: "BaseChoice") -> float:
    """Return the longest clip that a base takes, in seconds: a folder states it; else 30 seconds."""
    if not Path(choice.base).is_dir():
        return 30.0
    from escoita.models import family_of

    family = family_of(choice.base)
    family.load_processor(choice.base)
    return min(30.0, family.max_audio_seconds)


def print_found(found: "Found") -> None:
    """Print what an inspection found."""
    say(f"Found: {visible(shortened(found.layout))}")
    for line in found.notes:
        say(f"  {visible(shortened(line))}")


def print_dialogues(found: "Found") -> None:
    """Print that transcripts that name several speakers are not divided, which only an aligner can do."""
    if found.turns:
        say(
            "  Each of them is one row without the names and without a speaker; cut it by speaker with --aligner MODEL"
            " (docs/linguists.md)"
        )


def print_division(division: "Division") -> None:
    """Print the sizes of the splits, and the rows that are not used, by reason."""
    from escoita.data.loading import rejected_lines

    for line in (*rejected_lines(division.rejected), *division.notes):
        say(visible(shortened(line)))
    for line in _sizes(division):
        say(line)
    if division.by == "clip":
        say("Split by clip: no sentence of the test is in training, but its speakers are, as too few are named.")
    elif division.by == "speaker":
        say("Split by speaker: no speaker and no sentence of the test is in training.")


def _sizes(division: "Division") -> list[str]:
    from escoita.data.inspection.manifest import SPLITS, UNUSED

    lines = []
    for name in (*SPLITS, None):
        clips, seconds, speakers = division.size(name)
        if clips or name:
            label = f"{name}:" if name else "not used:"
            people = f", {speakers:,} speaker{'s' * (speakers != 1)}" if speakers else ""
            reason = "" if name else f": they have {UNUSED}"
            lines.append(f"{label:<12}{clips:,} clip{'s' * (clips != 1)}, {duration(seconds)}{people}{reason}")
    return lines


def _print_base(choice: "BaseChoice", gigabytes: float | None) -> None:
    from escoita.training.starting_bases import BASES

    say(f"Base: {choice.line()}")
    tiny = resource("quickstart/gemma4")
    tiny = tiny.relative_to(Path.cwd()) if tiny.is_relative_to(Path.cwd()) else tiny
    if choice.on_cpu:
        say(
            "  There is no GPU here: the recipe has settings for this CPU, on which training is slow. For another"
            f" machine, or the Hub (`escoita jobs train`), add --gpu {choice.gigabytes:g}GB."
        )
    elif choice.gigabytes and gigabytes is None:
        say(
            f"  There is no GPU here, and the recipe is for one with {choice.gigabytes:g} GB: train on a machine with"
            " one, or on the Hub (`escoita jobs train`), or try all commands with the tiny base of the quick start"
            f" (--base {tiny})."
        )
    elif choice.gigabytes and gigabytes is not None and gigabytes < choice.gigabytes:
        say(f"  The GPU has {gigabytes:.0f} GB: the batch may be split, or the base may not fit (`escoita doctor`).")
    others = [each.line() for each in BASES if each != choice]
    say(f"  Others (--base, --gpu): {'; '.join(others)}")


def _ask(public: bool | None, license: str | None, yes: bool) -> tuple[bool, str | None]:
    """Ask, on a terminal, what was not given; the answers of nobody are no."""
    if yes or not sys.stdin.isatty():
        return bool(public), license
    if public is None:
        question = "May the transcripts of the test be published with the results, so that readers can check them?"
        public = typer.confirm(question, default=False, err=True)
    if license is None:
        license = typer.prompt(
            "License of the recordings (such as cc-by-4.0; empty: not stated)", "", show_default=False, err=True
        )
    return public, license


def _name(name: str | None, source: str) -> str:
    """
    Return the name of the recipe: the given one, or that of the folder in ASCII.

    Raises:
        EscoitaError: The given name cannot be a name of a recipe.
    """
    from escoita.recipe.schema import Corpus

    folder = Path(source).resolve() if Path(source).exists() else Path(source)
    decomposed = unicodedata.normalize("NFKD", folder.name if folder.is_dir() else folder.stem)
    plain = re.sub(r"[^a-z0-9]+", "-", decomposed.encode("ascii", "ignore").decode().lower()).strip("-")
    found = name or plain or "recordings"
    try:
        return Corpus(name=found, path="").name
    except ValueError as error:
        hint = "use letters of English, digits, - and _"
        raise EscoitaError("cannot be the name of a recipe", key="--name", value=found, hint=hint) from error
