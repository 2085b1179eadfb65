"""Test the stored corpora and the tiny base, on which the claims of the quick start depend."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from escoita.data.loading import gather
from escoita.recipe.schema import Corpus


QUICKSTART = Path(__file__).parents[2] / "quickstart"
BASE = QUICKSTART / "gemma4"
CLIPS = {("uz", "train"): 800, ("gl", "train"): 560} | {
    (language, split): count for language in ("uz", "gl") for split, count in (("validation", 80), ("test", 160))
}


def manifest(language: str, split: str) -> Path:
    return QUICKSTART / "corpus" / language / f"{split}.jsonl"


def rows(language: str, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest(language, split).read_text("utf-8").splitlines()]


def weight(folder: Path, pattern: str = "*") -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


def assigned(script: str, name: str) -> ast.expr:
    """Return the value that a script assigns to a name; importing the script would need the synthesizer."""
    tree = ast.parse((QUICKSTART / script).read_text("utf-8"))
    return next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )


def words_of(script: str, name: str) -> list[str]:
    """Return the words of a list that a script writes as one string and splits."""
    call = assigned(script, name)
    assert isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "split"
    return ast.literal_eval(call.func.value).split()


@pytest.mark.parametrize("language, split", CLIPS)
def test_every_row_has_its_clip(language: str, split: str) -> None:
    corpus = Corpus(name=language, path=str(manifest(language, split)))
    ((usable, rejected),) = gather([corpus], "", 30.0, 0.0).values()
    assert rejected == []
    assert len(usable) == CLIPS[language, split]
    assert set(usable.column("language")) == {language}
    lengths = [row["duration"] for row in rows(language, split)]
    assert usable.column("audio_seconds") == pytest.approx(lengths, abs=0.02)


@pytest.mark.parametrize("language, split", CLIPS)
def test_every_clip_has_its_row(language: str, split: str) -> None:
    named = [row["audio_filepath"] for row in rows(language, split)]
    stored = (path.name for path in (QUICKSTART / "corpus" / language / split).iterdir())
    assert sorted(named) == sorted(f"{split}/{name}" for name in stored)
    assert len({row["id"] for row in rows(language, split)}) == len(named)


@pytest.mark.parametrize("language", ["uz", "gl"])
@pytest.mark.parametrize("key", ["text", "speaker"])
def test_splits_share_no_sentence_and_no_voice(language: str, key: str) -> None:
    test, validation, train = ({row[key] for row in rows(language, s)} for s in ("test", "validation", "train"))
    assert len(test) >= 5 and len(validation) >= 5
    assert not test & (validation | train)
    assert not validation & train


@pytest.mark.parametrize("language", ["uz", "gl"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_voices_of_a_split_are_those_of_the_script(language: str, split: str) -> None:
    named = words_of("build_corpus.py", f"{split.upper()}_VOICES")
    assert len(set(named)) == len(named)
    assert {row["speaker"] for row in rows(language, split)} == set(named)


@pytest.mark.parametrize("language", ["uz", "gl"])
def test_a_validation_sentence_is_repeated_in_few_clips(language: str) -> None:
    sentences = {row["text"] for row in rows(language, "validation")}
    assert len(sentences) >= 0.9 * CLIPS[language, "validation"]


def test_the_corpora_are_small() -> None:
    assert 1_000_000 < weight(QUICKSTART / "corpus") <= 6_000_000


def test_the_base_was_not_trained_on_the_languages_of_the_corpora() -> None:
    languages = ast.literal_eval(assigned("bank.py", "LANGUAGES"))
    codes = {code for voice, words, _ in languages.values() for code in (voice, words)}
    assert {"English", "Turkish"} <= set(languages)
    assert not {"Uzbek", "Galician"} & set(languages)
    assert not {"uz", "gl", "pt", "pt-br"} & codes  # Galician is read by espeak-ng's Portuguese voice


@pytest.mark.parametrize("language", ["uz", "gl"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_bases_were_not_trained_on_the_voices_of_a_split(language: str, split: str) -> None:
    base = set(words_of("bank.py", "VOICES"))
    assert "adam" in base
    assert not {row["speaker"] for row in rows(language, split)} & base
