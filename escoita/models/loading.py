"""How the weights of a base come into memory: as they are stored, or with most of them in 4 bits."""

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.models.four_bit import any_spelling, check_four_bit, own_skip_list
from escoita.utils.visible import visible
from escoita.models.weight_files import check_weights


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
