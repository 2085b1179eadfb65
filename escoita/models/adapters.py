"""Put an adapter on its base, merge it, or switch between several adapters of one base."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.hub.files import local_file
from escoita.models.adapter_files import AdapterSettings, lora_config, read_settings
from escoita.models.weight_files import opened_weights
from escoita.utils.formatting import visible
from escoita.utils.processes import free_device_memory


def merged(model: Any, adapter: str) -> Any:
    """
    Merges an adapter into a base, which then answers as fast as before.

    Into a base in 4 bits it is not merged: rounded to 4 bits again, the sum would be another model than was trained.
    Nor is it where two layers share a weight and it changes one of them.

    Args:
        model: The base, loaded.
        adapter (`str`): A folder, or a repository of the Hub; low-rank matrices, or modules that were trained whole.

    Returns:
        The base with the adapter in it; where it is not merged, [`PeftModel`] with the adapter on it.

    Raises:
        EscoitaError: See [`attached`].
    """
    model = attached(model, adapter)
    in_4bit = getattr(model.base_model.model, "is_loaded_in_4bit", False)
    return (model if in_4bit or on_shared_weight(model) else model.merge_and_unload()).eval()


def attached(model: Any, adapter: str, base_kept: bool = False) -> Any:
    """
    Puts an adapter on a base, all of it and nothing else.

    Nothing of the adapter is executed, its regular expressions included; see [`lora_config`].

    Args:
        model: The base, loaded; modules of it are replaced, also where the adapter is then refused, but none of its
            weights is written to before it is known that the adapter fits.
        adapter (`str`): A folder, or a repository of the Hub.
        base_kept (`bool`, *optional*, defaults to `False`): Refuse an adapter that holds weights of the base itself
            which are not as they are here: biases, or embeddings, which may be saved beside low-rank matrices.

    Returns:
        [`PeftModel`]: The base with the adapter on it.

    Raises:
        EscoitaError: There is no such adapter, or it is not one for this base.
    """
    what = f"adapter {adapter}"
    weights = local_file(adapter, "adapter_model.safetensors")  # without it PEFT would read a pickle
    settings = read_settings(local_file(adapter, "adapter_config.json"), what)
    if base_kept and settings.bias not in (None, "none"):
        raise EscoitaError(f"{what}: with bias {settings.bias} it changes the base itself, and cannot be switched off")
    return attach(model, settings, weights, what, base_kept)


def attach(
    model: Any,
    settings: AdapterSettings,
    path: Path,
    what: str,
    base_kept: bool = False,
    renamed: Callable[[str], str] = str,
) -> Any:
    """
    Puts an adapter on a base, as [`attached`] does.

    Args:
        model: The base, loaded.
        settings ([`~escoita.models.adapter_files.AdapterSettings`]): Its configuration.
        path (`Path`): Its weights.
        what (`str`): Names it in errors.
        base_kept (`bool`, *optional*, defaults to `False`): See [`attached`].
        renamed (`Callable[[str], str]`, *optional*): Gives the name that a tensor has in this base.

    Returns:
        [`PeftModel`]: The base with the adapter on it.

    Raises:
        EscoitaError: It does not fit this base.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from torch import equal

    with opened_weights(path, what) as weights:
        names = {renamed(name): name for name in weights.keys()}  # noqa: SIM118  not a dict
        shapes = {name: tuple(weights.get_slice(stored).get_shape()) for name, stored in names.items()}
        config = lora_config(model, settings, shapes, what)
        tensors = {name: weights.get_tensor(stored) for name, stored in names.items()}
    refuse_not_finite(tensors, what)
    try:
        model = get_peft_model(model, config)
        # Of what it does not know PEFT says nothing, what is missing stays zero, and what has the name of a weight of
        # the base would be written into it. An adapter may hold the base's embeddings too; unless told, PEFT asks the
        # Hub if they have grown.
        needed, allowed = (get_peft_model_state_dict(model, save_embedding_layers=more) for more in (False, True))
        different = (needed.keys() - tensors.keys()) | (tensors.keys() - allowed.keys())
        different |= {name for name in tensors.keys() - different if tensors[name].shape != allowed[name].shape}
        if different:
            raise EscoitaError(f"{what}: does not fit this base ({len(different)} missing or unexpected weights)")
        own = {name: tensors[name].to(allowed[name]) for name in tensors.keys() - needed.keys()}
        if base_kept and not all(equal(allowed[name], tensor) for name, tensor in own.items()):
            raise EscoitaError(f"{what}: changes the base's embeddings, and cannot be switched off")
        set_peft_model_state_dict(model, tensors)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = visible(str(error).splitlines()[0])[:300]
        raise EscoitaError(f"{what}: does not fit this base ({reason})") from error
    return model.eval()


def refuse_not_finite(tensors: Mapping[str, Any], what: str) -> None:
    """
    Refuses weights among which there is NaN or infinity.

    Raises:
        EscoitaError: Names the first such tensor.
    """
    from torch import isfinite

    for name, tensor in sorted(tensors.items()):
        if tensor.is_floating_point() and not isfinite(tensor).all():
            raise EscoitaError(f"{what}: {visible(name)[:200]} contains NaN or infinity; its training has diverged")


def on_shared_weight(model: Any) -> bool:
    """Whether low-rank matrices stand on a weight that two layers use, such as a head that is the embeddings too."""
    from peft.tuners.lora import LoraLayer

    uses = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    layers = (layer.get_base_layer() for layer in model.modules() if isinstance(layer, LoraLayer))
    return any(uses[id(layer.weight)] > 1 for layer in layers)


class Adapters:
    """
    Switches adapters of one base on and off, without a second copy of the base.

    PEFT puts modules into the places of those of the base. They are kept for each adapter, and switching puts them
    there again: the base alone is what it was before, adapters of different kinds never stand on one another, and each
    hears as with plain PEFT. Nothing is merged, as unmerging would not give back the very same weights.

    PEFT's own `load_adapter` and `set_adapter` are not used. PEFT 0.21 wraps the modules that an earlier adapter left:
    if one adapter has LoRA on layers within a module that another trained whole, as in Phi-4's audio encoder, then
    either the second fails to load or, in the other order, the LoRA gives wrong logits without an error.

    Args:
        model: The base, loaded; changed in place.
        sources (`Mapping[str, str]`): Names of adapters, and the folder or repository of the Hub of each. Each is
            loaded when it is first used.
        max_bytes (`int`, *optional*): The memory for all loaded adapters. Above it, those that were not used for
            longest are removed from memory, and loaded again when they are used next; never the one in use.
    """

    def __init__(self, model: Any, sources: Mapping[str, str], max_bytes: int | None = None):
        self.model, self.sources, self.max_bytes = model, dict(sources), max_bytes
        self.used: str | None = None
        # Bytes of each loaded adapter; the one that was used last comes last.
        self.loaded: dict[str, int] = {}
        self._modules: dict[str, dict[str, Any]] = {}
        self._replaced: dict[str, Any] = {}

    def use(self, name: str | None) -> None:
        """
        Switches an adapter on, and what was on before off.

        Args:
            name (`str`, *optional*): Of the adapter; the base alone unless given.

        Raises:
            EscoitaError: There is none of this name, or it cannot be had, or does not fit; then the base is alone.
        """
        if name == self.used:
            return
        _put(self.model, self._replaced)
        self.used, self._replaced = None, {}
        if name is None:
            return
        if name not in self.sources:
            raise EscoitaError(f"adapter {name}: is not one of {', '.join(self.sources) or 'none'}")
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
        """Remove the least recently used adapters from memory until the others fit into the budget."""
        evicted = False
        while self.max_bytes is not None and len(self.loaded) > 1 and sum(self.loaded.values()) > self.max_bytes:
            oldest = next(iter(self.loaded))
            del self.loaded[oldest], self._modules[oldest]
            evicted = True
        if evicted:
            free_device_memory()


def own_bytes(modules: Iterable[Any], model: Any) -> int:
    """
    Return the bytes of the parameters of an adapter's modules, without those of the base in them.

    Args:
        modules (`Iterable[Module]`): From [`modules_of`].
        model: The base alone.
    """
    base = {id(parameter) for parameter in model.parameters()}
    found = {id(parameter): parameter for module in modules for parameter in module.parameters()}
    return sum(parameter.nbytes for key, parameter in found.items() if key not in base)


def modules_of(model: Any, adapter: str) -> dict[str, Any]:
    """
    Loads an adapter, and takes it off the base again.

    Args:
        model: The base alone; as before afterwards, also where the adapter is refused.
        adapter (`str`): A folder, or a repository of the Hub.

    Returns:
        `dict[str, Module]`: What is to stand in the place of the base's own modules, by their paths.

    Raises:
        EscoitaError: There is no such adapter, it is not one for this base, or it is of a kind that cannot be switched
            off.
    """
    before = dict(model.named_modules(remove_duplicate=False))
    modules: dict[str, Any] = {}
    try:
        attached(model, adapter, base_kept=True)
    finally:
        modules |= _changed(model, before)
        _put(model, {path: before[path] for path in modules})
        model.__dict__.pop("peft_config", None)  # by which PEFT would take the next adapter for one beside this
    if not modules:
        raise EscoitaError(f"adapter {adapter}: changes no module of the base, as LoRA and modules trained whole do")
    return modules


def _changed(model: Any, before: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Path and module of what is not what it was, those within it left out."""
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
