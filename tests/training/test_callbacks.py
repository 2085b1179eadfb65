"""The callback on a training that never was: what an evaluation finds is made up, the flow is the Trainer's own."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

from escoita.training.callbacks import BestAdapter, best_folder, best_of, save_weights


class Model:
    """Writes the step as its weights."""

    step = 0

    def save_pretrained(self, folder: Path, **told: Any) -> None:
        assert told == {"save_embedding_layers": False}
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_text(str(self.step))
        (folder / "README.md").write_text("base_model: /home/ana/gemma4")


class Training:
    """
    The Trainer's loop, of three batches an epoch, without a model: steps, evaluations and checkpoints in their order.

    Args:
        path: Of the run.
        found: WER at each step, or WER, CER and loss.
        steps: How many are asked for.
        patience: Of the callback.
        arguments: Others than those of the Trainer's that matter here.
    """

    def __init__(self, path: Path, found: list, steps: int = 6, patience: int | None = None, **arguments: Any):
        usual = {"eval_strategy": "steps", "save_strategy": "steps", "save_steps": 2, "eval_steps": 1, "eval_delay": 0}
        others = {"logging_strategy": "no", "logging_first_step": False, "output_dir": str(path / "checkpoints")}
        self.args = SimpleNamespace(**(others | usual | arguments))
        self.found, self.steps, self.best = found, steps, BestAdapter(patience)
        self.model = Model()
        self.optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}], step_was_skipped=False)
        self.evaluated: list[int] = []
        self.saved: dict[int, str] = {}
        self.state = TrainerState(max_steps=steps, eval_steps=self.args.eval_steps, save_steps=self.args.save_steps)
        self.begin()

    def begin(self) -> None:
        self.callback_handler = CallbackHandler(
            [DefaultFlowCallback, self.best], self.model, None, self.optimizer, None
        )
        self.control = TrainerControl()
        self.control = self.callback_handler.on_train_begin(self.args, self.state, self.control)

    def evaluate(self) -> None:
        self.evaluated.append(self.state.global_step)
        rates = self.found[self.state.global_step]
        wer, cer, loss = rates if isinstance(rates, tuple) else (rates, 0.1, 1.0)
        metrics = {"eval_wer": wer, "eval_cer": cer, "eval_loss": loss}
        if wer is None:
            metrics = {"eval_loss": loss}
        self.state.log_history.append(metrics | {"step": self.state.global_step})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)

    def react(self) -> None:
        if self.control.should_evaluate:
            self.evaluate()
        if self.control.should_save:
            self.saved[self.state.global_step] = json.dumps(self.best.state())
            self.control = self.callback_handler.on_save(self.args, self.state, self.control)

    def run(self, until: int | None = None) -> "Training":
        """Up to the end, or to where it is killed."""
        while not self.control.should_training_stop:
            self.control = self.callback_handler.on_step_begin(self.args, self.state, self.control)
            self.control = self.callback_handler.on_optimizer_step(self.args, self.state, self.control)
            self.state.global_step += 1
            self.model.step = self.state.global_step
            self.state.epoch = self.state.global_step / 3
            self.control = self.callback_handler.on_step_end(self.args, self.state, self.control)
            self.react()
            if self.state.global_step == until:
                return self
            if self.state.global_step % 3 == 0 or self.control.should_training_stop:
                self.control = self.callback_handler.on_epoch_end(self.args, self.state, self.control)
                self.react()
        self.control = self.callback_handler.on_train_end(self.args, self.state, self.control)
        return self

    def go_on(self, step: int, found: list | None = None) -> "Training":
        """Another session, from a checkpoint."""
        self.best = BestAdapter.from_state(json.loads(self.saved[step]))
        self.state.global_step, self.found, self.evaluated = step, found or self.found, []
        self.begin()
        return self

    @property
    def kept(self) -> str:
        weights = best_of(self).weights(self.args)
        assert weights is not None
        assert [path.name for path in weights.iterdir()] == ["adapter_model.safetensors"]
        return (weights / "adapter_model.safetensors").read_text()


def test_the_lowest_wer_is_kept(tmp_path: Path) -> None:
    training = Training(tmp_path, [0.1, 0.9, 0.5, 0.3, 0.4, 0.3, 0.8]).run()
    assert (training.best.step, training.kept) == (3, "3")
    assert training.best.weights(training.args) == tmp_path / "best/step-3"


@pytest.mark.parametrize(
    "found, kept",
    [
        ([1, (0.3, 0.2, 9.0), (0.3, 0.1, 9.0), (0.3, 0.2, 1.0)], 2),
        ([1, (0.3, 0.2, 9.0), (0.3, 0.2, 8.0), (0.3, 0.2, 8.0)], 2),
        ([1, (0.3, 0.2, 9.0), (0.3, 0.2, float("nan")), (0.3, 0.3, 0.0)], 1),
    ],
)
def test_equals_are_told_apart_by_cer_then_by_loss(tmp_path: Path, found: list, kept: int) -> None:
    assert Training(tmp_path, found, steps=3).run().best.step == kept


def test_the_base_is_heard_but_is_no_adapter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Training(tmp_path, [0.1, 0.5, 0.4, 0.6], steps=3)
    training.evaluate()
    assert training.best.step is None and not (tmp_path / "best").exists()
    training.run()
    said = capsys.readouterr().err
    assert training.kept == "2" and "Kept the adapter of step 2 (WER 0.400)\n" in said
    assert "No adapter heard the validation clips better than the base did (WER 0.100)\n" in said


def test_where_nothing_is_heard_nothing_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Training(tmp_path, [(None, None, 1.0)] * 7, patience=1).run()
    assert training.evaluated == [1, 2, 3, 4, 5, 6]
    assert training.best.step is None and training.best.weights(training.args) is None
    assert not (tmp_path / "best").exists() and "Kept" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, steps, evaluated",
    [
        ({"eval_steps": 2}, 6, [2, 4, 6]),
        ({"eval_steps": 4}, 6, [4, 6]),
        ({"eval_steps": 9}, 6, [6]),
        ({"eval_delay": 9}, 6, [6]),
        ({"eval_strategy": "epoch"}, 6, [3, 6]),
        ({"eval_strategy": "epoch"}, 5, [3, 5]),
        ({"eval_strategy": "epoch", "eval_delay": 2}, 6, [6]),
        ({"eval_strategy": "epoch", "eval_delay": 9}, 6, [6]),
        ({"eval_strategy": "no"}, 6, []),
    ],
)
def test_the_last_step_is_heard_and_none_twice(
    tmp_path: Path, arguments: dict[str, Any], steps: int, evaluated: list[int]
) -> None:
    assert Training(tmp_path, [0.5] * 7, steps, **arguments).run().evaluated == evaluated


def test_a_checkpoint_at_the_end_of_an_epoch_knows_what_was_heard_there(tmp_path: Path) -> None:
    training = Training(tmp_path, [0.5] * 7, eval_strategy="epoch", save_steps=3).run()
    assert json.loads(training.saved[3])["attributes"]["step"] == 3


def test_patience(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.4, (0.4, 0.05, 1.0), 0.3, 0.2], patience=2).run()
    assert training.evaluated == [1, 2, 3, 4]
    assert training.kept == "4"  # the CER was lower, which does not count as hope
    assert "Stopping after step 4: 2 evaluations did not lower the WER\n" in capsys.readouterr().err
    assert 4 in training.saved  # from which the adapter is saved if the run is killed now


def test_patience_is_for_evaluations_one_after_the_other(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.6, 0.4, 0.5, 0.3, 0.4], patience=2).run()
    assert training.evaluated == [1, 2, 3, 4, 5, 6] and training.kept == "5"


def test_a_run_that_was_killed_out_of_patience_takes_no_step(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.4, 0.5, 0.3, 0.2], patience=2).run().go_on(4)
    assert training.control.should_training_stop and training.run().evaluated == []
    assert training.kept == "2"


def test_patience_without_checkpoints_writes_none(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.4, 0.5, 0.3, 0.2], patience=2, save_strategy="no").run()
    assert training.evaluated == [1, 2, 3, 4] and not training.saved


def test_patience_by_epochs_writes_one_too(tmp_path: Path) -> None:
    found = [0.5] * 10
    training = Training(tmp_path, found, 9, 1, eval_strategy="epoch", save_strategy="epoch").run()
    assert training.evaluated == [3, 6] and list(training.saved) == [3, 6]


def test_patience_survives_a_kill(tmp_path: Path) -> None:
    found = [1, 0.5, 0.6, 0.7, 0.8, 0.1, 0.1]
    training = Training(tmp_path, found, patience=3).run(until=3).go_on(2).run()
    assert training.evaluated == [3, 4] and training.kept == "1"


def test_a_kill_after_a_better_one_was_heard_leaves_what_the_checkpoint_speaks_of(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.2, 0.9, 0.9, 0.9]).run(until=3)
    assert (tmp_path / "best/step-3").is_dir()
    # Heard once more, step 3 is worse, as no GPU computes the same twice.
    training.go_on(2, [1, 0.5, 0.4, 0.6, 0.9, 0.9, 0.9])
    assert training.best.step == 2
    training.run()
    assert training.kept == "2" and training.best.rates[0] == 0.4


def test_a_kill_at_the_very_end_leaves_what_an_earlier_checkpoint_speaks_of(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.6, 0.7, 0.8, 0.3]).run()
    assert training.kept == "6"
    training.go_on(4, [1, 0.5, 0.4, 0.6, 0.7, 0.8, 0.41]).run()
    assert training.kept == "2"


def test_a_later_checkpoint_lets_go_of_what_it_does_not_speak_of(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.9])
    training.run(until=1)
    (tmp_path / "best/step-9.unfinished").mkdir()
    training.run(until=4)
    assert [folder.name for folder in (tmp_path / "best").iterdir()] == ["step-4"]


def test_an_earlier_checkpoint_keeps_what_it_speaks_of(tmp_path: Path) -> None:
    """As the newest checkpoint may turn out to be damaged."""
    training = Training(tmp_path, [1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.9]).run(until=2)
    for step, state in (2, {"stateful_callbacks": {"BestAdapter": training.best.state()}}), (1, {}):
        (tmp_path / f"checkpoints/checkpoint-{step}").mkdir(parents=True)
        (tmp_path / f"checkpoints/checkpoint-{step}/trainer_state.json").write_text(json.dumps(state))
    training.run(until=4)
    assert {folder.name for folder in (tmp_path / "best").iterdir()} == {"step-2", "step-4"}


def test_an_adapter_that_somebody_removed_is_missed_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = Training(tmp_path, [1, 0.1, 0.4, 0.6, 0.7, 0.8, 0.9]).run(until=2)
    (tmp_path / "best/step-1").rename(tmp_path / "elsewhere")
    training.go_on(2).run()
    assert training.kept == "3"
    assert "best/step-1 is gone; the best adapter is looked for among the steps that follow" in capsys.readouterr().err


def test_a_run_may_be_moved_between_sessions(tmp_path: Path) -> None:
    training = Training(tmp_path / "a", [1, 0.1, 0.4, 0.6, 0.7, 0.8, 0.9]).run(until=2)
    (tmp_path / "a").rename(tmp_path / "b")
    training.args.output_dir = str(tmp_path / "b/checkpoints")
    assert training.go_on(2).run().kept == "1"
    assert best_folder(training.args) == tmp_path / "b/best"


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    training = Training(tmp_path, [1, 0.5, 0.4, 0.6, 0.7, 0.8, 0.9])
    training.state.is_world_process_zero = False
    assert training.run().best.step == 2 and not (tmp_path / "best").exists()


def test_weights_are_whole_or_not_at_all(tmp_path: Path) -> None:
    class Killed(Model):
        def save_pretrained(self, folder: Path, **told: Any) -> None:
            super().save_pretrained(folder, **told)
            raise KeyboardInterrupt

    save_weights(Model(), tmp_path / "step-1")
    for name in ("step-1", "step-2"):
        with pytest.raises(KeyboardInterrupt):
            save_weights(Killed(), tmp_path / name)
    assert (tmp_path / "step-1/adapter_model.safetensors").is_file() and not (tmp_path / "step-2").exists()
    save_weights(Model(), tmp_path / "step-2")
    assert {path.name for path in tmp_path.glob("step-2*")} == {"step-2"}


def test_what_is_still_the_base_is_not_kept(tmp_path: Path) -> None:
    """The learning rate of the first step of a warm-up is 0."""
    training = Training(tmp_path, [0.9, 0.1, 0.5, 0.4, 0.6, 0.7, 0.8])
    training.optimizer.param_groups[0]["lr"] = 0.0
    training.run(until=1)
    assert training.evaluated == [1] and training.best.step is None and training.best.in_vain == 0
    training.optimizer.param_groups[0]["lr"] = 0.1
    training.run()
    assert training.best.step == 3


def test_a_step_that_the_scaler_skipped_leaves_the_base(tmp_path: Path) -> None:
    training = Training(tmp_path, [0.9, 0.1, 0.5, 0.4, 0.6, 0.7, 0.8])
    training.optimizer.step_was_skipped = True
    training.run(until=1)
    assert training.best.step is None
    training.optimizer.step_was_skipped = False
    assert training.run().best.step == 3


def test_the_best_of_other_clips_is_forgotten(tmp_path: Path) -> None:
    training = Training(tmp_path, [0.9, 0.1, 0.5, 0.4, 0.3, 0.7, 0.8], patience=6)
    training.run(until=2)
    training.best.forget()
    training.run()
    assert training.best.step == 4
