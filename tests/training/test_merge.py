"""Test the merge of base and adapter: the same logits, the same text, and a base for every command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from escoita.cli.main import app
from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models import family_of
from escoita.models.adapters import merged
from escoita.recipe.schema import Recipe
from escoita.records.training import AdapterRecord
from escoita.run_directory import RunDirectory
from escoita.training.arguments import peft_config
from escoita.training.callbacks import save_weights
from escoita.training.merge import merge_run
from tests.models.phi4_samples import noise, write_phi4, write_speech_lora
from tests.samples import RECIPE, write_clip, write_manifest


METHODS = {
    "modules": {
        "kind": "modules",
        "modules": [f"audio_embed.{name}" for name in ("encoder", "up_proj_for_speech", "down_proj_for_speech")],
    },
    "lora": {"kind": "lora", "r": 2, "target_modules": r".*\.layers\.\d+\.self_attn\.(qkv|o)_proj"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_phi4(tmp_path_factory.mktemp("phi4") / "base"))


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a run whose adapter has random weights."""
    import yaml

    def make(method: str, /, **changes: Any) -> Path:
        run = RunDirectory(tmp_path_factory.mktemp(method) / "run")
        values = {"base": str(base), "dtype": "float32", "language": "gl", "method": METHODS[method]}
        prompt = {"user": "<|audio_1|> Transcribe the clip."}
        limits = {"max_new_tokens": 8}
        recipe = Recipe.model_validate(yaml.safe_load(RECIPE) | values | {"prompt": prompt, "eval": limits} | changes)
        run.path.mkdir()
        recipe.write(run.recipe)
        torch.manual_seed(0)
        model = get_peft_model(family_of(str(base)).load_model(str(base)), peft_config(recipe))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.05)
        save_weights(model, run.adapter)
        recipe.generation_settings().write(run.adapter / "escoita.json")
        return run.path

    return make


@pytest.fixture(scope="module", params=list(METHODS))
def made(request: pytest.FixtureRequest, trained: Callable[..., Path]) -> tuple[Path, Path]:
    """Return a run and its merged model."""
    run = trained(request.param)
    return run, merge_run(run, run.parent / "merged")


def logits(model: Any, base: Path) -> torch.Tensor:
    family = family_of(str(base))
    prompt = AdapterRecord.read(base / "escoita.json").prompt
    batch = family.encode(family.load_processor(str(base)), [noise(1.0)], prompt)
    with torch.no_grad():
        found, again = (model.eval()(**batch).logits for _ in range(2))
    assert torch.equal(found, again)
    return found


def test_the_folder_is_a_complete_model(made: tuple[Path, Path]) -> None:
    run, folder = made
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} < names
    assert {"processor_config.json", "escoita.json"} < names and "speech-lora" not in names
    assert not {name for name in names if name.endswith((".bin", ".pt", ".py")) or name.startswith("adapter")}
    merged_record = AdapterRecord.read(folder / "escoita.json")
    assert merged_record.base is not None and merged_record.base.expected_sha256 is None
    assert merged_record.model_copy(update={"base": None}) == AdapterRecord.read(run / "adapter/escoita.json")
    assert not list(folder.parent.glob("*.unfinished"))


def test_the_logits_are_those_of_base_and_adapter(made: tuple[Path, Path], base: Path) -> None:
    run, folder = made
    together = merged(family_of(str(base)).load_model(str(base)), str(run / "adapter"))
    expected = logits(together, folder)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(folder), folder), expected)
    assert torch.equal(logits(family_of(str(folder)).load_model(str(folder)), folder), expected)


def test_the_transcripts_are_those_of_base_and_adapter(made: tuple[Path, Path], base: Path) -> None:
    run, folder = made
    clips = [noise(1.0), noise(0.4, 1), noise(2.2, 2)]
    adapter, merged_model = Transcriber.load(str(base), str(run / "adapter")), Transcriber.load(str(folder))
    expected = [transcript.text for transcript in adapter.transcribe(clips)]
    assert [transcript.text for transcript in merged_model.transcribe(clips)] == expected


def test_the_speech_lora_is_merged_once(made: tuple[Path, Path], tmp_path: Path) -> None:
    _, folder = made
    before = load_file(folder / "model.safetensors")
    copied = tmp_path / "merged"
    shutil.copytree(folder, copied)
    write_speech_lora(copied)
    found = family_of(str(copied)).load_model(str(copied)).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in before.items())


def test_a_merged_model_can_be_trained(made: tuple[Path, Path]) -> None:
    _, folder = made
    with torch.device("meta"):
        model = family_of(str(folder)).empty_model(str(folder))
    names = load_file(folder / "model.safetensors").keys()
    assert {name for name, _ in model.named_parameters()} - names <= {"lm_head.weight"}


def test_a_merged_model_can_be_evaluated(made: tuple[Path, Path], tmp_path: Path) -> None:
    _, folder = made
    write_clip(tmp_path / "a.wav", noise(0.5))
    manifest = write_manifest(tmp_path / "test.jsonl", [{"audio_filepath": "a.wav", "text": "ola"}])
    arguments = ["--base", str(folder), "--language", "gl", "--corpus", str(manifest), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["eval", *arguments])
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert [system["name"] for system in results["systems"]] == ["base"]


def test_merging_in_another_precision(trained: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "half"
    done = CliRunner().invoke(
        app, ["merge", "--run", str(trained("modules")), "--out", str(out), "--dtype", "float16"]
    )
    assert done.exit_code == 0, done.output
    assert {tensor.dtype for tensor in load_file(out / "model.safetensors").values()} == {torch.float16}


def test_an_existing_folder_is_refused(made: tuple[Path, Path]) -> None:
    run, folder = made
    with pytest.raises(EscoitaError) as error:
        merge_run(run, folder)
    assert error.value.path == folder


def test_a_base_in_4_bits_is_refused(trained: Callable[..., Path], tmp_path: Path) -> None:
    run = trained("lora", load_in_4bit=True)
    with pytest.raises(EscoitaError) as error:
        merge_run(run, tmp_path / "out")
    assert (error.value.path, error.value.key) == (run, "load_in_4bit")
    assert not list(tmp_path.iterdir())


def test_an_adapter_on_a_shared_weight_is_refused(trained: Callable[..., Path], tmp_path: Path) -> None:
    """The head of the tiny base is its embeddings."""
    run = trained("lora", method={"r": 2, "target_modules": "lm_head"})
    with pytest.raises(EscoitaError) as error:
        merge_run(run, tmp_path / "out")
    assert (error.value.path, error.value.key) == (run, None)
    assert not list(tmp_path.iterdir())


def test_an_untrained_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with pytest.raises(EscoitaError):
        merge_run(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_kill_leaves_no_incomplete_model(
    trained: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = trained("modules"), tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(AdapterRecord, "write", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            merge_run(run, out)
    assert not out.exists()
    assert merge_run(run, out) == out and not list(tmp_path.glob("*.unfinished"))
