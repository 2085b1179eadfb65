"""Load bases whose files were changed to take all memory or time, or to replace decoding."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models import family_for_evaluation
from escoita.models.ctc import load_language_adapter
from escoita.records.training import AdapterRecord, Prompt
from tests.conftest import ROOT


NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)


def changed(base: str, folder: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> str:
    """Return a copy of a base of the quick start with a changed file."""
    shutil.copytree(ROOT / "quickstart" / base, folder / base)
    path = folder / base / name
    content = change(json.loads(path.read_text("utf-8")) if path.exists() else {})
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return str(folder / base)


def extractor(**settings: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: content | {"feature_extractor": content["feature_extractor"] | settings}


def transcribed(base: str) -> str:
    settings = AdapterRecord(language="uz", prompt=Prompt(user=""), max_new_tokens=20)
    return Transcriber.load(base, None, settings).transcribe([NOISE])[0].text


@pytest.mark.parametrize(
    "setting",
    [
        {"n_fft": 100_000_000},
        {"feature_size": 1_000_000},
        {"hop_length": 0},
        {"hop_length": "x"},
        {"padding_value": "x"},
    ],
    ids=str,
)
def test_impossible_settings_of_an_extractor_are_refused_before_it_is_made(
    setting: dict[str, Any], tmp_path: Path
) -> None:
    base = changed("whisper", tmp_path, "processor_config.json", extractor(**setting))
    with pytest.raises(EscoitaError) as refused:
        family_for_evaluation(base).load_processor(base)
    assert refused.value.key == next(iter(setting))


@pytest.mark.parametrize(
    "base, size",
    [
        ("whisper", {"decoder_layers": 1_000_000}),
        ("whisper", {"encoder_layers": -1}),
        ("whisper", {"num_mel_bins": 1_000_000}),
        ("ctc", {"num_hidden_layers": 1_000_000}),
    ],
    ids=str,
)
def test_impossible_sizes_of_a_model_are_refused_before_it_is_built(
    base: str, size: dict[str, int], tmp_path: Path
) -> None:
    source = changed(base, tmp_path, "config.json", lambda content: content | size)
    with pytest.raises(EscoitaError) as refused:
        family_for_evaluation(source)
    assert (refused.value.key, refused.value.value) == next(iter(size.items()))


@pytest.mark.parametrize(
    "change",
    [
        lambda tokens: dict.fromkeys(tokens, 0),
        lambda tokens: tokens | {"ʼ": -1},
        lambda tokens: tokens | {"ʼ": 1.5},
        lambda tokens: tokens | {"a" * 1_000_000: len(tokens)},
        lambda tokens: tokens | {f"t{index}": index for index in range(len(tokens), 50_000)},
        lambda tokens: {"uzb": 5, "kaa": tokens},
        lambda tokens: '{"\\ud800": 0, "<pad>": 1}',
        lambda tokens: "[" * 100_000,
        lambda tokens: [1],
    ],
    ids=range(9),
)
def test_impossible_vocabularies_are_refused(change: Callable[[dict[str, int]], Any], tmp_path: Path) -> None:
    base = changed("ctc", tmp_path, "vocab.json", change)
    with pytest.raises(EscoitaError):
        family_for_evaluation(base).load_processor(base)


@pytest.mark.parametrize("code", ["../../x", "x/y", "", "a" * 100])
def test_the_code_of_a_language_adapter_is_no_path(code: str) -> None:
    class Model:
        class config:  # noqa: N801  the name of the attribute
            _name_or_path = "x"

    with pytest.raises(EscoitaError) as refused:
        load_language_adapter(Model(), code)
    assert refused.value.key == "target_lang"


def test_a_generation_configuration_does_not_replace_decoding(tmp_path: Path) -> None:
    expected = transcribed(str(ROOT / "quickstart/whisper"))
    hostile = {
        "max_new_tokens": 10**9,
        "max_time": 1e-9,
        "penalty_alpha": 0.6,
        "guidance_scale": 1e9,
        "dola_layers": "high",
        "stop_strings": ["a"],
        "constraints": [1],
        "return_dict_in_generate": True,
        "custom_generate": str(tmp_path),
    }
    base = changed("whisper", tmp_path, "generation_config.json", lambda content: content | hostile)
    assert transcribed(base) == expected


@pytest.mark.parametrize("setting", [{"bad_words_ids": [[10**9]]}, {"repetition_penalty": 0.0}], ids=str)
def test_settings_of_generation_that_transformers_refuses_are_named(setting: dict[str, Any], tmp_path: Path) -> None:
    base = changed("whisper", tmp_path, "generation_config.json", lambda content: content | setting)
    with pytest.raises(EscoitaError) as refused:
        transcribed(base)
    assert str(refused.value.path).endswith("generation_config.json")
