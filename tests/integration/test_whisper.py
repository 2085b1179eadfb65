"""Train, evaluate, publish, verify, merge and serve adapters of a tiny Whisper that learns words of one tone each."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escoita.cards.build import write_card
from escoita.evaluation.evaluate import evaluate_run
from escoita.inference.transcriber import Transcriber
from escoita.models.families import BY_MODEL_TYPE
from escoita.recipe.schema import Recipe
from escoita.records.training import AdapterRecord
from escoita.run_directory import RunDirectory
from escoita.training.merge import merge_run
from escoita.training.preflight.report import examine
from escoita.training.sft import train
from tests.hub_double import serve
from tests.integration.recognizers import TWO_STEPS, Command, Make, check_equal_losses, make_recipe, publish_and_verify
from tests.models.samples import write_whisper
from tests.samples import tone, write_clip, write_manifest


TONES = {"un": 300, "dous": 600, "tres": 1200, "catro": 2400}
INFO = BY_MODEL_TYPE["whisper"]
MODULES = {
    "kind": "modules",
    "modules": ["model.encoder", "model.decoder"],
    "trainable": {"audio": "some", "language": "some"},
}


def write_corpus(folder: Path, rows: int, seed: int) -> Path:
    """Write clips of two words and their manifest."""
    generator = np.random.default_rng(seed)
    folder.mkdir()
    found: list[dict[str, Any] | str] = []
    for index in range(rows):
        words = [str(word) for word in generator.choice(list(TONES), 2)]
        clip = np.concatenate([tone(TONES[word], 0.4) for word in words])
        clip += generator.normal(0, 0.01, len(clip)).astype(np.float32)
        path = write_clip(folder / f"{index}.wav", clip)
        found.append({"audio": str(path), "text": " ".join(words)})
    return write_manifest(folder / "rows.jsonl", found)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return a function that makes a recipe with a new run directory."""
    folder = tmp_path_factory.mktemp("tones")
    base = write_whisper(folder / "base", width=64, positions=32, seconds=1, learns=True)
    sizes = {"train": 32, "validation": 8, "test": 8}
    corpora = {
        split: [{"name": "tones", "path": str(write_corpus(folder / split, rows, seed))}]
        for seed, (split, rows) in enumerate(sizes.items())
    }

    def recipe(training: dict[str, Any], method: dict[str, Any], language: str = "gl", **changes: Any) -> Recipe:
        run_dir = tmp_path_factory.mktemp("run") / "tones"
        chosen = {"corpora": corpora, "language": language, "eval": {"resamples": 100, "max_new_tokens": 28}} | changes
        return make_recipe(
            "tones", base, **chosen, training={"learning_rate": 3e-3} | training, method=method, run_dir=run_dir
        )

    return recipe


def lora(layers: str, *towers: str) -> dict[str, Any]:
    return {"r": 8, "target_modules": layers, "trainable": dict.fromkeys(towers, "some")}


@pytest.mark.slow
@pytest.mark.parametrize("language, token", [("gl", "gl"), ("ig", "none")])
def test_wer_falls_and_the_adapter_is_published_and_verified(
    make: Make, language: str, token: str, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Igbo is not a language of Whisper."""
    training = {"max_steps": 90, "eval_strategy": "steps", "eval_steps": 30, "save_steps": 30, "warmup_steps": 4}
    recipe = make(training, MODULES, language, hub={"publish_base_as": "tiny-whisper"})
    run = RunDirectory(recipe.run_path)
    assert not [finding for finding in examine(recipe) if finding.mark == "refusal"]
    record = train(recipe)
    assert record is not None and record.language_token == token
    rates = [1.0 if point.wer is None else point.wer for point in record.validation]
    assert rates[0] >= 1 and min(rates) <= 0.15
    settings = AdapterRecord.read(run.adapter / "escoita.json")
    expected = "" if token == "none" else f"<|{token}|>"  # noqa: S105
    assert settings.language_token == token
    assert settings.rendered_prompt == f"<|startoftranscript|>{expected}<|transcribe|><|notimestamps|>"

    result = evaluate_run(recipe.run_path)
    adapter, base = (system.raw.wer for system in result.corpora[0].systems)
    assert adapter <= 0.15 < base
    card = write_card(recipe.run_path).read_text("utf-8")
    assert INFO.architecture in card and "2212.04356" in card
    assert "| language token | none |" in card if token == "none" else r"| `<\|gl\|>` |" in card  # noqa: S105

    merge_run(recipe.run_path, tmp_path / "merged")
    clip = recipe.corpora.test[0].path.replace("rows.jsonl", "0.wav")
    with_adapter = Transcriber.load(recipe.base, str(run.adapter)).transcribe_file(clip)
    merged = Transcriber.load(str(tmp_path / "merged")).transcribe_file(clip)
    assert with_adapter.text == merged.text and set(merged.text.split()) <= set(TONES)

    with serve(tmp_path / "hub") as hub:
        publish_and_verify(recipe, "ana/tones", hub, command)


@pytest.mark.parametrize(
    "layers, towers",
    [
        (INFO.language_layers, ["language"]),
        (INFO.audio_layers, ["audio"]),
        (INFO.target_modules, ["audio", "language"]),
    ],
)
def test_lora_trains_decoder_or_encoder_or_both(make: Make, layers: str, towers: list[str]) -> None:
    record = train(make(TWO_STEPS, lora(layers, *towers)))
    assert record is not None and record.steps == 2
    assert {tower for tower, count in record.trainable_parameters.items() if count} == set(towers)


@pytest.mark.slow
def test_accumulation_checkpointing_resume_and_split_batches_give_the_same_losses(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = lora(INFO.target_modules, "audio", "language")
    check_equal_losses(lambda training: make(training, method), 1e-4, monkeypatch)


def test_clips_that_are_too_long_or_have_too_many_tokens_are_rejected_with_counts(
    make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = [json.loads(line) for line in Path(make({}, MODULES).corpora.train[0].path).read_text().splitlines()]
    long = write_clip(tmp_path / "long.wav", tone(seconds=1.2))
    yoruba = "Ẹ káàárọ̀ o, ṣé dáadáa ni?"
    rows = [
        *good,
        {"audio": str(long), "text": "un"},
        *({"audio": good[0]["audio"], "text": yoruba} for _ in range(4)),
    ]
    corpora = {
        "train": [{"name": "tones", "path": str(write_manifest(tmp_path / "train.jsonl", rows))}],
        "test": [{"name": "tones", "path": str(write_manifest(tmp_path / "test.jsonl", rows[-5:]))}],
        "max_rejected_share": 0.5,
    }
    once = {"max_steps": 1, "save_strategy": "no", "warmup_steps": 0}
    recipe = make(once, lora(INFO.language_layers, "language"), corpora=corpora)
    assert train(recipe, dry_run=True) is None
    output = " ".join(capfd.readouterr().err.split())
    assert "4 rows: the transcript has" in output and "1.2 s is longer" in output
    (found,) = [finding for finding in examine(recipe) if finding.about == "tokens"]
    assert "tokens per byte" in found.found
