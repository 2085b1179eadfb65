"""
Check the files of an untrusted adapter: `adapter_config.json`, and the names and shapes of its tensors.

PEFT finds modules by the regular expressions of the configuration, and initializes adapters as configured. Here the
modules come from the names of the tensors and the ranks from their shapes. The configuration is compared with them,
and PEFT gets a new configuration that is built here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from escoita.errors import EscoitaError
from escoita.models.errors import IncompatibleAdapterError
from escoita.utils.formatting import visible
from escoita.utils.untrusted import read_object


if TYPE_CHECKING:
    from peft import LoraConfig


PREFIX = "base_model.model."
# The endings of LoRA tensors; a layer has one of the two pairs, and the others with options.
MATRICES = ("lora_A.weight", "lora_B.weight")
EMBEDDINGS = ("lora_embedding_A", "lora_embedding_B")
BIAS, MAGNITUDE = "lora_B.bias", "lora_magnitude_vector"
# Configuration keys that are ignored: they change neither the tensors nor the computation.
UNUSED = {
    "auto_mapping",
    "base_model_name_or_path",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
}
# The maximum number of distinct ranks, and of alphas: PEFT compares a pattern for each with every module.
MOST_VALUES = 100
LITERAL = re.compile(r"\^?[\w.-]{1,500}")

Value = TypeVar("Value", int, float)
Name = Annotated[str, Field(min_length=1, max_length=500)]
Rank = Annotated[int, Field(gt=0, le=100_000)]
Alpha = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Names = Annotated[list[Name], Field(max_length=20_000)]


class AdapterSettings(BaseModel):
    """
    Store the used fields of an `adapter_config.json`: those of LoRA, and of fully trained modules.

    Every other key must be one of [`UNUSED`], or disabled.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM", "SEQ_2_SEQ_LM", "FEATURE_EXTRACTION"] | None = None
    r: Rank = 8
    lora_alpha: Alpha = 8
    use_rslora: bool = False
    use_dora: bool = False
    lora_bias: bool = False
    bias: Literal["none", "all", "lora_only"] | None = "none"
    fan_in_fan_out: Literal[False] | None = False
    # Other values change the weights of the base when the adapter is loaded.
    init_lora_weights: Literal[True, False, None, "gaussian", "orthogonal", "eva"] = True
    target_modules: Annotated[str, Field(max_length=200_000)] | Names | None = None
    modules_to_save: Names | None = None
    rank_pattern: Annotated[dict[Name, Rank], Field(max_length=20_000)] | None = None
    alpha_pattern: Annotated[dict[Name, Alpha], Field(max_length=20_000)] | None = None


def read_settings(path: Path, owner: str) -> AdapterSettings:
    """
    Read and check the `adapter_config.json` of an adapter.

    Args:
        path (`Path`): The file.
        owner (`str`): The adapter that contains the file, for errors.

    Raises:
        EscoitaError: The file cannot be read, a field has a wrong type or an unsupported value, or a key is unknown.
    """
    config = read_object(path, owner)
    source = f"{owner}/{path.name}"
    try:
        settings = AdapterSettings.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        value = repr(config.get(field))[:100]
        raise EscoitaError(first["msg"], path=source, key=field, value=value) from error
    for key, value in (settings.model_extra or {}).items():
        if key not in UNUSED and value not in (None, False, [], {}):
            hint = "use an adapter with LoRA or fully trained modules only"
            raise EscoitaError("not supported", path=source, key=key[:100], hint=hint)
    for field in ("rank_pattern", "alpha_pattern"):
        for pattern in getattr(settings, field) or {}:
            if not LITERAL.fullmatch(pattern):
                problem = "regular expressions are not evaluated"
                hint = "write the names of the modules instead"
                raise EscoitaError(problem, path=source, key=field, value=pattern[:100], hint=hint)
    return settings


def lora_config(
    model: Any, settings: AdapterSettings, shapes: Mapping[str, tuple[int, ...]], adapter: str
) -> "LoraConfig":
    """
    Build the configuration of an adapter from its tensors.

    Args:
        model (`torch.nn.Module`): The base.
        settings ([`AdapterSettings`]): The configuration of the adapter.
        shapes (`Mapping[str, tuple[int, ...]]`): The shapes of its tensors, by their names.
        adapter (`str`): The folder or repository of the adapter, for errors.

    Returns:
        [`LoraConfig`]: The configuration for PEFT, which names every module exactly.

    Raises:
        IncompatibleAdapterError: The tensors do not fit the base, or contradict the configuration.
        EscoitaError: The adapter has no tensors, or too many ranks or alphas.
    """
    from peft import LoraConfig
    from peft.utils.constants import DUMMY_TARGET_MODULES

    modules = dict(model.named_modules(remove_duplicate=False))
    layers = _layers(shapes)
    unknown = sorted(layers.keys() - modules.keys())
    if unknown:
        reason = f"it has no such module (and {len(unknown) - 1} more)"
        raise IncompatibleAdapterError(path=adapter, key=unknown[0][:200], reason=reason)
    saved = _saved_modules(modules, settings, shapes, adapter)
    if not layers and not saved:
        raise EscoitaError("contains neither LoRA tensors nor fully trained modules", path=adapter)
    _check_targets(modules, layers, saved, settings, adapter)
    ranks = {name: _rank(name, modules[name], tensors, settings, adapter) for name, tensors in layers.items()}
    alphas = {name: _by_name(settings.alpha_pattern, name, settings.lora_alpha) for name in layers}
    for key, values in (("rank_pattern", ranks), ("alpha_pattern", alphas)):
        if len(set(values.values())) > MOST_VALUES:
            raise EscoitaError(f"more than {MOST_VALUES} values", path=f"{adapter}/adapter_config.json", key=key)
    rank, other_ranks = _grouped(ranks, settings.r)
    alpha, other_alphas = _grouped(alphas, settings.lora_alpha)
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        rank_pattern=other_ranks,
        alpha_pattern=other_alphas,
        target_modules=_exactly(layers) if layers else DUMMY_TARGET_MODULES,
        modules_to_save=saved or None,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        lora_bias=settings.lora_bias,
        bias=settings.bias or "none",
        task_type=settings.task_type,
        inference_mode=True,
    )


def _layers(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes of the LoRA tensors, by the name of the module and the ending."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        for ending in (*MATRICES, *EMBEDDINGS, BIAS, MAGNITUDE):
            if name.startswith(PREFIX) and name.endswith(f".{ending}"):
                layers.setdefault(name[len(PREFIX) : -len(ending) - 1], {})[ending] = shape
    return layers


def _saved_modules(
    modules: Mapping[str, Any], settings: AdapterSettings, shapes: Mapping[str, tuple[int, ...]], adapter: str
) -> list[str]:
    """Return the names of the fully trained modules, matched by their endings as in PEFT."""
    endings = tuple(settings.modules_to_save or ())
    saved = [name for name in modules if endings and name.endswith(endings)]
    if endings and not saved:
        reason = f"it has no module {visible(endings[0])[:200]}"
        raise IncompatibleAdapterError(path=adapter, key="modules_to_save", reason=reason)
    for name in saved:
        for key, value in modules[name].state_dict().items():
            found = shapes.get(f"{PREFIX}{name}.{key}")
            if found != tuple(value.shape):
                reason = (
                    f"{name}.{key} has shape {tuple(value.shape)}, but the adapter has {found or 'no such tensor'}"
                )
                raise IncompatibleAdapterError(path=adapter, key="modules_to_save", reason=reason)
    return saved


def _check_targets(
    modules: Mapping[str, Any], layers: Mapping[str, Any], saved: list[str], settings: AdapterSettings, adapter: str
) -> None:
    """Compare `target_modules` with the modules of the tensors if it is a list; an expression is not evaluated."""
    restricted = any((settings.model_extra or {}).get(key) for key in ("exclude_modules", "layers_to_transform"))
    if not isinstance(settings.target_modules, list) or restricted:
        return
    names = set(settings.target_modules)
    saved_prefixes = tuple(f"{name}." for name in saved)
    targeted = {
        name
        for name in modules
        if name not in saved and not name.startswith(saved_prefixes) and names & set(_endings(name))
    }
    different = sorted(targeted ^ layers.keys())
    if different or not targeted:
        example = f" for {different[0]}" if different else ""
        reason = f"configuration and tensors differ{example} (and {max(0, len(different) - 1)} more)"
        raise IncompatibleAdapterError(path=adapter, key="target_modules", reason=reason)


def _endings(name: str) -> Iterator[str]:
    """Yield a name, and the part after each of its dots."""
    yield name
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _rank(
    name: str, module: Any, tensors: Mapping[str, tuple[int, ...]], settings: AdapterSettings, adapter: str
) -> int:
    """Return the rank of a layer after comparing the shapes of its tensors with the configuration."""
    low, high = EMBEDDINGS if EMBEDDINGS[0] in tensors else MATRICES
    needed = {low, high} | ({BIAS} if settings.lora_bias else set()) | ({MAGNITUDE} if settings.use_dora else set())
    different = sorted(needed ^ tensors.keys())
    if different:
        reason = "missing tensor" if different[0] in needed else "unexpected tensor"
        raise IncompatibleAdapterError(path=adapter, key=f"{name}.{different[0]}", reason=reason)
    rank = _by_name(settings.rank_pattern, name, settings.r)
    expected = _shapes(module, rank)
    if expected is None:
        reason = f"a {type(module).__name__} cannot have LoRA"
        raise IncompatibleAdapterError(path=adapter, key=name, reason=reason)
    for ending, shape in expected.items():
        if tensors.get(ending) != shape:
            reason = f"expected shape {shape} from rank {rank} of adapter_config.json, found {tensors.get(ending)}"
            raise IncompatibleAdapterError(path=adapter, key=f"{name}.{ending}", reason=reason)
    return rank


def _shapes(module: Any, rank: int) -> dict[str, tuple[int, ...]] | None:
    """Return the shapes of the LoRA matrices of a layer, or `None` for an unsupported type."""
    # The shape of the weight is not used, because it is different in 4 bits.
    from torch import nn

    if isinstance(module, nn.Linear):
        shapes: tuple[tuple[int, ...], ...] = ((rank, module.in_features), (module.out_features, rank))
        return dict(zip(MATRICES, shapes, strict=True))
    if isinstance(module, nn.Embedding):
        shapes = ((rank, module.num_embeddings), (module.embedding_dim, rank))
        return dict(zip(EMBEDDINGS, shapes, strict=True))
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        ones = (1,) * len(module.kernel_size)
        shapes = ((rank, module.in_channels, *module.kernel_size), (module.out_channels, rank // module.groups, *ones))
        return dict(zip(MATRICES, shapes, strict=True))
    return None


def _by_name(pattern: Mapping[str, Value] | None, name: str, default: Value) -> Value:
    """Return the value of the first key that equals the name or one of its endings; after `^` only the full name."""
    keys = {f"^{name}", *_endings(name)}
    return next((value for key, value in (pattern or {}).items() if key in keys), default)


def _grouped(values: Mapping[str, Value], default: Value) -> tuple[Value, dict[str, Value]]:
    """Return the most frequent value, and a PEFT pattern for the names of each other value."""
    counts = Counter(values.values())
    common = counts.most_common(1)[0][0] if counts else default
    others = {value: [name for name in values if values[name] == value] for value in counts if value != common}
    return common, {f"^(?:{_exactly(names)})": value for value, names in others.items()}


def _exactly(names: Iterable[str]) -> str:
    """Return a regular expression that matches exactly these names."""
    return "|".join(re.escape(name) for name in names)
