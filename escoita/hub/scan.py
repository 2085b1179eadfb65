"""Search the files of a publication, and refuse secrets, paths of this machine, pickles and training states."""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path, PurePosixPath

from escoita.errors import PublishError
from escoita.hub.file_texts import (
    MOST_LEVELS,
    Budget,
    FormatMismatch,
    Piece,
    UnreadableArchive,
    in_parquet,
    in_safetensors,
    is_archive,
    is_known,
    members,
    pieces,
    transcripts,
)
from escoita.hub.secrets import (
    PICKLES,
    TRANSCRIPT_PATH,
    Forbidden,
    Reading,
    joined,
    paths,
    readings,
    rule_matches,
    secrets,
)
from escoita.utils.formatting import visible


_CHECKPOINT = re.compile(
    r"(?:.*/)?(?:checkpoint-\d+/.*|(?:optimizer|scheduler|scaler)\.[a-z]+|training_args\.bin|trainer_state\.json"
    r"|rng_state[^/]*)"
)
_OTHER_WEIGHTS = {".gguf", ".h5", ".keras", ".msgpack", ".onnx", ".ot", ".pb", ".pte", ".tflite"}
_ADDRESS = re.compile(r"\b(?!file:)[a-z][a-z0-9+.-]*://[^\s\"'<>)\]]*", re.IGNORECASE)
# A path up to the first character that may follow one.
_WHOLE_PATH = re.compile(r"[^\s\"'<>)\]|]*")
# Line breaks within one token. A list of packages may begin with hf_transfer, followed by many lines in lower case.
_MOST_BREAKS = 2
_NO_WORDS = re.compile(r"\d|[A-Z].*[A-Z].*[A-Z]")
_MOST_SHOWN = 20
# The place in a file, written after its name, and the kind of content there.
Finding = tuple[str, str]


class ForbiddenContentError(PublishError):
    """
    Report content that must not be published.

    Args:
        findings (`list[str]`): A line for each finding: file, place in it, and kind of content; never a secret itself.
    """

    findings: list[str]


def scan(files: Mapping[str, bytes | Path]) -> None:
    """
    Refuse secrets, absolute paths of a machine, the name of this user in a path, training states, pickles, and weights
    in any format except safetensors.

    The search covers texts as they are written, and without escapes, invisible characters and line breaks within a
    token; values and names of parquet columns, and their metadata; headers of safetensors; texts of PNG files, also
    compressed ones; members of gzip and zip files; and the bytes of other known formats. A file that is neither text
    nor of a known format is refused. A path in a published transcript is text, and is allowed.

    Args:
        files (`Mapping[str, bytes | Path]`): Content, or the file that contains it, by path in the repository.

    Raises:
        ForbiddenContentError: The search found something.
    """
    search = _Search([*secrets(), *paths()])
    for name, content in files.items():
        search.add(name, content)
    shown = {name: search.shown(name) for name in files}
    found = list(dict.fromkeys(f"{shown[name]}{place}: {kind}" for name, place, kind in search.findings()))
    if found:
        rest = [f"and {len(found) - _MOST_SHOWN} more"] if len(found) > _MOST_SHOWN else []
        lines = "\n".join(f"  {each}" for each in found[:_MOST_SHOWN] + rest)
        raise ForbiddenContentError(f"refusing to publish; remove the following first:\n{lines}", findings=found)


@dataclass
class _Search:
    """
    Search several files. All are read before any text is searched, because transcripts of one file may explain a path
    in another.

    Args:
        known (`list[Forbidden]`): Kinds of content to search for.
        read (`list`, *optional*): Texts and findings so far, with the name of their file.
        sources (`list`, *optional*): Texts that may be, or quote, transcripts, with the name of their file.
    """

    known: list[Forbidden]
    read: list[tuple[str, Piece | Finding]] = field(default_factory=list)
    sources: list[tuple[str, Piece]] = field(default_factory=list)

    def add(self, name: str, content: bytes | Path) -> None:
        """Read a file."""
        for each in self._read(name, content, Budget(), MOST_LEVELS):
            self.read.append((name, each))

    def findings(self) -> Iterator[tuple[str, str, str]]:
        """Yield each finding: the name of the file, the place in it, and the kind of content."""
        for name, each in self.read:
            if isinstance(each, Piece):
                for place, kind in self._in_piece(each):
                    yield name, place, kind
            else:
                yield name, *each

    @cached_property
    def transcript_paths(self) -> set[str]:
        """Return the paths that transcripts contain. They are collected only if a text contains a path."""
        texts = (text for name, piece in self.sources for text in transcripts(name, piece))
        return {_whole_path(text, found.start()) for text in texts for found in TRANSCRIPT_PATH.finditer(text)}

    def shown(self, name: str) -> str:
        """Return a name for display, or a placeholder if the name is a secret."""
        return "(a name)" if self._is_forbidden(name) else visible(name)

    def _read(self, name: str, content: bytes | Path, budget: Budget, levels: int) -> Iterator[Piece | Finding]:
        suffix = PurePosixPath(name).suffix.lower()
        if self._is_forbidden(name):
            yield "", "a secret, a path or a user in its name"
        if _CHECKPOINT.fullmatch(name):
            yield "", "a training state, which is not part of an adapter"
        elif suffix in PICKLES:
            yield "", "a pickle, or a format that may contain one, which can run code"
        elif suffix in _OTHER_WEIGHTS:
            yield "", "weights in another format than safetensors"
        elif suffix == ".safetensors":
            yield from self._texts(in_safetensors(content, self.shown))
        else:
            data = content.read_bytes() if isinstance(content, Path) else content
            if _is_pickle(data):
                yield "", "a pickle, which can run code"
            elif suffix == ".parquet":
                yield from self._texts(in_parquet(name, data, self.shown))
            else:
                yield from self._in_data(name, data, budget, levels)

    def _in_data(self, name: str, data: bytes, budget: Budget, levels: int) -> Iterator[Piece | Finding]:
        packed = is_archive(data)
        if packed:
            yield from self._unpacked(name, data, budget, levels)
        elif not is_known(name, data):
            yield "", "neither text nor a format that can be searched"
        yield from self._texts(pieces(name, data), name)

    def _unpacked(self, name: str, data: bytes, budget: Budget, levels: int) -> Iterator[Piece | Finding]:
        if not levels:
            yield "", f"archives in archives, more than {MOST_LEVELS} deep, which are not searched"
            return
        try:
            for member, content in members(name, data, budget):
                for each in self._read(member, content, budget, levels - 1):
                    yield _within(self.shown(member), each)
        except UnreadableArchive as error:
            yield "", f"{error}, which is not searched"

    def _texts(self, found: Iterator[Piece], name: str = "") -> Iterator[Piece | Finding]:
        """Yield the pieces, and remember them for their transcripts."""
        try:
            for piece in found:
                self.sources.append((name, piece))
                yield piece
        except FormatMismatch as error:
            yield "", f"not {error}, although its name says so"

    def _in_piece(self, piece: Piece) -> Iterator[Finding]:
        relevant = [each for each in self.known if piece.values or not each.in_values]
        if piece.vocabulary:
            relevant = [each for each in self.known if each.in_vocabularies]
        for forbidden, start, _ in _matches(piece.text, [each for each in relevant if not each.is_secret]):
            if not (forbidden.allowed_in_transcripts and _whole_path(piece.text, start) in self.transcript_paths):
                yield piece.place(start), forbidden.kind
        for kind, start in _secrets(piece, [each for each in relevant if each.is_secret]):
            yield piece.place(start), kind

    def _is_forbidden(self, name: str) -> bool:
        return any(_matches(name, self.known)) or any(_secrets(Piece(name, str), self.known))


def _matches(text: str, known: Sequence[Forbidden]) -> Iterator[tuple[Forbidden, int, int]]:
    """Yield each kind of content in a text, with the start and end of its match."""
    plain: str | None = None
    for forbidden in known:
        spans = [found.span() for found in forbidden.found_in(text)]
        if spans and not forbidden.in_addresses and "://" in text:
            # The length stays the same, so that positions remain valid.
            plain = plain or _ADDRESS.sub(lambda found: " " * len(found[0]), text)
            spans = [found.span() for found in forbidden.found_in(plain)]
        for span in spans:
            yield forbidden, *span


def _secrets(piece: Piece, known: Sequence[Forbidden]) -> Iterator[tuple[str, int]]:
    """
    Yield each secret in any reading of a text, with its start in the text as it is written. The rule set adds those
    that the expressions of this package do not find.
    """
    for reading in [Reading(piece.text), *_without_nul(piece.text)] if piece.binary else readings(piece.text):
        spans = []
        for forbidden, start, end in _matches(reading.text, known):
            spans.append((start, end))
            yield forbidden.kind, reading.origin(start)
        for rule, start, end in rule_matches(reading.text):
            if not any(start < other_end and other_start < end for other_start, other_end in spans):
                yield f"a secret ({rule})", reading.origin(start)
    # In a list of words any line may end a token and begin one.
    if not piece.vocabulary and not piece.binary and (unbroken := joined(reading)):
        for forbidden, start, end in _matches(unbroken.text, [each for each in known if each.may_be_split]):
            if unbroken.changes_within(start, end) <= _MOST_BREAKS and _NO_WORDS.search(unbroken.text, start, end):
                yield forbidden.kind, unbroken.origin(start)


def _without_nul(text: str) -> Iterator[Reading]:
    """Yield binary content without NUL, if it contains any: UTF-16 has one next to every ASCII letter."""
    if "\0" in text:
        yield Reading(text.replace("\0", ""))


def _whole_path(text: str, start: int) -> str:
    """Return the path that begins at a character, without the backslashes that JSON and Markdown add."""
    found = _WHOLE_PATH.match(text, start)
    return found[0].replace("\\", "").rstrip(".,;:!?`…") if found else ""


def _within(member: str, found: Piece | Finding) -> Piece | Finding:
    """Return a finding in a member of an archive as a finding in the archive."""
    if isinstance(found, Piece):
        return replace(found, place=lambda position: f", {member}{found.place(position)}")
    return f", {member}{found[0]}", found[1]


def _is_pickle(data: bytes) -> bool:
    """Return whether data is a pickle of protocol 2 or later, or an archive with one, as PyTorch and NumPy write."""
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if not data.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            return any(name.endswith((".pkl", ".npy")) for name in archive.namelist())
    except zipfile.BadZipFile:
        return False
