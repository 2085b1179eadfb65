"""Write the front matter and the citations of a card."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from escoita.evaluation.presentation import pooled_title, titles_of
from escoita.hub.files import is_repo_id
from escoita.metrics.primary import metrics_by_rank
from escoita.models.families import BY_MODEL_TYPE
from escoita.recipe.schema import Corpus, Recipe
from escoita.records.evaluation import EvaluationRecord, Rates
from escoita.records.training import TrainingRecord
from escoita.utils.languages import iso639


TOOLS = {
    "transformers": {
        "kind": "inproceedings",
        "author": "Wolf, Thomas and Debut, Lysandre and Sanh, Victor and others",
        "title": "Transformers: State-of-the-Art Natural Language Processing",
        "booktitle": "Proceedings of EMNLP 2020: System Demonstrations",
        "year": "2020",
        "url": "https://aclanthology.org/2020.emnlp-demos.6",
    },
    "peft": {
        "author": "Mangrulkar, Sourab and Gugger, Sylvain and Debut, Lysandre and Belkada, Younes and Paul, Sayak and"
        " Bossan, Benjamin and Tietz, Marian",
        "title": "{PEFT}: State-of-the-art Parameter-Efficient Fine-Tuning methods",
        "year": "2022",
        "url": "https://github.com/huggingface/peft",
    },
    "trl": {
        "author": "von Werra, Leandro and Belkada, Younes and Tunstall, Lewis and Beeching, Edward and Thrush, Tristan"
        " and Lambert, Nathan and Huang, Shengyi and Rasul, Kashif and Gallou{\\'e}dec, Quentin",
        "title": "{TRL}: Transformers Reinforcement Learning",
        "year": "2020",
        "url": "https://github.com/huggingface/trl",
    },
    "unsloth": {
        "author": "Han, Daniel and Han, Michael and {Unsloth team}",
        "title": "Unsloth",
        "year": "2023",
        "url": "https://github.com/unslothai/unsloth",
    },
    "jiwer": {"author": "Vaessen, Nik", "title": "{JiWER}", "url": "https://github.com/jitsi/jiwer"},
}
# Characters that would end a value, or begin a command of TeX.
_SPECIAL = re.compile(r"([&%$#_])|([{}\\~^])")


def citation(recipe: Recipe, training: TrainingRecord, base: str, adapter: str) -> str:
    """
    Return the BibTeX entries.

    Args:
        recipe ([`~escoita.recipe.schema.Recipe`]): Recipe; `card.citation` replaces the first entry.
        training ([`~escoita.records.training.TrainingRecord`]): Training record with date, engine and family.
        base (`str`): Folder or repository of the base; a folder is not cited.
        adapter (`str`): Folder or repository of the adapter.
    """
    own = {
        "author": f"{{{text(recipe.card.developers)}}}" if recipe.card.developers.strip() else "",
        "title": text(recipe.card.title),
        "year": text(training.finished[:4]),
        "url": f"https://huggingface.co/{adapter}" if hub_id(adapter) else "",
    }
    entries = [recipe.card.citation.strip() or entry(recipe.name, own)]
    if hub_id(base):
        base_fields = {"title": text(base), "url": f"https://huggingface.co/{base}"}
        entries.append(entry(f"{recipe.name}-base", base_fields))
    info = BY_MODEL_TYPE.get(training.family)
    if info and info.citation:
        entries.append(entry(info.name.replace("_", "-"), info.citation))
    tools = [tool for tool in TOOLS if tool != "unsloth" or training.engine == "unsloth"]
    return "\n\n".join([*entries, *(entry(tool, TOOLS[tool]) for tool in tools)])


def entry(key: str, fields: dict[str, str]) -> str:
    """
    Return a BibTeX entry without its empty fields.

    Args:
        key (`str`): Key of the entry.
        fields (`dict[str, str]`): Fields in TeX; the default of `kind` is `misc`.
    """
    values = {name: value for name, value in fields.items() if value and name != "kind"}
    lines = [f"  {name} = {{{value}}}," for name, value in values.items()]
    return "\n".join([f"@{fields.get('kind', 'misc')}{{{key},", *lines, "}"])


def text(value: str) -> str:
    """Return a text as one line of TeX without commands and open braces."""
    commands = {
        "{": r"\{",
        "}": r"\}",
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
    return _SPECIAL.sub(lambda found: "\\" + found[1] if found[1] else commands[found[2]], " ".join(value.split()))


def hub_id(base: str) -> str | None:
    """Return the repository of a base; none for a folder, even if its path looks like the name of a repository."""
    return base if is_repo_id(base) and not Path(base).is_dir() else None


def metadata(recipe: Recipe, evaluation: EvaluationRecord | None, base: str, adapter: str = "") -> ModelCardData:
    """
    Build the front matter.

    Args:
        recipe ([`Recipe`]): Recipe with language, license and tags.
        evaluation ([`EvaluationRecord`], *optional*): Evaluation whose rates become the `model-index`, in percent.
        base (`str`): Base model; a folder is left out, since the Hub would take it for a repository.
        adapter (`str`, *optional*): Repository of the adapter, which is the source of the results; a folder is left
            out.

    Returns:
        [`ModelCardData`]: Front matter.
    """
    results = expected_index(recipe, evaluation, hub_id(adapter)) if evaluation else []
    kind = ["lora"] if recipe.method.kind == "lora" else []
    datasets = dict.fromkeys(dataset_id(corpus) for corpus in recipe.corpora.train)
    return ModelCardData(
        model_name=recipe.name if results else None,
        eval_results=results or None,
        base_model=hub_id(base),
        datasets=[dataset for dataset in datasets if dataset] or None,
        language=iso639(recipe.language),
        license=recipe.card.license,
        license_name=recipe.card.license_name,
        license_link=recipe.card.license_link,
        library_name="peft",
        metrics=list(metrics_by_rank(evaluation.primary)) if evaluation and results else None,
        pipeline_tag="automatic-speech-recognition",
        tags=[*dict.fromkeys(["speech", *kind, *recipe.card.tags])],
        base_model_relation="adapter" if hub_id(base) else None,
    )


def expected_index(recipe: Recipe, evaluation: EvaluationRecord, repo: str | None = None) -> list[EvalResult]:
    """
    Return WER and CER of the adapter on each corpus and on several corpora pooled, with the normalizer of the recipe
    and without. The values have enough decimals for a single edit. They are percentages, as on other cards for speech
    recognition (`openai/whisper-large-v2`, cards of Transformers' examples) and on the Open ASR Leaderboard; the unit
    is in the name of the metric. Cards of escoita 0.1.0 had fractions.

    The normalizer is in the name and the arguments of a metric. It cannot be in the arguments of the dataset, since
    huggingface_hub writes one entry for each type, configuration, split and revision of a dataset, with the arguments
    of the first. Corpora that share all of these have their own names as types, and their dataset in the arguments.

    Args:
        recipe ([`Recipe`]): Recipe with the datasets.
        evaluation ([`EvaluationRecord`]): Evaluation with the rates.
        repo (`str`, *optional*): Repository of the adapter with its results.

    Returns:
        `list[EvalResult]`: Entries, which depend only on the rates.
    """
    titles = titles_of(evaluation, recipe, pooled=pooled_title(evaluation.primary, "All test corpora"))
    tests = {corpus.name: corpus for corpus in recipe.corpora.test}
    datasets = {name: _dataset(corpus) for name, corpus in tests.items()}
    uses = Counter(tuple(dataset.items()) for dataset in datasets.values())
    source = results_url(repo) if repo else None
    unit = "fraction" if evaluation.is_of_0_1 else "percent"
    entries = []
    for result in evaluation.rows:
        dataset = datasets.get(result.name, {})
        arguments: dict[str, Any] = {}
        if result.name == evaluation.pooled.name:
            arguments = {"composition": {each.name: round(each.share, 4) for each in evaluation.corpora}}
        elif dataset and uses[tuple(dataset.items())] > 1:
            arguments = {"dataset": dataset["dataset_type"]}
            dataset = dataset | {"dataset_type": result.name}
        entries += [
            EvalResult(
                task_type="automatic-speech-recognition",
                task_name="Automatic Speech Recognition",
                dataset_name=titles[result.name],
                dataset_args={"language": result.language, "n": result.n} | arguments,
                metric_type=metric,
                metric_name=f"{metric.upper()} ({unit}, {normalizer})",
                metric_value=rounded(rates, metric, unit == "percent"),
                metric_args={"normalizer": normalizer},
                source_name="escoita" if source else None,
                source_url=source,
                dataset_type=dataset.get("dataset_type", result.name),
                dataset_config=dataset.get("dataset_config"),
                dataset_split=dataset.get("dataset_split", "test"),
                dataset_revision=dataset.get("dataset_revision"),
            )
            for normalizer, rates in {
                evaluation.normalizer: result.main_system.normalized,
                "raw": result.main_system.raw,
            }.items()
            for metric in metrics_by_rank(evaluation.primary)
        ]
    return entries


def rounded(rates: Rates, metric: str, percent: bool) -> float:
    """
    Return a rate with enough decimals for a single edit.

    Args:
        rates ([`~escoita.records.evaluation.Rates`]): Rates of a system on a corpus.
        metric (`str`): `wer` or `cer`.
        percent (`bool`): Whether the rate is a percentage, not a fraction.
    """
    rate, decimals = getattr(rates, metric), len(str(rates.tokens(metric))) + 1
    return round(100 * rate, decimals - 2) if percent else round(rate, decimals)


def dataset_id(corpus: Corpus) -> str | None:
    """Return the Hub dataset of a corpus, from its path or its web address; `None` for other corpora."""
    if corpus.remote and hub_id(corpus.path):
        return corpus.path
    address = re.match(r"https://(?:huggingface\.co|hf\.co)/datasets/([^/?#]+/[^/?#]+)", corpus.url or "")
    return address[1] if address and is_repo_id(address[1]) else None


def results_url(repo: str) -> str:
    """Return the web address of the results of a published adapter."""
    return f"https://huggingface.co/{repo}/blob/main/eval/results.json"


def _dataset(corpus: Corpus) -> dict[str, str]:
    """Return the keys that identify a dataset on the Hub."""
    dataset = {
        "dataset_type": dataset_id(corpus) or corpus.name,
        "dataset_config": corpus.config,
        "dataset_split": corpus.split or "test",
        "dataset_revision": corpus.revision,
    }
    return {key: value for key, value in dataset.items() if value}
