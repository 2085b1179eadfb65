import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from escoita.data.clips import check_clips, read_clip
from escoita.data.readers import read_corpus
from escoita.data.rows import Utterances
from escoita.inference.transcriber import Transcriber
from escoita.metrics.normalizers import normalizer
from escoita.metrics.wer import character_edits, word_edits
from escoita.models import family_of
from escoita.recipe.schema import Corpus, Recipe, load_recipe
from escoita.records.transcript import Transcript
from escoita.training.checkpointing import ValidationInterrupted
from escoita.training.validation import (
    STEPS_BETWEEN_CHECKS,
    CheckpointingCheck,
    GradientCheckpointingError,
    ValidationClipError,
    ValidationSet,
    inference_state,
    sample,
    training_state_restored,
)
from escoita.utils.interruption import StopRequest
from tests.conftest import ROOT, write_manifest


BASE = "quickstart/gemma4"


def quickstart(*overrides: str) -> Recipe:
    return load_recipe(ROOT / "recipes/quickstart-uzbek.yaml", list(overrides))


def clips(path: Path, count: int = 9) -> Utterances:
    manifest = write_manifest(path / "validation.jsonl", "validation", count)
    found, _ = check_clips(read_corpus(Corpus(name="spoken", path=str(manifest)), "uz")[0], 30)
    return found


def adapted() -> torch.nn.Module:
    """Return the tiny base with an adapter that changes its transcripts, in training mode."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=r".*language_model.*\.(q|v)_proj", task_type="CAUSAL_LM", lora_dropout=0.5)
    model = get_peft_model(family_of(BASE).load_model(BASE), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.train()


def validation_set(clips: Utterances, *overrides: str) -> ValidationSet:
    family = family_of(BASE)
    return ValidationSet.of(clips, quickstart(*overrides), family, family.load_processor(BASE))


corpora = st.lists(st.integers(1, 60), min_size=1, max_size=8).map(
    lambda sizes: [f"c{number}" for number, size in enumerate(sizes) for _ in range(size)]
)


@given(corpora, st.integers(1, 200))
def test_the_sample_has_its_size_and_a_clip_of_each_corpus(every: list[str], clips: int) -> None:
    drawn = sample(every, clips)
    found, sizes = Counter(every[index] for index in drawn), Counter(every)
    assert drawn == sorted(set(drawn)) == sample(every, clips)
    assert len(drawn) == min(len(every), max(clips, len(sizes)))
    assert found.keys() == sizes.keys()
    for name, size in sizes.items():
        assert found[name] <= size
        assert abs(found[name] - clips * size / len(every)) <= len(sizes) + 1 or clips >= len(every)


def test_the_sample_is_proportional_to_the_corpora() -> None:
    drawn = sample(["large"] * 900 + ["small"] * 100, 50)
    assert sum(index >= 900 for index in drawn) == 6  # one, and a tenth of the other 48
    assert sample(["a"] * 100, 10) != list(range(10))


def test_the_rates_are_those_of_the_transcriber(tmp_path: Path) -> None:
    found, model = clips(tmp_path), adapted()
    sampled = validation_set(found, "validation.clips=5")
    rates = sampled.evaluate(model, StopRequest())
    assert len(sampled.clips) == rates["utterances"] == 5

    family, normalize = family_of(BASE), normalizer("uzbek")
    transcriber = Transcriber(family, model, family.load_processor(BASE), quickstart().generation_settings(), 60)
    transcripts = transcriber.transcribe([read_clip(clip) for clip in sampled.clips])
    hypotheses = [normalize(each.text) for each in transcripts]
    references = [normalize(text) for text in sampled.clips.column("text")]
    assert rates["wer"] == word_edits(references, hypotheses).rate > 0
    assert rates["cer"] == character_edits(references, hypotheses).rate > 0
    assert rates["transcription_seconds"] > 0


def test_validation_does_not_change_the_training(tmp_path: Path) -> None:
    model = adapted()
    model.base_model.model.model.audio_tower.eval()  # modes may differ from module to module
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable()
    modes, before = [module.training for module in model.modules()], torch.random.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    sampled = validation_set(clips(tmp_path, 3))
    first = sampled.evaluate(model, StopRequest())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    second = sampled.evaluate(model, StopRequest())
    assert {**second, "transcription_seconds": 0} == {**first, "transcription_seconds": 0}


def test_validation_runs_in_the_precision_of_the_training(tmp_path: Path) -> None:
    """A base in bfloat16 with an adapter in float32 needs autocast."""
    model = adapted().to(torch.bfloat16)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert validation_set(clips(tmp_path, 2)).evaluate(model, StopRequest())["utterances"] == 2


def test_a_missing_clip_is_refused_in_one_line(tmp_path: Path) -> None:
    found = clips(tmp_path, 2)
    with_missing = Utterances.of([*found, replace(found[0], audio=str(tmp_path / "gone.ogg"))])
    with pytest.raises(ValidationClipError) as error:
        validation_set(with_missing).evaluate(adapted(), StopRequest())
    assert "gone.ogg" in error.value.problem and "\n" not in str(error.value)


IN_TWO = """
import json, sys, torch
from pathlib import Path
from accelerate import PartialState
from escoita.utils.interruption import StopRequest
from tests.training.test_validation import adapted, clips, validation_set
state = PartialState(cpu=True)
folder = Path(sys.argv[1]) / str(state.process_index)
folder.mkdir()
assert state.num_processes == 2
sampled = validation_set(clips(folder), "eval.batch_seconds=4")
own, sampled._transcribe = [], lambda model, batches, request, transcribe=sampled._transcribe: (
    own.extend(batches) or transcribe(model, batches, request)
)
rates = sampled.evaluate(adapted(), StopRequest())
(folder / "found.json").write_text(json.dumps([sum(map(len, own)), rates["wer"], rates["cer"], rates["utterances"]]))
state.destroy_process_group()
"""


def test_a_signal_stops_the_validation_after_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request, sampled = StopRequest(), validation_set(clips(tmp_path, 6), "eval.batch_seconds=4")
    transcribed, transcribe_batches = [], Transcriber.transcribe_batches

    def signalled(self: Transcriber, *args: Any) -> Iterator[tuple[list[int], list[Transcript]]]:
        for indices, transcripts in transcribe_batches(self, *args):
            transcribed.append(indices)
            request.signum = signal.SIGTERM
            yield indices, transcripts

    monkeypatch.setattr(Transcriber, "transcribe_batches", signalled)
    model = adapted().train()
    with pytest.raises(ValidationInterrupted):
        sampled.evaluate(model, request)
    assert len(transcribed) == 1 and model.training


@pytest.mark.slow
def test_two_processes_share_the_clips_and_have_the_same_rates(tmp_path: Path) -> None:
    (tmp_path / "in_two.py").write_text(IN_TWO, "utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launcher, str(tmp_path / "in_two.py"), str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (one, *first), (other, *second) = [json.loads((tmp_path / rank / "found.json").read_text()) for rank in "01"]
    (tmp_path / "single").mkdir()
    single = validation_set(clips(tmp_path / "single"), "eval.batch_seconds=4").evaluate(adapted(), StopRequest())
    assert first == second == [single["wer"], single["cer"], 9]
    assert one + other == 9 and one and other


def switch_to_inference(model: Any) -> None:
    """Change the model as Unsloth does before it generates, and in further ways."""
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = False
        module.training = False
        module._flag_for_generation = True
        if "_saved_temp_tokenizer" in vars(module):
            module._saved_temp_tokenizer.padding_side = "right"
    model.config.use_cache = model.config.text_config.use_cache = True
    model.generation_config.use_cache, model.generation_config.cache_implementation = True, "dynamic"
    model.disable_input_require_grads()
    model.base_model.model.lm_head.register_forward_pre_hook(lambda module, inputs: None)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.bfloat16().float()


def generate_as_unsloth(model: Any) -> None:
    """Let the model switch to inference when it generates, and never back."""
    original = model.generate

    def generate(*args: Any, **kwargs: Any) -> Any:
        switch_to_inference(model)
        return original(*args, **kwargs)

    model.generate = generate


def test_validation_restores_every_flag(tmp_path: Path) -> None:
    model, sampled = adapted(), validation_set(clips(tmp_path, 2))
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    model.config.use_cache = model.config.text_config.use_cache = False
    model.base_model.model.model.audio_tower.eval()
    sampled.processor.tokenizer.padding_side = "left"
    model.base_model.model._saved_temp_tokenizer = sampled.processor.tokenizer
    generate_as_unsloth(model)
    before = inference_state(model, sampled.processor)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    assert any(before[key] is True for key in before if key.endswith(".gradient_checkpointing"))
    sampled.evaluate(model, StopRequest())
    after = inference_state(model, sampled.processor)
    assert {
        key: (before.get(key), after.get(key)) for key in before | after if before.get(key) != after.get(key)
    } == {}
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_the_state_includes_the_changes_of_inference() -> None:
    """Without the context manager the same model differs afterwards."""
    model = adapted()
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    before = inference_state(model)
    switch_to_inference(model)
    changed = {key.rpartition(".")[2] for key, value in inference_state(model).items() if before.get(key) != value}
    assert {"gradient_checkpointing", "training", "_flag_for_generation", "_forward_pre_hooks"} <= changed


def test_weights_and_random_numbers_are_restored_exactly() -> None:
    model = torch.nn.Linear(3, 3)
    model.device = torch.device("cpu")
    weight = model.weight.detach().clone()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with pytest.raises(KeyError), training_state_restored(model):
        torch.rand(5)
        model.eval().half()
        raise KeyError
    assert torch.equal(torch.rand(2), expected) and model.training
    assert model.weight.dtype == torch.float32 and torch.equal(model.weight, weight)


def test_other_attributes_are_restored_and_new_ones_removed() -> None:
    model: Any = torch.nn.Linear(3, 3)
    model.device, model.compute = torch.device("cpu"), len
    with training_state_restored(model):
        model.compute, model.ready = None, True
    assert model.compute is len and not hasattr(model, "ready")


def step(check: CheckpointingCheck, model: Any, checkpointing: bool, number: int = 0) -> None:
    check.on_step_begin(
        SimpleNamespace(gradient_checkpointing=checkpointing), SimpleNamespace(global_step=number), None, model
    )


def test_disabled_checkpointing_stops_the_training() -> None:
    model, check = adapted(), CheckpointingCheck()
    model.gradient_checkpointing_enable()
    step(check, model, True)
    layer = "base_model.model.model.language_model.layers.1"
    model.get_submodule(layer).gradient_checkpointing = False
    step(check, model, True, STEPS_BETWEEN_CHECKS - 1)
    with pytest.raises(GradientCheckpointingError) as error:
        step(check, model, True, STEPS_BETWEEN_CHECKS)
    assert (error.value.module, error.value.enabled, error.value.step) == (layer, False, STEPS_BETWEEN_CHECKS)


@pytest.mark.parametrize("checkpointing", [True, False])
def test_checkpointing_is_checked_from_the_first_step(checkpointing: bool) -> None:
    model = adapted()
    step(CheckpointingCheck(), model, False)
    if not checkpointing:
        model.gradient_checkpointing_enable()
    with pytest.raises(GradientCheckpointingError) as error:
        step(CheckpointingCheck(), model, checkpointing)
    assert (error.value.value, error.value.enabled) == (checkpointing, not checkpointing)
