"""Contribute an evaluation to the card of an adapter that was trained without escoita."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi

from escoita.cards.anonymize import anonymized_evaluation, anonymized_predictions
from escoita.cards.context import evaluation_card, no_recipe
from escoita.cards.editing import revise, reviser
from escoita.cards.fetch import Snapshot, checked_commit, fetched
from escoita.cards.metadata import hub_id
from escoita.cards.publication import CHECKSUMS, checksums
from escoita.cards.verify.adapter import ADAPTER, base_of, check_adapter
from escoita.errors import EscoitaError, PublishError
from escoita.evaluation.interval_texts import rate
from escoita.evaluation.presentation import pooled_title
from escoita.hub.auth import require_write
from escoita.hub.failures import explain_hub_errors
from escoita.hub.files import is_repo_id, local_file, split_revision
from escoita.hub.scan import scan
from escoita.hub.upload import CARD, STYLES, Change, CommitPlan, Head, commit, read_file, read_head, real
from escoita.inference.model_source import adapter_settings
from escoita.metrics.primary import metric_name
from escoita.records.evaluation import PROBES, CorpusResult, EvaluationRecord, Metric
from escoita.records.training import AdapterRecord
from escoita.utils.files import write_atomically
from escoita.utils.formatting import code, line


class UnchangedRepositoryError(PublishError):
    """Report that a pull request would change nothing."""

    problem = "up to date; a pull request would change nothing"


def description(before: bytes | None, now: bytes, found: Iterable[Change]) -> str:
    """
    Write the description of a pull request.

    Args:
        before (`bytes`, *optional*): Current `eval/results.json` of the target branch.
        now (`bytes`): New `eval/results.json`.
        found (`Iterable[Change]`): Changes of all files.

    Returns:
        `str`: Markdown; rates in percent, with their 95 % bootstrap intervals.
    """
    new, old = EvaluationRecord.from_json(now), None
    notes = []
    if before is not None:
        try:
            old = EvaluationRecord.from_json(before)
        except ValueError:
            notes.append("The current results cannot be read, because they have another schema.")
    if old and old.normalizer != new.normalizer:
        notes.append(
            f"The previous rates use the normalizer {code(old.normalizer)} and the new rates {code(new.normalizer)}:"
            " they are not comparable."
        )
    parts = ["\n".join(_table(old, new)), *notes]
    parts += [f"{kind.capitalize()}: {', '.join(code(path) for path in paths)}." for kind, paths in _files(found)]
    return "\n\n".join(parts) + "\n"


def _table(old: EvaluationRecord | None, new: EvaluationRecord) -> Iterator[str]:
    metric = new.primary
    pooled = pooled_title(metric)
    before, now = _rows(old, pooled), _rows(new, pooled)
    yield f"| Corpus | Clips | Previous {metric_name(metric)} | New {metric_name(metric)} |"
    yield "|---|---:|---:|---:|"
    names = [*now, *(name for name in before if name not in now)]
    if len(names) == 2:  # with one corpus, the pooled row is the same
        names.remove(pooled)
    for name in names:
        result = now.get(name) or before[name]
        yield f"| {line(name)} | {result.n} | {_rate(before.get(name), metric)} | {_rate(now.get(name), metric)} |"


def _rows(record: EvaluationRecord | None, pooled: str) -> dict[str, CorpusResult]:
    if record is None:
        return {}
    return {result.name: result for result in record.corpora} | {pooled: record.pooled}


def _rate(result: CorpusResult | None, metric: Metric) -> str:
    if result is None:
        return "–"
    return rate(result, metric)


def _files(found: Iterable[Change]) -> Iterator[tuple[str, list[str]]]:
    changes = list(found)
    for kind in STYLES:
        if kind != "unchanged" and (paths := [change.path for change in changes if change.kind == kind]):
            yield kind, paths


RESULTS = "eval/results.json"
# Files of a previously added evaluation.
LEFTOVERS = re.compile(r"eval/.+")
# Files of a repository that `escoita push` published, with its whole card.
RUN_FILES = ("recipe.yaml", "training.json")


def contributed_settings(
    source: str,
    base: str | None = None,
    language: str | None = None,
    prompt: str | None = None,
    system: str | None = None,
    pr: bool = False,
) -> tuple[AdapterRecord, str]:
    """
    Return the generation settings and the base of an adapter. Check first whether a pull request can be opened.

    Args:
        source (`str`): `user/name` or `user/name@revision`, or a folder.
        base (`str`, *optional*): Folder or repository of the base; default: that of `adapter_config.json`.
        language (`str`, *optional*): BCP 47 tag; default: that of `escoita.json`.
        prompt (`str`, *optional*): User prompt; default: that of `escoita.json`.
        system (`str`, *optional*): System prompt; default: that of `escoita.json`.
        pr (`bool`, *optional*, defaults to `False`): Whether a pull request is to be opened.

    Returns:
        `tuple[AdapterRecord, str]`: Generation settings, and the base.

    Raises:
        EscoitaError: The adapter or its base is not found, or a setting is missing.
        PublishError: A pull request cannot be opened.
    """
    repo, revision = split_revision(source)
    if pr:
        if revision:
            raise PublishError(
                "a pull request is always opened against main", key="--pr", value=source, hint=f"remove @{revision}"
            )
        if not is_repo_id(source) or Path(source).is_dir():
            raise PublishError("expected a repository, found a folder", key="--pr", value=source, hint="use user/name")
        require_write(HfApi(), source, pr=True)
    if is_repo_id(repo) and not Path(repo).is_dir():
        checked_commit(HfApi(), repo, revision)  # before a single file is downloaded
    config = local_file(source, "adapter_config.json")
    resolved = base or base_of(config.parent)
    if not base and (Path(resolved).is_absolute() or not (is_repo_id(resolved) or Path(resolved).is_dir())):
        raise EscoitaError(
            "the base in adapter_config.json is not a repository", path=source, value=resolved, hint="add --base"
        )
    return adapter_settings(source, language, prompt, system), resolved


def add_evaluation(source: str, base: str, out: Path, pr: bool = False, force: bool = False) -> str:
    """
    Add an evaluation to the card of an adapter: in the folder of the results, or as a pull request.

    Args:
        source (`str`): `user/name` or `user/name@revision`, or a folder.
        base (`str`): Base of the evaluation.
        out (`Path`): Folder with predictions and results; the new card is written there.
        pr (`bool`, *optional*, defaults to `False`): Whether a pull request with card, results, predictions and plots
            is opened.
        force (`bool`, *optional*, defaults to `False`): Whether edits by hand in a previous evaluation are
            overwritten.

    Returns:
        `str`: Address of the pull request, or the path of the card with a hint.

    Raises:
        CardConflict: The card has other values, such as a `model-index` of its author.
        PublishError: The repository was published by escoita or changed meanwhile, or the Hub refuses.
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
            f"{out / CARD}: card with the evaluation; add --pr to open a pull request with {len(files) - 1} more files"
        )
    leftovers = LEFTOVERS if _is_ours(api, source, head) else None
    plan = CommitPlan(files, "Add an evaluation", leftovers=leftovers, pr=True, revise=reviser(force=force))
    found = plan.changes(head)
    if not real(found):
        raise UnchangedRepositoryError(path=source)
    text = description(_results(api, source, head), files[RESULTS], found)
    return commit(api, source, replace(plan, description=text), head).url


def evaluation_files(snapshot: Snapshot, base: str, out: Path) -> dict[str, bytes]:
    """
    Return the files of an evaluation: card, results, predictions, plots, and digests of these and of the adapter.

    They contain no names of speakers; see `escoita/cards/anonymize.py`.

    Args:
        snapshot ([`Snapshot`]): Snapshot of the adapter.
        base (`str`): Base of the evaluation.
        out (`Path`): Folder with predictions and results.

    Returns:
        `dict[str, bytes]`: Content by path in the repository; the card has only the blocks of the evaluation.

    Raises:
        PublishError: The adapter changed since the evaluation.
        RecordError: A file is missing or cannot be read.
    """
    evaluation = EvaluationRecord.read(out / "results.json")
    main_system = evaluation.main_system
    if check_adapter(snapshot.path, {RESULTS: main_system.adapter_sha256}).verdict != "holds":
        raise PublishError(
            "changed since the evaluation", path=snapshot.name, value=ADAPTER, hint="run the command again"
        )
    base = hub_id(base) or base_of(snapshot.path)
    files: dict[str, bytes] = {}
    speakers = {}
    for corpus in [*(result.name for result in evaluation.corpora), PROBES]:
        predictions, speakers[corpus] = anonymized_predictions(out, corpus, no_recipe(), base, main_system.base_sha256)
        files |= {f"eval/{corpus}/{name}": content for name, content in predictions.items()}
    public = anonymized_evaluation(evaluation, speakers, base, main_system.base_sha256)
    files[RESULTS] = public.to_json().encode()
    files |= {f"eval/{plot.name}": plot.read_bytes() for plot in sorted(out.glob("*.svg"))}
    adapter_files = {name: (snapshot.path / name).read_bytes() for name in (ADAPTER, "adapter_config.json")}
    files[CHECKSUMS] = checksums(files | adapter_files)
    return files | {CARD: evaluation_card(public, out, snapshot.name).encode()}


def _head(api: HfApi, snapshot: Snapshot, revision: str | None = None) -> Head:
    """Return the current state of a repository; for a folder, its card only."""
    if snapshot.repo is None:
        card = snapshot.run.card
        head = Head(card=card.read_bytes().decode() if card.is_file() else "")
        found = [name for name in RUN_FILES if (snapshot.path / name).is_file()]
    else:
        with explain_hub_errors(snapshot.repo):
            head = read_head(api, snapshot.repo, revision)
        if head.sha != snapshot.commit:
            raise PublishError("changed meanwhile", path=snapshot.repo, hint="run the command again")
        found = [name for name in RUN_FILES if name in head.files]
    if len(found) == len(RUN_FILES):
        raise PublishError(
            "published by `escoita push`",
            path=snapshot.name,
            hint="evaluate its run with `escoita eval`, and run `escoita push` again",
        )
    return head


def _is_ours(api: HfApi, repo: str, head: Head) -> bool:
    """
    Return whether `eval/` holds a previously added evaluation.

    Raises:
        PublishError: Its files were not written by escoita, and would be overwritten.
    """
    found = _results(api, repo, head)
    if found is None:
        return False
    try:
        EvaluationRecord.from_json(found)
    except ValueError as error:
        raise PublishError("not written by escoita, and would be overwritten", path=repo, value=RESULTS) from error
    return True


def _results(api: HfApi, repo: str, head: Head) -> bytes | None:
    if RESULTS not in head.files:
        return None
    with explain_hub_errors(repo):
        return read_file(api, repo, head.sha, RESULTS)
