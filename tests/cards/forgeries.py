"""
List forgeries of a repository, each with the check that detects it and its verdict.

    python -m tests.cards.forgeries

prints the table of docs/security.md.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from escoita.cards.build import build_card
from escoita.cards.front_matter import BEGIN, END, blocks, digest, keys, marked, split
from escoita.cards.verify.check import Verdict
from escoita.cards.verify.published_files import drawn_of_records
from escoita.evaluation.aggregate import score
from escoita.evaluation.predictions import described, parquet, read_predictions, replaced
from escoita.evaluation.report.plots import drawings
from escoita.records.evaluation import Decoding, EvaluationRecord
from escoita.run_directory import RunDirectory
from tests.cards.publishing import BASE, REPO
from tests.cards.verifiable_run import OTHER_WEIGHTS, lora_weights, write_files


Files = dict[str, bytes]
Change = Callable[[Files], None]
CARD, RESULTS, TRAINING, RECIPE, DATA = "README.md", "eval/results.json", "training.json", "recipe.yaml", "data.json"
CONFIG, SETTINGS, WEIGHTS = "adapter_config.json", "escoita.json", "adapter_model.safetensors"
OURS, BASES = "eval/clips/predictions.parquet", "eval/clips/predictions-base.parquet"
PLOT = "eval/wer-by-corpus.svg"
RESULTS_TEXT = r"\n(## Results.*?)(<!-- escoita:end results -->)"
OTHER_ROWS = {"step": 9999, "added": 1, "removed": 0, "changed": 0, "earlier_corpora": [], "earlier_rows_sha256": ""}
SHORTENED = {"step": 300, "unit": "steps", "before": 600, "now": 300, "date": "2026-03-01T10:00:00+00:00"}
PATH = r'(<path d="M [\d. ]+\nL )([\d.]+)'


class Forgery(NamedTuple):
    """
    Store a forgery of a repository.

    Args:
        claim (`str`): Forged claim, for the documentation.
        change (`Callable`): Function that changes the published files in place; checksums are updated afterwards.
        check (`str`): Name of the check that detects it.
        verdict (`str`): Verdict of the check.
    """

    claim: str
    change: Change
    check: str
    verdict: Verdict = "differs"


def both(*changes: Change) -> Change:
    def change(files: Files) -> None:
        for each in changes:
            each(files)

    return change


def text(name: str, pattern: str, replacement: str) -> Change:
    """Replace the first match in a text file."""

    def change(files: Files) -> None:
        new, times = re.subn(pattern, replacement, files[name].decode(), count=1, flags=re.DOTALL)
        assert times == 1 and new.encode() != files[name], (name, pattern)
        files[name] = new.encode()

    return change


def record(name: str, update: Callable[[dict[str, Any]], object]) -> Change:
    """Change a JSON or YAML record."""

    def change(files: Files) -> None:
        document = yaml.safe_load(files[name])
        before = json.dumps(document)
        update(document)
        assert json.dumps(document) != before
        written = yaml.safe_dump(document, sort_keys=False) if name.endswith(".yaml") else json.dumps(document)
        files[name] = written.encode()

    return change


def put(name: str, *path: Any) -> Change:
    """Set one value of a record, given its keys."""

    def update(document: Any) -> None:
        *places, last, value = path
        for place in places:
            document = document[place]
        document[last] = value

    return record(name, update)


def rows(change: Callable[[Any], Any], *names: str) -> Change:
    """Change the table of predictions."""

    def apply(files: Files) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                path = write_files(Path(folder), {name: files[name]}) / name
                table, provenance = read_predictions(path)
                files[name] = parquet(described(change(table), provenance))

    return apply


def provenance(update: dict[str, Any], *names: str) -> Change:
    def apply(files: Files) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                path = write_files(Path(folder), {name: files[name]}) / name
                table, provenance = read_predictions(path)
                system = provenance.system.model_copy(update=update)
                files[name] = parquet(described(table, provenance.model_copy(update={"system": system})))

    return apply


def resigned(change: Change) -> Change:
    """Change a file of the adapter, and write its new digest into training.json."""

    def apply(files: Files) -> None:
        change(files)
        training = json.loads(files[TRAINING])
        training["adapter_files"] = {
            name: hashlib.sha256(files[name]).hexdigest() for name in training["adapter_files"]
        }
        files[TRAINING] = json.dumps(training).encode()

    return apply


def column(name: str, value: Callable[[Any, int], Any]) -> Callable[[Any], Any]:
    def change(table: Any) -> Any:
        import pyarrow as pa

        values = [value(each, place) for place, each in enumerate(table[name].to_pylist())]
        place = table.schema.get_field_index(name)
        return table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))

    return change


def correct_hypotheses(table: Any) -> Any:
    return replaced(table, {"hypothesis": table["reference"].to_pylist()})


def repeated(table: Any) -> Any:
    return table.take([0, 1, 2, 2])


def again(files: Files) -> None:
    """Score, draw and write the card again with escoita."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(write_files(Path(folder), files))
        published = EvaluationRecord.read(run.results)
        names = [result.name for result in published.corpora] + (["probes"] if published.probes else [])
        settings = published.normalizer, published.resamples, names
        made = score(run.eval, *settings, primary=published.primary)
        made = made.model_copy(update={"rescored": published.rescored})
        made.write(run.results)
        files[RESULTS] = run.results.read_bytes()
        drawn = drawn_of_records(run) | {f"eval/{name}": plot for name, plot in drawings(run.eval, made).items()}
        files |= {name: plot.encode() for name, plot in drawn.items()}
        files[CARD] = build_card(run, run.load_recipe(), BASE, REPO).encode()


def and_again(*changes: Change) -> Change:
    return both(*changes, again)


def section(name: str, write: Callable[[str], str]) -> Change:
    """Replace a section, including its marks."""

    def change(files: Files) -> None:
        card = files[CARD].decode()
        found = next(block for block in blocks(card) if block.name == name)
        files[CARD] = (card[: found.start] + write(card[found.start : found.end]) + card[found.end :]).encode()

    return change


def forged_digest(files: Files) -> None:
    card = files[CARD].decode()
    found = next(block for block in blocks(card) if block.name == "results")
    files[CARD] = card.replace(
        card[found.start : found.end], marked("results", found.text.replace("10.00", "1.00"))
    ).encode()


def new_section(whole: str) -> str:
    made = "## Results\n\nWER 0.1 %"
    return f"{whole}\n{BEGIN.format('awards', digest(made))}\n{made}\n{END.format('awards')}\n"


def fence(whole: str) -> str:
    return f"`````text\n{whole}`````\n"


def around(before: str, after: str) -> Callable[[str], str]:
    return lambda whole: f"{before}\n\n{whole}\n{after}\n\n"


def written(addition: str) -> Change:
    """Add an author's text at the beginning of the card."""

    def change(files: Files) -> None:
        opening, front, rest = split(files[CARD].decode())
        head, mark, body = rest.partition("---\n")
        files[CARD] = f"{opening}{front}{head}{mark}\n{addition}\n{body}".encode()

    return change


def front(key: str, value: Any) -> Change:
    """Set or delete a key of the front matter."""

    def change(files: Files) -> None:
        opening, matter, rest = split(files[CARD].decode())
        document = {each.name: each.value for each in keys(matter)}
        document.pop(key, None) if value is None else document.update({key: value})
        files[CARD] = f"{opening}{yaml.safe_dump(document, sort_keys=False).strip()}{rest}".encode()

    return change


def index(update: Callable[[dict[str, Any]], object]) -> Change:
    """Change the first result of model-index."""

    def change(files: Files) -> None:
        document = {each.name: each.value for each in keys(split(files[CARD].decode())[1])}
        update(document["model-index"][0]["results"][0])
        front("model-index", document["model-index"])(files)

    return change


def all_index(update: Callable[[dict[str, Any]], object]) -> Change:
    """Change the model of model-index."""

    def change(files: Files) -> None:
        document = {each.name: each.value for each in keys(split(files[CARD].decode())[1])}
        update(document["model-index"][0])
        front("model-index", document["model-index"])(files)

    return change


def empty_result(model: dict[str, Any]) -> None:
    dataset = {"name": "FLEURS", "type": "google/fleurs"}
    model["results"].append({"task": model["results"][0]["task"], "dataset": dataset, "metrics": []})


def without(*names: str) -> Change:
    def change(files: Files) -> None:
        for name in names:
            del files[name]

    return change


def added(name: str, content: bytes) -> Change:
    return lambda files: files.update({name: content})


def version(number: str, *changes: Change) -> Change:
    """Claim that another version wrote the card."""
    return both(record(TRAINING, lambda it: it.update(card_version=number, card_template_sha256="a" * 64)), *changes)


def in_plot(addition: str) -> Change:
    return text(PLOT, "</svg>", f"{addition}</svg>")


def no_probes(files: Files) -> None:
    without("eval/probes/predictions.parquet", "eval/probes/predictions-base.parquet")(files)
    put(RESULTS, "probes", [])(files)
    again(files)


def no_base(files: Files) -> None:
    without(BASES, "eval/probes/predictions-base.parquet")(files)
    again(files)


def better_normalizer(files: Files) -> None:
    put(RESULTS, "normalizer", "basic")(files)
    again(files)


def better_though_silent(files: Files) -> None:
    rows(column("hypothesis", lambda text, row: ""), OURS)(files)
    again(files)

    def update(document: dict[str, Any]) -> None:
        for result in (*document["corpora"], document["pooled"]):
            assert result["differences"][0]["verdict"] == "not comparable"
            result["differences"][0]["verdict"] = "better"

    record(RESULTS, update)(files)


def weaker_base(files: Files) -> None:
    trained = json.loads(files[TRAINING])["base_sha256"]
    other = {"base_sha256": "f" * 64, "expected_base_sha256": trained}
    provenance(other, BASES, "eval/probes/predictions-base.parquet")(files)
    again(files)


def uncounted(document: dict[str, Any]) -> None:
    for result in (*document["corpora"], document["pooled"]):
        for system in result["systems"]:
            del system["unusable"]


def of_all(update: Callable[[dict[str, Any]], object]) -> Change:
    """Change the results of each corpus, and the pooled ones."""

    def change(document: dict[str, Any]) -> None:
        for result in (*document["corpora"], document["pooled"]):
            update(result)

    return record(RESULTS, change)


def other_decoding(files: Files) -> None:
    provenance({"decoding": Decoding(num_beams=5)}, OURS, "eval/probes/predictions.parquet")(files)
    again(files)


def one_rate(document: dict[str, Any]) -> None:
    document["corpora"][0]["systems"][0]["normalized"]["wer"] = 0.05


def custom(files: Files) -> None:
    put(RECIPE, "card", "template", "own.md.jinja")(files)
    section("results", lambda whole: marked("results", "## Results\n\nWER 0.01 %"))(files)


LATER = "99.0.0"
FORGERIES: dict[str, Forgery] = {
    # The sections of the card
    "figure": Forgery("another WER in a section", text(CARD, r"\*\*10\.00 %", "**1.00 %"), "card: results"),
    "figure-and-digest": Forgery("another WER, the digest of its section made to fit", forged_digest, "card: results"),
    "second-section": Forgery(
        "a second section of the same name", section("results", lambda whole: whole + whole), "card: results"
    ),
    "verdict": Forgery("another verdict", text(CARD, "no measurable difference", "better"), "card: results"),
    "unit": Forgery("per mille instead of percent", text(CARD, r"10\.00 %", "10.00 ‰"), "card: results"),
    "words": Forgery("other words", text(CARD, "Lower is better", "Higher is better"), "card: results"),
    "column": Forgery("another name of a column", text(CARD, r"\| WER \|", "| Accuracy |"), "card: results"),
    "interval": Forgery("another interval", text(CARD, r"\(0\.00 to", "(9.99 to"), "card: results"),
    "code": Forgery(
        "a line more in a code snippet", text(CARD, "transcriber = ", "import os\ntranscriber = "), "card: usage"
    ),
    "code-repository": Forgery(
        "another repository in a code snippet",
        text(CARD, 'adapter="ana/uzbek"', 'adapter="bea/uzbek"'),
        "repositories in the code",
    ),
    "link": Forgery(
        "a link to elsewhere", text(CARD, r"huggingface\.co/ana/base", "example.org/base"), "card: summary"
    ),
    "section-removed": Forgery("a section removed", section("evaluation", lambda whole: ""), "card: evaluation"),
    "section-comment": Forgery(
        "a section inside of a comment",
        section("evaluation", lambda whole: "<!--" + whole.replace("<!--", "").replace("-->", "") + "-->\n"),
        "card: evaluation",
    ),
    "section-details": Forgery(
        "a section inside of `<details>`",
        section("results", around("<details><summary>Old</summary>", "</details>")),
        "card: visibility",
    ),
    "section-hidden": Forgery(
        "a section inside of a hidden element",
        section("results", around("<div hidden>", "</div>")),
        "card: visibility",
    ),
    "section-open": Forgery(
        "an element that is opened before a section and never closed",
        section("results", around("<template>", "")),
        "card: visibility",
    ),
    "section-code": Forgery("a section shown as code", section("results", fence), "card: visibility"),
    "section-list": Forgery(
        "a section inside of a list of HTML", section("results", around("<ul><li>", "</li></ul>")), "card: visibility"
    ),
    "section-struck": Forgery(
        "a section struck out", section("results", around("<del>", "</del>")), "card: visibility"
    ),
    "section-open-cell": Forgery(
        "a section inside of `<details>`, which an end tag in a table seems to close",
        written("<details><table><tr><td></details>"),
        "card: visibility",
    ),
    "section-open-order": Forgery(
        "a section struck out by elements that are closed in another order",
        written("<div><del><div></del></div>"),
        "card: visibility",
    ),
    "section-open-title": Forgery(
        "a section inside of the title of a picture", written("<svg><title>"), "card: visibility"
    ),
    "section-open-select": Forgery(
        "a section inside of a list to choose from", written("<select><option>"), "card: visibility"
    ),
    "section-open-slash": Forgery(
        "a section inside of `<details/>`, which HTML does not close", written("<details/>"), "card: visibility"
    ),
    "section-open-format": Forgery(
        "sections struck out from the text of the author", written("Some <s> text"), "card: visibility"
    ),
    "section-unread": Forgery(
        "a section that is not read as Markdown",
        section("results", lambda whole: f"<?x\n\n{whole}\n?>\n"),
        "card: visibility",
    ),
    "section-formula": Forgery(
        "a section inside of a formula", section("results", around("$$", "$$")), "card: visibility"
    ),
    "section-indented": Forgery(
        "a heading shown as code", text(CARD, "\n## Results", "\n    ## Results"), "card: results"
    ),
    "cover": Forgery(
        "an element that covers the card",
        written('<div style="position: fixed">WER 0.4 %</div>\n'),
        "card: visibility",
    ),
    "page-base": Forgery(
        "another address for all links and plots", written('<base href="https://example.org/">\n'), "card: visibility"
    ),
    "style": Forgery("a style sheet", written("<style>table { display: none }</style>"), "card: visibility"),
    "section-added": Forgery("a section that no record gives", section("results", new_section), "card: awards"),
    "author-table": Forgery(
        "a table of other results outside of the sections",
        written("| Corpus | WER |\n|---|---|\n| FLEURS | 0.41 % |\n"),
        "card: text outside of the sections",
        "cannot be proven",
    ),
    "author-image": Forgery(
        "a picture of other results outside of the sections",
        written("![WER 0.41 %](https://example.org/wer.png)\n"),
        "card: text outside of the sections",
        "cannot be proven",
    ),
    "version-figure": Forgery(
        "version 0.0.1 claimed, and a figure changed",
        version("0.0.1", text(CARD, r"\*\*10\.00 %", "**1.00 %")),
        "card: results",
    ),
    "version-code": Forgery(
        "version 99 claimed, and code changed",
        version(LATER, text(CARD, "transcriber = ", "import os\ntranscriber = ")),
        "card: usage",
    ),
    "version-link": Forgery(
        "version 99 claimed, and a link changed",
        version(LATER, text(CARD, r"huggingface\.co/ana/base", "example.org/base")),
        "card: summary",
    ),
    "version-unit": Forgery(
        "version 99 claimed, and the unit changed", version(LATER, text(CARD, r"10\.00 %", "10.00 ‰")), "card: results"
    ),
    "version-comment": Forgery(
        "version 99 claimed, and a section hidden in a comment",
        version(LATER, text(CARD, RESULTS_TEXT, r"\n<!--\n\1\n-->\n\2")),
        "card: results",
    ),
    "version-details": Forgery(
        "version 99 claimed, and a section put into `<details>`",
        version(LATER, text(CARD, RESULTS_TEXT, r"\n<details>\n\1\n</details>\n\2")),
        "card: results",
    ),
    "version-image": Forgery(
        "version 99 claimed, and an image put into a section",
        version(LATER, text(CARD, "\n## Results", "\n![x]\n\n[x]: //example.org/wer.png\n\n## Results")),
        "card: results",
    ),
    "version-words": Forgery(
        "version 99 claimed, and words changed",
        version(LATER, text(CARD, "Lower is better", "Higher is better")),
        "card: results",
        "not checked",
    ),
    "version-template": Forgery(
        "version 0.1.0 claimed, but not with its templates", version("0.1.0"), "version of the card"
    ),
    "version-unknown": Forgery(
        "an unknown version claimed, and nothing else", version("0.0.1"), "version of the card", "not checked"
    ),
    "custom-template": Forgery(
        "a custom template claimed, and a figure changed", custom, "card: results", "not checked"
    ),
    "framework": Forgery(
        "another version of a framework",
        text(CARD, r"Framework versions: (.*?)peft 0\.21\.2", r"Framework versions: \1peft 0.99.0"),
        "framework versions",
    ),
    # The front matter
    "license": Forgery("another license", front("license", "mit"), "front matter"),
    "language": Forgery("another language", front("language", "gl"), "front matter"),
    "base-model": Forgery("another base", front("base_model", "bea/base"), "front matter"),
    "relation": Forgery("another relation to the base", front("base_model_relation", "finetune"), "front matter"),
    "library": Forgery("another library", front("library_name", "transformers"), "front matter"),
    "task": Forgery("another task", front("pipeline_tag", "text-generation"), "front matter"),
    "metrics": Forgery("another list of metrics", front("metrics", ["accuracy"]), "front matter"),
    "tags": Forgery("a tag of the records removed", front("tags", ["fun"]), "front matter"),
    "license-gone": Forgery("no license", front("license", None), "front matter"),
    "datasets": Forgery(
        "a dataset that no record names",
        front("datasets", ["google/fleurs"]),
        "front matter: the author's own",
        "cannot be proven",
    ),
    "tag-added": Forgery(
        "a tag more", front("tags", ["speech", "lora", "sota"]), "front matter: the author's own", "cannot be proven"
    ),
    "index-value": Forgery(
        "another value in model-index", index(lambda it: it["metrics"][0].update(value=0.01)), "model-index"
    ),
    "index-gone": Forgery("a value of model-index removed", index(lambda it: it["metrics"].pop()), "model-index"),
    "index-added": Forgery(
        "a value more in model-index",
        index(lambda it: it["metrics"].append({"type": "wer", "name": "WER", "value": 0})),
        "model-index",
    ),
    "index-dataset": Forgery(
        "another dataset in model-index", index(lambda it: it["dataset"].update(name="FLEURS")), "model-index"
    ),
    "index-metric": Forgery(
        "another name of a metric", index(lambda it: it["metrics"][0].update(name="WER (percent)")), "model-index"
    ),
    "index-source": Forgery(
        "another source in model-index",
        index(lambda it: it["source"].update(url="https://example.org/results")),
        "model-index",
    ),
    "index-verified": Forgery(
        "a value marked as verified", index(lambda it: it["metrics"][0].update(verified=True)), "model-index"
    ),
    "index-name": Forgery(
        "another name of the model",
        text(CARD, "- name: small\n  results:", "- name: large\n  results:"),
        "model-index",
    ),
    "index-empty": Forgery("a result without metrics in model-index", all_index(empty_result), "model-index"),
    "index-model": Forgery(
        "another key of the model in model-index",
        all_index(lambda it: it.update(note="WER 0.4 %")),
        "model-index",
    ),
    "front-twice": Forgery(
        "a value of model-index written twice",
        text(CARD, r"\n( +)value: 10\.0\n", r"\n\1value: 0.001\n\1value: 10.0\n"),
        "front matter",
    ),
    "leaderboard": Forgery(
        "a file for leaderboards that no record gives",
        added(".eval_results/asr.yaml", b"- {dataset: {id: a/b, task_id: x}, value: 1.0}\n"),
        ".eval_results/asr.yaml",
        "cannot be proven",
    ),
    # Predictions and rates
    "rate": Forgery("another rate in results.json", record(RESULTS, one_rate), RESULTS),
    "silent": Forgery("an adapter that writes nothing, called better", better_though_silent, RESULTS),
    "unusable": Forgery(
        "another number of empty hypotheses and loops",
        put(RESULTS, "corpora", 0, "systems", 1, "unusable", 3),
        RESULTS,
    ),
    "unusable-removed": Forgery("no numbers of empty hypotheses and loops", record(RESULTS, uncounted), RESULTS),
    "rate-and-card": Forgery(
        "the same wrong rate in results.json and card",
        both(record(RESULTS, one_rate), text(CARD, r"10\.00 %", "5.00 %")),
        RESULTS,
    ),
    "hypotheses": Forgery("better hypotheses, everything else unchanged", rows(correct_hypotheses, OURS), RESULTS),
    "hypotheses-again": Forgery(
        "better hypotheses, and everything recomputed from them",
        and_again(rows(correct_hypotheses, OURS)),
        "origin of the predictions",
        "cannot be proven",
    ),
    "row-gone": Forgery("a clip removed from one system", rows(lambda it: it.slice(0, 3), OURS), "predictions"),
    "cherry-pick": Forgery(
        "clips with errors removed from all systems, and everything recomputed",
        and_again(rows(lambda it: it.slice(0, 3), OURS, BASES)),
        "data.json and other records",
    ),
    "repeated": Forgery(
        "an easy clip in the place of a hard one, and everything recomputed",
        and_again(rows(repeated, OURS, BASES)),
        "clips of the test corpora",
    ),
    "references": Forgery(
        "references that fit the hypotheses, and everything recomputed",
        and_again(
            rows(column("reference", lambda it, row: "musiqani toʻxtat" if row == 2 else it), OURS, BASES),
        ),
        "data.json and other records",
    ),
    "durations": Forgery(
        "clips of other lengths, and everything recomputed",
        and_again(rows(column("audio_seconds", lambda it, row: it + 20.0), OURS, BASES)),
        "data.json and other records",
    ),
    "normalizer": Forgery(
        "a kinder normalizer, and everything recomputed", better_normalizer, "recipe and results.json"
    ),
    "resamples": Forgery(
        "two resamples, and everything recomputed",
        and_again(put(RECIPE, "eval", "resamples", 2), put(RESULTS, "resamples", 2)),
        "recipe and results.json",
    ),
    "resamples-recipe": Forgery(
        "other resamples than the recipe asks for",
        and_again(put(RESULTS, "resamples", 150)),
        "recipe and results.json",
    ),
    "primary": Forgery("another primary metric", put(RESULTS, "primary", "cer"), "recipe and results.json"),
    "primary-again": Forgery(
        "another primary metric, and everything recomputed",
        and_again(put(RESULTS, "primary", "cer")),
        "recipe and results.json",
    ),
    "primary-recipe": Forgery(
        "another primary metric in recipe and results.json, and everything recomputed",
        and_again(put(RECIPE, "eval", "primary", "cer"), put(RESULTS, "primary", "cer")),
        "recipe and training.json",
    ),
    "primary-training": Forgery(
        "another primary metric of the training", put(TRAINING, "primary", "cer"), "recipe and training.json"
    ),
    "rescored": Forgery(
        "other settings of an earlier scoring, and everything recomputed",
        and_again(put(RESULTS, "rescored", {"normalizer": "raw", "resamples": 9, "primary": "cer"})),
        "recipe and results.json",
    ),
    "decoding": Forgery("more beams, and everything recomputed", other_decoding, "recipe and results.json"),
    "decoding-record": Forgery(
        "more beams in results.json",
        record(RESULTS, lambda it: it["systems"][0].update(decoding={"num_beams": 5})),
        "eval/results.json",
    ),
    "speaker-interval": Forgery(
        "an interval over speakers, although there are too few of them",
        of_all(lambda it: it["systems"][0]["normalized"].update(wer_speaker_ci95=[0.09, 0.11])),
        "eval/results.json",
    ),
    "speaker-difference": Forgery(
        "an interval over speakers that excludes 0",
        of_all(lambda it: it["differences"][0].update(speaker_ci95=[-0.8, -0.6])),
        "eval/results.json",
    ),
    "few-speakers": Forgery(
        "few speakers called many", of_all(lambda it: it.update(few_speakers=False)), "eval/results.json"
    ),
    "number-of-speakers": Forgery(
        "more speakers in results.json", of_all(lambda it: it.update(speakers=500)), "eval/results.json"
    ),
    "units": Forgery("intervals over other units", of_all(lambda it: it.update(unit="corpus")), "eval/results.json"),
    "language-of-corpus": Forgery(
        "another language of the test corpora in results.json",
        of_all(lambda it: it.update(language="en")),
        "eval/results.json",
    ),
    "retention": Forgery(
        "a corpus of another language that was not evaluated",
        record(RESULTS, lambda it: it.update(retention=[{**it["corpora"][0], "name": "other"}])),
        "recipe and results.json",
    ),
    "base-token-limit": Forgery(
        "another token limit of the base",
        and_again(provenance({"max_new_tokens": 9}, BASES, "eval/probes/predictions-base.parquet")),
        "recipe and results.json",
    ),
    "token-limit": Forgery(
        "another token limit of the adapter",
        and_again(provenance({"max_new_tokens": 999}, OURS, "eval/probes/predictions.parquet")),
        "recipe and results.json",
    ),
    "batch": Forgery(
        "another batch size of the adapter",
        and_again(provenance({"batch_seconds": 1.0}, OURS, "eval/probes/predictions.parquet")),
        "recipe and results.json",
    ),
    "probes": Forgery("no probes, although the recipe asks for them", no_probes, "recipe and results.json"),
    "base-system": Forgery("no base, although the recipe asks for it", no_base, "recipe and results.json"),
    "uncounted": Forgery(
        "predictions that results.json does not count",
        lambda files: files.update({"eval/other/predictions.parquet": files[OURS]}),
        RESULTS,
    ),
    "untested": Forgery(
        "a test corpus of the recipe that was not evaluated",
        record(RECIPE, lambda it: it["corpora"]["test"].append({"name": "hard", "path": "hard.jsonl"})),
        "recipe and results.json",
    ),
    "base-digest": Forgery(
        "predictions of another base",
        and_again(provenance({"base_sha256": "f" * 64}, BASES, "eval/probes/predictions-base.parquet")),
        "bases of all files",
    ),
    "adapter-digest": Forgery(
        "predictions of another adapter",
        provenance({"adapter_sha256": "f" * 64}, OURS, "eval/probes/predictions.parquet"),
        "bases of all files",
    ),
    "title": Forgery(
        "the corpus called by another name, and everything recomputed",
        and_again(record(RECIPE, lambda it: it["corpora"]["test"][0].update(title="FLEURS, Uzbek"))),
        "identity of the corpora",
        "cannot be proven",
    ),
    # Training and adapter
    "steps": Forgery(
        "other steps, and everything recomputed", and_again(put(TRAINING, "steps", 6000)), "recipe and training.json"
    ),
    "epochs": Forgery(
        "more epochs than the recipe allows", and_again(put(TRAINING, "epochs", 99.0)), "recipe and training.json"
    ),
    "seed": Forgery("another seed", put(TRAINING, "seed", 1), "recipe and training.json"),
    "run-name": Forgery("the record of another run", put(TRAINING, "name", "large"), "recipe and training.json"),
    "base-commit": Forgery(
        "another commit of the base in training.json", put(TRAINING, "base_commit", "0" * 40), "recipe and adapter"
    ),
    "settings-base": Forgery(
        "another base digest in escoita.json", put(SETTINGS, "base", "sha256", "f" * 64), "recipe and adapter"
    ),
    "accepted-base": Forgery(
        "another base of the predictions, recorded as accepted",
        provenance({"expected_base_sha256": "f" * 64}, OURS),
        "bases of all files",
    ),
    "weaker-base": Forgery(
        "a base to compare with that is not the adapter's, recorded as accepted, and everything recomputed",
        weaker_base,
        "bases of all files",
    ),
    "training-base": Forgery("another base in training.json", put(TRAINING, "base", "bea/base"), "name of the base"),
    "method": Forgery("another method", put(TRAINING, "method", "modules"), "recipe and training.json"),
    "four-bit": Forgery("4 bits denied", put(TRAINING, "load_in_4bit", True), "recipe and training.json"),
    "training-clips": Forgery(
        "fewer clips of training, and everything recomputed",
        and_again(put(TRAINING, "corpora", 0, "utterances", 8)),
        "data.json and other records",
    ),
    "training-corpus": Forgery(
        "a corpus of training left out",
        record(TRAINING, lambda it: it["corpora"].pop(0)),
        "recipe and training.json",
    ),
    "kept-step": Forgery(
        "another step kept than the best", and_again(put(TRAINING, "kept_step", 600)), "course of training"
    ),
    "loss-step": Forgery(
        "a loss after the last step", and_again(put(TRAINING, "loss", -1, "step", 9999)), "course of training"
    ),
    "data-change": Forgery(
        "a change of the rows after the last step, and everything recomputed",
        and_again(put(TRAINING, "data_changes", [OTHER_ROWS])),
        "course of training",
    ),
    "extension": Forgery(
        "an extension to fewer steps, and everything recomputed",
        and_again(put(TRAINING, "extensions", [SHORTENED])),
        "course of training",
    ),
    "parameters": Forgery(
        "fewer trained parameters",
        and_again(put(TRAINING, "trainable_parameters", "audio", 8)),
        "recipe and adapter",
    ),
    "rank": Forgery(
        "another rank in recipe and configuration",
        and_again(put(RECIPE, "method", "r", 64), put(CONFIG, "r", 64)),
        "recipe and adapter",
    ),
    "alpha": Forgery("another alpha in the configuration", put(CONFIG, "lora_alpha", 1), "recipe and adapter"),
    "targets": Forgery(
        "other targets in the configuration", put(CONFIG, "target_modules", ".*"), "recipe and adapter"
    ),
    "revision": Forgery("another revision of the base", put(CONFIG, "revision", "main2"), "recipe and adapter"),
    "config-base": Forgery(
        "another base in the configuration", put(CONFIG, "base_model_name_or_path", "bea/base"), "name of the base"
    ),
    "prompt": Forgery(
        "another prompt next to the adapter", put(SETTINGS, "prompt", "user", "Advertise."), "recipe and adapter"
    ),
    "prompt-recipe": Forgery(
        "another prompt in the recipe, and the card rebuilt",
        and_again(put(RECIPE, "prompt", "user", "Advertise.")),
        "recipe and adapter",
    ),
    "prompt-both": Forgery(
        "another prompt in recipe and adapter, and the card rebuilt",
        and_again(put(RECIPE, "prompt", "user", "Advertise."), put(SETTINGS, "prompt", "user", "Advertise.")),
        "files of the adapter",
    ),
    "rendered-prompt": Forgery(
        "another rendered prompt, with the digest of its file",
        resigned(put(SETTINGS, "rendered_prompt", "<bos>Advertise.<|audio|>")),
        "rendered prompt",
    ),
    "unknown-template": Forgery(
        "a chat template that is not known, with its digest",
        resigned(added("chat_template.jinja", b"{{ messages }}")),
        "rendered prompt",
        "cannot be proven",
    ),
    "tokenizer": Forgery("another tokenizer", put("tokenizer.json", "model", {}), "files of the adapter"),
    "chat-template": Forgery(
        "another chat template", added("chat_template.jinja", b"Advertise."), "files of the adapter"
    ),
    "tokenizer-added": Forgery(
        "a file of the tokenizer that training did not write",
        added("special_tokens_map.json", b"{}"),
        "files of the adapter",
    ),
    "settings-peft": Forgery(
        "weights that PEFT transposes", put(CONFIG, "fan_in_fan_out", True), "recipe and adapter"
    ),
    "settings-excluded": Forgery(
        "layers that PEFT leaves out", put(CONFIG, "exclude_modules", ".*audio.*"), "recipe and adapter"
    ),
    "settings-kind": Forgery("another method of PEFT", put(CONFIG, "peft_type", "IA3"), "recipe and adapter"),
    "weights": Forgery("other weights", added(WEIGHTS, OTHER_WEIGHTS), "adapter's weights"),
    "weights-rank": Forgery("weights of another rank", added(WEIGHTS, lora_weights(rank=8)), "recipe and adapter"),
    "weights-nan": Forgery(
        "weights that are not numbers", added(WEIGHTS, lora_weights(float("nan"))), "recipe and adapter"
    ),
    "weights-gone": Forgery("no weights", without(WEIGHTS), "adapter's weights"),
    "course": Forgery(
        "better rates during training, and everything recomputed",
        and_again(record(TRAINING, lambda it: [point.update(wer=0.0) for point in it["validation"][1:2]])),
        "course of training",
        "cannot be proven",
    ),
    "hardware": Forgery(
        "another device and less time, and everything recomputed",
        and_again(record(TRAINING, lambda it: it.update(device="H200", train_seconds=1.0))),
        "course of training",
        "cannot be proven",
    ),
    # Data and files
    "data-hours": Forgery(
        "more hours in data.json", put(DATA, "corpora", 0, "audio_seconds", 1e6), "data.json and other records"
    ),
    "data-corpus": Forgery(
        "a corpus left out of data.json",
        record(DATA, lambda it: it["corpora"].pop()),
        "data.json and other records",
    ),
    "data-overlap-gone": Forgery(
        "the train/test overlap left out, and everything recomputed",
        and_again(put(DATA, "leaks", [])),
        "data.json and other records",
    ),
    "data-overlap": Forgery(
        "a smaller train/test overlap, and everything recomputed",
        and_again(record(DATA, lambda it: it["leaks"][3].update(clips=4, distinct=4, share=0.25))),
        "data.json and other records",
    ),
    "genders": Forgery(
        "other genders of speakers, and everything recomputed",
        and_again(rows(column("gender", lambda it, row: "female"), OURS, BASES)),
        "data.json and other records",
    ),
    "speakers": Forgery(
        "clips without speakers, so that intervals are smaller, and everything recomputed",
        and_again(rows(column("speaker", lambda it, row: ""), OURS, BASES)),
        "data.json and other records",
    ),
    "data-gone": Forgery("no data.json", without(DATA, "data/durations.svg"), "records"),
    "training-gone": Forgery("no training.json", without(TRAINING), "records"),
    "recipe-gone": Forgery("no recipe.yaml", without(RECIPE), "records"),
    "settings-gone": Forgery("no escoita.json", without(SETTINGS), "records"),
    "pickle": Forgery("a pickle", added("extra.bin", b"x"), "safetensors alone"),
    "file": Forgery("a program", added("modeling.py", b"x"), "other files", "cannot be proven"),
    "more-weights": Forgery(
        "other weights next to the adapter",
        added("model.safetensors", OTHER_WEIGHTS),
        "other files",
        "cannot be proven",
    ),
    # Plots
    "plot-figures": Forgery(
        "other figures in a plot", text(PLOT, r'"adapter": \[0\.1, ', '"adapter": [0.01, '), f"plot {PLOT}"
    ),
    "plot-path": Forgery("a longer bar, its figures kept", text(PLOT, PATH, r"\g<1>9.5"), f"plot {PLOT}"),
    "plot-text": Forgery("a text over a plot", in_plot('<text x="9" y="9">WER 0.4 %</text>'), f"plot {PLOT}"),
    "plot-script": Forgery("a script in a plot", in_plot("<script>alert(1)</script>"), f"plot {PLOT}"),
    "plot-foreign": Forgery(
        "HTML in a plot", in_plot("<foreignObject><b>WER 0.4 %</b></foreignObject>"), f"plot {PLOT}"
    ),
    "plot-event": Forgery(
        "an event handler in a plot", text(PLOT, "<svg ", '<svg onload="alert(1)" '), f"plot {PLOT}"
    ),
    "plot-image": Forgery(
        "an image from elsewhere in a plot",
        in_plot('<image href="https://example.org/x.png"/>'),
        f"plot {PLOT}",
    ),
    "plot-entity": Forgery(
        "entities in a plot", text(PLOT, "^", '<!DOCTYPE svg [<!ENTITY a "aaaa">]>'), f"plot {PLOT}"
    ),
    "plot-style": Forgery(
        "a style sheet for a plot",
        text(PLOT, "^", '<?xml-stylesheet href="data:text/css,text{display:none}"?>'),
        f"plot {PLOT}",
    ),
    "plot-reference": Forgery(
        "marks of a plot that lead nowhere",
        text(PLOT, r'xlink:href="#m[0-9a-f]+"', 'xlink:href="#nothing"'),
        f"plot {PLOT}",
    ),
    "plot-gone": Forgery("a plot removed", without(PLOT), f"plot {PLOT}"),
    "plot-version": Forgery(
        "another Matplotlib claimed, and a text over a plot",
        both(put(TRAINING, "matplotlib_version", "9.9.9"), in_plot('<text x="9" y="9">WER 0.4 %</text>')),
        f"plot {PLOT}",
    ),
    "plot-moved": Forgery(
        "another Matplotlib claimed, and a longer bar",
        both(put(TRAINING, "matplotlib_version", "9.9.9"), text(PLOT, PATH, r"\g<1>9.5")),
        f"plot {PLOT}",
        "not checked",
    ),
    "picture": Forgery(
        "a picture of other results", added("wer.png", b"\x89PNG"), "image wer.png", "cannot be proven"
    ),
    "picture-svg": Forgery(
        "an SVG of other results that runs code",
        added("wer.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'),
        "plot wer.svg",
    ),
}


def table() -> str:
    """Return the table of the documentation."""
    lines = ["| forgery | caught by the check | verdict |", "|---|---|---|"]
    lines += [f"| {each.claim} | `{each.check}` | {each.verdict} |" for each in FORGERIES.values()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
