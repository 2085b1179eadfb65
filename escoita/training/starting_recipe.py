"""Write the first recipe of a corpus, with comments, so that it can be trained unedited."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from escoita.metrics.normalizers import default_normalizer
from escoita.metrics.primary import metric_name, primary_metric
from escoita.records.data import Split
from escoita.training.defaults import default_prompt
from escoita.training.starting_bases import EFFECTIVE_BATCH, BaseChoice
from escoita.utils.languages import language_name


# The passes over the data by the number of training clips: small corpora need more of them.
_EPOCHS = ((500, 12), (2_000, 8), (10_000, 5), (100_000, 3))
_UNKNOWN = 100_000


@dataclass(frozen=True)
class Start:
    """
    Store what a first recipe contains.

    Args:
        name (`str`): The name of the recipe and of its corpus.
        language (`str`): The code of the language.
        choice ([`~escoita.training.starting_bases.BaseChoice`]): The base.
        corpora (`Mapping[str, dict]`): The keys of the corpus of each split, without its name.
        clips (`int`, *optional*): The number of training clips; `None` if it is not known.
        longest (`float`): The length of the longest clip, in seconds.
        gigabytes (`float`, *optional*): The memory of the GPU in GB; `None` if there is none.
        split_by (`str`, *optional*): The unit by which the data were divided; `None` if they had splits.
        publish_references (`bool`, *optional*, defaults to `False`): Whether the test transcripts may be published.
        license (`str`, *optional*, defaults to `""`): The license of the corpus; empty if unknown.
        found (`list[str]`, *optional*): Lines about the corpus, for comments.
    """

    name: str
    language: str
    choice: BaseChoice
    corpora: Mapping[Split, dict[str, Any]]
    clips: int | None
    longest: float
    gigabytes: float | None = None
    split_by: Literal["speaker", "clip"] | None = None
    publish_references: bool = False
    license: str = ""
    found: list[str] = field(default_factory=list)


def recipe_text(start: Start) -> str:
    """
    Return the text of a recipe.

    Args:
        start ([`Start`]): The contents.
    """
    lines = [
        f"# Made by `escoita init`. Train it with `escoita train {start.name}.yaml`; every value may be changed.",
        *(f"# {' '.join(line.split())}" for line in start.found),
        f"name: {_scalar(start.name)}",
        *_base(start),
        "",
        *_method(start),
        "",
        "prompt:",
        *(f"  {key}: {_scalar(value)}" for key, value in default_prompt(start.choice.family, start.language)),
        "",
        "corpora:",
        *(line for split in ("train", "validation", "test") for line in _corpus(start, split)),
    ]
    if start.split_by:
        reason = (
            "no speaker and no sentence of the test is in training"
            if start.split_by == "speaker"
            else ("no sentence of the test is in training, but its speakers are; the card states this")
        )
        lines.append(f"  split_by: {start.split_by} # {reason}")
    lines += ["", *_training(start), "", *_evaluation(start), "", *_card(start)]
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    """Return a value as YAML on one line; characters that YAML would take for line ends or spaces are escaped."""
    printable = all(each.isprintable() for each in (value if isinstance(value, list) else [str(value)]))
    dumped: str = yaml.safe_dump(value, allow_unicode=printable, default_flow_style=True, width=1e9)
    return dumped.removesuffix("...\n").strip()


def _base(start: Start) -> list[str]:
    choice, language = start.choice, f"language: {_scalar(start.language)}"
    if choice.tiny:
        return [
            f"base: {_scalar(choice.base)} # a tiny base, to try the commands on a CPU",
            "dtype: float32",
            language,
        ]
    if choice.on_cpu:
        return [
            f"# For training on a CPU, which is slow. For a GPU with about {choice.gigabytes:g} GB, set dtype to"
            " bfloat16, bf16 to true",
            "# and a larger batch, or make the recipe again with `escoita init --gpu`.",
            f"base: {_scalar(choice.base)}",
            "dtype: float32",
            language,
        ]
    lines = [
        f"# This base needs a GPU with about {choice.gigabytes:g} GB; `escoita doctor` estimates its memory.",
        f"base: {_scalar(choice.base)}",
        "dtype: bfloat16",
    ]
    if choice.load_in_4bit:
        lines.append("load_in_4bit: true # needs escoita[4bit]; without it, the base takes twice the memory")
    return [*lines, language]


def _method(start: Start) -> list[str]:
    family = start.choice.family
    if family.modules:
        return ["method:", "  kind: modules", f"  modules: {_scalar(list(family.modules))}"]
    return [
        "method:",
        "  kind: lora",
        "  r: 8 # rank; 16 or 32 learns more from large corpora",
        "  lora_alpha: 16",
        f"  # The linear layers of the {'language tower and of the ' if family.language_layers else ''}audio tower.",
        "  target_modules: >-",
        f"    {family.target_modules}",
        *([f"  trainable: {_scalar(dict.fromkeys(family.towers, 'some'))}"] if family.saved_modules else []),
    ]


def _corpus(start: Start, split: Split) -> list[str]:
    if split not in start.corpora:
        return []
    lines = [f"  {split}:", f"    - name: {_scalar(start.name)}"]
    lines += [f"      {key}: {_scalar(value)}" for key, value in start.corpora[split].items()]
    if start.license:
        lines.append(f"      license: {_scalar(start.license)}")
    elif split == "train":
        lines.append("      # license: cc-by-4.0 # that of the recordings, for the card")
    public = start.publish_references
    if split == "test":
        lines.append(
            "      # Whether the transcripts of the test are published with the results. Without them, readers"
        )
        lines.append("      # can recompute the error rates from counts of words only.")
    lines.append(f"      publish_references: {'true' if public else 'false'}")
    return lines


def _training(start: Start) -> list[str]:
    tiny = start.choice.tiny
    batch = start.choice.batch(start.gigabytes, start.longest)
    epochs = next((epochs for clips, epochs in _EPOCHS if (start.clips or _UNKNOWN) <= clips), 1)
    lines = [
        "training: # fields of TRL's SFTConfig",
        f"  num_train_epochs: {epochs}",
        f"  per_device_train_batch_size: {batch}",
    ]
    if not tiny:
        lines.append(f"  gradient_accumulation_steps: {max(1, EFFECTIVE_BATCH // batch)}")
    modules = bool(start.choice.family.modules)
    rate = start.choice.learning_rate("modules" if modules else "lora")
    lines += [
        f"  learning_rate: {rate:.1e}",
        "  lr_scheduler_type: cosine",
        "  warmup_steps: 0.03 # of all steps",
        f"  bf16: {'false' if tiny or start.choice.on_cpu else 'true'}",
        f"  gradient_checkpointing: {'false' if tiny and not modules else 'true'}",
        "  train_sampling_strategy: group_by_length",
        "  max_length: 8192",
        f"  per_device_eval_batch_size: {batch}",
        f"  eval_strategy: {_scalar('epoch' if 'validation' in start.corpora else 'no')}",
        "  logging_steps: 10",
        "  save_steps: 100",
        "  save_total_limit: 2",
        "  seed: 3407",
    ]
    if "validation" in start.corpora:
        metric = metric_name(primary_metric("auto", start.language))
        lines += [
            "",
            "validation:",
            f"  patience: 3 # evaluations without a lower {metric}, after which training stops",
        ]
    return lines


def _evaluation(start: Start) -> list[str]:
    normalizer = default_normalizer(start.language)
    return [
        "eval:",
        f"  normalizer: {normalizer} # applied to the texts before scoring; docs/howto/normalizer.md",
    ]


def _card(start: Start) -> list[str]:
    family, language = start.choice.family, language_name(start.language)
    return [
        "card:",
        f"  title: {_scalar(f'{family.title}, {language} speech recognition ({start.name})')}",
        "  description: '' # what the recordings are, and who may use the adapter for what",
        f"  license: {family.license or 'apache-2.0'} # of the adapter, an identifier of the Hub; yours to choose",
        "",
        "# hub:",
        "#   repo: user/name # where `escoita push` publishes the adapter",
    ]
