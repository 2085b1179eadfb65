"""The front matter of a card: what the Hub indexes."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.utils import HFValidationError, validate_repo_id

from escoita.evaluation import EvaluationRecord
from escoita.recipe import Recipe


def is_repo_id(name: str) -> bool:
    """Whether a name has the form `owner/name` of a repository."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def hub_id(base: str) -> str | None:
    """The base's repository; none for a folder, even one whose path looks like the name of a repository."""
    return base if is_repo_id(base) and not Path(base).is_dir() else None


def metadata(recipe: Recipe, evaluation: EvaluationRecord | None, base: str) -> ModelCardData:
    """
    Builds the front matter.

    Args:
        recipe ([`Recipe`]): Language, licence, tags.
        evaluation ([`EvaluationRecord`], *optional*): Its rates become the model-index, as fractions; none before.
        base (`str`): The base model; a folder is left out, as the Hub could only take it for somebody's repository.

    Returns:
        [`ModelCardData`]: As huggingface_hub writes it.
    """
    results = index_entries(recipe, evaluation) if evaluation else []
    kind = ["lora"] if recipe.method.kind == "lora" else []
    return ModelCardData(
        model_name=recipe.name if results else None,
        eval_results=results or None,
        base_model=hub_id(base),
        language=recipe.language,
        license=recipe.card.license,
        library_name="peft",
        pipeline_tag="automatic-speech-recognition",
        tags=[*dict.fromkeys(["speech", *kind, *recipe.card.tags])],
        base_model_relation="adapter" if hub_id(base) else None,
    )


def index_entries(recipe: Recipe, evaluation: EvaluationRecord) -> list[EvalResult]:
    """
    WER and CER of each corpus, as fractions of four decimals: under the recipe's normaliser, and of the raw texts.

    Name and arguments of a metric tell these apart. Arguments of the dataset could not: huggingface_hub writes one
    entry for each dataset and split, with the arguments of the first.
    """
    titles = titles_of_tests(recipe)
    splits = {corpus.name: corpus.split for corpus in recipe.corpora.test}
    return [
        EvalResult(
            task_type="automatic-speech-recognition",
            task_name="Automatic Speech Recognition",
            dataset_type=result.name,
            dataset_name=titles.get(result.name, result.name),
            dataset_split=splits.get(result.name) or "test",
            dataset_args={"language": result.language, "n": result.n},
            metric_type=metric,
            metric_name=f"{metric.upper()} (fraction, {normalizer})",
            metric_value=round(rate, 4),
            metric_args={"normalizer": normalizer},
        )
        for result in evaluation.corpora
        for normalizer, rates in {evaluation.normalizer: result.judged.normalized, "raw": result.judged.raw}.items()
        for metric, rate in (("wer", rates.wer), ("cer", rates.cer))
    ]


def titles_of_tests(recipe: Recipe) -> dict[str, str]:
    """What the card calls each test corpus."""
    return {corpus.name: corpus.title or corpus.name for corpus in recipe.corpora.test}
