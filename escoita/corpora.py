"""Manifests of recordings: read, checked clip by clip, and nothing dropped without being named."""

import json
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from escoita.audio import read_audio, seconds
from escoita.errors import AudioError, CorpusError
from escoita.files import public_name
from escoita.progress import say, track
from escoita.recipe import Corpus


@dataclass(frozen=True, slots=True)
class Utterance:
    """
    One recording and what is said in it.

    Args:
        id (`str`): Unique within the corpus.
        audio (`str`): Path of the recording.
        text (`str`): The transcript, as the manifest has it.
        corpus (`str`): Name of the corpus.
        language (`str`): ISO code, lower case.
        speaker (`str`): Who speaks, empty where unknown.
        manifest (`str`): The manifest it came from.
        row (`int`): Its line there, counted from 1.
        audio_seconds (`float`): Length; 0 until the clip is checked.
    """

    id: str
    audio: str
    text: str
    corpus: str
    language: str
    speaker: str
    manifest: str
    row: int
    audio_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used: which manifest, which line, which file and why."""

    manifest: str
    row: int
    audio: str
    reason: str

    def __str__(self) -> str:
        return f"{self.manifest}:{self.row}: {self.audio or 'row'}: {self.reason}"

    def public(self) -> str:
        """The same without folders of this machine, for records."""
        return str(replace(self, manifest=public_name(self.manifest), audio=public_name(self.audio)))


def read_manifest(
    path: str | Path, corpus: str | None = None, language: str = ""
) -> tuple[list[Utterance], list[Rejected]]:
    """
    Reads a JSONL manifest in the layout of NeMo: one object a line with `audio_filepath` and `text`.

    `id`, `lang` and `speaker` are used where a row has them. Paths are relative to the manifest. Decodes nothing.

    Args:
        path (`str` or `Path`): The manifest.
        corpus (`str`, *optional*): Name of the corpus; the manifest's own name unless given.
        language (`str`, *optional*): Language of rows that name none.

    Returns:
        `tuple[list[Utterance], list[Rejected]]`: The rows in order, and those that hold no audio path or no text.

    Raises:
        CorpusError: The manifest is missing, is not UTF-8, or has no rows.
    """
    path = Path(path)
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # JSON strings may hold what splitlines() takes for an end
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be read as a manifest ({error})") from error
    utterances, rejected = [], []
    for row, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            audio, text = fields["audio_filepath"], fields["text"]
            if not isinstance(audio, str) or not isinstance(text, str):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            rejected.append(Rejected(str(path), row, "", 'not an object with strings "audio_filepath" and "text"'))
            continue
        if reason := _unusable(fields):
            rejected.append(Rejected(str(path), row, audio, reason))
            continue
        utterances.append(
            Utterance(
                id=str(fields.get("id") or Path(audio).stem),
                audio=str(path.parent / audio),
                text=text.strip(),
                corpus=corpus or path.stem,
                language=str(fields.get("lang") or language),
                speaker=str(fields.get("speaker") or ""),
                manifest=str(path),
                row=row,
            )
        )
    if not utterances and not rejected:
        raise CorpusError(f"{path}: has no rows")
    return utterances, rejected


def _unusable(fields: dict[str, Any]) -> str | None:
    """Why a row cannot be used, as far as the manifest tells."""
    if not fields["text"].strip():
        return "empty transcript"
    if fields.get("offset"):
        return "names a part of a recording by its offset; cut it out first"
    try:
        fields["text"].encode()
    except UnicodeEncodeError:
        return "the transcript is not valid Unicode"
    return None


def check_clips(
    utterances: Iterable[Utterance],
    max_audio_seconds: float,
    marks: Collection[str] = (),
    title: str = "Checking clips",
) -> tuple[list[Utterance], list[Rejected]]:
    """
    Decodes every clip once and measures it.

    Args:
        utterances (`Iterable[Utterance]`): Rows of one or more manifests.
        max_audio_seconds (`float`): Longest clip that the model hears whole, in seconds. Longer ones are rejected:
            a feature extractor would cut them without a word while the transcript stayed whole.
        marks (`Collection[str]`, *optional*): Special tokens of the model; a transcript that holds one is rejected.
        title (`str`, *optional*, defaults to `"Checking clips"`): Label of the progress bar.

    Returns:
        `tuple[list[Utterance], list[Rejected]]`: The usable rows with their lengths, and the others with the reason.
    """
    utterances = list(utterances)

    def measure(utterance: Utterance) -> Utterance | Rejected:
        held = [mark for mark in marks if mark in utterance.text]
        if held:
            reason = f"the transcript holds {held[0]}, which is a mark of the model"
            return Rejected(utterance.manifest, utterance.row, utterance.audio, reason)
        try:
            length = seconds(read_audio(utterance.audio))
        except AudioError as error:
            return Rejected(utterance.manifest, utterance.row, utterance.audio, error.reason)
        if length > max_audio_seconds:
            reason = f"{length:.1f} s is over the {max_audio_seconds:g} s that the model hears; split the recording"
            return Rejected(utterance.manifest, utterance.row, utterance.audio, reason)
        return replace(utterance, audio_seconds=length)

    with ThreadPoolExecutor() as pool:
        measured = list(track(pool.map(measure, utterances), total=len(utterances), title=title))
    return (
        [item for item in measured if isinstance(item, Utterance)],
        [item for item in measured if isinstance(item, Rejected)],
    )


def refuse_over_share(usable: int, rejected: list[Rejected], max_share: float) -> None:
    """
    Refuses a corpus of which too much cannot be used.

    Args:
        usable (`int`): Rows that can be used.
        rejected (`list[Rejected]`): Rows that cannot.
        max_share (`float`): Largest fraction of all rows that may be rejected.

    Raises:
        CorpusError: More than `max_share` is rejected, or nothing is left.
    """
    total = usable + len(rejected)
    if rejected and usable == 0:
        raise CorpusError(f"none of {total} rows can be used; the first: {rejected[0]}")
    if len(rejected) > max_share * total:
        raise CorpusError(
            f"{len(rejected)} of {total} rows cannot be used, over the {max_share:.1%} that corpora.max_rejected_share"
            f" allows; the first: {rejected[0]}"
        )


def gather(
    corpora: list[Corpus],
    language: str,
    max_audio_seconds: float,
    max_rejected_share: float,
    marks: Collection[str] = (),
) -> tuple[list[Utterance], list[Rejected]]:
    """
    Reads and checks the corpora of one split, and says of each row that cannot be used why.

    Args:
        corpora (`list[Corpus]`): As the recipe lists them.
        language (`str`): Of corpora that name none.
        max_audio_seconds (`float`): Longest clip that the model hears whole, in seconds.
        max_rejected_share (`float`): Largest fraction of a corpus' rows that may be unusable.
        marks (`Collection[str]`, *optional*): Special tokens of the model, which no transcript may hold.

    Returns:
        `tuple[list[Utterance], list[Rejected]]`: The usable rows, corpus by corpus, and the others.

    Raises:
        CorpusError: A manifest cannot be read, or too much of a corpus cannot be used.
    """
    utterances: list[Utterance] = []
    rejected: list[Rejected] = []
    for corpus in corpora:
        rows, malformed = read_manifest(corpus.manifest, corpus.name, corpus.language or language)
        usable, broken = check_clips(rows, max_audio_seconds, marks, title=f"Checking {corpus.manifest}")
        refuse_over_share(len(usable), malformed + broken, max_rejected_share)
        for row in malformed + broken:
            say(f"Not used: {row}")
        utterances += usable
        rejected += malformed + broken
    return utterances, rejected
