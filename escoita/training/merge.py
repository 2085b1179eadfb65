"""Merge base and adapter of a run into one model, which needs neither PEFT nor the base."""

import shutil
from pathlib import Path

from escoita.errors import EscoitaError
from escoita.hub.failures import explain_hub_errors
from escoita.hub.files import adapter_record
from escoita.models import family_of
from escoita.models.adapters import merged, on_shared_weight
from escoita.models.base_model import resolve_base
from escoita.models.trained_prompt import trained_processor
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import folder_written
from escoita.utils.files import sync_files


def merge_run(
    run: Path,
    out: Path,
    dtype: str | None = None,
    base_revision: str | None = None,
    allow_other_base: bool = False,
) -> Path:
    """
    Merge the adapter of a run into its base, and write the model, its processor and `escoita.json`.

    Args:
        run (`Path`): The run directory.
        out (`Path`): The folder to create; it appears when the model is complete.
        dtype (`str`, *optional*): The name of the torch type to merge and write in; defaults to that of the recipe.
        base_revision (`str`, *optional*): The revision of the base; defaults to the commit that was trained on.
        allow_other_base (`bool`, *optional*, defaults to `False`): Accept a base with other weights, which
            `escoita.json` of the merged model then records.

    Returns:
        `Path`: The folder, which [`load`] and `escoita eval --base` accept as a base without an adapter.

    Raises:
        OtherBaseError: The base has other weights than the adapter was trained on.
        EscoitaError: The folder exists, the run is not trained, its base was loaded in 4 bits, or the adapter cannot
            be merged.
    """
    if out.exists():
        raise EscoitaError("already exists", path=out, hint="remove it, or merge into another folder")
    recipe, adapter = RunDirectory(run).load_recipe(), RunDirectory(run).trained_adapter()
    generation_settings = adapter_record(adapter)
    if generation_settings.load_in_4bit:
        raise EscoitaError(
            "the adapter was trained on a base in 4 bits; the merged model would differ from the evaluated one",
            path=run,
            key="load_in_4bit",
            hint="use base and adapter together, as the card shows",
        )
    base = resolve_base(recipe.base, [adapter], base_revision, recipe.base_revision, allow_other_base)
    family = family_of(base.name, base.revision)
    with explain_hub_errors(base.name, "base", local=True, value=base.revision):
        model = family.load_model(base.name, base.revision, dtype or recipe.dtype)
    model = merged(model, adapter)
    if on_shared_weight(model):
        raise EscoitaError("the adapter changes a weight that two layers share, and cannot be merged", path=run)
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with folder_written(unfinished):
        processor = family.load_processor(base.name, base.revision)
        processor = trained_processor(family, processor, adapter, generation_settings)
        family.prepare_merged(model, processor)
        model.save_pretrained(unfinished)
        family.save_processor(processor, unfinished)
        generation_settings.model_copy(update={"base": base.record()}).write(unfinished / "escoita.json")
        sync_files(unfinished)
    unfinished.rename(out)
    return out
