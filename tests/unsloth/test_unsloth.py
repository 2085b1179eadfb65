"""
Test Unsloth without a GPU: its queries of a GPU are replaced, Triton's kernels are interpreted, nothing is compiled.

`make test-unsloth` runs these tests in a separate virtual environment. Every test runs a process, because Unsloth must
be imported first.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from escoita.audio.loading import read_audio
from escoita.recipe.schema import Recipe, load_recipe
from tests.conftest import ROOT
from tests.samples import write_clip


pytestmark = pytest.mark.unsloth

Command = Callable[..., subprocess.CompletedProcess[str]]
WITHOUT_GPU = {
    "UNSLOTH_ALLOW_CPU": "1",
    "UNSLOTH_COMPILE_DISABLE": "1",
    "TRITON_INTERPRET": "1",
    "CUDA_VISIBLE_DEVICES": "",
}

BEGIN = """
import json, sys
from types import SimpleNamespace
import torch
from escoita.recipe.schema import load_recipe
from escoita.training.backends import import_first, load_for_training

torch.cuda.get_device_properties = lambda *_: SimpleNamespace(
    name="none", total_memory=2**34, major=8, minor=0, multi_processor_count=1
)
recipe = load_recipe(sys.argv[1], sys.argv[2:])
import_first(recipe)
"""

TRAIN = f"""{BEGIN}
from escoita.training.sft import train
print(train(recipe).model_dump_json())
"""

# The classes of TRL that Unsloth replaces if there is a GPU.
ARGUMENTS = f"""{BEGIN}
import os
import unsloth
from unsloth.models.rl import PatchFastRL
os.environ["UNSLOTH_ALLOW_CPU"] = "0"
PatchFastRL(FastLanguageModel=unsloth.FastLanguageModel)
from escoita.run_directory import RunDirectory
from escoita.training.arguments import sft_config
from escoita.training.trainer import SpeechTrainer
config = sft_config(recipe, RunDirectory(recipe.run_path))
names = ("gradient_accumulation_steps", "weight_decay", "warmup_steps", "optim", "seed", "learning_rate")
classes = [kind.__name__ for kind in SpeechTrainer.__mro__]
print(json.dumps({{"classes": classes}} | {{key: getattr(config, key) for key in names}}))
"""

LOSS = f"""{BEGIN}
import hashlib
from escoita.data.clips import read_clip
from escoita.models import family_of
from escoita.training.datasets import clips_by_split, everything
family = family_of(recipe.base)
processor = family.load_processor(recipe.base)
model, adapter = load_for_training(recipe, family)
if adapter:
    from peft import get_peft_model
    model = get_peft_model(model, adapter)
clips = everything(clips_by_split(recipe, ["train"], 30.0, [])["train"])
audio, texts = [read_clip(clip) for clip in clips], clips.column("text")
batch = family.encode_with_targets(processor, audio, texts, recipe.generation_settings())
digest = hashlib.sha256(b"".join(batch[key].numpy().tobytes() for key in sorted(batch))).hexdigest()
labels = batch.pop("labels")
logits = model.train()(**batch).logits[:, :-1].float()
loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
loss.backward()
trained = {{name: weights for name, weights in model.named_parameters() if weights.requires_grad}}
norm = torch.linalg.vector_norm(torch.stack([weights.grad.norm() for weights in trained.values()]))
shapes = {{name: list(weights.shape) for name, weights in trained.items()}}
print(json.dumps({{"batch": digest, "loss": loss.item(), "norm": norm.item(), "shapes": shapes}}))
"""

# Unsloth's gradient checkpointing needs a GPU; that of Transformers sets and clears the same flags.
CHECKPOINTED = f"""{BEGIN}
import escoita.training.unsloth_backend as engine
original = engine.FastModel
class WithTransformersCheckpointing:
    def from_pretrained(*args, **options):
        return original.from_pretrained(*args, **options | {{"use_gradient_checkpointing": True}})
    def get_peft_model(*args, **options):
        return original.get_peft_model(*args, **options | {{"use_gradient_checkpointing": True}})
engine.FastModel = WithTransformersCheckpointing
from escoita.training.validation import ValidationSet, inference_state
from escoita.training.sft import train
from escoita.training.trainer import SpeechTrainer
steps, changed, cleared = [], [], []
evaluate, step = ValidationSet.evaluate, SpeechTrainer.training_step
def checkpointed(model):
    return sum(bool(getattr(module, "gradient_checkpointing", False)) for module in model.modules())
def watched_evaluate(self, model, request):
    before = inference_state(model, self.processor)
    generate = self.family.generate
    def watched(model, *arguments):
        found = generate(model, *arguments)
        cleared.append(checkpointed(model))
        return found
    self.family.generate = watched
    found = evaluate(self, model, request)
    del self.family.generate
    after = inference_state(model, self.processor)
    changed.append(sorted(key for key in before | after if before.get(key) != after.get(key)))
    return found
def watched_step(self, model, *arguments):
    steps.append(checkpointed(model))
    return step(self, model, *arguments)
ValidationSet.evaluate, SpeechTrainer.training_step = watched_evaluate, watched_step
train(recipe)
print(json.dumps({{"steps": steps, "changed": changed, "while": cleared}}))
"""

FOUR_BIT = f"""{BEGIN}
from bitsandbytes.nn import Linear4bit
from escoita.models import family_of
model, _ = load_for_training(recipe, family_of(recipe.base))
layers = {{name: layer for name, layer in model.named_modules() if isinstance(layer, Linear4bit)}}
print(json.dumps([sum("audio" in name for name in layers), sum("audio" not in name for name in layers)]))
"""

STORE = """
import json, sys
from pathlib import Path
from escoita.models import family_of
family, folder = family_of("quickstart/gemma4"), Path(sys.argv[1])
family.load_model("quickstart/gemma4", load_in_4bit=True).save_pretrained(folder)
family.save_processor(family.load_processor("quickstart/gemma4"), folder)
config = json.loads((folder / "config.json").read_text())
config["quantization_config"]["llm_int8_skip_modules"] = sys.argv[2].split(",")
(folder / "config.json").write_text(json.dumps(config))
print("{}")
"""

RELOAD = """
import json, sys
import torch
from peft import PeftModel
from escoita.models import family_of
assert "unsloth" not in sys.modules
family = family_of("quickstart/gemma4")
model = PeftModel.from_pretrained(family.load_model("quickstart/gemma4", dtype="float32"), sys.argv[1])
weights = {name: tensor for name, tensor in model.named_parameters() if "lora_B" in name}
print(json.dumps({tower: sum(
    bool(tensor.any()) for name, tensor in weights.items() if family.tower_of(name) == tower
) for tower in ("language", "audio")}))
"""

# Its own way of checkpointing needs the streams of a GPU.
SNIPPET = f"""{BEGIN}
import contextlib, io
import unsloth
original = unsloth.FastModel.from_pretrained
unsloth.FastModel.from_pretrained = lambda *arguments, **options: original(
    *arguments, **options | {{"use_gradient_checkpointing": False}}
)
from escoita.cards.snippets import snippets
from tests.cards.samples import training
record = training(engine="unsloth", family="gemma4")
code = snippets(recipe, record, recipe.base, str(recipe.run_path / "adapter"))[1].code
shown = io.StringIO()
with contextlib.redirect_stdout(shown):
    exec(code.replace("clip.wav", str(recipe.run_path / "clip.wav")), {{}})
print(json.dumps(shown.getvalue().splitlines()[-1]))
"""

TRANSCRIBE = f"""{BEGIN}
from escoita.inference.transcriber import Transcriber
transcriber = Transcriber.load(recipe.base, str(recipe.run_path / "adapter"))
print(json.dumps(transcriber.transcribe_file(recipe.run_path / "clip.wav").text))
"""


@pytest.fixture
def recipe_file(short_recipe: Callable[..., Recipe], tmp_path: Path) -> Path:
    """Write the quick start's recipe with 24 clips."""
    short_recipe("engine=unsloth").write(tmp_path / "recipe.yaml")
    return tmp_path / "recipe.yaml"


@pytest.fixture
def output(command: Command) -> Callable[..., Any]:
    """Return a function that runs a program and returns the JSON in its last line."""

    def run(program: str, *arguments: str, **environment: str) -> Any:
        ran = command("-c", program, *arguments, **WITHOUT_GPU, **environment)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])

    return run


def refusal(command: Command, *arguments: str, **environment: str) -> str:
    ran = command("training/sft.py", "--recipe", *arguments, **environment)
    assert ran.returncode == 1 and "Traceback" not in ran.stderr
    return ran.stderr.splitlines()[-1]


def test_without_a_gpu_training_is_refused_in_one_line(command: Command, recipe_file: Path) -> None:
    assert "engine: unsloth: " in refusal(command, str(recipe_file), CUDA_VISIBLE_DEVICES="")


def test_importing_transformers_first_is_refused(command: Command, recipe_file: Path) -> None:
    ran = command("-c", f"import transformers\n{TRAIN}", str(recipe_file), **WITHOUT_GPU)
    assert "engine: unsloth: " in ran.stderr and "transformers" in ran.stderr.splitlines()[-1]


def test_batch_loss_gradient_and_layers_are_those_of_plain_peft(output: Callable[..., Any], recipe_file: Path) -> None:
    unsloth = output(LOSS, str(recipe_file), UNSLOTH_RETURN_LOGITS="1")
    plain = output(LOSS, str(recipe_file), "engine=transformers")
    assert unsloth["batch"] == plain["batch"] and unsloth["shapes"] == plain["shapes"]
    assert unsloth["loss"] == pytest.approx(plain["loss"], abs=1e-3)
    # Matrices A are random; the gradient of B depends on them.
    assert unsloth["norm"] == pytest.approx(plain["norm"], rel=0.2)


def test_arguments_are_the_same_with_the_classes_of_unsloth(output: Callable[..., Any], recipe_file: Path) -> None:
    """Unsloth has other defaults: two accumulation steps, 0.001, 0.1, adamw_8bit and 3407."""
    found = output(ARGUMENTS, str(recipe_file), "training={learning_rate: 1e-3, eval_strategy: 'no'}")
    assert found.pop("classes")[:2] == ["SpeechTrainer", "UnslothSFTTrainer"]
    optimizer = found.pop("optim")
    assert optimizer.startswith("adamw_torch")
    assert found == {
        "gradient_accumulation_steps": 1,
        "weight_decay": 0.0,
        "warmup_steps": 0,
        "seed": 42,
        "learning_rate": 1e-3,
    }


def test_unsloth_trains_an_adapter_that_peft_loads(output: Callable[..., Any], recipe_file: Path) -> None:
    clips = json.dumps([{"name": "few", "path": "quickstart/corpus/uz/validation.jsonl", "limit": 4}])
    evaluated = [f"corpora.validation={clips}", "training.eval_strategy=steps", "training.eval_steps=2"]
    record = output(TRAIN, str(recipe_file), *evaluated)
    assert record["trainable_parameters"] == {"language": 58_368, "audio": 100_736, "vision": 0}
    assert record["steps"] == 4 and record["engine"] == "unsloth" and record["method"] == "lora"
    losses = [point["loss"] for point in record["loss"]]
    assert all(0 < loss < 10 for loss in losses)
    assert [point["step"] for point in record["validation"]] == [0, 2, 4]
    layers = output(RELOAD, str(load_recipe(recipe_file).run_path / "adapter"))
    assert layers == {"language": 21, "audio": 30}


def test_the_snippet_of_the_card_prints_the_same_text(output: Callable[..., Any], recipe_file: Path) -> None:
    run = load_recipe(recipe_file).run_path
    output(TRAIN, str(recipe_file), "engine=transformers")
    speech = read_audio(ROOT / "quickstart/corpus/uz/test/0014.ogg")
    stereo = np.repeat(soxr.resample(speech, 16_000, 48_000)[:, None], 2, axis=1)
    write_clip(run / "clip.wav", stereo, 48_000)
    text = output(TRANSCRIBE, str(recipe_file), "engine=transformers")
    assert output(SNIPPET, str(recipe_file)) == text != ""


def test_validation_leaves_gradient_checkpointing_on(output: Callable[..., Any], recipe_file: Path) -> None:
    """Unsloth's `generate` switches the model to inference and never back."""
    clips = json.dumps([{"name": "few", "path": "quickstart/corpus/uz/validation.jsonl", "limit": 4}])
    evaluated = [f"corpora.validation={clips}", "training.eval_strategy=steps", "training.eval_steps=2"]
    found = output(CHECKPOINTED, str(recipe_file), *evaluated, "training.gradient_checkpointing=true")
    assert found["changed"] == [[], [], []]
    assert set(found["while"]) == {0}, "Unsloth no longer clears the flags, so this test has no effect"
    assert len(found["steps"]) == 4 and len(set(found["steps"])) == 1 and found["steps"][0] > 0


@pytest.mark.parametrize("names", ["lm_head,audio_tower,embed_audio", "lm_head,model.audio_tower,model.embed_audio"])
def test_skip_lists_are_the_same_with_unsloth(
    output: Callable[..., Any], recipe_file: Path, tmp_path: Path, names: str
) -> None:
    output(STORE, str(tmp_path / "base"), names)
    assert output(FOUR_BIT, str(recipe_file), f"base={tmp_path / 'base'}", "load_in_4bit=true") == [0, 21]
