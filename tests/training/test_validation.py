import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from escoita.data.clips import check_clips, read_clip
from escoita.data.readers import read_corpus
from escoita.data.rows import Utterances
from escoita.errors import TrainingError
from escoita.inference.transcriber import Transcriber
from escoita.metrics.normalizers import normalizer
from escoita.metrics.wer import character_edits, word_edits
from escoita.models import family_of
from escoita.recipe.schema import Corpus, Recipe, load_recipe
from escoita.records.transcript import Transcript
from escoita.training.checkpointing import ValidationInterrupted
from escoita.training.validation import ValidationSet, sample
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
    """The tiny base with an adapter that changes what it hears, in the midst of training."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=r".*language_model.*\.(q|v)_proj", task_type="CAUSAL_LM", lora_dropout=0.5)
    model = get_peft_model(family_of(BASE).load_model(BASE), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.train()


def listening(heard: Utterances, *overrides: str) -> ValidationSet:
    family = family_of(BASE)
    return ValidationSet.to(heard, quickstart(*overrides), family, family.load_processor(BASE))


corpora = st.lists(st.integers(1, 60), min_size=1, max_size=8).map(
    lambda sizes: [f"c{place}" for place, size in enumerate(sizes) for _ in range(size)]
)


@given(corpora, st.integers(1, 200))
def test_as_many_clips_as_asked_and_at_least_one_of_each_corpus(every: list[str], clips: int) -> None:
    drawn = sample(every, clips)
    found, whole = Counter(every[index] for index in drawn), Counter(every)
    assert drawn == sorted(set(drawn)) == sample(every, clips)
    assert len(drawn) == min(len(every), max(clips, len(whole)))
    assert found.keys() == whole.keys()
    for name, size in whole.items():
        assert found[name] <= size
        assert abs(found[name] - clips * size / len(every)) <= len(whole) + 1 or clips >= len(every)


def test_large_corpora_give_more() -> None:
    drawn = sample(["large"] * 900 + ["small"] * 100, 50)
    assert sum(index >= 900 for index in drawn) == 6  # one, and a tenth of the other 48
    assert sample(["a"] * 100, 10) != list(range(10))


def test_what_is_heard_is_what_the_transcriber_hears(tmp_path: Path) -> None:
    found, model = clips(tmp_path), adapted()
    ours = listening(found, "validation.clips=5")
    rates = ours.rates(model, StopRequest())
    assert len(ours.clips) == rates["utterances"] == 5

    family, alike = family_of(BASE), normalizer("uzbek")
    transcriber = Transcriber(family, model, family.load_processor(BASE), quickstart().generation_settings(), 60)
    heard = [alike(each.text) for each in transcriber.transcribe([read_clip(clip) for clip in ours.clips])]
    said = [alike(text) for text in ours.clips.column("text")]
    assert rates["wer"] == word_edits(said, heard).rate > 0
    assert rates["cer"] == character_edits(said, heard).rate > 0
    assert rates["listening_seconds"] > 0


def test_training_does_not_notice(tmp_path: Path) -> None:
    model = adapted()
    model.base_model.model.model.audio_tower.eval()  # modes may differ from module to module
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable()
    modes, before = [module.training for module in model.modules()], torch.random.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    ours = listening(clips(tmp_path, 3))
    first = ours.rates(model, StopRequest())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    again = ours.rates(model, StopRequest())
    assert {**again, "listening_seconds": 0} == {**first, "listening_seconds": 0}


def test_it_hears_in_the_precision_that_training_has(tmp_path: Path) -> None:
    """A base in bfloat16 beside an adapter in float32: only autocast joins them everywhere."""
    model = adapted().to(torch.bfloat16)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert listening(clips(tmp_path, 2)).rates(model, StopRequest())["utterances"] == 2


def test_a_clip_that_is_gone_ends_with_one_line(tmp_path: Path) -> None:
    found = clips(tmp_path, 2)
    gone = Utterances.of([*found, replace(found[0], audio=str(tmp_path / "gone.ogg"))])
    with pytest.raises(TrainingError, match=r"^validation: .*gone.ogg: .*; give the command again") as error:
        listening(gone).rates(adapted(), StopRequest())
    assert "\n" not in str(error.value)


IN_TWO = """
import json, sys, torch
from pathlib import Path
from accelerate import PartialState
from escoita.utils.interruption import StopRequest
from tests.training.test_listening import adapted, clips, listening
state = PartialState(cpu=True)
folder = Path(sys.argv[1]) / str(state.process_index)
folder.mkdir()
assert state.num_processes == 2
ours = listening(clips(folder), "eval.batch_seconds=4")
heard, ours._heard = [], lambda model, batches, request, listen=ours._heard: (
    heard.extend(batches) or listen(model, batches, request)
)
rates = ours.rates(adapted(), StopRequest())
(folder / "found.json").write_text(json.dumps([sum(map(len, heard)), rates["wer"], rates["cer"], rates["utterances"]]))
state.destroy_process_group()
"""


def test_it_stops_after_the_batch_in_which_a_signal_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request, ours = StopRequest(), listening(clips(tmp_path, 6), "eval.batch_seconds=4")
    transcribed, in_batches = [], Transcriber.in_batches

    def signalled(self: Transcriber, *args: Any) -> Iterator[tuple[list[int], list[Transcript]]]:
        for indices, transcripts in in_batches(self, *args):
            transcribed.append(indices)
            request.signum = signal.SIGTERM
            yield indices, transcripts

    monkeypatch.setattr(Transcriber, "in_batches", signalled)
    model = adapted().train()
    with pytest.raises(ValidationInterrupted):
        ours.rates(model, request)
    assert len(transcribed) == 1 and model.training


@pytest.mark.slow
def test_two_processes_hear_a_share_each_and_find_the_same(tmp_path: Path) -> None:
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
    (tmp_path / "alone").mkdir()
    alone = listening(clips(tmp_path / "alone"), "eval.batch_seconds=4").rates(adapted(), StopRequest())
    assert first == second == [alone["wer"], alone["cer"], 9]
    assert one + other == 9 and one and other
