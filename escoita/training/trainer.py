"""Train speech models with TRL's SFTTrainer."""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from trl import SFTTrainer

from escoita.errors import TrainingError
from escoita.training.callbacks import ThroughputCallback, batch_durations, best_of
from escoita.training.checkpointing import (
    PREFIX,
    UNFINISHED,
    CurrentIntervals,
    DueValidation,
    LossUpToCheckpoint,
    ValidationInterrupted,
    finish_checkpoint,
    folder_written,
    remove_checkpoints,
)
from escoita.training.data_collator import SECONDS
from escoita.training.oom import Batch, BatchSplitter
from escoita.training.resume import DataState
from escoita.training.sampler import Batches, data_seed, longest_first
from escoita.training.validation import ValidationSet
from escoita.utils.interruption import StopRequest, shield_worker


class SpeechTrainer(SFTTrainer):
    """
    Train like SFTTrainer, with speech batches.

    In addition, it transcribes validation clips at each evaluation, resumes in the same batch order, splits batches
    that do not fit in memory, and measures the throughput.

    Args:
        validation_set ([`ValidationSet`], *optional*): The clips that are transcribed at each evaluation.
        request ([`StopRequest`], *optional*): The request to stop after a step, which a signal sets.
        data ([`DataState`], *optional*): The state of the rows, which is written into each checkpoint.
    """

    def __init__(
        self,
        *args: Any,
        validation_set: ValidationSet | None = None,
        request: StopRequest | None = None,
        data: DataState | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        if validation_set is not None and self.is_fsdp_enabled and not self.accelerator.is_fsdp2:
            raise TrainingError(
                "a model that the first version of FSDP shards cannot generate",
                key="validation.clips",
                hint="set fsdp_version: 2, or give --set validation.clips=0 to evaluate only the loss",
            )
        # The loss is TRL's, the mean over all label tokens of a step. Trainer counts them only for a model that
        # accepts the count, which Gemma 4 does not; without the count, the loss would be the mean of batch means.
        self.model_accepts_loss_kwargs = True
        if self.data_collator.family.own_vocabulary:
            # PEFT would look for text embeddings, because the configuration has another vocabulary than the base.
            self.model.save_pretrained = partial(self.model.save_pretrained, save_embedding_layers=False)
        self.validation_set = validation_set
        self.request = request or StopRequest()
        self.data = data
        self.stopped = False  # by a signal, before all steps and their validation were done
        self._first_step: int | None = None  # the step of the checkpoint, or 0
        self._checkpoint_parent: Path | None = None  # set while a checkpoint is written
        self.add_callback(ThroughputCallback())
        self.add_callback(LossUpToCheckpoint())
        self.add_callback(CurrentIntervals())
        self.add_callback(DueValidation())
        processes = self.args.world_size
        self.splitters = {phase: BatchSplitter(phase, processes) for phase in ("training", "evaluation")}
        self.step_batches: list[Batch] = []  # the processed batches of this optimizer step
        if self.args.dataloader_num_workers:  # otherwise the tokenizer warns at every fork
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    @property
    def throughput(self) -> ThroughputCallback:
        """Return the callback in use, which a checkpoint may have replaced."""
        return next(each for each in self.callback_handler.callbacks if isinstance(each, ThroughputCallback))

    @property
    def due_validation(self) -> DueValidation:
        """Return the callback in use, which a checkpoint may have replaced."""
        return next(each for each in self.callback_handler.callbacks if isinstance(each, DueValidation))

    def signal_received(self) -> int:
        """Return the signal that any of the processes received, the same on all of them; 0 if there was none."""
        signum = self.request.signum or 0
        if self.args.world_size == 1:
            return signum
        return int(self.accelerator.gather(torch.tensor([signum], device=self.args.device)).max())

    def get_train_dataloader(self) -> DataLoader:
        """Return the loader of the batches of this process; see [`Batches`]."""
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
        # The batches are already those of this rank, so the loader must not distribute them.
        return prepare_data_loader(loader, args.device, num_processes=1, process_index=0, put_on_device=True)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Return Trainer's loader of all clips, whose workers ignore a signal that is sent to all processes."""
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
        """Return the batches of an optimizer step of this process, and its number of label tokens of all processes."""
        self.step_batches = []
        self.throughput.start_step()
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        audio_seconds, padded_seconds = batch_durations([batch[SECONDS] for batch in batches])
        if self.args.world_size > 1:
            durations = torch.tensor([audio_seconds, padded_seconds], device=device)
            audio_seconds, padded_seconds = self.accelerator.gather(durations).reshape(-1, 2).sum(0).tolist()
        self.throughput.data_loaded(audio_seconds, padded_seconds)
        return batches, items

    def _prepare_inputs(self, inputs: Batch) -> Batch:
        return {key: value for key, value in super()._prepare_inputs(inputs).items() if key != SECONDS}

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        """Run the forward and backward pass of a batch, split if it does not fit in memory; the losses add up."""
        splitter, before = self.splitters["training"], list(self.step_batches)
        self.step_batches.append(inputs)
        step = partial(super().training_step, model, num_items_in_batch=num_items_in_batch)
        loss = splitter.run(step, inputs, model.zero_grad, before)
        self.throughput.split_batches += len(splitter.parts(inputs)) > 1
        return loss

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return TRL's loss or that of the family, either the mean over all label tokens of a step."""
        total = self.data_collator.family.summed_loss(model, self.model.config, inputs)
        if total is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        tokens = self.label_tokens(inputs) if num_items_in_batch is None else num_items_in_batch
        loss = total / tokens
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # the gradients of the processes are averaged
        return (loss, {"loss": loss}) if return_outputs else loss

    def label_tokens(self, batch: Batch) -> torch.Tensor:
        """Return the number of predicted tokens of a batch; a language model never predicts the first of a row."""
        labels = batch["labels"]
        return (labels[:, 1:] if self._loss_shifts_labels else labels).ne(-100).sum()

    def prediction_step(
        self, model: Any, inputs: Batch, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor | None, Any, Any]:
        """Return the mean loss of the label tokens of a batch, which is split if it does not fit in memory."""
        if not prediction_loss_only:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        if self.signal_received():
            raise ValidationInterrupted
        mean = partial(super().prediction_step, prediction_loss_only=True)
        total = self.splitters["evaluation"].run(
            lambda part: mean(model, part)[0] * self.label_tokens(part), inputs, clear_gradients=lambda: None
        )
        return total / self.label_tokens(inputs), None, None

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate without an effect on the random numbers of the training."""
        with torch.random.fork_rng([self.args.device] if self.args.device.type == "cuda" else []):
            return super().evaluate(*args, **kwargs)

    def _evaluate(self, trial: Any, ignore_keys_for_eval: list[str] | None, skip_scheduler: bool = False) -> Any:
        """
        Evaluate; if a signal interrupts the validation, the resumed run repeats it.

        Trainer skips the scheduler only in the evaluation before the first step.
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
        """Restore the callbacks; error rates on validation clips that have changed since are discarded."""
        super()._load_callback_state()
        changes = self.data.changes if self.data is not None else []
        if changes and changes[-1].validation and changes[-1].step == self.state.global_step:
            best_of(self).reset()

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Take the steps of an epoch, if any are left and no signal came before the first."""
        if self._first_step is None:
            self._first_step = self.state.global_step
        if self.state.global_step == self._first_step and self.signal_received():
            self.stopped = True  # no step was taken since the checkpoint
        if self.stopped or self.control.should_training_stop or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Log, evaluate and save after a step; after a signal, save at once and postpone the evaluation."""
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
        return str(self._checkpoint_parent or super()._get_output_dir(trial))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint into another folder, and move it into place when it is complete."""
        folder, step, writes = Path(self.args.output_dir), self.state.global_step, self.args.should_save
        unfinished, name = folder / UNFINISHED, f"{PREFIX}{step}"
        if writes:  # a killed process may have left files
            shutil.rmtree(unfinished, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self._checkpoint_parent = unfinished
        try:
            with folder_written(unfinished / name):
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if writes:
                    if self.data is not None:
                        self.data.write(unfinished / name)
                    finish_checkpoint(unfinished / name, folder / name)
        finally:
            self._checkpoint_parent = None
            if writes:
                shutil.rmtree(unfinished, ignore_errors=True)
        if writes:
            remove_checkpoints(folder, step, self.args.save_total_limit)

    def _save_rng_state(self, output_dir: str) -> None:
        """Save the random state of every process, before the main process writes the manifest."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def evaluation_loop(self, *args: Any, **kwargs: Any):
        """Compute the loss and the error rates of the validation clips, so that they are logged together."""
        output = super().evaluation_loop(*args, **kwargs)
        if self.validation_set is not None and output.metrics is not None:
            # `generate` does not call the forward of the wrapped model, to which accelerate adds autocast.
            with self.accelerator.autocast():
                metrics = self.validation_set.evaluate(self.model, self.request)
            output.metrics.update({f"eval_{name}": value for name, value in metrics.items()})
        return output
