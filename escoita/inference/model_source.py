"""Find out what the name of a model means: a run, an adapter, or a base, and with which prompt it transcribes."""

from dataclasses import dataclass
from pathlib import Path

from escoita.errors import EscoitaError
from escoita.hub.files import adapter_record, file_if_any, is_repo_id, split_revision
from escoita.inference.transcriber import Transcriber
from escoita.models import family_for_evaluation
from escoita.records.training import AdapterRecord, Prompt
from escoita.run_directory import RunDirectory
from escoita.utils.languages import check_language
from escoita.utils.locations import locate
from escoita.utils.untrusted import read_object


@dataclass(frozen=True)
class ModelSource:
    """
    Store what is loaded for a model.

    Args:
        base (`str`): Folder or repository of the base.
        adapter (`str`, *optional*): Folder or repository of the adapter.
        settings ([`AdapterRecord`], *optional*): Prompt, language and limit of tokens; those that the model stores
            unless given.
        own_limit (`bool`, *optional*, defaults to `False`): The limit of tokens is the model's own.
    """

    base: str
    adapter: str | None = None
    settings: AdapterRecord | None = None
    own_limit: bool = False

    def load(
        self, revision: str | None = None, batch_seconds: float = 120.0, allow_other_base: bool = False
    ) -> Transcriber:
        """
        Load the model.

        Args:
            revision (`str`, *optional*): Revision of the base; the commit that the adapter was trained on unless
                given.
            batch_seconds (`float`, *optional*, defaults to 120): Most audio in a batch, padding counted.
            allow_other_base (`bool`, *optional*, defaults to `False`): Accept a base with other weights than the
                adapter was trained on.
        """
        transcriber = Transcriber.load(
            self.base,
            self.adapter,
            self.settings,
            revision,
            batch_seconds=batch_seconds,
            allow_other_base=allow_other_base,
        )
        if self.own_limit:
            limit = transcriber.family.own_limit(transcriber.model)
            settings = transcriber.generation_settings
            transcriber.generation_settings = settings.model_copy(update={"max_new_tokens": limit})
        return transcriber


def find_model(
    model: str,
    base: str | None = None,
    language: str | None = None,
    prompt: str | None = None,
    system: str | None = None,
    revision: str | None = None,
) -> ModelSource:
    """
    Find the base, the adapter and the settings of a model; no weights are loaded.

    Args:
        model (`str`): A run directory, a folder or repository of an adapter (`user/name` or `user/name@revision`), of
            a base, of a merged model, or of a Whisper or CTC model.
        base (`str`, *optional*): Base of an adapter; the one in its `adapter_config.json` unless given.
        language (`str`, *optional*): BCP 47 tag; needed if nothing stores it.
        prompt (`str`, *optional*): User prompt; needed if nothing stores it.
        system (`str`, *optional*): System prompt.
        revision (`str`, *optional*): Revision of the base.

    Raises:
        EscoitaError: The model is not found, or its base or its prompt is not known.
    """
    source, adapter = base_and_adapter(model, base)
    if adapter is None and base is not None:
        raise EscoitaError("no adapter (no adapter_config.json)", path=model, hint="leave --base out")
    if adapter is None:
        return _without_adapter(model, language, prompt, system, revision)
    return ModelSource(source, adapter, adapter_settings(adapter, language, prompt, system))


def base_and_adapter(model: str, base: str | None = None) -> tuple[str, str | None]:
    """
    Return the base and the adapter of a run or an adapter; for another model, the model and `None`.

    Args:
        model (`str`): A folder, or a repository of the Hub.
        base (`str`, *optional*): Base of an adapter; the one in its `adapter_config.json` unless given.
    """
    if not Path(model).is_dir() and not is_repo_id(split_revision(model)[0]):
        raise EscoitaError("neither a folder here nor the name of a repository, user/name", path=model)
    run = RunDirectory(Path(model))
    if run.recipe.is_file():
        adapter = run.trained_adapter()
        return base or run.load_recipe().base, adapter
    if config := file_if_any(model, "adapter_config.json"):
        return base or _base_of(model, config), model
    return model, None


def adapter_settings(
    adapter: str, language: str | None = None, prompt: str | None = None, system: str | None = None
) -> AdapterRecord:
    """
    Return prompt, language and limit of tokens of an adapter, also of one that escoita did not train.

    Args:
        adapter (`str`): A folder, or a repository of the Hub.
        language (`str`, *optional*): BCP 47 tag, instead of the one in `escoita.json`.
        prompt (`str`, *optional*): User prompt (default: the prompt that the adapter stores).
        system (`str`, *optional*): System prompt (default: the prompt that the adapter stores).

    Raises:
        EscoitaError: The adapter has no `escoita.json`, and language or prompt is not given.
    """
    known = adapter_record(adapter) if file_if_any(adapter, "escoita.json") else None
    return _settings(adapter, known, language, prompt, system)


def _settings(
    name: str, known: AdapterRecord | None, language: str | None, prompt: str | None, system: str | None
) -> AdapterRecord:
    if language is not None:
        language = check_language(language)
    if known is None:
        missing = [option for option, value in (("--language", language), ("--prompt", prompt)) if value is None]
        if language is None or prompt is None:
            hint = f"give {' and '.join(missing)}, as in its training"
            raise EscoitaError("holds no escoita.json, so its prompt and language are not known", path=name, hint=hint)
        return AdapterRecord(language=language, prompt=Prompt(user=prompt, system=system or ""))
    given = {key: value for key, value in (("user", prompt), ("system", system)) if value is not None}
    return known.model_copy(
        update={"language": language or known.language, "prompt": known.prompt.model_copy(update=given)}
    )


def _without_adapter(
    model: str, language: str | None, prompt: str | None, system: str | None, revision: str | None
) -> ModelSource:
    family = family_for_evaluation(model, revision)
    if not family.transcribes_alone:
        problem = "a pretrained encoder without a head cannot transcribe"
        raise EscoitaError(problem, path=model, hint="name an adapter, or fine-tune it first")
    if file_if_any(model, "escoita.json", revision):  # `escoita merge` wrote it
        changed = any(value is not None for value in (language, prompt, system))
        known = adapter_record(model, revision)
        return ModelSource(model, settings=_settings(model, known, language, prompt, system) if changed else None)
    if family.needs_prompt:
        return ModelSource(model, settings=_settings(model, None, language, prompt, system))
    if prompt is not None or system is not None:
        raise EscoitaError("takes no prompt", path=model, hint="leave --prompt and --system out")
    # Without a language, Whisper detects it.
    language = "" if language is None else check_language(language)
    return ModelSource(model, settings=AdapterRecord(language=language, prompt=Prompt(user="")), own_limit=True)


def _base_of(adapter: str, config: Path) -> str:
    base = read_object(config, f"adapter {adapter}").get("base_model_name_or_path")
    if not base or not isinstance(base, str):
        raise EscoitaError("adapter_config.json names no base", path=adapter, hint="give --base")
    return locate(base, Path(adapter))[0] if Path(adapter).is_dir() else base
