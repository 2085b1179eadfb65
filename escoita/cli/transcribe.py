"""Define the command that transcribes recordings, and writes text, subtitles and annotations."""

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escoita.cli.options import (
    AllowOtherBaseOption,
    BaseOption,
    BaseRevisionOption,
    PromptOption,
    SystemOption,
    repository,
)
from escoita.utils.formatting import duration, speed, visible


if TYPE_CHECKING:
    from escoita.inference.files import FileResult
    from escoita.inference.subtitles import CueLimits
    from escoita.records.transcript import SpeechDetector

FORMAT_NAMES = ("txt", "srt", "vtt", "json", "textgrid", "eaf", "csv")
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


def transcribe(
    files: Annotated[list[str], typer.Argument(help="Recordings: files, folders (searched recursively) or globs.")],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Run directory, adapter (folder or user/name@revision), base model or Whisper model.",
            callback=repository,
        ),
    ],
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Folder for the outputs.", file_okay=False)
    ] = Path("."),
    output_format: Annotated[
        str,
        typer.Option(
            "--output-format", "-f", help=f"Formats, separated by commas: {', '.join(FORMAT_NAMES)}; or all."
        ),
    ] = "txt",
    language: Annotated[
        str | None,
        typer.Option(
            "--language",
            help="Language of the recordings, a tag such as gl or uz-Latn (default: the language that the adapter"
            " stores).",
        ),
    ] = None,
    prompt: PromptOption = None,
    system: SystemOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Transcribe recordings again even if their outputs exist.")
    ] = False,
    max_line_width: Annotated[int, typer.Option(min=10, help="Maximum number of characters in a subtitle line.")] = 42,
    max_line_count: Annotated[int, typer.Option(min=1, help="Maximum number of lines of a subtitle.")] = 2,
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps", help="Add estimated word timestamps to the JSON output.")
    ] = False,
    chunk_size: Annotated[
        float | None,
        typer.Option(min=1, help="Maximum segment length in seconds (default: the model's limit)."),
    ] = None,
    batch_seconds: Annotated[
        float, typer.Option(min=1, help="Maximum duration of the audio in a batch, in seconds.")
    ] = 120.0,
    device: Annotated[
        str | None, typer.Option(help="Device: cpu, cuda or cuda:1 (default: the first GPU, else the CPU).")
    ] = None,
    base: BaseOption = None,
    base_revision: BaseRevisionOption = None,
    allow_other_base: AllowOtherBaseOption = False,
) -> None:
    """
    Transcribe recordings with an adapter or any other model.

    Recordings whose outputs exist are skipped, so the same command resumes after an interruption.

    If a recording cannot be transcribed, the command reports it, transcribes the others, and exits with status 1.
    """
    formats = chosen_formats(output_format)
    _use_device(device)
    from escoita.inference.files import check_outputs, find_files, transcribe_files
    from escoita.inference.model_source import find_model
    from escoita.inference.outputs import clean
    from escoita.inference.subtitles import CueLimits
    from escoita.records.transcript import DETECTORS
    from escoita.utils.processes import say

    found, errors = find_files(files)
    for error in errors:
        _report(error)
    check_outputs(found, output_dir)
    missing = {
        file: [each for each in formats if overwrite or not file.output(output_dir, each).exists()] for file in found
    }
    todo = [file for file in found if missing[file]]
    if len(todo) < len(found):
        say(f"{_count(len(found) - len(todo))} skipped: the outputs exist; --overwrite transcribes them again.")
    failed = len(errors)
    if todo:
        source = find_model(model, base, language, prompt, system, base_revision)
        say(f"Loading {source.adapter or source.base} ...")
        transcriber = source.load(base_revision, batch_seconds, allow_other_base)
        limits = CueLimits(max_line_width, max_line_count)
        summary = _Summary(len(todo))
        spoken, texts = transcriber.generation_settings.language, []
        detector: SpeechDetector | None = None
        with _progress(summary) as on_progress:
            for result in transcribe_files(transcriber, todo, chunk_size, on_progress):
                if result.error is not None:
                    failed += 1
                    on_progress(1.0, 0.0)
                    _report(result.error)
                    continue
                paths = _write(result, missing[result.file], output_dir, limits, spoken, word_timestamps)
                summary.done += 1
                if result.transcript is not None:
                    detector = result.transcript.speech_detector or detector
                say(visible(f"{result.file.path}: {', '.join(map(str, paths))}"))
                if len(found) == 1 and result.transcript is not None:
                    texts.append(clean(result.transcript.text))
        for text in texts:
            typer.echo(text)
        if detector is not None:
            say(f"The speech of long recordings was found by {DETECTORS[detector]}.")
        if summary.done:
            say(summary.line(output_dir))
    if failed:
        say(f"{_count(failed)} not transcribed.")
        raise typer.Exit(1)


def chosen_formats(names: str) -> list[str]:
    """
    Return the output formats that a list of names chooses.

    Args:
        names (`str`): Names, separated by commas; `all` for every format.

    Raises:
        typer.BadParameter: A name is unknown.
    """
    chosen = [name.strip().lower() for name in names.split(",") if name.strip()]
    if "all" in chosen:
        return list(FORMAT_NAMES)
    unknown = [name for name in chosen if name not in FORMAT_NAMES]
    if unknown or not chosen:
        given = ", ".join(unknown) or repr(names)
        raise typer.BadParameter(f"{given}: choose from {', '.join(FORMAT_NAMES)}, all", param_hint="--output-format")
    return list(dict.fromkeys(chosen))


def _use_device(device: str | None) -> None:
    """Make torch use a device; call this function before torch is imported."""
    if device is None:
        return
    if not _DEVICE.fullmatch(device):
        raise typer.BadParameter(f"{device}: choose cpu, cuda or cuda:N", param_hint="--device")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return
    import torch

    kind, _, number = device.partition(":")
    if int(number or 0) >= torch.cuda.device_count():
        raise typer.BadParameter(f"{device}: torch finds {torch.cuda.device_count()} GPUs", param_hint="--device")
    torch.cuda.set_device(int(number or 0))


def _write(
    result: "FileResult",
    formats: Sequence[str],
    folder: Path,
    limits: "CueLimits",
    language: str,
    word_timestamps: bool,
) -> list[Path]:
    """Write the outputs of a recording."""
    from escoita.inference.outputs import FORMATS, TranscribedFile
    from escoita.inference.subtitles import make_cues, transcript_words
    from escoita.records.transcript import NOTES
    from escoita.utils.files import write_atomically
    from escoita.utils.processes import say

    transcript, recording = result.transcript, result.recording
    if transcript is None or recording is None:
        return []
    for note in transcript.notes:
        say(visible(f"{result.file.path}: {NOTES[note]}"))
    # Text alone needs no times.
    words = transcript_words(transcript, recording.samples) if set(formats) != {"txt"} else []
    cues = make_cues(words, transcript.audio_seconds, limits)
    paths = []
    for name in formats:
        path = result.file.output(folder, name)
        media = _relative(result.file.path, path.parent)
        file = TranscribedFile(media, transcript, tuple(words), tuple(cues), language, word_timestamps)
        write_atomically(path, FORMATS[name](file))
        paths.append(path)
    return paths


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive of Windows
        return path.name


def _report(error: Exception) -> None:
    from escoita.utils.processes import say

    say(f"escoita: {error}")


def _count(files: int) -> str:
    return f"{files:,} file{'s' * (files != 1)}"


class _Summary:
    """Count what was transcribed since the model was loaded."""

    def __init__(self, files: int):
        self.files, self.done, self.audio_seconds, self.started = files, 0, 0.0, time.perf_counter()

    def speed(self) -> str:
        """Return the seconds of audio that are transcribed in a second."""
        return f"RTFx {speed(self.audio_seconds / (time.perf_counter() - self.started))}"

    def line(self, folder: Path) -> str:
        """Return what was done, as one line."""
        spent = time.perf_counter() - self.started
        return (
            f"{_count(self.done)}, {_time(self.audio_seconds)} of audio in {_time(spent)} ({self.speed()});"
            f" outputs in {folder}"
        )


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


@contextmanager
def _progress(summary: _Summary) -> "Iterator[Callable[[float, float], None]]":
    """Show a progress bar if standard error is a terminal; yield the function that advances the bar."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from escoita.utils.processes import console

    def add(_: float, seconds: float) -> None:
        summary.audio_seconds += seconds

    if not console.is_terminal:
        yield add
        return
    columns = (
        TextColumn("Transcribing"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[files]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=summary.files, files="")

        def advance(share: float, seconds: float) -> None:
            add(share, seconds)
            bar.update(task, advance=share, files=f"{summary.done}/{summary.files} files, {summary.speed()}")

        yield advance
