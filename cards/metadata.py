"""The front matter of a card: what the Hub indexes."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.utils import HFValidationError, validate_repo_id

from escoita.recipe import Recipe
from escoita.records import EvaluationRecord


def is_repo_id(name: str) -> bool:
    """Whether a name has the form `owner/name` of a repository."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def metadata(recipe: Recipe, evaluation: EvaluationRecord | None, base: str) -> ModelCardData:
    """
    Builds the front matter.

    Args:
        recipe ([`Recipe`]): Language, licence, tags.
        evaluation ([`EvaluationRecord`], *optional*): Its rates become the model-index, as fractions; none before.
        base (`str`): The base model; left out of the front matter when it has not the form of a repository.

    Returns:
        [`ModelCardData`]: As huggingface_hub writes it.
    """
    results = index_entries(recipe, evaluation) if evaluation else []
    return ModelCardData(
        model_name=recipe.name if results else None,
        eval_results=results or None,
        base_model=base if is_repo_id(base) else None,
        language=recipe.language,
        license=recipe.card.license,
        library_name="peft",
        pipeline_tag="automatic-speech-recognition",
        tags=[*dict.fromkeys(["speech", "lora", *recipe.card.tags])],
        base_model_relation="adapter" if is_repo_id(base) else None,
    )


def index_entries(recipe: Recipe, evaluation: EvaluationRecord) -> list[EvalResult]:
    """WER and CER of each corpus, as fractions of four decimals, with the normaliser they were counted under."""
    corpora = {corpus.name: corpus for corpus in recipe.corpora.test}
    return [
        EvalResult(
            task_type="automatic-speech-recognition",
            task_name="Automatic Speech Recognition",
            dataset_type=result.name,
            dataset_name=corpora[result.name].title or result.name,
            dataset_split="test",
            dataset_args={"language": result.language, "normalizer": evaluation.normalizer, "n": result.n},
            metric_type=metric,
            metric_name=f"{metric.upper()} (fraction)",
            metric_value=round(rate, 4),
        )
        for result in evaluation.corpora
        for metric, rate in (("wer", result.wer), ("cer", result.cer))
    ]


def published_base(recipe: Recipe, repo: str) -> str:
    """Repository of the base: its own, or for a folder the one it is published as, under the owner of the adapter."""
    if not Path(recipe.base).is_dir():
        return recipe.base
    return f"{repo.split('/')[0]}/{recipe.hub.publish_base_as or Path(recipe.base).name}"
