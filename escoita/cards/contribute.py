"""Add an evaluation to the card of an adapter that somebody trained elsewhere, and to the leaderboards of the Hub."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi

from escoita.cards.anonymize import redacted_evaluation, redacted_predictions
from escoita.cards.context import evaluation_card, no_recipe
from escoita.cards.editing import revise, reviser
from escoita.cards.fetch import Snapshot, checked_commit, fetched
from escoita.cards.metadata import hub_id
from escoita.cards.publication import CHECKSUMS, checksums
from escoita.cards.verify.adapter import ADAPTER, base_of, check_adapter
from escoita.errors import EscoitaError, PublishError
from escoita.evaluation.presentation import rate
from escoita.hub.auth import clear_refusals, require_write
from escoita.hub.files import adapter_record, file_if_any, is_repo_id, local_file, split_revision
from escoita.hub.scan import scan
from escoita.hub.upload import CARD, STYLES, Change, CommitPlan, Head, commit, read_file, read_head, real
from escoita.records.evaluation import PROBES, CorpusResult, EvaluationRecord
from escoita.records.training import AdapterRecord, Prompt
from escoita.utils.files import write_atomically
from escoita.utils.formatting import code, line


POOLED = "All, pooled by words"


def description(before: bytes | None, now: bytes, found: Iterable[Change]) -> str:
    """
    Writes what a pull request changes.

    Args:
        before (`bytes`, *optional*): `eval/results.json` of the revision that it is to be merged into.
        now (`bytes`): The same as it will be.
        found (`Iterable[Change]`): What becomes of each file.

    Returns:
        `str`: Markdown; rates in percent, with their 95 % bootstrap intervals.
    """
    new, old = EvaluationRecord.from_json(now), None
    notes = []
    if before is not None:
        try:
            old = EvaluationRecord.from_json(before)
        except ValueError:
            notes.append("The results that are there cannot be read, as they are of another schema.")
    if old and old.normalizer != new.normalizer:
        notes.append(
            f"The rates before are of texts under the normaliser {code(old.normalizer)}, the new ones under "
            f"{code(new.normalizer)}: they cannot be compared."
        )
    parts = ["\n".join(_table(old, new)), *notes]
    parts += [f"{kind.capitalize()}: {', '.join(code(path) for path in paths)}." for kind, paths in _files(found)]
    return "\n\n".join(parts) + "\n"


def _table(old: EvaluationRecord | None, new: EvaluationRecord) -> Iterator[str]:
    before, now = _rows(old), _rows(new)
    yield "| corpus | N | WER before | WER now |"
    yield "|---|---:|---:|---:|"
    names = [*now, *(name for name in before if name not in now)]
    if len(names) == 2:  # of one corpus the pool says the same again
        names.remove(POOLED)
    for name in names:
        result = now.get(name) or before[name]
        yield f"| {line(name)} | {result.n} | {_wer(before.get(name))} | {_wer(now.get(name))} |"


def _rows(record: EvaluationRecord | None) -> dict[str, CorpusResult]:
    if record is None:
        return {}
    return {result.name: result for result in record.corpora} | {POOLED: record.pooled}


def _wer(result: CorpusResult | None) -> str:
    if result is None:
        return "–"
    return rate(result.main_system.normalized.wer, result.main_system.normalized.wer_ci95)


def _files(found: Iterable[Change]) -> Iterator[tuple[str, list[str]]]:
    changes = list(found)
    for kind in STYLES:
        if kind != "unchanged" and (paths := [change.path for change in changes if change.kind == kind]):
            yield kind, paths


RESULTS = "eval/results.json"
# Of an evaluation that was added before.
LEFTOVERS = re.compile(r"eval/.+")
# What escoita publishes of its own; of these it made the whole card.
OURS = ("recipe.yaml", "training.json")


def adopted(
    source: str,
    base: str | None = None,
    language: str | None = None,
    prompt: str | None = None,
    system: str | None = None,
    pr: bool = False,
) -> tuple[AdapterRecord, str]:
    """
    How an adapter is spoken to, and what its base is; and, before anything is heard, whether a pull request may be
    opened.

    Args:
        source (`str`): `user/name` or `user/name@revision`, or a folder.
        base (`str`, *optional*): Folder or repository of its base; what `adapter_config.json` says unless given.
        language (`str`, *optional*): ISO code; what its `escoita.json` says unless given.
        prompt (`str`, *optional*): The user's words to the model; likewise.
        system (`str`, *optional*): The system's words; likewise.
        pr (`bool`, *optional*, defaults to `False`): A pull request is wanted.

    Returns:
        `tuple[AdapterRecord, str]`: What a program needs beside the weights, and the base.

    Raises:
        EscoitaError: There is no such adapter, or something is missing that nobody told.
        PublishError: A pull request cannot be opened.
    """
    repo, revision = split_revision(source)
    if pr:
        if revision:
            raise PublishError(f"--pr: a pull request is opened for the head of main; leave @{revision} away")
        if not is_repo_id(source) or Path(source).is_dir():
            raise PublishError(f"--pr: {source} is a folder; a pull request is opened in a repository, user/name")
        require_write(HfApi(), source, pr=True)
    if is_repo_id(repo) and not Path(repo).is_dir():
        checked_commit(HfApi(), repo, revision)  # before a single file is downloaded
    config = local_file(source, "adapter_config.json")
    told = base or base_of(config.parent)
    if not base and (Path(told).is_absolute() or not (is_repo_id(told) or Path(told).is_dir())):
        raise EscoitaError(f"{source}: its adapter_config.json names a base that nobody else has, {told}; give --base")
    known = adapter_record(source) if file_if_any(source, "escoita.json") else None
    missing = [
        option for option, value in (("--language", language or known), ("--prompt", prompt or known)) if not value
    ]
    if missing:
        raise EscoitaError(
            f"{source}: holds no escoita.json, which would tell how it is spoken to; give {' and '.join(missing)}"
        )
    if language and not re.fullmatch("[a-z]{2,3}", language):
        raise EscoitaError(f"--language {language}: write its code, such as gl")
    if known is None:
        return AdapterRecord(language=str(language), prompt=Prompt(user=str(prompt), system=system or "")), told
    said = known.prompt.model_copy(
        update={key: value for key, value in (("user", prompt), ("system", system)) if value is not None}
    )
    return known.model_copy(update={"language": language or known.language, "prompt": said}), told


def add_evaluation(source: str, base: str, out: Path, pr: bool = False, force: bool = False) -> str:
    """
    Puts an evaluation into the card of an adapter: written beside the results, or proposed in a pull request.

    Args:
        source (`str`): `user/name` or `user/name@revision`, or a folder.
        base (`str`): Its base, as it was measured.
        out (`Path`): Holds predictions and results; the new card is written there.
        pr (`bool`, *optional*, defaults to `False`): Opens a pull request with card, results, predictions and plots.
        force (`bool`, *optional*, defaults to `False`): Overwrites what a person changed of an earlier evaluation.

    Returns:
        `str`: What was done, with the address of the pull request.

    Raises:
        CardConflict: The card says otherwise where the evaluation would, as in a model-index of its author.
        PublishError: The repository is one of escoita's own, or changed since it was measured, or the Hub refuses.
    """
    api = HfApi()
    snapshot = fetched(api, source)
    head = _head(api, snapshot, split_revision(source)[1])
    files = evaluation_files(snapshot, base, out)
    scan(files)
    card = revise(head.card, files[CARD].decode(), force)
    write_atomically(out / CARD, card)
    if not pr:
        return (
            f"{out / CARD}: the card with the evaluation added; --pr would propose it with {len(files) - 1} more files"
        )
    leftovers = LEFTOVERS if _is_ours(api, source, head) else None
    wanted = CommitPlan(files, "Add an evaluation", leftovers=leftovers, pr=True, revise=reviser(force=force))
    found = wanted.changes(head)
    if not real(found):
        raise PublishError(f"{source}: holds all of it already; there is nothing to open a pull request for")
    before = _results(api, source, head)
    told = description(before, files[RESULTS], found)
    return commit(api, source, replace(wanted, description=told), head).url


def evaluation_files(snapshot: Snapshot, base: str, out: Path) -> dict[str, bytes]:
    """
    What is published of an evaluation: card, results, predictions, plots, and the digests of these and of the adapter.

    Names of speakers are not in it; see `escoita/cards/anonymize.py`.

    Args:
        snapshot ([`Snapshot`]): Of the adapter.
        base (`str`): Its base, as it was measured.
        out (`Path`): Holds predictions and results.

    Returns:
        `dict[str, bytes]`: Content by path in the repository; of the card what is to be put into that which is there.

    Raises:
        PublishError: The adapter changed since it was measured.
        RecordError: A file is missing, or not one of ours.
    """
    evaluation = EvaluationRecord.read(out / "results.json")
    main_system = evaluation.main_system
    if check_adapter(snapshot.path, {RESULTS: main_system.adapter_sha256}).verdict != "holds":
        raise PublishError(f"{snapshot.name}: its {ADAPTER} changed since it was measured; run the command again")
    base = hub_id(base) or base_of(snapshot.path)
    files: dict[str, bytes] = {}
    speakers = {}
    for corpus in [*(result.name for result in evaluation.corpora), PROBES]:
        heard, speakers[corpus] = redacted_predictions(out, corpus, no_recipe(), base, main_system.base_sha256)
        files |= {f"eval/{corpus}/{name}": content for name, content in heard.items()}
    public = redacted_evaluation(evaluation, speakers, base, main_system.base_sha256)
    files[RESULTS] = public.to_json().encode()
    files |= {f"eval/{plot.name}": plot.read_bytes() for plot in sorted(out.glob("*.svg"))}
    measured = {name: (snapshot.path / name).read_bytes() for name in (ADAPTER, "adapter_config.json")}
    files[CHECKSUMS] = checksums(files | measured)
    return files | {CARD: evaluation_card(public, out, snapshot.name).encode()}


def _head(api: HfApi, snapshot: Snapshot, revision: str | None = None) -> Head:
    """What is there now; of a folder its card."""
    if snapshot.repo is None:
        card = snapshot.run.card
        head = Head(card=card.read_bytes().decode() if card.is_file() else "")
        ours = [name for name in OURS if (snapshot.path / name).is_file()]
    else:
        with clear_refusals(snapshot.repo):
            head = read_head(api, snapshot.repo, revision)
        if head.sha != snapshot.commit:
            raise PublishError(f"{snapshot.repo}: somebody else has just changed it; run the command again")
        ours = [name for name in OURS if name in head.files]
    if len(ours) == len(OURS):
        raise PublishError(
            f"{snapshot.name}: was published by escoita push; evaluate its run with escoita eval, and push it again"
        )
    return head


def _is_ours(api: HfApi, repo: str, head: Head) -> bool:
    """
    Whether what stands in `eval/` is of an evaluation that was added before.

    Raises:
        PublishError: It is somebody's own, and would be overwritten.
    """
    found = _results(api, repo, head)
    if found is None:
        return False
    try:
        EvaluationRecord.from_json(found)
    except ValueError as error:
        raise PublishError(f"{repo}: holds a {RESULTS} that is not of escoita, and would be overwritten") from error
    return True


def _results(api: HfApi, repo: str, head: Head) -> bytes | None:
    if RESULTS not in head.files:
        return None
    with clear_refusals(repo):
        return read_file(api, repo, head.sha, RESULTS)
