"""Transcribe files, folders and globs: find recordings, name the outputs, and batch segments of several recordings."""

import glob
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from escoita.audio.loading import Recording, read_audible, seconds
from escoita.audio.segmentation import cut_segment
from escoita.errors import AudioError, EscoitaError
from escoita.inference.batching import batches_by_seconds
from escoita.inference.outputs import ENDINGS
from escoita.inference.transcriber import Output, Transcriber
from escoita.records.transcript import Segment, Transcript
from escoita.utils.languages import join_texts


# Endings of the files of a folder that are transcribed: those of the containers that the decoder reads. A file that is
# named itself may have any ending.
AUDIO_ENDINGS = frozenset(
    "wav wave flac ogg oga opus mp3 mp2 m4a m4b mp4 m4v mov 3gp 3g2 webm mkv mka aac ac3 aif aiff aifc caf amr wma wmv"
    " asf avi flv ts mts m2ts mpg mpeg au snd w64 rf64".split()
)
_MAGIC = "*?["
_DECODERS = 2
# Segments of so many batches are decoded before they are transcribed, so that those of like length are batched. What
# is lost when the command is killed is at most this much, and the recordings of which it is a part.
_BATCHES_AT_ONCE = 3


@dataclass(frozen=True)
class InputFile:
    """
    Store a recording that is to be transcribed.

    Args:
        path (`Path`): The file.
        stem (`Path`): Path of its outputs in the output folder, without the ending.
    """

    path: Path
    stem: Path

    def output(self, folder: Path, output_format: str) -> Path:
        """
        Return the path of an output.

        Args:
            folder (`Path`): The output folder.
            output_format (`str`): A key of [`~escoita.inference.outputs.FORMATS`].
        """
        return folder / self.stem.parent / f"{self.stem.name}.{ENDINGS[output_format]}"


def find_files(arguments: Sequence[str]) -> tuple[list[InputFile], list[EscoitaError]]:
    """
    Find the recordings that the arguments of a command name.

    Args:
        arguments (`Sequence[str]`): Files, folders and globs. Outputs of the files of a folder keep their place in it,
            those of a glob their place below its first part without `*`, `?` or `[`. In folders, hidden files and
            files with other endings than [`AUDIO_ENDINGS`] are left out.

    Returns:
        `tuple[list[InputFile], list[EscoitaError]]`: Each recording once, and an error for each argument that names
            nothing.
    """
    found: dict[Path, InputFile] = {}
    errors: list[EscoitaError] = []
    for argument in arguments:
        files = list(_files_of(argument))
        if not files:
            kind = "the folder holds no recordings" if os.path.isdir(argument) else "no such file or folder"
            errors.append(AudioError(kind, path=argument))
        for file in files:
            found.setdefault(file.path.resolve(), file)
    return list(found.values()), errors


def check_outputs(files: Sequence[InputFile], folder: Path) -> None:
    """
    Check that no two recordings would be written to the same outputs.

    Args:
        files (`Sequence[InputFile]`): The recordings.
        folder (`Path`): The output folder.

    Raises:
        EscoitaError: Two recordings have the same name; both are named.
    """
    taken: dict[str, InputFile] = {}
    for file in files:
        # Some file systems do not distinguish upper and lower case.
        other = taken.setdefault(str(file.stem).casefold(), file)
        if other is not file:
            raise EscoitaError(
                f"{other.path} would have the same outputs, {folder / file.stem}.*",
                path=file.path,
                hint="rename one, use another --output-dir, or give the folder that holds both",
            )


def _files_of(argument: str) -> Iterator[InputFile]:
    path = Path(argument)
    if path.is_dir():
        yield from _files_below(path, path)
    elif path.exists():
        yield InputFile(path, Path(path.stem))
    elif any(sign in argument for sign in _MAGIC):
        parts = path.parts
        root = Path(*parts[: next(place for place, part in enumerate(parts) if any(sign in part for sign in _MAGIC))])
        for match in map(Path, sorted(glob.glob(argument, recursive=True))):
            if match.is_dir():
                # `**` also matches the folders whose files it matches.
                if not argument.endswith("**"):
                    yield from _files_below(match, root)
            elif _is_recording(match.name):
                yield InputFile(match, match.relative_to(root).with_suffix(""))


def _files_below(folder: Path, root: Path) -> Iterator[InputFile]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(filter(_is_recording, names)):
            path = Path(parent, name)
            yield InputFile(path, path.relative_to(root).parent / path.stem)


def _is_recording(name: str) -> bool:
    return not name.startswith(".") and name.rpartition(".")[2].lower() in AUDIO_ENDINGS


@dataclass(frozen=True)
class FileResult:
    """
    Store what became of a recording.

    Args:
        file ([`InputFile`]): The recording.
        recording ([`~escoita.audio.loading.Recording`], *optional*): Its samples, if it was transcribed.
        transcript ([`~escoita.records.transcript.Transcript`], *optional*): Its transcript, if it was transcribed.
        error ([`~escoita.errors.EscoitaError`], *optional*): The reason why it was not transcribed.
    """

    file: InputFile
    recording: Recording | None = None
    transcript: Transcript | None = None
    error: EscoitaError | None = None


@dataclass(eq=False)
class _Open:
    """Hold a recording of which segments are not transcribed yet."""

    file: InputFile
    recording: Recording
    bounds: list[tuple[float, float]]
    outputs: dict[int, tuple[Output, float]] = field(default_factory=dict)
    failed: bool = False


# A recording and the number of one of its segments.
_Part = tuple[_Open, int]


def transcribe_files(
    transcriber: Transcriber,
    files: Iterable[InputFile],
    max_segment_seconds: float | None = None,
    on_progress: Callable[[float, float], None] | None = None,
) -> Iterator[FileResult]:
    """
    Transcribe recordings, segments of several in one batch; a recording that cannot be transcribed stops no other.

    Args:
        transcriber ([`~escoita.inference.transcriber.Transcriber`]): The model.
        files (`Iterable[InputFile]`): The recordings; the next ones are decoded while a batch is transcribed.
        max_segment_seconds (`float`, *optional*): Longest segment; the limit of the model unless it is shorter.
        on_progress (`Callable[[float, float], None]`, *optional*): Function that is called with the share of a
            recording that has been transcribed since the last call, and the seconds of audio in it.

    Returns:
        `Iterator[FileResult]`: Each recording as soon as it is finished.
    """
    runner = _Runner(transcriber, max_segment_seconds, on_progress or (lambda share, seconds: None))
    for file, recording in _decoded(files):
        if isinstance(recording, EscoitaError):
            yield FileResult(file, error=recording)
        elif runner.add(file, recording):
            yield from runner.run()
    yield from runner.run()


def _decoded(files: Iterable[InputFile]) -> Iterator[tuple[InputFile, Recording | EscoitaError]]:
    """Decode recordings in order, a few ahead."""
    waiting: deque[tuple[InputFile, Future[Recording | EscoitaError]]] = deque()
    with ThreadPoolExecutor(_DECODERS) as pool:
        for file in files:
            waiting.append((file, pool.submit(_decode, file.path)))
            if len(waiting) > _DECODERS:
                yield waiting[0][0], waiting.popleft()[1].result()
        while waiting:
            yield waiting[0][0], waiting.popleft()[1].result()


def _decode(path: Path) -> Recording | EscoitaError:
    try:
        return read_audible(path)
    except EscoitaError as error:
        error.path = path
        return error
    except OSError as error:
        return AudioError(f"cannot be read ({error.strerror or error})", path=path)
    except MemoryError:
        return AudioError("does not fit in memory", path=path, hint="cut it into shorter files")


class _Runner:
    """Collect segments of recordings, and transcribe them in batches of like length."""

    def __init__(
        self, transcriber: Transcriber, max_seconds: float | None, on_progress: Callable[[float, float], None]
    ):
        self.transcriber, self.on_progress = transcriber, on_progress
        self.max_seconds = max_seconds
        self.waiting: list[_Part] = []

    def add(self, file: InputFile, recording: Recording) -> bool:
        """Add a recording; return whether enough segments wait."""
        bounds = self.transcriber.spans(recording.samples, self.max_seconds)
        opened = _Open(file, recording, bounds)
        self.waiting += [(opened, number) for number in range(len(bounds))]
        return sum(map(_length, self.waiting)) >= _BATCHES_AT_ONCE * self.transcriber.batch_seconds

    def run(self) -> Iterator[FileResult]:
        """Transcribe all segments that wait, and yield their recordings."""
        waiting, self.waiting = self.waiting, []
        for indices in batches_by_seconds(list(map(_length, waiting)), self.transcriber.batch_seconds):
            yield from self._transcribe([waiting[index] for index in indices])

    def _transcribe(self, batch: list[_Part]) -> Iterator[FileResult]:
        batch = [part for part in batch if not part[0].failed]
        recordings = list(dict.fromkeys(opened for opened, _ in batch))
        if not batch:
            return
        started = time.perf_counter()
        audio = [cut_segment(opened.recording.samples, *opened.bounds[number]) for opened, number in batch]
        try:
            outputs = self.transcriber.transcribe_segments(audio)
        except EscoitaError as error:
            if len(recordings) > 1:  # each alone, so that only one fails
                for each in recordings:
                    yield from self._transcribe([part for part in batch if part[0] is each])
            else:
                recordings[0].failed = True
                yield FileResult(recordings[0].file, error=_of_file(error, recordings[0].file.path))
            return
        per_second = (time.perf_counter() - started) / sum(map(_length, batch))
        for part, output in zip(batch, outputs, strict=True):
            opened, number = part
            opened.outputs[number] = output, per_second * _length(part)
            self.on_progress(_length(part) / sum(end - start for start, end in opened.bounds), _length(part))
        for opened in recordings:
            if len(opened.outputs) == len(opened.bounds):
                yield FileResult(opened.file, opened.recording, self._transcript(opened))

    def _transcript(self, opened: _Open) -> Transcript:
        found = [opened.outputs[number] for number in range(len(opened.bounds))]
        most = self.transcriber.family.most_tokens(self.transcriber.model, self.transcriber.generation_settings)
        return Transcript(
            text=join_texts((each.text for each, _ in found), self.transcriber.generation_settings.language),
            audio_seconds=seconds(opened.recording.samples),
            compute_seconds=sum(spent for _, spent in found),
            tokens=sum(each.tokens for each, _ in found),
            truncated=any(each.tokens >= most for each, _ in found),
            segments=tuple(
                Segment(*part, each.text, each.characters(*part))
                for part, (each, _) in zip(opened.bounds, found, strict=True)
            ),
            notes=opened.recording.notes,
            speech_detector=self.transcriber.detector(opened.recording.samples, self.max_seconds),
        )


def _length(part: _Part) -> float:
    start, end = part[0].bounds[part[1]]
    return end - start


def _of_file(error: EscoitaError, path: Path) -> EscoitaError:
    """Return an error that names the recording."""
    return AudioError(str(error), path=path) if error.path is None else error
