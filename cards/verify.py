"""
Recomputes what a published card says from what was published with it, and says line by line what holds.

Whatever is checked is checked against something else that was published, or that the Hub tells of the base: a card
whose figures were changed no longer fits its records, and records that were changed no longer fit the predictions.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi
from rich.console import Console
from rich.text import Text

from cards.benchmarks import benchmark_files
from cards.build import build_card
from cards.checks.check import Check, Verdict, refusals, skipped
from cards.checks.drawings import check_drawings, drawn_of_records
from cards.checks.files import check_files
from cards.checks.front import check_index, front_matter
from cards.checks.hearing import check_hearing
from cards.checks.leaderboards import check_leaderboards
from cards.checks.names import check_names, check_versions, named
from cards.checks.rates import Score, check_rates, recomputed, require_scorable
from cards.checks.references import asked_references, hashed_corpora, put_back, transcripts
from cards.checks.text import check_blocks
from cards.checks.weights import base_of, check_adapter, check_base_weights, check_named_base
from cards.confined import build_confined
from cards.fetch import Snapshot, fetched
from cards.listing import published_files
from cards.measured import evaluation_card
from escoita.errors import PublishError
from escoita.evaluation import EvaluationRecord
from escoita.progress import say
from escoita.recipe import Recipe
from escoita.records import TrainingRecord
from escoita.rundir import RunDirectory
from escoita.visible import visible


# (folder, record) of `eval.page.drawings.drawings`, which this room does not import.
Draw = Callable[[Path, EvaluationRecord], dict[str, str]]
STYLES: dict[Verdict, str] = {"holds": "green", "differs": "bold red", "not checked": "yellow"}
COUNTED: dict[Verdict, str] = {"holds": "hold", "differs": "differ", "not checked": "not checked"}


def verify(
    source: str,
    score: Score,
    draw: Draw,
    revision: str | None = None,
    transcribe: int = 0,
    references: Sequence[str] = (),
) -> list[Check]:
    """
    Verifies a repository, or a folder that holds what one does.

    Args:
        source (`str`): `user/name`, or a folder.
        score (`Callable`): `eval.results.score`.
        draw (`Callable`): `eval.page.drawings.drawings`.
        revision (`str`, *optional*): Branch, tag or commit.
        transcribe (`int`, *optional*, defaults to 0): Clips of each public corpus that are heard again.
        references (`Sequence[str]`, *optional*): `corpus=MANIFEST` of transcripts that were not published.

    Returns:
        `list[Check]`: In the order of the card's making.

    Raises:
        EscoitaError: It cannot be had, or is not of escoita.
    """
    asked, api = asked_references(references), HfApi()
    snapshot = fetched(api, source, revision)
    if not snapshot.run.results.is_file() or not snapshot.run.card.is_file():
        missing = "README.md" if snapshot.run.results.is_file() else "eval/results.json"
        raise PublishError(
            f"{source}: holds no {missing}, so it was not published by escoita; there is nothing to verify"
        )
    texts = {corpus: transcripts(snapshot.run.eval, corpus, manifest) for corpus, manifest in asked.items()}
    say(f"{source} at commit {snapshot.commit}" if snapshot.commit else f"{source}, a folder")
    checks = check_files(snapshot.path)
    with tempfile.TemporaryDirectory() as folder:
        # A copy in which rates are recomputed; a link to the cache of the client becomes a file.
        for name, path in published_files(snapshot.path).items():
            if path.suffix != ".safetensors":
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, Path(folder) / name)
        copy = RunDirectory(Path(folder))
        recipe = None
        with refusals("recipe.yaml", checks):
            recipe = copy.load_recipe() if copy.recipe.is_file() else None
        with refusals("records", checks):
            checks.extend(_records(copy, asked, texts, score, draw))
        with refusals("card", checks):
            checks.extend(_card(snapshot, copy, recipe))
        with refusals("weights", checks):
            checks.extend(_weights(api, snapshot, recipe))
        with refusals("clips heard again", checks):
            checks.extend(_hearing(snapshot, recipe, transcribe))
        return [
            replace(check, lines=[_without(line, folder, snapshot.path) for line in check.lines]) for check in checks
        ]


def _without(line: str, *folders: str | Path) -> str:
    """A line without the folders of this machine that hold what was published, or its copy."""
    for folder in folders:
        line = line.replace(f"{folder}/", "")
    return line


def print_checks(checks: Sequence[Check], console: Console | None = None) -> bool:
    """
    Prints a line for each check, and how many hold.

    Args:
        checks (`Sequence[Check]`): From [`verify`].
        console (`Console`, *optional*): Where to; standard output unless given.

    Returns:
        `bool`: Whether nothing differs.
    """
    console = console or Console(soft_wrap=True)
    for check in checks:
        said = [visible(line) for line in check.lines]
        first = f": {said[0]}" if len(said) == 1 else ""
        console.print(Text(f"{check.verdict:<11}  ", STYLES[check.verdict]) + Text(f"{visible(check.what)}{first}"))
        for line in said if len(said) > 1 else ():
            console.print(Text(f"{'':<13}{line}"))
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in STYLES}
    console.print(", ".join(f"{counts[verdict]} {word}" for verdict, word in COUNTED.items()))
    return not counts["differs"]


def _records(
    copy: RunDirectory, asked: Mapping[str, Path], texts: Mapping[str, Mapping[str, str]], score: Score, draw: Draw
) -> Iterator[Check]:
    """Rates and plots; afterwards the copy holds the recomputed record."""
    published = EvaluationRecord.read(copy.results)
    hidden = hashed_corpora(copy.eval)
    for corpus, manifest in asked.items():
        yield put_back(copy.eval, corpus, manifest, texts[corpus])
    for corpus in sorted(hidden - asked.keys()):
        why = "are digests; what was counted of them is taken as it stands, unless --references gives them"
        yield skipped(f"transcripts of {corpus}", why)
    counted = recomputed(copy.eval, published, score)
    yield check_rates(copy.eval, published, counted)
    counted.write(copy.results)
    if not copy.data.is_file():
        yield skipped("data.json", "what the corpora hold was not published")
    anew = {f"eval/{name}": plot for name, plot in draw(copy.eval, counted).items()}
    yield from check_drawings(copy.path, drawn_of_records(copy) | anew)


def _card(snapshot: Snapshot, copy: RunDirectory, recipe: Recipe | None) -> Iterator[Check]:
    """The card against the same made from the copy."""
    require_scorable(EvaluationRecord.read(copy.results))
    card, base = copy.card.read_text("utf-8", "replace"), base_of(copy.path)
    adapter = snapshot.repo or next((name for name in named(card) if name != base), snapshot.name)
    if recipe is None:
        made = evaluation_card(EvaluationRecord.read(copy.results), copy.eval, adapter)
    elif recipe.card.template:
        made = build_confined(copy, recipe.base, adapter)
    else:
        made = build_card(copy, recipe, recipe.base, adapter)
    ours = None
    if recipe is not None and recipe.card.template:  # a stranger's: it may write what no record gives
        plain = recipe.model_copy(update={"card": recipe.card.model_copy(update={"template": None})})
        ours = build_card(copy, plain, plain.base, adapter)
    yield from check_blocks(card, made, ours)
    yield check_index(card, made)
    if recipe is None:
        yield skipped("training", "was not escoita's: neither recipe.yaml nor training.json was published")
        return
    yield check_names(card, made, adapter, recipe.base)
    yield check_versions(card, TrainingRecord.read(copy.training).versions)
    asked = benchmark_files(recipe, EvaluationRecord.read(copy.results), adapter)
    yield from check_leaderboards(copy.path, asked)


def _hearing(snapshot: Snapshot, recipe: Recipe | None, count: int) -> Iterator[Check]:
    if count and recipe:
        yield from check_hearing(snapshot.run, recipe, count)
    elif count:
        yield skipped("clips heard again", "no recipe was published, which would name base and corpora")


def _weights(api: HfApi, snapshot: Snapshot, recipe: Recipe | None) -> Iterator[Check]:
    """The weights of adapter and base, and what the base is called."""
    run = snapshot.run
    judged = EvaluationRecord.read(run.results).judged
    digests = {"eval/results.json": judged.adapter_sha256}
    if recipe is None:
        yield check_adapter(run.path, digests)
        yield check_base_weights(api, judged.base, None, judged.base_sha256)
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
    yield check_base_weights(api, recipe.base, recipe.base_revision, training.base_sha256)
