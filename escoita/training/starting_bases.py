"""Choose the base and the batch of a first recipe by the memory of the GPU."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from escoita.errors import EscoitaError
from escoita.models.families import BY_MODEL_TYPE, FamilyInfo


GIGABYTE = 1e9
# Bytes that autograd keeps for each second of audio in a batch, and the largest batch that is proposed; the figures of
# docs/doctor.md for Gemma 4 E4B. `escoita doctor` estimates the memory of the recipe itself.
_GIGABYTES_PER_SECOND = 0.075
_LARGEST_BATCH = 16
# The clips of an optimizer step.
EFFECTIVE_BATCH = 16
# A share of the memory that is left for fragmentation and other programs.
_RESERVE = 0.1
# A base whose weights have fewer bytes is one of the quick start, which trains on a CPU with other settings.
_TINY_BYTES = 100e6
# The families that a CPU can train, slowly, in small batches.
_ON_CPU = ("whisper", "wav2vec2", "mms", "hubert", "wav2vec2-bert")
_CPU_BATCH = 4


@dataclass(frozen=True)
class BaseChoice:
    """
    Store a base with its settings.

    Args:
        base (`str`): The folder or the repository of the base.
        family ([`FamilyInfo`]): The family.
        gigabytes (`float`): The memory of the GPU that training needs at least, in GB; 0 if a CPU suffices.
        fixed (`float`): The part of it that does not depend on the batch, in GB.
        load_in_4bit (`bool`): Whether the base is loaded in 4 bits.
        tiny (`bool`): Whether the base is one of the quick start.
        on_cpu (`bool`): Whether another base is trained on a CPU, as there is no GPU.
    """

    base: str
    family: FamilyInfo
    gigabytes: float
    fixed: float
    load_in_4bit: bool = False
    tiny: bool = False
    on_cpu: bool = False

    def batch(self, gigabytes: float | None, longest: float) -> int:
        """
        Return the number of clips in a batch.

        Args:
            gigabytes (`float`, *optional*): The memory of the GPU in GB; by default the least that the base needs.
            longest (`float`): The length of the longest clip, in seconds.
        """
        if self.tiny:
            return _LARGEST_BATCH
        if self.on_cpu:
            return _CPU_BATCH
        free = (gigabytes or self.gigabytes) * (1 - _RESERVE) - self.fixed
        return max(1, min(_LARGEST_BATCH, int(free / (_GIGABYTES_PER_SECOND * max(longest, 1.0)))))

    def learning_rate(self, kind: str) -> float:
        """
        Return the learning rate.

        Args:
            kind (`str`): The kind of method, such as `lora` or `modules`.
        """
        if self.tiny:
            return 1e-3 if kind == "modules" else 3e-3
        return min(self.family.learning_rate, 4e-5) if kind == "modules" else self.family.learning_rate

    def line(self) -> str:
        """Return the base with the hardware that it needs, for people."""
        bits = " in 4 bits" if self.load_in_4bit else ""
        gpu = f"a GPU with {self.gigabytes:g} GB" if self.gigabytes else ""
        cpu = "a CPU, slowly" if self.on_cpu else "" if gpu else "a CPU"
        return f"{self.base}{bits}: {', or '.join(filter(None, (cpu, gpu)))}"


_GEMMA, _QWEN, _WHISPER = (BY_MODEL_TYPE[name] for name in ("gemma4", "qwen3_asr", "whisper"))
# The largest first.
BASES = (
    BaseChoice("unsloth/gemma-4-E4B-it", _GEMMA, 40, 18),
    BaseChoice("unsloth/gemma-4-E4B-it", _GEMMA, 16, 10.3, load_in_4bit=True),
    BaseChoice("Qwen/Qwen3-ASR-1.7B-hf", _QWEN, 8, 5),
)
# Bases that are not proposed; their names do not state the number of parameters.
_OTHERS = (
    BaseChoice("google/gemma-4-E2B-it", _GEMMA, 24, 13),
    BaseChoice("unsloth/gemma-4-E2B-it", _GEMMA, 24, 13),
    BaseChoice("openai/whisper-large-v3", _WHISPER, 12, 7.5),
    BaseChoice("openai/whisper-large-v3-turbo", _WHISPER, 8, 4),
    BaseChoice("openai/whisper-small", _WHISPER, 6, 1.5),
)
# The base of a machine without a GPU, on which it cannot be trained.
DEFAULT = BASES[1]


def choose_base(gigabytes: float | None) -> BaseChoice:
    """
    Return the largest base that can be trained with the memory of a GPU.

    Args:
        gigabytes (`float`, *optional*): The memory in GB; `None` if there is no GPU.
    """
    if gigabytes is None:
        return DEFAULT
    return next((choice for choice in BASES if choice.gigabytes <= gigabytes), BASES[-1])


def base_named(name: str, gigabytes: float | None) -> BaseChoice:
    """
    Return a base that the user names, with its settings.

    Args:
        name (`str`): The folder or the repository.
        gigabytes (`float`, *optional*): The memory of the GPU in GB; `None` if there is no GPU. Then a Whisper or CTC
            model has settings for a CPU, and a larger model those for a GPU.

    Raises:
        EscoitaError: The base is not found, or its type cannot be trained.
    """
    choice = _named(name, gigabytes)
    if gigabytes is None and not choice.tiny and choice.family.name in _ON_CPU:
        return replace(choice, on_cpu=True)
    return choice


def _named(name: str, gigabytes: float | None) -> BaseChoice:
    known = [choice for choice in (*BASES, *_OTHERS) if choice.base == name]
    if known:
        return next((each for each in known if gigabytes and each.gigabytes <= gigabytes), known[-1])
    info = next((each for each in BY_MODEL_TYPE.values() if name in each.bases), None)
    if info is None:
        from escoita.models import family_of

        info = family_of(name).info
    folder = Path(name)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
    if 0 < size < _TINY_BYTES:
        return BaseChoice(name, info, 0, 0, tiny=True)
    billions = re.search(r"(\d+(?:\.\d+)?)[bB](?![a-z])", name)
    fixed = 2.4 * size / GIGABYTE if size else 2.4 * float(billions[1]) if billions else 10.0
    return BaseChoice(name, info, round(fixed / (1 - _RESERVE) + 4), fixed)


def gpu_gigabytes(text: str | None) -> float | None:
    """
    Return the memory of the GPU in GB: the given one, or that of the first GPU of this machine.

    Args:
        text (`str`, *optional*): The memory as the user writes it, `24GB` or `24`; `none` for no GPU.

    Raises:
        EscoitaError: The text is not a size.
    """
    if text is None:
        import torch

        return torch.cuda.get_device_properties(0).total_memory / GIGABYTE if torch.cuda.is_available() else None
    if text.lower() in ("none", "cpu", "0"):
        return None
    size = re.fullmatch(r"(\d{1,4}(?:\.\d+)?)\s*(?:gi?b?)?", text.strip(), re.IGNORECASE)
    if not size:
        raise EscoitaError("not the memory of a GPU", key="--gpu", value=text, hint="write it as 24GB, or none")
    return float(size[1])
