import pytest

from escoita.recipe.advice import KEYS, VALUES, nearest, suggested_key, suggested_value
from escoita.recipe.schema import Recipe


@pytest.mark.parametrize(
    "section, key, known, expected",
    [
        ("method", "lora_r", ["r", "lora_alpha"], "r"),
        ("method", "LoRA-Alpha", ["r", "lora_alpha"], "lora_alpha"),
        ("corpora.*", "file", ["path", "reader"], "path"),
        ("training", "lr", ["learning_rate"], "learning_rate"),
        ("card", "licens", ["license", "title"], "license"),
        ("card", "zzz", ["license", "title"], None),
    ],
)
def test_the_key_that_was_meant(section: str, key: str, known: list[str], expected: str | None) -> None:
    assert suggested_key(section, key, known) == expected


@pytest.mark.parametrize(
    "name, expected",
    [
        ("transcripcion", "transcripción"),
        ("TEXTO", "texto"),
        ("audio-file", "audio_file"),
        ("zz", None),
    ],
)
def test_accents_and_case_do_not_count(name: str, expected: str | None) -> None:
    assert nearest(name, ["audio_file", "texto", "transcripción"]) == expected


@pytest.mark.parametrize(
    "key, value, allowed, expected",
    [
        ("reader", "csv", ["manifest", "hub"], "manifest"),
        ("dtype", "BF16", ["bfloat16"], "bfloat16"),
        ("language", "Uzbek", [], "uz"),
        ("engine", "Unsloth", ["transformers", "unsloth"], "unsloth"),
        ("engine", "zzz", ["transformers", "unsloth"], None),
        ("r", 3.5, [], None),
    ],
)
def test_the_value_that_was_meant(key: str, value: object, allowed: list[str], expected: str | None) -> None:
    assert suggested_value(key, value, allowed) == expected


def test_suggested_keys_exist() -> None:
    """Every suggestion for a key of the recipe names a key that the schema has."""
    schema = Recipe.model_json_schema()
    sections = {name.lower(): set(part.get("properties", {})) for name, part in schema["$defs"].items()}
    sections |= {"": set(schema["properties"]), "eval": sections["evaluation"], "corpora.*": sections["corpus"]}
    sections["method"] = sections["lora"] | sections["modules"]
    for section in KEYS.keys() - {"training", "corpora.*.columns"}:
        for suggestion in KEYS[section].values():
            first = suggestion.split(":")[0].split(".")[0]
            assert first in sections[section], (section, suggestion)
    assert set(VALUES["reader"].values()) <= {"manifest", "common_voice", "hub", "audiofolder"}
