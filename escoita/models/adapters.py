"""Load an adapter on its base, merge it, or switch between several adapters of one base."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.hub.files import local_file
from escoita.models.adapter_files import PREFIX, AdapterSettings, lora_config, read_settings
from escoita.models.errors import IncompatibleAdapterError
from escoita.models.families import HEAD
from escoita.models.weight_files import opened_weights
from escoita.utils.formatting import visible
from escoita.utils.processes import free_device_memory


def merged(model: Any, adapter: str) -> Any:
    """
    Merge an adapter into a base, which keeps the speed of the base.

    An adapter is not merged into a base in 4 bits, because the sum would be rounded again and differ from the trained
    model, nor if two layers share a weight and the adapter changes one of them.

    Args:
        model (`torch.nn.Module`): The loaded base.
        adapter (`str`): A folder, or a repository on the Hub, with LoRA or fully trained modules.

    Returns:
        `torch.nn.Module`: The base with the merged adapter; if it is not merged, a [`PeftModel`].

    Raises:
        EscoitaError: See [`attached`].
    """
    model = attached(model, adapter)
    in_4bit = getattr(model.base_model.model, "is_loaded_in_4bit", False)
    return (model if in_4bit or on_shared_weight(model) else model.merge_and_unload()).eval()


def attached(model: Any, adapter: str, base_kept: bool = False) -> Any:
    """
    Load a complete adapter on a base.

    Nothing of the adapter is executed, including its regular expressions; see [`lora_config`].

    Args:
        model (`torch.nn.Module`): The loaded base. Its modules are replaced, also if the adapter is then refused, but
            its weights are not changed before the adapter is known to fit.
        adapter (`str`): A folder, or a repository on the Hub.
        base_kept (`bool`, *optional*, defaults to `False`): Whether to refuse an adapter that changes weights of the
            base itself: biases, or embeddings that may be saved with the LoRA matrices.

    Returns:
        [`PeftModel`]: The base with the adapter.

    Raises:
        IncompatibleAdapterError: The adapter does not fit the base.
        EscoitaError: The adapter is not found, or a file of it is invalid.
    """
    weights = local_file(adapter, "adapter_model.safetensors")  # without it PEFT would read a pickle
    settings = read_settings(local_file(adapter, "adapter_config.json"), adapter)
    if base_kept and settings.bias not in (None, "none"):
        problem = "changes the biases of the base, and cannot be disabled"
        raise EscoitaError(problem, path=f"{adapter}/adapter_config.json", key="bias", value=settings.bias)
    return attach(model, settings, weights, adapter, base_kept)


def attach(
    model: Any,
    settings: AdapterSettings,
    path: Path,
    adapter: str,
    base_kept: bool = False,
    renamed: Callable[[str], str] = str,
) -> Any:
    """
    Load the files of an adapter on a base; see [`attached`].

    Args:
        model (`torch.nn.Module`): The loaded base.
        settings ([`~escoita.models.adapter_files.AdapterSettings`]): The configuration of the adapter.
        path (`Path`): The weights of the adapter.
        adapter (`str`): The folder or repository of the adapter, for errors.
        base_kept (`bool`, *optional*, defaults to `False`): Whether to refuse an adapter that changes weights of the
            base itself.
        renamed (`Callable[[str], str]`, *optional*): A function that returns the name of a tensor in this base.

    Returns:
        [`PeftModel`]: The base with the adapter.

    Raises:
        IncompatibleAdapterError: The adapter does not fit the base.
        EscoitaError: The weights are invalid.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from torch import equal

    from escoita.models.ctc_training import fit_head, has_ctc_head

    with opened_weights(path, adapter) as weights:
        names = {renamed(name): name for name in weights.keys()}  # noqa: SIM118  not a dict
        shapes = {name: tuple(weights.get_slice(stored).get_shape()) for name, stored in names.items()}
        embeds_text = not has_ctc_head(model)
        fit_head(model, shapes.get(f"{PREFIX}{HEAD}.weight"))
        config = lora_config(model, settings, shapes, adapter)
        tensors = {name: weights.get_tensor(stored) for name, stored in names.items()}
    refuse_not_finite(tensors, adapter)
    try:
        model = get_peft_model(model, config)
        # PEFT ignores unknown tensors, leaves missing ones at zero, and would write tensors with the name of a weight
        # of the base into the base. An adapter may contain the embeddings of the base; without an explicit argument,
        # PEFT would query the Hub for their size.
        needed, allowed = (
            get_peft_model_state_dict(model, save_embedding_layers=more) for more in (False, embeds_text)
        )
        different = (needed.keys() - tensors.keys()) | (tensors.keys() - allowed.keys())
        different |= {name for name in tensors.keys() - different if tensors[name].shape != allowed[name].shape}
        if different:
            reason = f"{len(different)} missing or unexpected weights"
            raise IncompatibleAdapterError(path=adapter, reason=reason)
        of_base = {name: tensors[name].to(allowed[name]) for name in tensors.keys() - needed.keys()}
        changed = sorted(name for name, tensor in of_base.items() if not equal(allowed[name], tensor))
        if base_kept and changed:
            raise EscoitaError(
                "changes the embeddings of the base, and cannot be disabled", path=adapter, key=changed[0]
            )
        set_peft_model_state_dict(model, tensors)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = visible(str(error).splitlines()[0])[:300]
        raise IncompatibleAdapterError(path=adapter, reason=reason) from error
    return model.eval()


def refuse_not_finite(tensors: Mapping[str, Any], owner: str) -> None:
    """
    Raise an error if a tensor contains NaN or infinity.

    Args:
        tensors (`Mapping[str, Any]`): The tensors by their names.
        owner (`str`): The adapter or model that contains them, for errors.

    Raises:
        EscoitaError: A tensor contains NaN or infinity; `key` is its name.
    """
    from torch import isfinite

    for name, tensor in sorted(tensors.items()):
        if tensor.is_floating_point() and not isfinite(tensor).all():
            problem = "contains NaN or infinity, because the training diverged"
            raise EscoitaError(problem, path=owner, key=name[:200])


def on_shared_weight(model: Any) -> bool:
    """Return whether LoRA is on a weight that two layers share, such as a head tied to the embeddings."""
    from peft.tuners.lora import LoraLayer

    uses = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    layers = (layer.get_base_layer() for layer in model.modules() if isinstance(layer, LoraLayer))
    return any(uses[id(layer.weight)] > 1 for layer in layers)


class Adapters:
    """
    Switch between adapters of one base without a second copy of the base.

    PEFT replaces modules of the base. The replacements of each adapter are stored, and switching exchanges them: the
    base alone is unchanged, adapters of different kinds are never combined, and each gives the same output as with
    plain PEFT. Adapters are not merged, because unmerging would not restore exactly the same weights.

    PEFT's own `load_adapter` and `set_adapter` are not used. PEFT 0.21 wraps the modules of an earlier adapter: if one
    adapter has LoRA on layers within a module that another trained fully, as in Phi-4's audio encoder, then either the
    second fails to load or, in the other order, the LoRA gives wrong logits without an error.

    Args:
        model (`torch.nn.Module`): The loaded base, which is changed in place.
        sources (`Mapping[str, str]`): The folder or repository on the Hub of each adapter, by its name. Each is loaded
            when it is first used.
        max_bytes (`int`, *optional*): The memory for all loaded adapters, in bytes. If they need more, the least
            recently used ones are removed from memory, and loaded again on their next use; the enabled one is kept.
    """

    def __init__(self, model: Any, sources: Mapping[str, str], max_bytes: int | None = None):
        self.model, self.sources, self.max_bytes = model, dict(sources), max_bytes
        self.used: str | None = None
        # The bytes of each loaded adapter, least recently used first.
        self.loaded: dict[str, int] = {}
        self._modules: dict[str, dict[str, Any]] = {}
        self._replaced: dict[str, Any] = {}

    def use(self, name: str | None) -> None:
        """
        Enable an adapter, and disable the previous one.

        Args:
            name (`str`, *optional*): The name of the adapter; `None` for the base alone.

        Raises:
            EscoitaError: The name is unknown, or the adapter is not found or does not fit. No adapter is enabled then.
        """
        if name == self.used:
            return
        _put(self.model, self._replaced)
        self.used, self._replaced = None, {}
        if name is None:
            return
        if name not in self.sources:
            hint = f"use one of {', '.join(self.sources)}" if self.sources else None
            raise EscoitaError("not found", key="adapter", value=name, hint=hint)
        if name not in self._modules:
            self._modules[name] = modules_of(self.model, self.sources[name])
            self.loaded[name] = own_bytes(self._modules[name].values(), self.model)
        self.loaded[name] = self.loaded.pop(name)
        modules = self._modules[name]
        self._replaced = {path: self.model.get_submodule(path) for path in modules}
        _put(self.model, modules)
        self.used = name
        self._evict()

    def _evict(self) -> None:
        """Remove the least recently used adapters from memory until the others fit into the limit."""
        evicted = False
        while self.max_bytes is not None and len(self.loaded) > 1 and sum(self.loaded.values()) > self.max_bytes:
            oldest = next(iter(self.loaded))
            del self.loaded[oldest], self._modules[oldest]
            evicted = True
        if evicted:
            free_device_memory()


def own_bytes(modules: Iterable[Any], model: Any) -> int:
    """
    Return the number of bytes of an adapter's parameters, without the parameters of the base.

    Args:
        modules (`Iterable[Module]`): The modules of the adapter, from [`modules_of`].
        model (`torch.nn.Module`): The base without adapters.

    Returns:
        `int`: The number of bytes.
    """
    base = {id(parameter) for parameter in model.parameters()}
    found = {id(parameter): parameter for module in modules for parameter in module.parameters()}
    return sum(parameter.nbytes for key, parameter in found.items() if key not in base)


def modules_of(model: Any, adapter: str) -> dict[str, Any]:
    """
    Load an adapter, and remove it from the base again.

    Args:
        model (`torch.nn.Module`): The base without adapters. It is unchanged afterwards, even after an error.
        adapter (`str`): A folder, or a repository on the Hub.

    Returns:
        `dict[str, Module]`: The modules that replace those of the base, by their paths.

    Raises:
        EscoitaError: The adapter is not found, does not fit the base, or cannot be disabled.
    """
    before = dict(model.named_modules(remove_duplicate=False))
    modules: dict[str, Any] = {}
    try:
        attached(model, adapter, base_kept=True)
    finally:
        modules |= _changed(model, before)
        _put(model, {path: before[path] for path in modules})
        model.__dict__.pop("peft_config", None)  # otherwise PEFT would load the next adapter as a second one
    if not modules:
        raise EscoitaError("changes no module of the base", path=adapter)
    return modules


def _changed(model: Any, before: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the path and module of each replaced module, outermost only."""
    inside: set[str] = set()
    for path, module in model.named_modules(remove_duplicate=False):
        if path.rpartition(".")[0] in inside:
            inside.add(path)
        elif path in before and before[path] is not module:
            inside.add(path)
            yield path, module


def _put(model: Any, modules: Mapping[str, Any]) -> None:
    for path, module in modules.items():
        model.set_submodule(path, module)
