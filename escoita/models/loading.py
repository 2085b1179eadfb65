"""Load the weights of a base in their stored precision, or with most linear layers in 4 bits."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.hub.failures import explain_hub_errors
from escoita.models.weight_files import check_weights
from escoita.utils.formatting import visible
from escoita.utils.library_output import without_load_report
from escoita.utils.processes import is_out_of_memory, stage
from escoita.utils.progress_bars import without_bars


# Transformers loads an adapter that is stored next to the weights of a base, and executes its regular expressions.
# With this argument it looks for one in a subfolder that no base has.
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
    fresh: tuple[str, ...] = (),
    **options: Any,
) -> Any:
    """
    Load a model from safetensors files only.

    In 4 bits, the weights of linear layers are NF4 with double quantization, as in QLoRA (Dettmers et al. 2023). A
    base that is stored in 4 bits is loaded without changes; any other is quantized during loading.

    Args:
        auto_model (`type`): The class of transformers that loads the model.
        base (`str`): A folder, or a repository on the Hub.
        revision (`str`, *optional*): The revision of the repository.
        dtype (`str`, *optional*, defaults to `"auto"`): The name of a torch type for computation and for weights that
            are not in 4 bits, or `"auto"` for the stored type.
        device (`str`, *optional*): The device. Defaults to the CPU; in 4 bits, to the accelerator if there is one.
        load_in_4bit (`bool`, *optional*, defaults to `False`): Whether linear layers are in 4 bits.
        whole (`Sequence[str]`, *optional*): Regular expressions that are searched in module names; matches are not
            quantized. The output layer is never quantized.
        complete (`bool`, *optional*, defaults to `False`): Whether to refuse a base that is stored without some of its
            parameters, which transformers would initialize randomly.
        own_adapter (`bool`, *optional*, defaults to `False`): Whether an adapter may be stored next to the weights;
            the caller loads it.
        fresh (`tuple[str, ...]`, *optional*): The prefixes of parameters that may be missing, because the caller
            replaces them. Transformers prints no table of missing keys then.
        options (`Any`): Further arguments of `from_pretrained`.

    Raises:
        EscoitaError: The stored precision differs from the requested one, parameters are missing, an adapter is stored
            with the base, a file is not a safetensors file, bitsandbytes is not installed, or a layer is in 4 bits
            that must not be.
    """
    stored = stored_quantization(base, revision)
    check_precision(base, stored, load_in_4bit)
    if load_in_4bit:
        options["device_map"] = {"": device} if device else None
        if not stored:
            options["quantization_config"] = in_4bit(dtype, whole)
    if Path(base).is_dir():
        check_folder(Path(base), own_adapter)
    try:
        # use_safetensors: the other format is a pickle, which can execute code.
        with (
            stage(f"Loading {base}", Path(base).is_dir()),
            without_bars() if Path(base).is_dir() else nullcontext(),
            any_spelling() if load_in_4bit else nullcontext(),
            without_load_report() if fresh else nullcontext(),
            explain_hub_errors(base, "model", value=revision) if not Path(base).is_dir() else nullcontext(),
        ):
            model, found = auto_model.from_pretrained(
                base,
                revision=revision,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                adapter_kwargs=NO_ADAPTER,
                **options,
            )
    except (OSError, EscoitaError):
        raise
    except Exception as error:  # untrusted files can cause any exception
        if is_out_of_memory(error):
            raise
        reason = visible(str(error).strip())[:300]
        raise EscoitaError(f"cannot be loaded ({type(error).__name__}: {reason})", path=base) from error
    reset_generation(model)
    if complete:
        refuse_missing(base, model, {name for name in found["missing_keys"] if not name.startswith(fresh)})
    if load_in_4bit:
        check_four_bit(base, model, whole)
    return model.to(device) if device and not load_in_4bit else model


# Settings of generation that would replace greedy decoding, end it early, or change the type of its output.
_RESET = (
    "assistant_confidence_threshold",
    "constraints",
    "custom_generate",
    "dola_layers",
    "force_words_ids",
    "guidance_scale",
    "max_new_tokens",
    "max_time",
    "min_new_tokens",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "penalty_alpha",
    "prompt_lookup_num_tokens",
    "return_dict_in_generate",
    "stop_strings",
)


def reset_generation(model: Any) -> None:
    """Reset the settings in the generation configuration of a base that no evaluation uses."""
    config = getattr(model, "generation_config", None)
    for key in _RESET:
        if getattr(config, key, None) is not None:
            setattr(config, key, None)


def check_folder(base: Path, own_adapter: bool = False) -> None:
    """
    Check the files of a base in a folder before they are loaded.

    Args:
        base (`Path`): The folder.
        own_adapter (`bool`, *optional*, defaults to `False`): Whether the folder may contain an adapter.

    Raises:
        EscoitaError: A weight file is a Git LFS pointer or has an invalid header, or the folder contains an adapter.
    """
    if not own_adapter and (path := base / "adapter_config.json").exists():
        hint = "move the files of the adapter into a separate folder, and use that as the adapter"
        raise EscoitaError("an adapter next to the weights of the base is not loaded", path=path, hint=hint)
    for path in sorted(base.glob("*.safetensors")):
        check_weights(path, str(base))


def refuse_missing(base: str, model: Any, names: Collection[str]) -> None:
    """
    Raise an error if a base is stored without some of its parameters.

    Args:
        base (`str`): The folder or repository of the base.
        model (`torch.nn.Module`): The loaded model.
        names (`Collection[str]`): The missing keys that transformers reports, without tied weights. Buffers are
            ignored, because code creates them.

    Raises:
        EscoitaError: A parameter is missing; `key` is the name of the first.
    """
    missing = sorted(set(names) & {name for name, _ in model.named_parameters(remove_duplicate=False)})
    if missing:
        problem = f"missing weight (and {len(missing) - 1} others), which would be initialized randomly"
        raise EscoitaError(problem, path=base, key=missing[0])


def stored_quantization(base: str, revision: str | None = None) -> dict[str, Any]:
    """Return the quantization configuration of the stored weights of a base; empty if they are not quantized."""
    from transformers import PreTrainedConfig

    config, _ = PreTrainedConfig.get_config_dict(base, revision=revision)
    return config.get("quantization_config") or {}


def check_precision(base: str, stored: dict[str, Any], load_in_4bit: bool) -> None:
    """
    Compare the stored precision of a base with the requested precision.

    Args:
        base (`str`): The folder or repository of the base.
        stored (`dict`): The result of [`stored_quantization`].
        load_in_4bit (`bool`): Whether 4 bits are requested.

    Raises:
        EscoitaError: The two differ, or bitsandbytes is needed and not installed.
    """
    if stored.get("load_in_4bit") and not load_in_4bit:
        hint = "set load_in_4bit: true, or use the base that it was quantized from"
        raise EscoitaError("the base is stored in 4 bits", path=base, key="load_in_4bit", value=False, hint=hint)
    if load_in_4bit and stored and not stored.get("load_in_4bit"):
        problem = f"the base is already quantized ({stored.get('quant_method', 'unknown method')})"
        hint = "use a base that is not quantized"
        raise EscoitaError(problem, path=base, key="load_in_4bit", value=True, hint=hint)
    if load_in_4bit and not find_spec("bitsandbytes"):
        hint = "run `pip install 'escoita[4bit]'`"
        raise EscoitaError("requires bitsandbytes, which is not installed", key="load_in_4bit", value=True, hint=hint)


def in_4bit(dtype: str, whole: Sequence[str]) -> Any:
    """
    Return the configuration for quantizing a model during loading.

    Args:
        dtype (`str`): The type for computation; bfloat16 for `"auto"`.
        whole (`Sequence[str]`): Regular expressions for modules that are not quantized; see [`load`].

    Returns:
        `BitsAndBytesConfig`: The configuration for `from_pretrained`.
    """
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype="bfloat16" if dtype == "auto" else dtype,
        llm_int8_skip_modules=default_skip_list(whole),
    )


# A skip list contains names, or regular expressions that Transformers matches from the start of a module name.
NAME = re.compile(r"[\w.]+")


def default_skip_list(whole: Sequence[str]) -> list[str]:
    """
    Return the skip list for quantizing a base that is stored in 16 bits.

    Args:
        whole (`Sequence[str]`): Regular expressions that are searched in module names; matches are not quantized. The
            output layer is never quantized.
    """
    return ["lm_head", *(rf".*(?:{pattern})[^.]*" for pattern in whole)]


def with_any_prefix(names: Iterable[str]) -> list[str]:
    """
    Return a skip list whose names also match after any prefix.

    Transformers matches a name with the start or the end of a module name, so that `audio_tower` does not match the
    layers of `model.audio_tower`. For each name, an expression is added that matches it anywhere in the path.

    Args:
        names (`Iterable[str]`): The `llm_int8_skip_modules` of a configuration.
    """
    found = []
    for name in names:
        found.append(name)
        if NAME.fullmatch(name):
            found.append(rf"(?:.*\.)?{re.escape(name.removeprefix('model.'))}(?:\.|$)")
    return list(dict.fromkeys(found))


def skip_list(stored: dict[str, Any], whole: Sequence[str]) -> list[str]:
    """
    Return the skip list of the modules that stay in 16 bits if a base is loaded in 4 bits.

    Args:
        stored (`dict`): The result of [`~escoita.models.loading.stored_quantization`].
        whole (`Sequence[str]`): The argument of [`default_skip_list`], for a base that is stored in 16 bits.
    """
    return with_any_prefix(stored.get("llm_int8_skip_modules") or () if stored else default_skip_list(whole))


def is_quantized(name: str, skipped: Collection[str]) -> bool:
    """
    Return whether a linear layer is quantized, using the function of Transformers.

    Args:
        name (`str`): The name of the module, in the base or in a PEFT model on it.
        skipped (`Collection[str]`): The result of [`skip_list`].
    """
    from transformers.quantizers.quantizers_utils import should_convert_module

    return should_convert_module(name.removeprefix("base_model.model.").removesuffix(".base_layer"), list(skipped))


@contextmanager
def any_spelling() -> Iterator[None]:
    """Let Transformers and Unsloth accept skip lists without the prefixes of module names; see [`with_any_prefix`]."""
    from transformers.quantizers.base import HfQuantizer

    original = HfQuantizer.get_modules_to_not_convert

    def get_modules_to_not_convert(
        model: Any, skip_modules: list[str] | None = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return original(model, skip_modules and with_any_prefix(skip_modules), *args, **kwargs)

    HfQuantizer.get_modules_to_not_convert = staticmethod(get_modules_to_not_convert)
    try:
        yield
    finally:
        HfQuantizer.get_modules_to_not_convert = staticmethod(original)


def check_four_bit(base: str, model: Any, whole: Sequence[str]) -> None:
    """
    Check a base that was loaded in 4 bits.

    Args:
        base (`str`): The folder or repository of the base.
        model (`torch.nn.Module`): The loaded model, without an adapter.
        whole (`Sequence[str]`): Regular expressions for modules that must be in 16 bits; see [`load`].

    Raises:
        EscoitaError: A layer is in 4 bits and must not be, or has no quantization state; `key` is its name.
    """
    from bitsandbytes.nn import Linear4bit

    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, Linear4bit)}
    for name, layer in layers.items():
        if getattr(layer.weight, "quant_state", None) is None:
            problem = "the layer is stored in 16 bits, but llm_int8_skip_modules in config.json does not list it"
            hint = "add its name there, or use the base in 16 bits with load_in_4bit: true"
            raise EscoitaError(problem, path=base, key=name, hint=hint)
    for name in layers:
        if any(re.search(pattern, name) for pattern in whole):
            hint = "use a base whose other towers are in 16 bits, or the base in 16 bits with load_in_4bit: true"
            raise EscoitaError("only the language tower may be in 4 bits", path=base, key=name, hint=hint)
    if not layers:
        problem = "no linear layer is in 4 bits"
        raise EscoitaError(problem, path=base, key="load_in_4bit", value=True, hint="leave it out")
