"""Decode and measure clips, and keep the measurements in a cache until a file changes."""

import hashlib
import os
import shutil
import sqlite3
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock

from escoita.audio.fingerprint import fingerprint
from escoita.audio.loading import Recording, is_silent, read_recording, seconds
from escoita.data.rows import Rejected, Utterance, Utterances, batched
from escoita.errors import AudioError, CorpusError
from escoita.utils.files import cache_folder, free_bytes
from escoita.utils.formatting import visible
from escoita.utils.processes import say, track


def cached_copy(source: Path, kind: str, make: Callable[[Path, Path], None], part: str = "") -> Path:
    """
    Return a file or folder that is derived from a source file, and make it if it is not in the cache.

    It is in the folder `kind` of the cache (`$ESCOITA_CACHE`, see [`~escoita.utils.files.cache_folder`]), and is named
    by path, size and modification time of the source. It is moved there only when it is complete. It is never
    removed; the folder may be deleted at any time, and is made again.

    Args:
        source (`Path`): The source file.
        kind (`str`): The subfolder of the cache, `archives` or `recordings`.
        make (`Callable[[Path, Path], None]`): The function that reads the first path and writes the second.
        part (`str`, *optional*, defaults to `""`): The part of the source, if only a part of it is used.

    Raises:
        CorpusError: The source is damaged, or the cache cannot be written.
    """
    try:
        status = source.stat()
        state = f"{source.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0{part}"
        target = cache_folder() / kind / hashlib.blake2b(state.encode(), digest_size=16).hexdigest()
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        # One of several processes makes it, and the others wait.
        with FileLock(f"{target}.lock"):
            if not target.exists():
                partial = target.with_name(f"{target.name}.partial")
                _remove(partial)  # left by a process that was killed
                try:
                    make(source, partial)
                    os.replace(partial, target)
                except BaseException:
                    _remove(partial)
                    raise
    except OSError as error:
        if error.errno is None:  # raised by a decoder, not by the operating system
            raise CorpusError(f"damaged ({error})", path=source, hint="download it again") from error
        free = f"{free_bytes(cache_folder()) / 1e6:,.0f} MB are free"
        raise CorpusError(
            f"cannot be unpacked into {cache_folder()} ({error.strerror}; {free})", path=source, hint=OTHER_CACHE
        ) from error
    return target


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


# The number is raised when measures change, so that old caches are not used.
CACHE = "clips-4.sqlite"
OTHER_CACHE = "free disk space, or set ESCOITA_CACHE to another folder"
# The reason of a row whose recording does not exist.
NO_SUCH_FILE = "no such file"
# Files below the folder of a manifest that are listed to find missing recordings.
MOST_FILES = 1_000_000
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm", ".mp4", ".wma", ".aiff", ".aif")
# Rows of a block; embedded recordings of two blocks are in memory together.
_AT_ONCE, _KEYS_AT_ONCE = 128, 32
_LOOKED_UP_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Measure:
    """
    Store the measures of a decoded clip.

    Args:
        seconds (`float`): The length; 0 if the clip cannot be read.
        fingerprint (`bytes`): The [`~escoita.audio.fingerprint.fingerprint`]; empty if there is no audible content.
        reason (`str`): The reason why the clip cannot be read; empty if it can.
        channel (`int`): The number of the channel, from 1, that is used because mixing cancels it; 0 if all are mixed.
    """

    seconds: float
    fingerprint: bytes
    reason: str
    channel: int = 0


@dataclass
class ClipWarnings:
    """
    Count the problems of the usable clips of a corpus.

    Args:
        clips (`int`): The number of usable clips.
        silent (`int`): The number of clips without audible content.
        one_channel (`int`): The number of clips of which one channel is used.
        first_silent (`str`): The first clip without audible content, with source and row; empty if there is none.
    """

    clips: int = 0
    silent: int = 0
    one_channel: int = 0
    first_silent: str = ""

    def lines(self) -> list[str]:
        """Return one line for each kind of problem, with its count."""
        found = []
        if self.silent:
            found.append(
                f"no audible content in {self.silent:,} of {self.clips:,} clips; the first: {self.first_silent}"
            )
        if self.one_channel:
            found.append(
                f"mixing the channels to mono cancels or attenuates {self.one_channel:,} of {self.clips:,} clips;"
                " their strongest channel is used"
            )
        return found


def read_clip(utterance: Utterance) -> np.ndarray:
    """
    Decode the recording of an utterance, or its segment of a recording.

    Returns:
        `np.ndarray`: Samples of shape `(samples,)`, float32, 16 kHz.

    Raises:
        AudioError: The recording cannot be read, or its file is cut off.
    """
    return decode_clip(utterance).samples


def decode_clip(utterance: Utterance) -> Recording:
    """
    Decode the recording of an utterance, or its segment of a recording, with the channel that was used.

    Raises:
        AudioError: The recording cannot be read, or its file is cut off.
    """
    segment = (utterance.offset, utterance.duration) if utterance.offset is not None else (0.0, None)
    source = utterance.audio if utterance.embedded is None else utterance.embedded
    recording = read_recording(source, utterance.audio, *segment)
    if recording.cut_off:
        raise AudioError(recording.cut_off, path=utterance.audio)
    return recording


def measure_clips(utterances: Utterances, title: str = "Checking clips") -> Iterator[Measure]:
    """
    Measure every clip; decode those that are not in the cache of this user yet, on all cores.

    A file is identified by its path, size and modification time, an embedded recording by its digest. A clip that
    cannot be read is tried again each time.

    Args:
        utterances ([`Utterances`]): The rows of one or more corpora.
        title (`str`, *optional*, defaults to `"Checking clips"`): The label of the progress bar.

    Returns:
        `Iterator[Measure]`: The measures in the order of the rows.
    """
    with closing(_cache()) as database, ThreadPoolExecutor() as pool:
        writable = True
        for block in batched(track(utterances, total=len(utterances), title=title), _AT_ONCE):
            # Several keys for each task: to start a task takes longer than to make a key.
            parts = batched(block, _KEYS_AT_ONCE)
            keys = [key for part in pool.map(lambda part: [*map(_key, part)], parts) for key in part]
            known = _known(database, keys)
            new = [index for index, key in enumerate(keys) if key not in known]
            measured = dict(zip(new, pool.map(_measure, [block[index] for index in new]), strict=True))
            if writable:
                writable = _save(database, {keys[index]: measure for index, measure in measured.items()})
            for index, key in enumerate(keys):
                yield measured[index] if index in measured else known[key]


def cached_seconds(utterances: Utterances) -> np.ndarray:
    """
    Return the lengths of clips from the cache, which `escoita data` and trainings fill; nothing is decoded.

    Args:
        utterances ([`Utterances`]): The rows of one or more corpora.

    Returns:
        `np.ndarray`: The lengths in seconds, of shape `(rows,)`; NaN for a clip that is not in the cache.
    """
    found = np.full(len(utterances), np.nan)
    with closing(_cache()) as database, ThreadPoolExecutor() as pool:
        start = 0
        for block in batched(utterances, _LOOKED_UP_AT_ONCE):
            parts = batched(block, _KEYS_AT_ONCE)
            keys = [key for part in pool.map(lambda part: [*map(_key, part)], parts) for key in part]
            known = _known(database, keys)
            found[start : start + len(block)] = [known[key].seconds if key in known else np.nan for key in keys]
            start += len(block)
    return found


def check_clips(
    utterances: Utterances,
    max_audio_seconds: float | None,
    special_tokens: Collection[str] = (),
    title: str = "Checking clips",
    noticed: ClipWarnings | None = None,
    row_problem: Callable[[str, float], str] | None = None,
) -> tuple[Utterances, list[Rejected]]:
    """
    Measure every clip, and separate the usable clips from the others.

    Args:
        utterances ([`Utterances`]): The rows of one or more corpora.
        max_audio_seconds (`float`, *optional*): The longest clip that the model takes, in seconds. Longer clips are
            rejected: a feature extractor would cut them silently while the transcript stayed complete. The default is
            no limit, for callers that cut long recordings into segments.
        special_tokens (`Collection[str]`, *optional*): Special tokens of the model; a transcript that contains one is
            rejected.
        title (`str`, *optional*, defaults to `"Checking clips"`): The label of the progress bar.
        noticed ([`ClipWarnings`], *optional*): The object that receives the problems of the usable clips.
        row_problem (`Callable[[str, float], str]`, *optional*): The function that returns why the model cannot be
            trained on a transcript of a clip of some seconds, or an empty string.

    Returns:
        `tuple[Utterances, list[Rejected]]`: The usable rows with their lengths, and the others with the reason.
    """

    def reject(text: str, measure: Measure) -> str:
        if found := [token for token in special_tokens if token in text]:
            return f"the transcript contains {found[0]}, a special token of the model"
        if max_audio_seconds is not None and measure.seconds > max_audio_seconds:
            return f"{measure.seconds:.1f} s is longer than the model's limit of {max_audio_seconds:g} s; split it"
        if measure.reason or row_problem is None:
            return measure.reason
        return row_problem(text, measure.seconds)

    usable, measures, rejected = filter_clips(utterances, title, reject)
    if noticed is not None:
        silent = [index for index, measure in enumerate(measures) if not measure.fingerprint]
        noticed.clips, noticed.silent = len(measures), len(silent)
        noticed.one_channel = sum(measure.channel > 0 for measure in measures)
        if silent:
            row = usable[silent[0]]
            noticed.first_silent = visible(f"{row.source}:{row.row}: {row.audio}")
    return usable, rejected


def filter_clips(
    utterances: Utterances, title: str, reject: Callable[[str, Measure], str]
) -> tuple[Utterances, list[Measure], list[Rejected]]:
    """
    Measure every clip, and remove those that are rejected.

    Args:
        utterances ([`Utterances`]): The rows of one or more corpora.
        title (`str`): The label of the progress bar.
        reject (`Callable[[str, Measure], str]`): The function that returns, for the transcript and the measures of a
            clip, the reason why the clip cannot be used, or an empty string.

    Returns:
        `tuple[Utterances, list[Measure], list[Rejected]]`: The usable rows with their lengths, their measures, and
        the other rows with the reason.
    """
    lengths, usable, measures = np.zeros(len(utterances)), np.zeros(len(utterances), bool), []
    reasons: dict[int, str] = {}
    texts = utterances.each("text")
    for index, (text, measure) in enumerate(zip(texts, measure_clips(utterances, title), strict=True)):
        if reason := reject(text, measure):
            reasons[index] = reason
        else:
            lengths[index], usable[index] = measure.seconds, True
            measures.append(measure)
    rows = ((utterances[index], reason) for index, reason in reasons.items())
    find = SimilarFiles()
    rejected = [
        Rejected(row.source, row.row, row.audio, reason, find(row) if reason == NO_SUCH_FILE else "")
        for row, reason in rows
    ]
    return utterances.with_audio_seconds(lengths).where(usable), measures, rejected


class SimilarFiles:
    """Find missing recordings below the folder of their manifest, in another folder or with another ending or case."""

    def __init__(self) -> None:
        self._known: dict[Path, dict[str, str]] = {}  # by folder, the files by name and by name without ending

    def __call__(self, utterance: Utterance) -> str:
        """Return the file that is probably the recording of an utterance, or an empty string."""
        folder = Path(utterance.source).parent
        if not utterance.source or not folder.is_dir():
            return ""
        if folder not in self._known:
            self._known[folder] = self._files(folder)
        name = Path(utterance.audio)
        return self._known[folder].get(_same_name(name.name)) or self._known[folder].get(_same_name(name.stem), "")

    def _files(self, folder: Path) -> dict[str, str]:
        found: dict[str, str] = {}
        paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in sorted(names))
        for path in islice(paths, MOST_FILES):
            found.setdefault(_same_name(path.name), str(path))
            if path.suffix.lower() in AUDIO_SUFFIXES:
                found.setdefault(_same_name(path.stem), str(path))
        return found


def _same_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _cache() -> sqlite3.Connection:
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        return _with_table(sqlite3.connect(cache_folder() / CACHE, timeout=60))
    except (OSError, sqlite3.Error) as error:
        _warn_not_cached(cache_folder(), str(error))
        return _with_table(sqlite3.connect(":memory:"))


def _with_table(cache: sqlite3.Connection) -> sqlite3.Connection:
    cache.execute(
        "CREATE TABLE IF NOT EXISTS clips"
        " (key BLOB PRIMARY KEY, seconds REAL, fingerprint BLOB, channel INTEGER) WITHOUT ROWID"
    )
    return cache


@cache
def _warn_not_cached(folder: Path, reason: str) -> None:
    """Print the warning once, however many corpora are measured."""
    free = f"{free_bytes(folder) / 1e6:,.0f} MB are free"
    say(f"{folder}: measures of clips cannot be cached ({reason}; {free}); {OTHER_CACHE}")


def _known(cache: sqlite3.Connection, keys: Iterable[bytes | None]) -> dict[bytes | None, Measure]:
    """Return the cached measures of these keys."""
    given = list({key for key in keys if key})
    placeholders = ", ".join("?" * len(given))
    query = f"SELECT key, seconds, fingerprint, channel FROM clips WHERE key IN ({placeholders})"  # noqa: S608
    try:
        rows = cache.execute(query, given)
        return {key: Measure(length, fingerprint, "", channel) for key, length, fingerprint, channel in rows}
    except sqlite3.DatabaseError:  # damaged: the clips are measured again
        return {}


def _save(cache: sqlite3.Connection, measured: dict[bytes | None, Measure]) -> bool:
    """Save measures, and return whether that was possible: a disk may be full or read-only."""
    rows = [
        (key, each.seconds, each.fingerprint, each.channel)
        for key, each in measured.items()
        if key and not each.reason
    ]
    try:
        with cache:
            cache.executemany("INSERT OR REPLACE INTO clips VALUES (?, ?, ?, ?)", rows)
    except sqlite3.Error as error:
        _warn_not_cached(cache_folder(), str(error))
        return False
    return True


def _key(utterance: Utterance) -> bytes | None:
    """Return the key of a clip in the cache; `None` if its file is not found."""
    digest = hashlib.blake2b(digest_size=16)
    if utterance.embedded is not None:
        digest.update(utterance.embedded)
    else:
        try:
            status = os.stat(utterance.audio)
        except (OSError, ValueError):  # ValueError: a path that contains a null character
            return None
        digest.update(f"{os.path.abspath(utterance.audio)}\0{status.st_size}\0{status.st_mtime_ns}".encode())
    if utterance.offset is not None:
        digest.update(f"\0{utterance.offset}\0{utterance.duration}".encode())
    return digest.digest()


def _measure(utterance: Utterance) -> Measure:
    try:
        recording = decode_clip(utterance)
    except AudioError as error:
        return Measure(0.0, b"", error.problem)
    samples = recording.samples
    digest = b"" if is_silent(samples) else fingerprint(samples)
    return Measure(seconds(samples), digest, "", recording.channel or 0)
