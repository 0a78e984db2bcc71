"""Batches of a task for a Lightning trainer: the dataloaders yield row numbers, the device makes the tokens."""

from collections.abc import Iterator
from itertools import count
from typing import Any, ClassVar, NamedTuple

import torch
from lightning import LightningDataModule
from torch import Tensor

from datamodules.stream import Split
from datamodules.task import Task, require_at_least

EVAL_TOKENS = 16_384
MIN_EVAL_SEQUENCES = 8


class Rows(NamedTuple):
    """The numbers of the sequences to make, as a dataloader yields them; tokens are made on the training device."""

    split: Split
    start: int
    stop: int


class _TrainRows:
    """Endless training batches, from the trainer's current step on: so a resumed run continues where it stopped."""

    def __init__(self, data: "TaskDataModule") -> None:
        self.data = data

    def __iter__(self) -> Iterator[Rows]:
        trainer, batch_size = self.data.trainer, self.data.batch_size
        step, rank, world_size = 0, 0, 1
        if trainer is not None:
            step = trainer.global_step * trainer.accumulate_grad_batches
            rank, world_size = trainer.global_rank, trainer.world_size
        share = batch_size // world_size
        for batch in count(step):
            start = batch * batch_size + rank * share
            yield Rows("train", start, start + share)


class _HeldOutRows:
    """The fixed held-out sequences in chunks of one batch; the last may be smaller."""

    def __init__(self, split: Split, n_sequences: int, chunk: int) -> None:
        self.split, self.n_sequences, self.chunk = split, n_sequences, chunk

    def __len__(self) -> int:
        return len(range(0, self.n_sequences, self.chunk))

    def __iter__(self) -> Iterator[Rows]:
        for start in range(0, self.n_sequences, self.chunk):
            yield Rows(self.split, start, min(start + self.chunk, self.n_sequences))


class TaskDataModule(LightningDataModule):
    """Feeds a task to a Lightning trainer. A training batch reaches the module as (batch_size / world_size, N) int64
    tokens on its device; every rank evaluates the whole held-out set, so all ranks see the same metrics.

    Args:
        task: the generator.
        tokens_per_step: tokens in a training step; the batch is as many whole sequences as fit.
        batch_size: sequences in a training step; overrides tokens_per_step.
        eval_sequences: sequences in the held-out set; by default as many as make 16,384 tokens, at least 8.

    Raises:
        ValueError: if an option is out of range, or tokens_per_step is less than one sequence.
    """

    task_class: ClassVar[type[Task]]
    """Of a registered task: the class that its options go to."""
    model_defaults: ClassVar[dict[str, Any]] = {}
    """Of a registered task: its model options where the user gives none."""
    as_rows: bool = False
    """Whether a batch reaches the module as `Rows`: for one that makes the tokens of many seeds itself."""

    def __init__(
        self,
        task: Task,
        *,
        tokens_per_step: int = 8192,
        batch_size: int | None = None,
        eval_sequences: int | None = None,
    ) -> None:
        super().__init__()
        if batch_size is None:
            if tokens_per_step < task.n_tokens:
                raise ValueError(
                    f"tokens_per_step={tokens_per_step} is less than one sequence of {task.n_tokens} tokens:"
                    f" set tokens_per_step to at least {task.n_tokens}, or batch_size"
                )
            batch_size = tokens_per_step // task.n_tokens
        if eval_sequences is None:
            eval_sequences = max(MIN_EVAL_SEQUENCES, -(-EVAL_TOKENS // task.n_tokens))
        require_at_least(1, batch_size=batch_size, eval_sequences=eval_sequences)
        self.task = task
        self.batch_size = batch_size
        self.eval_sequences = eval_sequences

    @property
    def vocab_size(self) -> int:
        return self.task.vocab_size

    @property
    def seq_len(self) -> int:
        return self.task.seq_len

    @property
    def tokens_per_step(self) -> int:
        """Tokens in a training step as it is: whole sequences only."""
        return self.batch_size * self.task.n_tokens

    def train_dataloader(self) -> _TrainRows:
        """Endless: the trainer's max_steps ends it.

        Raises:
            ValueError: if the ranks cannot share a batch equally.
        """
        if self.trainer is not None and self.batch_size % self.trainer.world_size:
            raise ValueError(f"batch_size={self.batch_size} does not divide among {self.trainer.world_size} processes")
        return _TrainRows(self)

    def val_dataloader(self) -> _HeldOutRows:
        return _HeldOutRows("eval", self.eval_sequences, self.batch_size)

    def test_dataloader(self) -> _HeldOutRows:
        return _HeldOutRows("test", self.eval_sequences, self.batch_size)

    def transfer_batch_to_device(self, batch: Rows, device: torch.device, dataloader_idx: int) -> Tensor | Rows:
        """Make the tokens of these rows, (B, N) int64, on the device; with `as_rows` hand over the rows as they are."""
        return batch if self.as_rows else self.task.rows(batch.start, batch.stop, batch.split, device)
