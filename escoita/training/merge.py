"""Base and adapter of a run as one full model, which needs neither PEFT nor the base."""

import shutil
from pathlib import Path

from escoita.errors import EscoitaError
from escoita.hub.files import adapter_record, hub_errors
from escoita.models import family_of
from escoita.models.adapters import merged, on_shared_weight
from escoita.models.base_model import resolve_base
from escoita.models.trained_prompt import trained_processor
from escoita.run_directory import RunDirectory
from escoita.training.checkpointing import written_whole
from escoita.utils.files import sync_files


def merge_run(
    run: Path,
    out: Path,
    dtype: str | None = None,
    base_revision: str | None = None,
    allow_other_base: bool = False,
) -> Path:
    """
    Merges the adapter of a run into its base, and writes the model, its processor, and `escoita.json`.

    Args:
        run (`Path`): The run directory.
        out (`Path`): The folder that is made; nothing stands there before the model is whole.
        dtype (`str`, *optional*): In which is merged and written, a type of torch by name; the recipe's unless given.
        base_revision (`str`, *optional*): Revision of the base; the commit that was trained on unless given.
        allow_other_base (`bool`, *optional*, defaults to `False`): Accept a base with other weights, which
            `escoita.json` of the merged model then says.

    Returns:
        `Path`: The folder. [`load`] takes it as a base without an adapter, and so does
        `escoita eval --base`.

    Raises:
        OtherBaseError: The base has other weights than was trained on.
        EscoitaError: The folder is there, the run is not trained, its base was in 4 bits, or what it trained cannot be
            merged.
    """
    if out.exists():
        raise EscoitaError(f"{out}: is there already; remove it, or merge into another folder")
    recipe, adapter = RunDirectory(run).load_recipe(), RunDirectory(run).trained_adapter()
    generation_settings = adapter_record(adapter)
    if generation_settings.load_in_4bit:
        raise EscoitaError(
            f"{run}: was trained on a base in 4 bits; merged, it would be another model than was measured. Use base"
            " and adapter together, as the card shows"
        )
    base = resolve_base(recipe.base, [adapter], base_revision, recipe.base_revision, allow_other_base)
    family = family_of(base.name, base.revision)
    with hub_errors(f"base {base.name}"):
        model = family.load_model(base.name, base.revision, dtype or recipe.dtype)
    model = merged(model, adapter)
    if on_shared_weight(model):
        raise EscoitaError(f"{run}: its adapter is on a weight that two layers share; merged, it would change both")
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with written_whole(unfinished):
        model.save_pretrained(unfinished)
        processor = family.load_processor(base.name, base.revision)
        processor = trained_processor(family, processor, adapter, generation_settings.prompt)
        family.save_processor(processor, unfinished)
        generation_settings.model_copy(update={"base": base.record()}).write(unfinished / "escoita.json")
        sync_files(unfinished)
    unfinished.rename(out)
    return out
