"""Create bases with random weights: tiny ones, and Gemma 4 in the sizes of E4B."""

import json
import shutil
from pathlib import Path
from typing import Any

from bench.gpu.part import Context


ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "quickstart/gemma4"
CONFIGURATIONS = ROOT / "tests/fixtures/configurations"
PROCESSOR_FILES = ("processor_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
# Keys of a configuration that name tokens of the tokenizer.
TOKENS = (
    *("audio_token_id", "image_token_id", "video_token_id", "boi_token_id", "eoi_token_id", "boa_token_id"),
    *("eoa_token_id", "eoa_token_index", "bos_token_id", "eos_token_id", "pad_token_id"),
)


def write_configuration(context: Context, name: str, source: Path, **text: Any) -> Path:
    """
    Write the configuration of a published base, with the tokenizer of a tiny one and without weights.

    Args:
        context ([`Context`]): The context of the check.
        name (`str`): The name of a file in `tests/fixtures/configurations`.
        source (`Path`): The folder of the tiny base.
        text (`Any`): Changed fields of `text_config`.

    Returns:
        `Path`: The folder; at toy size, a copy of the tiny base without its weights.
    """
    folder = context.folder / (f"{name}-changed" if text else name)
    folder.mkdir(exist_ok=True)
    for file in PROCESSOR_FILES:
        if (source / file).exists():
            shutil.copy(source / file, folder / file)
    tiny = json.loads((source / "config.json").read_text("utf-8"))
    if context.toy:
        (folder / "config.json").write_text(json.dumps(tiny), "utf-8")
        return folder
    config = json.loads((CONFIGURATIONS / f"{name}.json").read_text("utf-8"))
    config |= {key: tiny[key] for key in TOKENS if key in tiny and key in config}
    if "audio_token_id" in tiny.get("audio_config", {}):
        config["audio_config"]["audio_token_id"] = tiny["audio_config"]["audio_token_id"]
    if "image_token_id" in (tiny.get("vision_config") or {}):
        config["vision_config"]["image_token_id"] = tiny["vision_config"]["image_token_id"]
    config.get("text_config", {}).update(text)
    # The extractor of the tiny base has other sizes.
    processor = json.loads((folder / "processor_config.json").read_text("utf-8"))
    if "audio_processor" in processor:
        processor["audio_processor"]["audio_compression_rate"] = config["audio_config"]["time_reduction"]
    else:
        processor["feature_extractor"]["feature_size"] = config["audio_config"]["subsampling_conv_channels"][0]
    (folder / "processor_config.json").write_text(json.dumps(processor), "utf-8")
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def e4b(context: Context) -> Path:
    """Write the configuration of Gemma 4 E4B."""
    return write_configuration(context, "gemma-4-E4B-it", QUICKSTART)


def phi4(context: Context) -> Path:
    """Write the configuration of Phi-4-multimodal."""
    return write_configuration(context, "Phi-4-multimodal-instruct", ROOT / "quickstart/phi4")


def wide(context: Context) -> Path:
    """Write the configuration of a Gemma 4 with the widths of E4B, two layers and 8,192 tokens."""
    small = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0}
    vocabulary = {"vocab_size": 8192, "vocab_size_per_layer_input": 8192}
    return write_configuration(context, "gemma-4-E4B-it", QUICKSTART, **small, **vocabulary)


def random_model(context: Context, folder: Path, four_bit: bool = False) -> tuple[Any, Any, Any]:
    """
    Create a model with random weights on the device.

    Args:
        context ([`Context`]): The context of the check.
        folder (`Path`): The folder of its configuration.
        four_bit (`bool`, *optional*, defaults to `False`): Whether linear layers of the language tower are quantized.

    Returns:
        `tuple`: The family, the processor and the model; in bfloat16 on a GPU, else in float32.
    """
    import torch

    from escoita.models import family_of

    family = family_of(str(folder))
    processor = family.load_processor(str(folder))
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if context.on_gpu else torch.float32)
    try:
        with torch.device(context.device):
            model = family.from_config(family.read_config(str(folder)))
    finally:
        torch.set_default_dtype(before)
    if four_bit:
        quantize(model, family, context.device)
    model.config._name_or_path = str(folder)
    return family, processor, model.requires_grad_(False).eval()


def quantize(model: Any, family: Any, device: str) -> None:
    """Replace the linear layers of the language tower by layers in 4 bits, one after the other."""
    import bitsandbytes as bnb
    import torch

    from escoita.models.loading import default_skip_list, is_quantized

    skipped = default_skip_list(family.unquantized_modules)
    # Only names are kept, so that each layer is freed when it is replaced.
    linear = (name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    for name in [name for name in linear if is_quantized(name, skipped)]:
        module = model.get_submodule(name)
        layer = bnb.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=torch.bfloat16,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        layer.weight = bnb.nn.Params4bit(
            module.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
        ).to(device)
        layer.bias = module.bias
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, layer)
    model.is_loaded_in_4bit = True
    if device == "cuda":
        torch.cuda.empty_cache()


def notes(seconds: float, seed: int = 0) -> Any:
    """
    Return notes of changing pitch and level, which count as speech, unlike noise.

    Returns:
        `np.ndarray`: The samples, of shape `(samples,)`, float32 at 16 kHz.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    places = np.arange(3_200) / 16_000
    each = [
        level * np.sin(2 * np.pi * pitch * places)
        for level, pitch in zip([0.3, 0.06] * 4, generator.uniform(200, 2_000, 8), strict=True)
    ]
    return np.resize(np.concatenate(each), round(seconds * 16_000)).astype(np.float32)
