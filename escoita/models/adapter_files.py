"""
The two files of an adapter that somebody else wrote: `adapter_config.json` and the names and shapes of its tensors.

PEFT finds modules by the regular expressions of the configuration, and initializes adapters as it says. Here the names
of the tensors say which modules have an adapter and their shapes say its rank; the configuration is compared with
them, and PEFT gets a new one that is written here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from escoita.errors import EscoitaError
from escoita.utils.formatting import visible
from escoita.utils.untrusted import read_object


if TYPE_CHECKING:
    from peft import LoraConfig


PREFIX = "base_model.model."
# Endings of the tensors of LoRA, and the set that a layer has without options.
MATRICES = ("lora_A.weight", "lora_B.weight")
EMBEDDINGS = ("lora_embedding_A", "lora_embedding_B")
BIAS, MAGNITUDE = "lora_B.bias", "lora_magnitude_vector"
# Keys of the configuration that are not used here: they change neither which tensors there are nor what is computed.
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
# Of ranks, and of alphas: PEFT compares a pattern for each with every module.
MOST_VALUES = 100
LITERAL = re.compile(r"\^?[\w.-]{1,500}")

Value = TypeVar("Value", int, float)
Name = Annotated[str, Field(min_length=1, max_length=500)]
Rank = Annotated[int, Field(gt=0, le=100_000)]
Alpha = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Names = Annotated[list[Name], Field(max_length=20_000)]


class AdapterSettings(BaseModel):
    """
    What is used of an `adapter_config.json`: the fields of LoRA, and of modules that were trained whole.

    Every other key must be one of [`UNUSED`], or switched off.
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
    # The others change the weights of the base when they are loaded.
    init_lora_weights: Literal[True, False, None, "gaussian", "orthogonal", "eva"] = True
    target_modules: Annotated[str, Field(max_length=200_000)] | Names | None = None
    modules_to_save: Names | None = None
    rank_pattern: Annotated[dict[Name, Rank], Field(max_length=20_000)] | None = None
    alpha_pattern: Annotated[dict[Name, Alpha], Field(max_length=20_000)] | None = None


def read_settings(path: Path, what: str) -> AdapterSettings:
    """
    Reads the `adapter_config.json` of an adapter.

    Args:
        path (`Path`): The file.
        what (`str`): Names the adapter in errors.

    Returns:
        [`AdapterSettings`]: Its fields, checked.

    Raises:
        EscoitaError: The file cannot be read, a field has a wrong type or an unsupported value, or a key is unknown.
    """
    config = read_object(path, what)
    try:
        settings = AdapterSettings.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        given = visible(repr(config.get(field)))[:100]
        raise EscoitaError(f"{what}: {path.name}: {field}: {first['msg']}, not {given}") from error
    for key, value in (settings.model_extra or {}).items():
        if key not in UNUSED and value not in (None, False, [], {}):
            raise EscoitaError(
                f"{what}: {path.name}: {visible(key)[:100]} is not supported; only LoRA and modules that are trained"
                " whole are"
            )
    for field in ("rank_pattern", "alpha_pattern"):
        for pattern in getattr(settings, field) or {}:
            if not LITERAL.fullmatch(pattern):
                raise EscoitaError(
                    f"{what}: {path.name}: {field}: {visible(pattern)[:100]} is a regular expression, which is not"
                    " evaluated; write the names of the modules instead"
                )
    return settings


def lora_config(
    model: Any, settings: AdapterSettings, shapes: Mapping[str, tuple[int, ...]], what: str
) -> "LoraConfig":
    """
    Builds the configuration of an adapter from its tensors.

    Args:
        model (`torch.nn.Module`): The base.
        settings ([`AdapterSettings`]): What the adapter's own configuration says.
        shapes (`Mapping[str, tuple[int, ...]]`): Of its tensors, by their names.
        what (`str`): Names the adapter in errors.

    Returns:
        [`LoraConfig`]: For PEFT. It names every module exactly.

    Raises:
        EscoitaError: The tensors do not fit the base, or do not agree with the configuration.
    """
    from peft import LoraConfig
    from peft.utils.constants import DUMMY_TARGET_MODULES

    modules = dict(model.named_modules(remove_duplicate=False))
    layers = _layers(shapes)
    unknown = sorted(layers.keys() - modules.keys())
    if unknown:
        raise EscoitaError(
            f"{what}: does not fit this base (it has no module {visible(unknown[0])[:200]}, and"
            f" {len(unknown) - 1} more)"
        )
    saved = _saved_modules(modules, settings, shapes, what)
    if not layers and not saved:
        raise EscoitaError(f"{what}: has no tensors of LoRA and no modules that were trained whole")
    _check_targets(modules, layers, saved, settings, what)
    ranks = {name: _rank(name, modules[name], parts, settings, what) for name, parts in layers.items()}
    alphas = {name: _by_name(settings.alpha_pattern, name, settings.lora_alpha) for name in layers}
    if max(len(set(ranks.values())), len(set(alphas.values()))) > MOST_VALUES:
        raise EscoitaError(f"{what}: adapter_config.json gives its layers more than {MOST_VALUES} ranks or alphas")
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
    """Shapes of the tensors of LoRA, by the name of the module and the ending."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        for ending in (*MATRICES, *EMBEDDINGS, BIAS, MAGNITUDE):
            if name.startswith(PREFIX) and name.endswith(f".{ending}"):
                layers.setdefault(name[len(PREFIX) : -len(ending) - 1], {})[ending] = shape
    return layers


def _saved_modules(
    modules: Mapping[str, Any], settings: AdapterSettings, shapes: Mapping[str, tuple[int, ...]], what: str
) -> list[str]:
    """Names of the modules that were trained whole; PEFT, too, compares the ends of names."""
    endings = tuple(settings.modules_to_save or ())
    saved = [name for name in modules if endings and name.endswith(endings)]
    if endings and not saved:
        raise EscoitaError(f"{what}: does not fit this base (modules_to_save: it has no {visible(endings[0])[:200]})")
    for name in saved:
        for key, value in modules[name].state_dict().items():
            found = shapes.get(f"{PREFIX}{name}.{key}")
            if found != tuple(value.shape):
                raise EscoitaError(
                    f"{what}: does not fit this base (modules_to_save: {name}.{key} has shape"
                    f" {tuple(value.shape)}, the adapter {found or 'no such tensor'})"
                )
    return saved


def _check_targets(
    modules: Mapping[str, Any], layers: Mapping[str, Any], saved: list[str], settings: AdapterSettings, what: str
) -> None:
    """Compares `target_modules` with the modules of the tensors, where it is a list; no expression is evaluated."""
    chosen = any((settings.model_extra or {}).get(key) for key in ("exclude_modules", "layers_to_transform"))
    if not isinstance(settings.target_modules, list) or chosen:
        return
    names = set(settings.target_modules)
    whole = tuple(f"{name}." for name in saved)
    targeted = {
        name for name in modules if name not in saved and not name.startswith(whole) and names & set(_endings(name))
    }
    different = sorted(targeted ^ layers.keys())
    if different or not targeted:
        example = f" for {different[0]}" if different else ""
        raise EscoitaError(
            f"{what}: does not fit this base (target_modules and the tensors disagree{example}, and"
            f" {max(0, len(different) - 1)} more)"
        )


def _endings(name: str) -> Iterator[str]:
    """The name, and what follows each of its dots."""
    yield name
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _rank(name: str, module: Any, parts: Mapping[str, tuple[int, ...]], settings: AdapterSettings, what: str) -> int:
    """The rank of a layer, by which all shapes of its tensors and the configuration agree."""
    low, high = EMBEDDINGS if EMBEDDINGS[0] in parts else MATRICES
    needed = {low, high} | ({BIAS} if settings.lora_bias else set()) | ({MAGNITUDE} if settings.use_dora else set())
    different = sorted(needed ^ parts.keys())
    if different:
        state = "missing" if different[0] in needed else "unexpected"
        raise EscoitaError(f"{what}: does not fit this base ({name}: {different[0]} is {state})")
    rank = _by_name(settings.rank_pattern, name, settings.r)
    expected = _shapes(module, rank)
    if expected is None:
        raise EscoitaError(f"{what}: does not fit this base ({name} is a {type(module).__name__}, not a linear layer)")
    for ending, shape in expected.items():
        if parts.get(ending) != shape:
            raise EscoitaError(
                f"{what}: does not fit this base ({name}: {ending} has shape {parts.get(ending)}, not {shape}, which"
                f" rank {rank} of adapter_config.json and the layer give)"
            )
    return rank


def _shapes(module: Any, rank: int) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the matrices on a layer; none where it is of another kind. In 4 bits its weight has another shape."""
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
    """The value of the first key that is the name, or what follows one of its dots; after `^` only the name."""
    keys = {f"^{name}", *_endings(name)}
    return next((value for key, value in (pattern or {}).items() if key in keys), default)


def _grouped(values: Mapping[str, Value], default: Value) -> tuple[Value, dict[str, Value]]:
    """The most frequent value, and a pattern of PEFT for the names of each of the others."""
    counts = Counter(values.values())
    common = counts.most_common(1)[0][0] if counts else default
    others = {value: [name for name in values if values[name] == value] for value in counts if value != common}
    return common, {f"^(?:{_exactly(names)})": value for value, names in others.items()}


def _exactly(names: Iterable[str]) -> str:
    """A regular expression of these names and nothing else."""
    return "|".join(re.escape(name) for name in names)
