"""Looks through everything that is about to be published, and refuses what must not leave this machine."""

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
    NotLookedInto,
    NotThisFormat,
    Piece,
    in_parquet,
    in_safetensors,
    is_archive,
    is_known,
    members,
    pieces,
    transcripts,
)
from escoita.hub.secrets import PICKLES, SAID_PATH, Forbidden, Reading, joined, paths, readings, rule_matches, secrets
from escoita.utils.formatting import visible


_CHECKPOINT = re.compile(
    r"(?:.*/)?(?:checkpoint-\d+/.*|(?:optimizer|scheduler|scaler)\.[a-z]+|training_args\.bin|trainer_state\.json"
    r"|rng_state[^/]*)"
)
_OTHER_WEIGHTS = {".gguf", ".h5", ".keras", ".msgpack", ".onnx", ".ot", ".pb", ".pte", ".tflite"}
_ADDRESS = re.compile(r"\b(?!file:)[a-z][a-z0-9+.-]*://[^\s\"'<>)\]]*", re.IGNORECASE)
# A path, as far as it can be told apart from what follows it.
_WHOLE_PATH = re.compile(r"[^\s\"'<>)\]|]*")
# In one token. A list of packages, one per line, may begin with hf_transfer and go on in small letters for many lines.
_MOST_BREAKS = 2
_NO_WORDS = re.compile(r"\d|[A-Z].*[A-Z].*[A-Z]")
_MOST_SHOWN = 20
# Where in a file, written behind its name; and what is there.
Finding = tuple[str, str]


def scan(files: Mapping[str, bytes | Path]) -> None:
    """
    Refuses secrets, absolute paths of a machine, the user name of who pushes where it is a part of a path, states of
    training, pickles, and weights in any format but safetensors.

    Text is searched as it is, and without escapes, invisible characters and line breaks within a token; parquet in the
    values and names of its columns and in its metadata; safetensors in their header; PNG in its compressed texts too;
    gzip and zip in the files that they contain; and other formats as the bytes that they are. What is neither text nor
    a known format is refused. A path that a published transcript contains is text that somebody said, and passes.

    Args:
        files (`Mapping[str, bytes | Path]`): Content, or the file that holds it, by path in the repository.

    Raises:
        PublishError: With a line for each finding: file, line or row, and what it is; never the secret itself.
    """
    search = _Search([*secrets(), *paths()])
    for name, content in files.items():
        search.add(name, content)
    shown = {name: search.shown(name) for name in files}
    found = list(dict.fromkeys(f"{shown[name]}{where}: {what}" for name, where, what in search.findings()))
    if found:
        rest = [f"and {len(found) - _MOST_SHOWN} more"] if len(found) > _MOST_SHOWN else []
        lines = "\n".join(f"  {each}" for each in found[:_MOST_SHOWN] + rest)
        raise PublishError(f"nothing is published, as this must not leave the machine; take it out first:\n{lines}")


@dataclass
class _Search:
    """
    A search in several files. All are read before any text is searched, as what is a path depends on all transcripts.

    Args:
        known (`list[Forbidden]`): What is searched for.
        read (`list`, *optional*): What was read so far, by the name of the file: a piece, or a finding.
        sources (`list`, *optional*): The texts that may be, or quote, transcripts, by the name of the file.
    """

    known: list[Forbidden]
    read: list[tuple[str, Piece | Finding]] = field(default_factory=list)
    sources: list[tuple[str, Piece]] = field(default_factory=list)

    def add(self, name: str, content: bytes | Path) -> None:
        """Read a file."""
        for each in self._read(name, content, Budget(), MOST_LEVELS):
            self.read.append((name, each))

    def findings(self) -> Iterator[tuple[str, str, str]]:
        """Yield each finding: the name of the file, where in it, and what."""
        for name, each in self.read:
            if isinstance(each, Piece):
                for where, what in self._in_piece(each):
                    yield name, where, what
            else:
                yield name, *each

    @cached_property
    def said(self) -> set[str]:
        """The paths that transcripts contain. Only a text with a path needs them."""
        texts = (text for name, piece in self.sources for text in transcripts(name, piece))
        return {_whole_path(text, found.start()) for text in texts for found in SAID_PATH.finditer(text)}

    def shown(self, name: str) -> str:
        """A name as a finding tells it: not where it is the secret."""
        return "(a name)" if self._is_forbidden(name) else visible(name)

    def _read(self, name: str, content: bytes | Path, budget: Budget, levels: int) -> Iterator[Piece | Finding]:
        suffix = PurePosixPath(name).suffix.lower()
        if self._is_forbidden(name):
            yield "", "a secret, a path or a user in its name"
        if _CHECKPOINT.fullmatch(name):
            yield "", "the state of a training, which is no part of an adapter"
        elif suffix in PICKLES:
            yield "", "a pickle, or a format that may hold one, which runs what it holds"
        elif suffix in _OTHER_WEIGHTS:
            yield "", "weights in another format than safetensors"
        elif suffix == ".safetensors":
            yield from self._texts(in_safetensors(content, self.shown))
        else:
            data = content.read_bytes() if isinstance(content, Path) else content
            if _is_pickle(data):
                yield "", "a pickle, which runs what it holds"
            elif suffix == ".parquet":
                yield from self._texts(in_parquet(name, data, self.shown))
            else:
                yield from self._in_data(name, data, budget, levels)

    def _in_data(self, name: str, data: bytes, budget: Budget, levels: int) -> Iterator[Piece | Finding]:
        packed = is_archive(data)
        if packed:
            yield from self._unpacked(name, data, budget, levels)
        elif not is_known(name, data):
            yield "", "neither text nor a format that can be looked into"
        yield from self._texts(pieces(name, data), name)

    def _unpacked(self, name: str, data: bytes, budget: Budget, levels: int) -> Iterator[Piece | Finding]:
        if not levels:
            yield "", f"archives in archives, more than {MOST_LEVELS} deep, which are not looked into"
            return
        try:
            for member, content in members(name, data, budget):
                for each in self._read(member, content, budget, levels - 1):
                    yield _within(self.shown(member), each)
        except NotLookedInto as error:
            yield "", f"{error}, which is not looked into"

    def _texts(self, found: Iterator[Piece], name: str = "") -> Iterator[Piece | Finding]:
        """Yield the pieces, and remember them for their transcripts."""
        try:
            for piece in found:
                self.sources.append((name, piece))
                yield piece
        except NotThisFormat as error:
            yield "", f"not {error}, whatever its name says"

    def _in_piece(self, piece: Piece) -> Iterator[Finding]:
        wanted = [each for each in self.known if piece.values or not each.in_values]
        if piece.vocabulary:
            wanted = [each for each in self.known if each.in_vocabularies]
        for forbidden, start, _ in _matches(piece.text, [each for each in wanted if not each.is_secret]):
            if not (forbidden.may_be_said and _whole_path(piece.text, start) in self.said):
                yield piece.where(start), forbidden.what
        for what, start in _secrets(piece, [each for each in wanted if each.is_secret]):
            yield piece.where(start), what

    def _is_forbidden(self, name: str) -> bool:
        return any(_matches(name, self.known)) or any(_secrets(Piece(name, str), self.known))


def _matches(text: str, known: Sequence[Forbidden]) -> Iterator[tuple[Forbidden, int, int]]:
    """What is found, and at which characters it begins and ends."""
    plain: str | None = None
    for forbidden in known:
        spans = [found.span() for found in forbidden.found_in(text)]
        if spans and not forbidden.in_addresses and "://" in text:
            # As long as before, so that places stay.
            plain = plain or _ADDRESS.sub(lambda found: " " * len(found[0]), text)
            spans = [found.span() for found in forbidden.found_in(plain)]
        for span in spans:
            yield forbidden, *span


def _secrets(piece: Piece, known: Sequence[Forbidden]) -> Iterator[tuple[str, int]]:
    """
    What is found in any reading of a text, and at which character it begins in the text as it is written. The rule set
    adds what our own expressions do not find.
    """
    for reading in [Reading(piece.text), *_without_nul(piece.text)] if piece.binary else readings(piece.text):
        spans = []
        for forbidden, start, end in _matches(reading.text, known):
            spans.append((start, end))
            yield forbidden.what, reading.origin(start)
        for rule, start, end in rule_matches(reading.text):
            if not any(start < other_end and other_start < end for other_start, other_end in spans):
                yield f"a secret ({rule})", reading.origin(start)
    # In a list of words any line may end a token and begin one.
    if not piece.vocabulary and not piece.binary and (unbroken := joined(reading)):
        for forbidden, start, end in _matches(unbroken.text, [each for each in known if each.may_be_split]):
            if unbroken.changes_within(start, end) <= _MOST_BREAKS and _NO_WORDS.search(unbroken.text, start, end):
                yield forbidden.what, unbroken.origin(start)


def _without_nul(text: str) -> Iterator[Reading]:
    """Yield bytes that are not text without NUL, if there is any, as UTF-16 has it next to every ASCII letter."""
    if "\0" in text:
        yield Reading(text.replace("\0", ""))


def _whole_path(text: str, start: int) -> str:
    """The path that begins at a character, without the backslashes that JSON and Markdown add."""
    found = _WHOLE_PATH.match(text, start)
    return found[0].replace("\\", "").rstrip(".,;:!?`…") if found else ""


def _within(member: str, found: Piece | Finding) -> Piece | Finding:
    """What is found in a member of an archive, as a finding of the archive."""
    if isinstance(found, Piece):
        return replace(found, where=lambda position: f", {member}{found.where(position)}")
    return f", {member}{found[0]}", found[1]


def _is_pickle(data: bytes) -> bool:
    """By its first bytes, of protocol 2 and later; or an archive that holds one, as PyTorch and NumPy write them."""
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    if not data.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            return any(name.endswith((".pkl", ".npy")) for name in archive.namelist())
    except zipfile.BadZipFile:
        return False
