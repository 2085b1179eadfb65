"""Choose the tiers of annotation files that contain transcripts."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from escoita.data.annotations.base import TRANSCRIPTION, Segment
from escoita.data.readers.base import selection_error


# Tiers with other than transcripts: translations, glosses, notes, parts of words.
_OTHER = re.compile(
    r"transl|traduc|trad(ução|uzione)|gloss|glosa|note|nota|comment|comentario|morph|pos$|phone|fone|^ft|^ge|^ref$|^id$"
    r"|перевод|english|español",
    re.IGNORECASE,
)
# Numbers of names of tiers and of groups of files that are shown.
_TIERS_SHOWN, _GROUPS_SHOWN = 6, 3


def choose_tiers(files: Mapping[Path, Sequence[Segment]], given: Collection[str] = ()) -> dict[Path, set[str]]:
    """
    Return the names of the tiers with transcripts of each file; none if its format has no tiers.

    Files with tiers of the same types are judged together, and others apart, as are files that have no tier of those
    chosen for their types: a folder may contain the files of several people, who name their tiers differently.

    Args:
        files (`Mapping[Path, Sequence[Segment]]`): The segments of each file.
        given (`Collection[str]`, *optional*): The names or types of the tiers; by default they are chosen by name,
            then by the amount of text.

    Raises:
        CorpusError: No tier has one of the given names.
    """
    groups: dict[tuple[str, frozenset[str]], list[Path]] = defaultdict(list)
    for path, segments in files.items():
        types = frozenset(segment.kind or segment.tier for segment in segments if segment.tier)
        groups[path.suffix.lower(), types].append(path)
    if given:
        known = {
            name for segments in files.values() for each in segments if each.tier for name in (each.kind, each.tier)
        }
        if missing := sorted(set(given) - known):
            raise selection_error("tier not found", sorted(known - {""}), key="--tier", value=missing[0])
        wanted = set(given)
        return {path: {each.tier for each in own if {each.kind, each.tier} & wanted} for path, own in files.items()}
    chosen = {}
    for paths in groups.values():
        tiers = _transcripts([segment for path in paths for segment in files[path]])
        for path in paths:
            own = {segment.tier for segment in files[path]}
            # A tier without text is still to be transcribed: no other tier takes its place.
            chosen[path] = tiers & own or _transcripts(files[path])
    return chosen


def speaker_tiers(files: Mapping[Path, Sequence[Segment]], chosen: Mapping[Path, set[str]]) -> set[tuple[Path, str]]:
    """
    Return the chosen tiers that are those of a speaker, with their files: several of one type, or of one file.

    Args:
        files (`Mapping[Path, Sequence[Segment]]`): The segments of each file.
        chosen (`Mapping[Path, set[str]]`): The tiers with transcripts of each file.
    """
    of_type: dict[str, set[str]] = defaultdict(set)
    for path, segments in files.items():
        for segment in segments:
            # Without a type, as in TextGrids, the name states the type or a speaker.
            type_ = "" if segment.kind == segment.tier else segment.kind
            if segment.tier in chosen[path] and (type_ or not TRANSCRIPTION.search(segment.tier)):
                of_type[type_].add(segment.tier)
    shared = {tier for tiers in of_type.values() if len(tiers) > 1 for tier in tiers}
    return {(path, tier) for path, tiers in chosen.items() for tier in tiers if len(tiers) > 1 or tier in shared}


def tier_lines(files: Mapping[Path, Sequence[Segment]], chosen: Mapping[Path, set[str]]) -> list[str]:
    """Return lines that state the choice: the tiers with transcripts by file, and the other tiers with text."""
    groups: dict[frozenset[str], list[str]] = defaultdict(list)
    others: Counter[str] = Counter()
    for path, tiers in chosen.items():
        groups[frozenset(tiers)].append(path.name)
        others.update(each.tier for each in files[path] if each.tier not in tiers and each.tier and each.text.strip())
    without = [path.name for path, tiers in chosen.items() if not tiers and any(each.tier for each in files[path])]
    shown = sorted((item for item in groups.items() if item[0]), key=lambda item: -len(item[1]))
    if not shown:
        return []
    parts = [_named(sorted(tiers)) + (f" ({_names(names)})" if len(shown) > 1 else "") for tiers, names in shown]
    more = f"; and other tiers of {len(parts) - _GROUPS_SHOWN:,} files" if len(parts) > _GROUPS_SHOWN else ""
    lines = [f"Tiers with transcripts: {'; '.join(parts[:_GROUPS_SHOWN])}{more}"]
    if without:
        lines.append(f"Not used: files without such a tier: {_names(without)}")
    if others:
        counted = [f"{tier} (segments: {count:,})" for tier, count in others.most_common()]
        lines.append(f"Other tiers with text, which --tier would choose: {_named(counted)}")
    return lines


def _named(tiers: Sequence[str]) -> str:
    more = f" and {len(tiers) - _TIERS_SHOWN:,} others" if len(tiers) > _TIERS_SHOWN else ""
    return ", ".join(tiers[:_TIERS_SHOWN]) + more


def _names(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1:,} other{'s' * (len(names) > 2)}" if len(names) > 1 else "")


def _transcripts(segments: Sequence[Segment]) -> set[str]:
    """Return the names of the tiers that contain transcripts; none if the format has no tiers."""
    texts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for segment in segments:
        if segment.tier:
            texts[segment.kind or segment.tier][segment.tier].append(segment.text.strip())
    kinds: dict[str, list[str]] = {}
    for kind, tiers in texts.items():
        transcripts = [tier for tier in tiers if TRANSCRIPTION.search(f"{kind} {tier}")]
        usable = [tier for tier in tiers if not _OTHER.search(tier) and not _OTHER.search(kind)]
        kinds[kind] = [tier for tier in usable if tier in transcripts] or usable
    candidates = {kind for kind, tiers in kinds.items() if tiers} or set(texts)
    named = {kind for kind in candidates if any(TRANSCRIPTION.search(f"{kind} {tier}") for tier in kinds[kind])}
    spoken = {kind for kind in candidates if _has_sentences(texts[kind].values())}
    best = named & spoken or named or spoken or candidates
    if not best:
        return set()
    # Types that are the names of single tiers are speakers; of other types, that with most text.
    if not named and all(set(texts[kind]) == {kind} for kind in best):
        return set(best)
    most = max(best, key=lambda kind: sum(len(text) for tier in texts[kind].values() for text in tier))
    return set(kinds[most] or texts[most])


def _has_sentences(tiers: Collection[list[str]]) -> bool:
    """Return whether the segments of tiers often have several words."""
    filled = [text for tier in tiers for text in tier if text]
    return sum(" " in text for text in filled) > 0.3 * len(filled)
