"""Fill in what a recipe does not set, from the model family and the memory of the GPU."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from escoita.data.readers import pinned
from escoita.errors import RecipeError
from escoita.models.families import FamilyInfo
from escoita.recipe.schema import Corpus, Lora, Modules, Recipe
from escoita.records.training import Prompt
from escoita.run_directory import RunDirectory
from escoita.training.starting_bases import EFFECTIVE_BATCH, BaseChoice, base_named, gpu_gigabytes
from escoita.utils.languages import language_name


C = TypeVar("C", bound=Corpus)
# A row of a chat model has one token per 40 ms to 160 ms of audio, so that TRL's limit of 1,024 is too low.
MAX_LENGTH = 8192
# The length of the clips that a batch is chosen for; a batch that does not fit is split.
LONGEST_CLIP = 30.0
# The keys that the default of `training` contains, if a run began without them.
TRAINING_KEYS = (
    "learning_rate",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "max_length",
    "gradient_checkpointing",
    "bf16",
    "fp16",
)


def with_defaults(recipe: Recipe, restart: bool = False) -> Recipe:
    """
    Return a recipe with the trained layers, prompt, limits, precision, learning rate and batch size that it lacks.

    The values come from the model family and from the memory of the GPU. A run that has begun keeps its values, also
    on another GPU. What the recipe sets is never changed.

    Args:
        recipe ([`Recipe`]): The recipe as the user wrote it.
        restart (`bool`, *optional*, defaults to `False`): Ignore the values of a run that has begun.

    Raises:
        RecipeError: The family is not trained by the method, or the method needs `modules`.
        EscoitaError: The base is not found.
    """
    begun = None if restart else begun_recipe(RunDirectory(recipe.run_path))
    recipe = with_commits(recipe, begun)
    if begun:
        return _filled(recipe, _values_of(begun))
    from escoita.models import family_of

    family = family_of(recipe.base, recipe.base_revision)
    gigabytes = None if recipe.training.get("use_cpu") else gpu_gigabytes(None)
    values = default_values(recipe, family.info, gigabytes)
    return _filled(recipe, values | {"eval.max_new_tokens": family.default_token_limit})


def with_commits(recipe: Recipe, begun: Recipe | None = None) -> Recipe:
    """
    Return a recipe whose downloaded corpora name their commits.

    Args:
        recipe ([`Recipe`]): The recipe.
        begun ([`Recipe`], *optional*): The recipe of the run, whose commits are used again.

    Raises:
        EscoitaError: A data set has no such configuration, or the Hub cannot be reached.
    """

    def commits(corpora: Sequence[C], before: Sequence[Corpus]) -> list[C]:
        known = {corpus.name: corpus.revision for corpus in before if corpus.remote}
        again = [
            corpus.model_copy(update={"revision": corpus.revision or known[corpus.name]})
            if corpus.reader == "fleurs" and corpus.remote and known.get(corpus.name)
            else corpus
            for corpus in corpora
        ]
        return [cast(C, pinned(corpus, recipe.language)) for corpus in again]

    splits = {
        split: commits(getattr(recipe.corpora, split), getattr(begun.corpora, split) if begun else ())
        for split in ("train", "validation", "test")
    }
    retention = commits(recipe.eval.retention, begun.eval.retention if begun else ())
    changes = {
        "corpora": recipe.corpora.model_copy(update=splits),
        "eval": recipe.eval.model_copy(update={"retention": retention}),
    }
    return recipe.model_copy(update=changes)


def begun_recipe(run: RunDirectory) -> Recipe | None:
    """Return the recipe of a run that has a checkpoint or a record; `None` if it begins at the first step."""
    from escoita.training.checkpointing import checkpoints_by_step

    if run.recipe.exists() and (run.training.exists() or checkpoints_by_step(run.checkpoints)):
        return run.load_recipe()
    return None


def default_values(recipe: Recipe, info: FamilyInfo, gigabytes: float | None) -> dict[str, Any]:
    """
    Return the default of each key, by its dotted name.

    Args:
        recipe ([`Recipe`]): The recipe, which names base, method and language.
        info ([`~escoita.models.families.FamilyInfo`]): The family of the base.
        gigabytes (`float`, *optional*): The memory of the GPU in GB; `None` if there is none.

    Raises:
        RecipeError: The family is not trained by the method, or the method needs `modules`.
    """
    choice = base_named(recipe.base, gigabytes)
    values: dict[str, Any] = {"prompt": default_prompt(info, recipe.language)}
    if isinstance(recipe.method, Lora) and not recipe.method.target_modules:
        if not info.target_modules:
            hint = "set kind: modules" if info.modules else "set it to one regular expression"
            problem = f"{info.title} has no default for LoRA"
            raise RecipeError(problem, key="method.target_modules", hint=hint)
        values["method.target_modules"] = info.target_modules
    if isinstance(recipe.method, Modules) and not recipe.method.modules:
        if not info.modules:
            hint = "set it to the names of modules, or set kind: lora"
            raise RecipeError(f"{info.title} has no default for whole modules", key="method.modules", hint=hint)
        values["method.modules"] = list(info.modules)
    values |= _precision(recipe, info, choice, gigabytes)
    rate = choice.learning_rate(recipe.method.kind)
    values |= {"training.learning_rate": rate, "training.max_length": MAX_LENGTH}
    if not info.gradient_checkpointing:
        values["training.gradient_checkpointing"] = False
    if "per_device_train_batch_size" not in recipe.training:
        batch = choice.batch(gigabytes, LONGEST_CLIP)
        values["training.per_device_train_batch_size"] = batch
        values["training.gradient_accumulation_steps"] = max(1, EFFECTIVE_BATCH // batch)
    return values


def _precision(recipe: Recipe, info: FamilyInfo, choice: BaseChoice, gigabytes: float | None) -> dict[str, Any]:
    """Return the data type of the base and of the steps, for a recipe that sets none of them."""
    import torch

    given = recipe.model_fields_set & {"dtype", "load_in_4bit"} or recipe.training.keys() & {"bf16", "fp16"}
    if given:
        return {}
    if gigabytes is None:
        return {"dtype": "float32", "training.bf16": False} if choice.tiny or choice.on_cpu else {}
    values: dict[str, Any] = {"load_in_4bit": True} if choice.load_in_4bit else {}
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return values | {"dtype": "bfloat16", "training.bf16": True}
    if info.trains_in_fp16:
        return values | {"dtype": "float16", "training.bf16": False, "training.fp16": True}
    return values | {"dtype": "float32", "training.bf16": False}


def default_prompt(info: FamilyInfo, language: str) -> Prompt:
    """
    Return the prompt of a recipe that sets none.

    Args:
        info ([`~escoita.models.families.FamilyInfo`]): The family of the base.
        language (`str`): The language, a BCP 47 tag.
    """
    if info.user_prompt_begins_answer:
        return Prompt(user="language None<asr_text>")
    if info.name == "phi4_multimodal":
        return Prompt(user=f"<|audio_1|> Transcribe the audio clip into {language_name(language)} text.")
    if info.system_prompt == "none":
        return Prompt(user="")
    return Prompt(
        system="You are an assistant that transcribes speech accurately.", user="Please transcribe this audio."
    )


def differences(before: Recipe, after: Recipe) -> list[str]:
    """Return the values that were filled in, as `key value`, without long ones."""
    given = _values_of(before)
    chosen = {key: value for key, value in _values_of(after).items() if value != given.get(key)}
    return [
        f"{key} {value}" if isinstance(value, int | float | str) and len(str(value)) < 20 else key
        for key, value in chosen.items()
    ]


def _values_of(recipe: Recipe) -> dict[str, Any]:
    """Return the values of a resolved recipe, by dotted key."""
    layers = {f"method.{key}": getattr(recipe.method, key, None) for key in ("target_modules", "modules")}
    return {
        "prompt": recipe.prompt,
        **{key: value for key, value in layers.items() if value is not None},
        "eval.max_new_tokens": recipe.eval.max_new_tokens,
        "dtype": recipe.dtype,
        "load_in_4bit": recipe.load_in_4bit,
        **{f"training.{key}": recipe.training[key] for key in TRAINING_KEYS if key in recipe.training},
    }


def _unset(recipe: Recipe) -> set[str]:
    """Return the dotted keys that a recipe does not set."""
    unset = {"prompt", "dtype", "load_in_4bit"} - recipe.model_fields_set
    unset |= {f"training.{key}" for key in TRAINING_KEYS if key not in recipe.training}
    unset |= {"eval.max_new_tokens"} if "max_new_tokens" not in recipe.eval.model_fields_set else set()
    if isinstance(recipe.method, Lora) and not recipe.method.target_modules:
        unset.add("method.target_modules")
    if isinstance(recipe.method, Modules) and not recipe.method.modules:
        unset.add("method.modules")
    return unset


def _filled(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """Return a recipe with values for the keys that it does not set."""
    used = {key: value for key, value in values.items() if key in _unset(recipe)}
    changes: dict[str, Any] = {}
    for key, value in used.items():
        section, _, name = key.rpartition(".")
        if section == "training":
            changes["training"] = changes.get("training", recipe.training) | {name: value}
        elif section:
            changes[section] = getattr(recipe, section).model_copy(update={name: value})
        else:
            changes[key] = value
    return recipe.model_copy(update=changes)
