"""
Verify the claims of a repository against its published files.

Nothing of the repository is executed or rendered: weights are read as tensors, records as data, and the card is built
again with the installed template. A changed figure differs from its record, and a changed record differs from the
predictions or another record.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from huggingface_hub import HfApi
from rich.console import Console
from rich.text import Text

from escoita import __version__
from escoita.cards.benchmarks import benchmark_files
from escoita.cards.build import build_card
from escoita.cards.context import evaluation_card
from escoita.cards.fetch import Snapshot, fetched
from escoita.cards.listing import published_files
from escoita.cards.published_base import base_revision
from escoita.cards.snippets import released_code
from escoita.cards.template import released_templates
from escoita.cards.verify.adapter import base_mismatches, base_of, check_adapter, check_base_weights, check_named_base
from escoita.cards.verify.check import (
    Check,
    Verdict,
    check_template,
    compared,
    is_same_matplotlib,
    is_same_template,
    refusals,
    skipped,
    unprovable,
)
from escoita.cards.verify.consistency import check_consistency, check_contributed, check_presence
from escoita.cards.verify.front_matter import check_front, front_matter
from escoita.cards.verify.published_files import check_drawings, check_files, check_leaderboards, drawn_of_records
from escoita.cards.verify.recompute import (
    Score,
    check_rates,
    hashed_corpora,
    recomputed,
    requested_references,
    require_scorable,
    restore_transcripts,
    transcripts,
)
from escoita.cards.verify.reproduce import check_reproduction
from escoita.cards.verify.signature import Signer, check_signature
from escoita.cards.verify.text import check_names, check_sections, check_versions, named
from escoita.errors import PublishError
from escoita.hub.failures import HubError, explain_hub_errors
from escoita.hub.retry import retrying
from escoita.metrics.primary import metric_name
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import EvaluationRecord
from escoita.records.training import TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.utils.formatting import visible
from escoita.utils.processes import say


# (folder, record) of `escoita.evaluation.report.drawings.drawings`.
Draw = Callable[[Path, EvaluationRecord], dict[str, str]]
STYLES: dict[Verdict, str] = {
    "holds": "green",
    "differs": "bold red",
    "not checked": "yellow",
    "cannot be proven": "dim",
}
COUNTED: dict[Verdict, str] = {
    "holds": "hold",
    "differs": "differ",
    "not checked": "not checked",
    "cannot be proven": "cannot be proven",
}
RECOMPUTED = (
    "Recomputed: error rates, intervals and verdicts from the published predictions; plots, front matter and sections"
    " of the card from the published records."
)
CONSISTENT = (
    "Only consistent with each other: recipe, training.json, data.json, the adapter and its settings; all of them are"
    " from the publisher."
)


class NothingToVerifyError(PublishError):
    """Report a repository that escoita did not publish; `value` is the missing file."""

    problem = "not found, so the repository was not published by escoita"


def verify(
    source: str,
    score: Score,
    draw: Draw,
    revision: str | None = None,
    transcribe: int = 0,
    references: Sequence[str] = (),
    signer: Signer | None = None,
) -> list[Check]:
    """
    Verify a repository, or a folder with the files of a repository.

    Args:
        source (`str`): `user/name`, or a folder.
        score (`Callable`): Function [`~escoita.evaluation.aggregate.score`].
        draw (`Callable`): Function that draws the plots of an evaluation.
        revision (`str`, *optional*): Branch, tag or commit.
        transcribe (`int`, *optional*, defaults to 0): Number of clips of each public corpus to transcribe again.
        references (`Sequence[str]`, *optional*): `corpus=MANIFEST` for private transcripts.
        signer ([`Signer`], *optional*): Required signer.

    Returns:
        `list[Check]`: One result for each comparison.

    Raises:
        EscoitaError: The repository cannot be read, or was not published by escoita.
    """
    manifests, api = requested_references(references), HfApi()
    snapshot = fetched(api, source, revision)
    if not snapshot.run.results.is_file() or not snapshot.run.card.is_file():
        missing = "README.md" if snapshot.run.results.is_file() else "eval/results.json"
        raise NothingToVerifyError(path=source, value=missing)
    texts = {corpus: transcripts(snapshot.run.eval, corpus, manifest) for corpus, manifest in manifests.items()}
    say(f"{snapshot.name} at commit {snapshot.commit}" if snapshot.commit else f"{source}, a folder")
    checks = check_files(snapshot.path)
    with refusals("signature", checks):
        checks.append(check_signature(snapshot.path, signer))
    with tempfile.TemporaryDirectory() as folder:
        # A copy in which rates are recomputed; a link into the cache of the client becomes a file.
        files = published_files(snapshot.path)
        for name, path in files.items():
            if path.suffix != ".safetensors":
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, Path(folder) / name)
        copy = RunDirectory(Path(folder))
        trained = copy.recipe.is_file() or copy.training.is_file()
        recipe = None
        if trained:
            checks.append(check_presence(files))
        with refusals("recipe.yaml", checks):
            recipe = copy.load_recipe(search=False) if copy.recipe.is_file() else None
        with refusals("consistency", checks):
            if recipe is not None:
                checks.extend(check_consistency(copy, recipe, snapshot.path))
            elif not trained:
                checks.extend(check_contributed(copy))
        with refusals("predictions", checks):
            checks.extend(_records(copy, manifests, texts, score, draw))
        with refusals("card", checks):
            if recipe is not None or not trained:  # the card cannot be built without its recipe
                checks.extend(_card(api, snapshot, copy, recipe))
        with refusals("weights", checks):
            checks.extend(_weights(api, snapshot, recipe))
        with refusals("clips transcribed again", checks):
            checks.extend(_transcriptions(snapshot, recipe, transcribe))
        with refusals("claims", checks):
            checks.extend(_claims(copy, recipe, trained, any(_is_transcription(check) for check in checks)))
        folders = (f"{folder}/", f"{snapshot.path.resolve()}/", f"{snapshot.path}/")
        return [_without(folders, check) for check in checks]


def passed(checks: Sequence[Check], strict: bool = False, allow_custom_template: bool = False) -> bool:
    """
    Return whether a verification succeeded.

    Args:
        checks (`Sequence[Check]`): Checks from [`verify`].
        strict (`bool`, *optional*, defaults to `False`): Whether a check that was not made counts as a failure.
        allow_custom_template (`bool`, *optional*, defaults to `False`): Whether `strict` accepts sections of a custom
            template.
    """
    failures = [check for check in checks if check.verdict == "differs"]
    if strict:
        skips = [check for check in checks if check.verdict == "not checked"]
        failures += [check for check in skips if not (check.custom and allow_custom_template)]
    return not failures


def print_checks(checks: Sequence[Check], console: Console | None = None) -> None:
    """
    Print a line for each check, the number of each verdict, and the conclusions.

    Args:
        checks (`Sequence[Check]`): Checks from [`verify`].
        console (`Console`, *optional*): Console; default: standard output.
    """
    console = console or Console(soft_wrap=True)
    width = max(map(len, STYLES)) + 2
    for check in checks:
        lines = [visible(line) for line in check.lines]
        first = f": {lines[0]}" if len(lines) == 1 else ""
        console.print(Text(f"{check.verdict:<{width}}", STYLES[check.verdict]) + Text(f"{visible(check.what)}{first}"))
        for line in lines if len(lines) > 1 else ():
            console.print(Text(f"{'':<{width}}{line}"))
    console.print(", ".join(f"{number} {COUNTED[verdict]}" for verdict, number in _counts(checks).items()))
    for line in conclusions(checks):
        console.print(Text(visible(line)))


def to_json(source: str, checks: Sequence[Check]) -> str:
    """
    Return the checks as JSON, for programs.

    Args:
        source (`str`): Repository or folder.
        checks (`Sequence[Check]`): Checks from [`verify`].
    """
    document = {
        "source": source,
        "version": __version__,
        "checks": [asdict(check) for check in checks],
        "counts": _counts(checks),
        "conclusions": conclusions(checks),
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def conclusions(checks: Sequence[Check]) -> list[str]:
    """Return the conclusions: recomputed, only consistent, and cannot be proven."""
    wrong = [check.what for check in checks if check.verdict == "differs"]
    unproven = [check.what for check in checks if check.verdict == "cannot be proven"]
    return [
        *([f"Do not rely on this card. Differences: {', '.join(wrong)}."] if wrong else []),
        RECOMPUTED,
        *([CONSISTENT] if any(check.what.startswith("recipe and ") for check in checks) else []),
        *([f"Cannot be proven by any file of a repository: {', '.join(unproven)}."] if unproven else []),
    ]


def _counts(checks: Sequence[Check]) -> dict[Verdict, int]:
    return {verdict: sum(check.verdict == verdict for check in checks) for verdict in STYLES}


def _without(folders: Sequence[str], check: Check) -> Check:
    """Return a check with relative paths of files."""
    what, lines = check.what, list(check.lines)
    for folder in folders:
        what, lines = what.replace(folder, ""), [line.replace(folder, "") for line in lines]
    return replace(check, what=what, lines=lines)


def _records(
    copy: RunDirectory, manifests: Mapping[str, Path], texts: Mapping[str, Mapping[str, str]], score: Score, draw: Draw
) -> Iterator[Check]:
    """Check rates and plots, and write the recomputed record to the copy."""
    published = EvaluationRecord.read(copy.results)
    hidden = hashed_corpora(copy.eval)
    for corpus, manifest in manifests.items():
        yield restore_transcripts(copy.eval, corpus, manifest, texts[corpus])
    for corpus in sorted(hidden - manifests.keys()):
        why = "recomputed from counts only, as the references are not published (--references adds transcripts)"
        yield skipped(f"transcripts of {corpus}", why)
    training = TrainingRecord.read(copy.training) if copy.training.is_file() else None
    may_be_of_0_1 = training is None or training.versions.get("escoita") in released_templates()
    counted = recomputed(copy.eval, published, score, may_be_of_0_1)
    yield check_rates(copy.eval, published, counted, sorted(hidden - manifests.keys()))
    counted.write(copy.results)
    plots = {f"eval/{name}": plot for name, plot in draw(copy.eval, counted).items()}
    yield from check_drawings(published_files(copy.path), drawn_of_records(copy) | plots, is_same_matplotlib(training))


def _adapter_name(api: HfApi, snapshot: Snapshot, card: str, base: str) -> str:
    """
    Return the repository that the card may name: the verified one, or its former name, which the Hub redirects; for a
    folder, the first repository on the card.
    """
    first = next((name for name in named(card) if name != base), None)
    if snapshot.repo is None:
        return first or snapshot.name
    if first is not None and first != snapshot.repo:
        with suppress(HubError), explain_hub_errors(first):
            if retrying(first, known=False)(api.model_info, first).id == snapshot.repo:
                return first
    return snapshot.repo


def _card(api: HfApi, snapshot: Snapshot, copy: RunDirectory, recipe: Recipe | None) -> Iterator[Check]:
    """Compare the card with the card from the copy."""
    require_scorable(EvaluationRecord.read(copy.results))
    card, base = copy.card.read_text("utf-8", "replace"), base_of(copy.path)
    adapter = _adapter_name(api, snapshot, card, base)
    if recipe is None:
        recomputed_card = evaluation_card(EvaluationRecord.read(copy.results), copy.eval, adapter)
        yield from check_sections(card, recomputed_card, same_version=False)
        yield from check_front(card, recomputed_card)
        yield unprovable("training", "not done by escoita: recipe.yaml and training.json were not published")
        return
    training = TrainingRecord.read(copy.training)
    recomputed_card = build_card(copy, recipe, recipe.base, adapter)
    custom = recipe.card.template is not None
    yield check_template(training)
    code = released_code(recipe, training, recipe.base, adapter)
    yield from check_sections(card, recomputed_card, is_same_template(training), custom, code)
    yield from check_front(card, recomputed_card)
    names = check_names(card, recomputed_card, adapter, recipe.base)
    yield replace(names, verdict="not checked", custom=True) if custom and names.verdict == "differs" else names
    yield check_versions(card, training.versions)
    leaderboards = benchmark_files(recipe, EvaluationRecord.read(copy.results), adapter)
    yield from check_leaderboards(copy.path, leaderboards)


def _is_transcription(check: Check) -> bool:
    return check.what.endswith(" transcribed again") and check.verdict == "holds"


def _claims(copy: RunDirectory, recipe: Recipe | None, trained: bool, transcribed: bool) -> Iterator[Check]:
    """List the claims that no file of a repository could prove."""
    evaluation = EvaluationRecord.read(copy.results)
    names = ", ".join(result.name for result in evaluation.corpora)
    yield unprovable(
        "identity of the corpora",
        f"whether {names} are the clips, speakers and transcripts that the card names; names, titles and licenses are"
        " from the publisher",
    )
    others = (
        " of the clips that were not transcribed again"
        if transcribed
        else "; --transcribe N transcribes N clips again"
    )
    yield unprovable("origin of the predictions", f"whether the systems wrote these texts{others}")
    yield unprovable("speed and memory", "measured on the machine of the publisher")
    if evaluation.rescored:
        first = evaluation.rescored
        yield unprovable(
            "choice of the normalizer",
            f"the predictions were scored again with {evaluation.normalizer} ({evaluation.resamples:,} resamples,"
            f" {metric_name(evaluation.primary)}), after {first.normalizer} ({first.resamples:,},"
            f" {metric_name(first.primary)}); the rates hold, but whether the choice followed from them is not known",
        )
    if trained:
        what = (
            "hyperparameters, losses and validation rates, hardware, time and energy; the clips of the training, and"
            " therefore the train/test overlap"
        )
        yield unprovable("course of training", what)
    if recipe is not None:
        what = "description, intended use, limitations and licenses are from the publisher"
        yield unprovable("texts of the recipe", what)


def _transcriptions(snapshot: Snapshot, recipe: Recipe | None, count: int) -> Iterator[Check]:
    if count and recipe:
        yield from check_reproduction(snapshot.run, recipe, count)
    elif count:
        yield skipped("clips transcribed again", "no recipe with base and corpora was published")


def _weights(api: HfApi, snapshot: Snapshot, recipe: Recipe | None) -> Iterator[Check]:
    """Check the weights of adapter and base, and the name of the base."""
    run = snapshot.run
    evaluation = EvaluationRecord.read(run.results)
    main_system = evaluation.main_system
    digests = {"eval/results.json": main_system.adapter_sha256}
    if recipe is None:
        yield compared("bases of all files", list(base_mismatches(evaluation)), "same digest for adapter and base")
        yield check_adapter(run.path, digests)
        yield check_base_weights(api, main_system.base, main_system.base_commit, main_system.base_sha256)
        return
    training = TrainingRecord.read(run.training)
    yield check_adapter(run.path, digests | {"training.json": training.adapter_sha256})
    front = front_matter(run.card.read_text("utf-8", "replace"))
    names = {
        "adapter_config.json": base_of(run.path),
        "training.json": training.base,
        "README.md": front.get("base_model"),
    }
    yield check_named_base(names, recipe.base)
    yield check_base_weights(api, recipe.base, base_revision(recipe, training), training.base_sha256)
