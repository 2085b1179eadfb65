"""TRL's SFTTrainer, for speech."""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.utils.data import DataLoader
from trl import SFTTrainer

from escoita.errors import TrainingError
from escoita.training.callbacks import ThroughputCallback, audio_of, best_of
from escoita.training.checkpointing import (
    PREFIX,
    UNFINISHED,
    CurrentIntervals,
    DueValidation,
    LossUpToCheckpoint,
    ValidationInterrupted,
    finish_checkpoint,
    remove_checkpoints,
    written_whole,
)
from escoita.training.data_collator import SECONDS
from escoita.training.oom import Batch, BatchSplitter
from escoita.training.resume import DataState
from escoita.training.sampler import Batches, data_seed, longest_first
from escoita.training.validation import ValidationSet
from escoita.utils.interruption import StopRequest, shield_worker


class SpeechTrainer(SFTTrainer):
    """
    SFTTrainer that hears while it trains, in an order that a killed run goes on in, takes batches in halves where
    memory is short, and says how fast it is.

    Args:
        listening ([`ValidationSet`], *optional*): Heard at each evaluation; nothing unless given.
        request ([`StopRequest`], *optional*): Stops the training after a step, once a signal came.
        data ([`DataState`], *optional*): Is written into each checkpoint.
    """

    def __init__(
        self,
        *args: Any,
        listening: ValidationSet | None = None,
        request: StopRequest | None = None,
        data: DataState | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        if listening is not None and self.is_fsdp_enabled:
            raise TrainingError(
                "validation.clips: to listen each process needs all weights, of which FSDP leaves it a share; give"
                " --set validation.clips=0, and the loss alone is evaluated"
            )
        # The loss is TRL's own, the mean of all label tokens of a step. Trainer counts them only for a model that can
        # be told the count, as Gemma 4 cannot; without it, the mean of batches' means would be trained on.
        self.model_accepts_loss_kwargs = True
        self.listening = listening
        self.request = request or StopRequest()
        self.data = data
        self.stopped = False  # by a signal, with steps or their validation left to do
        self._first_step: int | None = None  # that of the checkpoint, or 0
        self._written_into: Path | None = None  # while a checkpoint is being written
        self.add_callback(ThroughputCallback())
        self.add_callback(LossUpToCheckpoint())
        self.add_callback(CurrentIntervals())
        self.add_callback(DueValidation())
        processes = self.args.world_size
        self.halves = {mode: BatchSplitter(mode, processes) for mode in ("training", "evaluation")}
        self.taken: list[Batch] = []  # of this optimizer step
        if self.args.dataloader_num_workers:  # the tokenizer would warn at every fork
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    @property
    def pace(self) -> ThroughputCallback:
        """The callback that counts: not the one that went in, in whose place a checkpoint puts its own."""
        return next(each for each in self.callback_handler.callbacks if isinstance(each, ThroughputCallback))

    @property
    def due_validation(self) -> DueValidation:
        """The callback that counts, as for [`pace`]."""
        return next(each for each in self.callback_handler.callbacks if isinstance(each, DueValidation))

    def signal_received(self) -> int:
        """The signal that any of the processes received, the same on all of them; 0 if there was none."""
        signum = self.request.signum or 0
        if self.args.world_size == 1:
            return signum
        return int(self.accelerator.gather(torch.tensor([signum], device=self.args.device)).max())

    def get_train_dataloader(self) -> DataLoader:
        """Batches of this process; see [`Batches`]."""
        args = self.args
        batches = Batches(
            np.asarray(self.train_dataset[args.length_column_name][:]),
            args.train_batch_size,
            args.gradient_accumulation_steps,
            strategy=args.train_sampling_strategy,
            seed=data_seed(args),
            processes=args.world_size,
            rank=args.process_index,
            drop_last=args.dataloader_drop_last,
        )
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=batches,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            persistent_workers=args.dataloader_persistent_workers,
            pin_memory=args.dataloader_pin_memory,
            worker_init_fn=shield_worker,
        )
        # One process, as the batches are those of this rank already.
        return prepare_data_loader(loader, args.device, num_processes=1, process_index=0, put_on_device=True)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """The loader of Trainer with all clips, whose workers do not end at a signal that all processes get."""
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            loader = super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last
        loader.worker_init_fn = shield_worker
        return loader

    def _get_eval_sampler(self, eval_dataset: Any) -> list[int]:
        return longest_first(eval_dataset[self.args.length_column_name][:])

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Any]:
        """The batches of an optimizer step of this process, and the label tokens of all processes in it."""
        self.taken = []
        self.pace.ask()
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        audio = torch.tensor(audio_of([batch[SECONDS] for batch in batches]), device=device)
        heard, padded = self.accelerator.gather(audio).reshape(-1, 2).sum(0).tolist()
        self.pace.have(heard, padded)
        return batches, items

    def _prepare_inputs(self, inputs: Batch) -> Batch:
        return {key: value for key, value in super()._prepare_inputs(inputs).items() if key != SECONDS}

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        """One batch forward and back; in halves where memory is short. The parts' losses are sums over one count."""
        halves, before = self.halves["training"], list(self.taken)
        self.taken.append(inputs)
        step = partial(super().training_step, model, num_items_in_batch=num_items_in_batch)
        loss = halves.take(step, inputs, model.zero_grad, before)
        self.pace.halved += len(halves.parts(inputs)) > 1
        return loss

    def prediction_step(
        self, model: Any, inputs: Batch, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor | None, Any, Any]:
        """The mean loss of the label tokens of a batch; in halves where memory is short."""
        if not prediction_loss_only:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        if self.signal_received():
            raise ValidationInterrupted
        mean = partial(super().prediction_step, prediction_loss_only=True)
        total = self.halves["evaluation"].take(
            lambda part: mean(model, part)[0] * label_tokens(part), inputs, forget=lambda: None
        )
        return total / label_tokens(inputs), None, None

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluates; training goes on as if it had not."""
        with torch.random.fork_rng([self.args.device] if self.args.device.type == "cuda" else []):
            return super().evaluate(*args, **kwargs)

    def _evaluate(self, trial: Any, ignore_keys_for_eval: list[str] | None, skip_scheduler: bool = False) -> Any:
        """
        Evaluates; where a signal cuts it short, the validation is due when the run resumes.

        Trainer asks to skip the scheduler of the evaluation before the first step alone.
        """
        due = self.due_validation
        try:
            metrics = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler and not due.due)
        except ValidationInterrupted:
            due.due = self.stopped = True
            self.control.should_save = False
            return {}
        due.due = False
        return metrics

    def _load_callback_state(self) -> None:
        """Restores the callbacks; rates on validation clips that have changed since say nothing about later ones."""
        super()._load_callback_state()
        changes = self.data.changes if self.data is not None else []
        if changes and changes[-1].validation and changes[-1].step == self.state.global_step:
            best_of(self).forget()

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """The steps of an epoch; none if all were taken before, or a signal came before the first."""
        if self._first_step is None:
            self._first_step = self.state.global_step
        if self.state.global_step == self._first_step and self.signal_received():
            self.stopped = True  # nothing was done since the checkpoint that the run resumed from
        if self.stopped or self.control.should_training_stop or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Logs, evaluates and saves after a step; after a signal saves at once, and puts off the evaluation."""
        if self.stopped:  # the end of the epoch in which the training stopped
            return
        control, saved = self.control, False
        if self.signal_received():
            self.due_validation.due = control.should_evaluate
        else:
            super()._maybe_log_save_evaluate(*args, **kwargs)
            control, saved = self.control, self.control.should_save
        if self.signal_received():
            control.should_evaluate = False
            if not saved:
                control.should_log = control.should_save = True
                super()._maybe_log_save_evaluate(*args, **kwargs)
            self.stopped = self.control.should_training_stop = True

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._written_into or super()._get_output_dir(trial))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes a checkpoint into another folder, and moves it into place once it is whole."""
        folder, step, writes = Path(self.args.output_dir), self.state.global_step, self.args.should_save
        unfinished, name = folder / UNFINISHED, f"{PREFIX}{step}"
        if writes:  # of a process that was killed
            shutil.rmtree(unfinished, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self._written_into = unfinished
        try:
            with written_whole(unfinished / name):
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if writes:
                    if self.data is not None:
                        self.data.write(unfinished / name)
                    finish_checkpoint(unfinished / name, folder / name)
        finally:
            self._written_into = None
            if writes:
                shutil.rmtree(unfinished, ignore_errors=True)
        if writes:
            remove_checkpoints(folder, step, self.args.save_total_limit)

    def _save_rng_state(self, output_dir: str) -> None:
        """Of every process, before the main one writes what says that the checkpoint is whole."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def whole_weights(self) -> dict[str, Any] | None:
        """What was trained, gathered from all processes, each of which must call, where they hold shares (FSDP)."""
        if not self.is_fsdp_enabled:
            return None
        options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        return get_model_state_dict(self.model, options=options)

    def evaluation_loop(self, *args: Any, **kwargs: Any):
        """The loss, and the rates of what is heard beside it, so that they are logged together."""
        output = super().evaluation_loop(*args, **kwargs)
        if self.listening is not None and output.metrics is not None:
            # `generate` does not pass through the forward of the wrapped model, whose precision accelerate sees to.
            with self.accelerator.autocast():
                rates = self.listening.rates(self.model, self.request)
            output.metrics.update({f"eval_{name}": value for name, value in rates.items()})
        return output


def label_tokens(batch: Batch) -> torch.Tensor:
    """How many tokens of a batch are predicted; the first of a row never is."""
    return batch["labels"][:, 1:].ne(-100).sum()
