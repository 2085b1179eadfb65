"""What a card asks to be cited, as BibTeX: the adapter, its base, and the tools that made and measured it."""

import re

from escoita.cards.metadata import hub_id
from escoita.recipe.recipe import Recipe
from escoita.records.training import TrainingRecord


# Of families that a paper describes; of others the repository is cited.
PAPERS = {
    "phi4_multimodal": {
        "author": "{Microsoft}",
        "title": "Phi-4-Mini Technical Report: Compact yet Powerful Multimodal Language Models via Mixture-of-LoRAs",
        "year": "2025",
        "url": "https://arxiv.org/abs/2503.01743",
    },
}
TOOLS = {
    "transformers": {
        "kind": "inproceedings",
        "author": "Wolf, Thomas and Debut, Lysandre and Sanh, Victor and others",
        "title": "Transformers: State-of-the-Art Natural Language Processing",
        "booktitle": "Proceedings of EMNLP 2020: System Demonstrations",
        "year": "2020",
        "url": "https://aclanthology.org/2020.emnlp-demos.6",
    },
    "peft": {
        "author": "Mangrulkar, Sourab and Gugger, Sylvain and Debut, Lysandre and Belkada, Younes and Paul, Sayak and"
        " Bossan, Benjamin and Tietz, Marian",
        "title": "{PEFT}: State-of-the-art Parameter-Efficient Fine-Tuning methods",
        "year": "2022",
        "url": "https://github.com/huggingface/peft",
    },
    "trl": {
        "author": "von Werra, Leandro and Belkada, Younes and Tunstall, Lewis and Beeching, Edward and Thrush, Tristan"
        " and Lambert, Nathan and Huang, Shengyi and Rasul, Kashif and Gallou{\\'e}dec, Quentin",
        "title": "{TRL}: Transformers Reinforcement Learning",
        "year": "2020",
        "url": "https://github.com/huggingface/trl",
    },
    "unsloth": {
        "author": "Han, Daniel and Han, Michael and {Unsloth team}",
        "title": "Unsloth",
        "year": "2023",
        "url": "https://github.com/unslothai/unsloth",
    },
    "jiwer": {"author": "Vaessen, Nik", "title": "{JiWER}", "url": "https://github.com/jitsi/jiwer"},
}
# What would end a value before its time, or begin a command of TeX.
_SPECIAL = re.compile(r"([&%$#_])|([{}\\~^])")


def citation(recipe: Recipe, training: TrainingRecord, base: str, adapter: str) -> str:
    """
    BibTeX entries.

    Args:
        recipe ([`~escoita.recipe.recipe.Recipe`]): Its `card.citation` takes the place of the first.
        training ([`~escoita.records.training.TrainingRecord`]): Says when, with what engine and of what family.
        base (`str`): Folder or repository of the base; of a folder nothing can be cited.
        adapter (`str`): The same of the adapter.
    """
    own = {
        "author": f"{{{text(recipe.card.developers)}}}" if recipe.card.developers.strip() else "",
        "title": text(recipe.card.title),
        "year": text(training.finished[:4]),
        "url": f"https://huggingface.co/{adapter}" if hub_id(adapter) else "",
    }
    entries = [recipe.card.citation.strip() or entry(recipe.name, own)]
    if hub_id(base):
        there = {"title": text(base), "url": f"https://huggingface.co/{base}"}
        entries.append(entry(f"{recipe.name}-base", there))
    if training.family in PAPERS:
        entries.append(entry(training.family.replace("_", "-"), PAPERS[training.family]))
    tools = [tool for tool in TOOLS if tool != "unsloth" or training.engine == "unsloth"]
    return "\n\n".join([*entries, *(entry(tool, TOOLS[tool]) for tool in tools)])


def entry(key: str, fields: dict[str, str]) -> str:
    """
    One entry of BibTeX, its empty fields left out.

    Args:
        key (`str`): What it is cited by.
        fields (`dict[str, str]`): In TeX; `kind` is `misc` unless given.
    """
    values = {name: value for name, value in fields.items() if value and name != "kind"}
    lines = [f"  {name} = {{{value}}}," for name, value in values.items()]
    return "\n".join([f"@{fields.get('kind', 'misc')}{{{key},", *lines, "}"])


def text(value: str) -> str:
    """A text on one line, in TeX: nothing in it is a command, and no brace is left open."""
    commands = {
        "{": r"\{",
        "}": r"\}",
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
    return _SPECIAL.sub(lambda found: "\\" + found[1] if found[1] else commands[found[2]], " ".join(value.split()))
