"""Load the weights of a base: as they are stored, or with most linear layers in 4 bits."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.models.weight_files import check_weights
from escoita.utils.formatting import visible


# Transformers loads an adapter that lies beside the weights of a base, and executes its regular expressions. It looks
# for one in this subfolder, which no base has.
NO_ADAPTER = {"subfolder": "escoita-loads-no-adapter-here"}


def load(
    auto_model: Any,
    base: str,
    revision: str | None = None,
    dtype: str = "auto",
    device: str | None = None,
    load_in_4bit: bool = False,
    whole: Sequence[str] = (),
    complete: bool = False,
    own_adapter: bool = False,
    **options: Any,
) -> Any:
    """
    Loads a model from safetensors alone.

    In 4 bits, weights of linear layers are NF4 with doubly quantised scales, as in QLoRA (Dettmers et al. 2023). A
    base that is stored so is loaded as it is; any other is quantised while it is read.

    Args:
        auto_model: Class of transformers that loads it.
        base (`str`): A folder, or a repository of the Hub.
        revision (`str`, *optional*): Of the repository.
        dtype (`str`, *optional*, defaults to `"auto"`): As the weights are stored, or a type of torch by name; of what
            is not in 4 bits, and of what is computed with what is.
        device (`str`, *optional*): Where to; the CPU unless given. In 4 bits, the accelerator if there is one.
        load_in_4bit (`bool`, *optional*, defaults to `False`): Linear layers in 4 bits.
        whole (`Sequence[str]`, *optional*): Regular expressions; a module whose name holds a match is not quantised.
            The layer that makes logits never is.
        complete (`bool`, *optional*, defaults to `False`): Refuse a base that is stored without some of its
            parameters, in whose places transformers would put random ones.
        own_adapter (`bool`, *optional*, defaults to `False`): An adapter may lie beside the weights; the caller
            loads it.
        options: For `from_pretrained`.

    Raises:
        EscoitaError: The base is stored in another precision than asked for, or without some of its parameters, or
            with an adapter; or a file is not a safetensors file, or bitsandbytes is not installed; or a layer is in
            4 bits that must not be.
    """
    from torch import OutOfMemoryError

    stored = stored_quantization(base, revision)
    check_precision(base, stored, load_in_4bit)
    if load_in_4bit:
        options["device_map"] = {"": device} if device else None
        if not stored:
            options["quantization_config"] = in_4bit(dtype, whole)
    if Path(base).is_dir():
        check_folder(Path(base), own_adapter)
    try:
        # use_safetensors: the other format is a pickle, which runs whatever stands in it.
        with any_spelling() if load_in_4bit else nullcontext():
            model, found = auto_model.from_pretrained(
                base,
                revision=revision,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                adapter_kwargs=NO_ADAPTER,
                **options,
            )
    except (OSError, EscoitaError, OutOfMemoryError):
        raise
    except Exception as error:  # anything can be in the files of somebody else
        reason = visible(str(error).strip())[:300]
        raise EscoitaError(f"model {base}: cannot be loaded ({type(error).__name__}: {reason})") from error
    if complete:
        refuse_missing(base, model, found["missing_keys"])
    if load_in_4bit:
        check_four_bit(base, model, whole)
    return model.to(device) if device and not load_in_4bit else model


def check_folder(base: Path, own_adapter: bool = False) -> None:
    """
    Looks at the files of a base in a folder, before they are loaded.

    Args:
        base (`Path`): The folder.
        own_adapter (`bool`, *optional*, defaults to `False`): It may contain an adapter.

    Raises:
        EscoitaError: A weight file is a Git LFS pointer or has an absurd header, or there is an adapter.
    """
    if not own_adapter and (base / "adapter_config.json").exists():
        raise EscoitaError(
            f"model {base}: contains an adapter beside its weights, which is not loaded; move adapter_config.json into"
            " a folder of its own and name that as the adapter"
        )
    for path in sorted(base.glob("*.safetensors")):
        check_weights(path, f"model {base}")


def refuse_missing(base: str, model: Any, names: Collection[str]) -> None:
    """
    Refuses a base that is stored without some of its parameters.

    Args:
        base (`str`): Its name.
        model (`torch.nn.Module`): As loaded.
        names (`Collection[str]`): Not found where it is stored, as transformers says it: without those that are tied
            to others. Buffers do not count, as code makes them.

    Raises:
        EscoitaError: Names one of them.
    """
    missing = sorted(set(names) & {name for name, _ in model.named_parameters(remove_duplicate=False)})
    if missing:
        raise EscoitaError(
            f"model {base}: the weight {missing[0]} is missing (and {len(missing) - 1} others); random ones would"
            " stand in their places"
        )


def stored_quantization(base: str, revision: str | None = None) -> dict[str, Any]:
    """How the weights of a base are quantised where they are stored, as its configuration says it; empty if not."""
    from transformers import PreTrainedConfig

    config, _ = PreTrainedConfig.get_config_dict(base, revision=revision)
    return config.get("quantization_config") or {}


def check_precision(base: str, stored: dict[str, Any], load_in_4bit: bool) -> None:
    """
    Compares how a base is stored with what is asked for.

    Args:
        base (`str`): Its name.
        stored (`dict`): See [`stored_quantization`].
        load_in_4bit (`bool`): What is asked for.

    Raises:
        EscoitaError: The two differ, or bitsandbytes is needed and not installed.
    """
    if stored.get("load_in_4bit") and not load_in_4bit:
        raise EscoitaError(
            f"model {base}: is stored in 4 bits; say load_in_4bit: true, or name the base it was made of"
        )
    if load_in_4bit and stored and not stored.get("load_in_4bit"):
        method = stored.get("quant_method", "in a way of its own")
        raise EscoitaError(f"model {base}: is quantised already ({method}); load_in_4bit needs one that is not")
    if load_in_4bit and not find_spec("bitsandbytes"):
        raise EscoitaError("load_in_4bit needs bitsandbytes: pip install 'escoita[4bit]'")


def in_4bit(dtype: str, whole: Sequence[str]) -> Any:
    """
    What quantises a model while it is read.

    Args:
        dtype (`str`): In which is computed; bfloat16 for `"auto"`.
        whole (`Sequence[str]`): See [`load`].

    Returns:
        `BitsAndBytesConfig`: For `from_pretrained`.
    """
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype="bfloat16" if dtype == "auto" else dtype,
        llm_int8_skip_modules=own_skip_list(whole),
    )


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
