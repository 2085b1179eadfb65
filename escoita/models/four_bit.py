"""Bases in 4 bits: which linear layers are quantized, and whether all of them were loaded as they should be."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from escoita.errors import EscoitaError


# A skip list holds names, or the regular expressions that Transformers matches from the start of a module's name.
NAME = re.compile(r"[\w.]+")


def own_skip_list(whole: Sequence[str]) -> list[str]:
    """
    Return the skip list with which a base that is stored in 16 bits is quantized.

    Args:
        whole (`Sequence[str]`): Regular expressions; a module whose name holds a match is not quantized. The layer
            that makes logits never is.
    """
    return ["lm_head", *(rf".*(?:{pattern})[^.]*" for pattern in whole)]


def spelled_out(names: Iterable[str]) -> list[str]:
    """
    Return a skip list that means the same however its names are spelled.

    Transformers matches a name with the start or the end of a module's name, so that `audio_tower` does not match the
    layers of `model.audio_tower`. To each name an expression is added that matches it at any place of the path.

    Args:
        names (`Iterable[str]`): `llm_int8_skip_modules` of a configuration.
    """
    found = []
    for name in names:
        found.append(name)
        if NAME.fullmatch(name):
            found.append(rf"(?:.*\.)?{re.escape(name.removeprefix('model.'))}(?:\.|$)")
    return list(dict.fromkeys(found))


def skip_list(stored: dict[str, Any], whole: Sequence[str]) -> list[str]:
    """
    Return the names of the modules that stay in 16 bits when a base is loaded in 4.

    Args:
        stored (`dict`): See [`~escoita.models.loading.stored_quantization`].
        whole (`Sequence[str]`): See [`own_skip_list`]; for a base that is stored in 16 bits.
    """
    return spelled_out(stored.get("llm_int8_skip_modules") or () if stored else own_skip_list(whole))


def is_quantized(name: str, skipped: Collection[str]) -> bool:
    """
    Whether a linear layer is quantized, decided by the function that Transformers decides by.

    Args:
        name (`str`): Of the module, in the base or in a model of PEFT on it.
        skipped (`Collection[str]`): See [`skip_list`].
    """
    from transformers.quantizers.quantizers_utils import should_convert_module

    return should_convert_module(name.removeprefix("base_model.model.").removesuffix(".base_layer"), list(skipped))


@contextmanager
def any_spelling() -> Iterator[None]:
    """Let Transformers, and Unsloth on top of it, load a base by a skip list in any spelling; see [`spelled_out`]."""
    from transformers.quantizers.base import HfQuantizer

    original = HfQuantizer.get_modules_to_not_convert

    def get_modules_to_not_convert(
        model: Any, skip_modules: list[str] | None = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return original(model, skip_modules and spelled_out(skip_modules), *args, **kwargs)

    HfQuantizer.get_modules_to_not_convert = staticmethod(get_modules_to_not_convert)
    try:
        yield
    finally:
        HfQuantizer.get_modules_to_not_convert = staticmethod(original)


def check_four_bit(base: str, model: Any, whole: Sequence[str]) -> None:
    """
    Check a base that was loaded in 4 bits.

    Args:
        base (`str`): Its name.
        model: As loaded, without an adapter.
        whole (`Sequence[str]`): Regular expressions; modules whose names hold a match must be in 16 bits.

    Raises:
        EscoitaError: Names a layer that is in 4 bits and must not be, or has no quantization state.
    """
    from bitsandbytes.nn import Linear4bit

    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, Linear4bit)}
    for name, layer in layers.items():
        if getattr(layer.weight, "quant_state", None) is None:
            raise EscoitaError(
                f"model {base}: the layer {name} is stored in 16 bits, but llm_int8_skip_modules in config.json does"
                " not name it, so that it has no quantization state; add the name there, or use the base in 16 bits"
                " with load_in_4bit: true"
            )
    for name in layers:
        if any(re.search(pattern, name) for pattern in whole):
            raise EscoitaError(
                f"model {base}: the layer {name} is in 4 bits; only the language tower may be. Use a base whose other"
                " towers are in 16 bits, or the base in 16 bits with load_in_4bit: true, which leaves them so"
            )
    if not layers:
        raise EscoitaError(f"model {base}: no linear layer is in 4 bits; leave out load_in_4bit")
