"""Decode and measure clips, and keep the measurements in a cache until a file changes."""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache
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


def kept(source: Path, kind: str, make: Callable[[Path, Path], None], part: str = "") -> Path:
    """
    A file or folder that is made of another, once.

    It stands in the folder `kind` of the cache (`$ESCOITA_CACHE`, see [`~escoita.utils.files.cache_folder`]), named
    by path, size and time of change of the source, and takes its place there only when it is whole. It is never
    removed: the folder may be deleted at any time, and is made again.

    Args:
        source (`Path`): The file.
        kind (`str`): What is made, `archives` or `recordings`.
        make (`Callable[[Path, Path], None]`): Makes of the first path what shall stand under the second.
        part (`str`, *optional*, defaults to `""`): Of the source, where only a part of it is taken.

    Raises:
        CorpusError: It cannot be made; names the file and says why.
    """
    try:
        status = source.stat()
        state = f"{source.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0{part}"
        target = cache_folder() / kind / hashlib.blake2b(state.encode(), digest_size=16).hexdigest()
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        # Of several processes one makes it, and the others wait.
        with FileLock(f"{target}.lock"):
            if not target.exists():
                partial = target.with_name(f"{target.name}.partial")
                _remove(partial)  # of a process that was killed
                try:
                    make(source, partial)
                    os.replace(partial, target)
                except BaseException:
                    _remove(partial)
                    raise
    except OSError as error:
        if error.errno is None:  # a decoder says so, not the system
            raise CorpusError(f"{source}: is damaged ({error}); fetch it again") from error
        free = f"{free_bytes(cache_folder()) / 1e6:,.0f} MB are free there"
        where = f"into {cache_folder()} ({error.strerror}); {free}. ESCOITA_CACHE names another folder"
        raise CorpusError(f"{source}: cannot be unpacked {where}") from error
    return target


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


# Another number whenever a measure would come out otherwise, so that old caches are not believed.
CACHE = "clips-3.sqlite"
# Rows whose recordings, where embedded, are in memory together with those of the block before.
_AT_ONCE, _KEYS_AT_ONCE = 128, 32


@dataclass(frozen=True, slots=True)
class Measure:
    """
    What decoding a clip once told.

    Args:
        seconds (`float`): Its length; 0 where it cannot be read.
        fingerprint (`bytes`): See [`~escoita.audio.fingerprint.fingerprint`]; empty where there is nothing to hear.
        reason (`str`): Why it cannot be read; empty where it can.
        channel (`int`): Number of the channel, from 1, that is used because mixing all loses it; 0 if all are mixed.
    """

    seconds: float
    fingerprint: bytes
    reason: str
    channel: int = 0


@dataclass
class Noticed:
    """
    What was noticed of the clips of a corpus that can be used.

    Args:
        clips (`int`): Number of them.
        silent (`int`): Clips without audible content.
        one_channel (`int`): Clips of which one channel is used.
        first_silent (`str`): The first one without audible content, with source and row; empty if there is none.
    """

    clips: int = 0
    silent: int = 0
    one_channel: int = 0
    first_silent: str = ""

    def lines(self) -> list[str]:
        """Return a line for each thing to be said, with its count."""
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
    Decodes the recording of an utterance, or its part.

    Returns:
        `np.ndarray`: Samples of shape `(samples,)`, float32, 16 kHz.

    Raises:
        AudioError: It cannot be read, or its file is cut off.
    """
    return decode_clip(utterance).samples


def decode_clip(utterance: Utterance) -> Recording:
    """
    Decodes the recording of an utterance, or its part, and says which channel was used.

    Raises:
        AudioError: It cannot be read, or its file is cut off.
    """
    part = (utterance.offset, utterance.duration) if utterance.offset is not None else (0.0, None)
    source = utterance.audio if utterance.embedded is None else utterance.embedded
    recording = read_recording(source, utterance.audio, *part)
    if recording.cut_off:
        raise AudioError(recording.cut_off, path=utterance.audio)
    return recording


def measure_clips(utterances: Utterances, title: str = "Checking clips") -> Iterator[Measure]:
    """
    Decodes every clip that is not in the cache of this user yet, on all cores.

    A file is known by its path, size and time of change, an embedded recording by its digest. What cannot be read is
    tried again each time.

    Args:
        utterances ([`Utterances`]): Rows of one or more corpora.
        title (`str`, *optional*, defaults to `"Checking clips"`): Label of the progress bar.

    Returns:
        `Iterator[Measure]`: In the order of the rows.
    """
    with closing(_cache()) as database, ThreadPoolExecutor() as pool:
        writable = True
        for block in batched(track(utterances, total=len(utterances), title=title), _AT_ONCE):
            # Some at a time, as a thread takes longer to start than a key to make.
            parts = batched(block, _KEYS_AT_ONCE)
            keys = [key for part in pool.map(lambda part: [*map(_key, part)], parts) for key in part]
            known = _known(database, keys)
            new = [index for index, key in enumerate(keys) if key not in known]
            measured = dict(zip(new, pool.map(_measure, [block[index] for index in new]), strict=True))
            if writable:
                writable = _remember(database, {keys[index]: measure for index, measure in measured.items()})
            for index, key in enumerate(keys):
                yield measured[index] if index in measured else known[key]


def check_clips(
    utterances: Utterances,
    max_audio_seconds: float | None,
    marks: Collection[str] = (),
    title: str = "Checking clips",
    noticed: Noticed | None = None,
) -> tuple[Utterances, list[Rejected]]:
    """
    Measures every clip, and tells the usable ones from the others.

    Args:
        utterances ([`Utterances`]): Rows of one or more corpora.
        max_audio_seconds (`float`, *optional*): Longest clip that the model hears whole, in seconds. Longer ones are
            rejected: a feature extractor would cut them without a word while the transcript stayed whole. No limit
            unless given, for who cuts long recordings into segments.
        marks (`Collection[str]`, *optional*): Special tokens of the model; a transcript that holds one is rejected.
        title (`str`, *optional*, defaults to `"Checking clips"`): Label of the progress bar.
        noticed ([`Noticed`], *optional*): Takes what is noticed of the usable clips.

    Returns:
        `tuple[Utterances, list[Rejected]]`: The usable rows with their lengths, and the others with the reason.
    """

    def refused(text: str, measure: Measure) -> str:
        if held := [mark for mark in marks if mark in text]:
            return f"the transcript holds {held[0]}, which is a mark of the model"
        if max_audio_seconds is not None and measure.seconds > max_audio_seconds:
            return f"{measure.seconds:.1f} s is over the {max_audio_seconds:g} s that the model hears; split it"
        return measure.reason

    usable, measures, rejected = sift(utterances, title, refused)
    if noticed is not None:
        silent = [index for index, measure in enumerate(measures) if not measure.fingerprint]
        noticed.clips, noticed.silent = len(measures), len(silent)
        noticed.one_channel = sum(measure.channel > 0 for measure in measures)
        if silent:
            row = usable[silent[0]]
            noticed.first_silent = visible(f"{row.source}:{row.row}: {row.audio}")
    return usable, rejected


def sift(
    utterances: Utterances, title: str, refused: Callable[[str, Measure], str]
) -> tuple[Utterances, list[Measure], list[Rejected]]:
    """
    Measures every clip, and takes out what is refused.

    Args:
        utterances ([`Utterances`]): Rows of one or more corpora.
        title (`str`): Label of the progress bar.
        refused (`Callable[[str, Measure], str]`): Why a clip of this transcript and measure cannot be used; empty
            where it can.

    Returns:
        `tuple[Utterances, list[Measure], list[Rejected]]`: The usable rows with their lengths, their measures, and
        the other rows with the reason.
    """
    lengths, usable, kept = np.zeros(len(utterances)), np.zeros(len(utterances), bool), []
    reasons: dict[int, str] = {}
    texts = utterances.each("text")
    for index, (text, measure) in enumerate(zip(texts, measure_clips(utterances, title), strict=True)):
        if reason := refused(text, measure):
            reasons[index] = reason
        else:
            lengths[index], usable[index] = measure.seconds, True
            kept.append(measure)
    rows = ((utterances[index], reason) for index, reason in reasons.items())
    rejected = [Rejected(row.source, row.row, row.audio, reason) for row, reason in rows]
    return utterances.with_audio_seconds(lengths).where(usable), kept, rejected


def _cache() -> sqlite3.Connection:
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        return _with_table(sqlite3.connect(cache_folder() / CACHE, timeout=60))
    except (OSError, sqlite3.Error) as error:
        _say_not_kept(cache_folder(), str(error))
        return _with_table(sqlite3.connect(":memory:"))


def _with_table(cache: sqlite3.Connection) -> sqlite3.Connection:
    cache.execute(
        "CREATE TABLE IF NOT EXISTS clips"
        " (key BLOB PRIMARY KEY, seconds REAL, fingerprint BLOB, channel INTEGER) WITHOUT ROWID"
    )
    return cache


@cache
def _say_not_kept(folder: Path, reason: str) -> None:
    """Say it once, however many corpora are measured."""
    free = f"{free_bytes(folder) / 1e6:,.0f} MB are free there"
    say(f"{folder}: measures of clips cannot be kept ({reason}); {free}. ESCOITA_CACHE names another folder")


def _known(cache: sqlite3.Connection, keys: Iterable[bytes | None]) -> dict[bytes | None, Measure]:
    """What the cache holds of these."""
    asked = list({key for key in keys if key})
    marks = ", ".join("?" * len(asked))
    query = f"SELECT key, seconds, fingerprint, channel FROM clips WHERE key IN ({marks})"  # noqa: S608
    try:
        return {
            key: Measure(length, heard, "", channel) for key, length, heard, channel in cache.execute(query, asked)
        }
    except sqlite3.DatabaseError:  # damaged: measured anew
        return {}


def _remember(cache: sqlite3.Connection, measured: dict[bytes | None, Measure]) -> bool:
    """Whether it could be: a disk may be full, or may not be written to."""
    rows = [
        (key, each.seconds, each.fingerprint, each.channel)
        for key, each in measured.items()
        if key and not each.reason
    ]
    try:
        with cache:
            cache.executemany("INSERT OR REPLACE INTO clips VALUES (?, ?, ?, ?)", rows)
    except sqlite3.Error as error:
        _say_not_kept(cache_folder(), str(error))
        return False
    return True


def _key(utterance: Utterance) -> bytes | None:
    """What a clip is known by; nothing for a file that is not there."""
    digest = hashlib.blake2b(digest_size=16)
    if utterance.embedded is not None:
        digest.update(utterance.embedded)
    else:
        try:
            status = os.stat(utterance.audio)
        except (OSError, ValueError):  # ValueError: no path may hold a null character
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
    heard = b"" if is_silent(samples) else fingerprint(samples)
    return Measure(seconds(samples), heard, "", recording.channel or 0)
