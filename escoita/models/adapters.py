"""One base and several adapters for it, of which one at a time is on, or none."""

from collections.abc import Iterator, Mapping
from typing import Any

from escoita.models.adapter import attached
from escoita.errors import EscoitaError


class Adapters:
    """
    Switches adapters of one base on and off, without a second copy of the base.

    PEFT puts modules into the places of those of the base. They are kept for each adapter, and switching puts them
    there again: the base alone is what it was before, adapters of different kinds never stand on one another, and each
    hears as with plain PEFT. Nothing is merged, as unmerging would not give back the very same weights.

    Args:
        model: The base, loaded; changed in place.
        sources (`Mapping[str, str]`): Names of adapters, and the folder or repository of the Hub of each. Each is
            loaded when it is first used.
    """

    def __init__(self, model: Any, sources: Mapping[str, str]):
        self.model, self.sources = model, dict(sources)
        self.used: str | None = None
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
        modules = self._modules[name]
        self._replaced = {path: self.model.get_submodule(path) for path in modules}
        _put(self.model, modules)
        self.used = name


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
