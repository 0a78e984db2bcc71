"""The tokens of many seeds of one task at once, and the attention patterns that they ask for.

Shape letters: E seeds, B sequences, N tokens of a sequence, L = N - 1 positions a model reads, K keys of a query.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from datamodules.stream import Split, Stream
from datamodules.task import Task


class TaskEnsemble:
    """E tasks that differ in their seeds only, and their sequences side by side.

    Args:
        tasks: of one class and configuration, at least one.

    Raises:
        ValueError: if there is none, or one differs from the first in more than its seeds.

    Attributes:
        tasks: the seeds that are left, in order.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        if not tasks:
            raise ValueError("an ensemble needs at least one task")
        for number, task in enumerate(tasks):
            if (type(task), task.config) != (type(tasks[0]), tasks[0].config):
                raise ValueError(
                    f"task {number} of the ensemble is {task.name} {task.config}, task 0 is {tasks[0].name}"
                    f" {tasks[0].config}: they may differ in their seeds only"
                )
        self.tasks = list(tasks)
        self._stacked: dict[torch.device, tuple[Task, Tensor]] = {}
        self._patterns: dict[torch.device, Tensor] = {}

    def rows(self, start: int, stop: int, split: Split = "train", device: torch.device | str = "cpu") -> Tensor:
        """Sequences start..stop-1 of a split of every seed: (E, stop - start, N) int64 tokens, made on the device.

        Raises:
            ValueError: if the range is negative or too large for its counters, or the split is unknown.
        """
        self.tasks[0]._check(start, stop - 1, split)
        return self._generate(torch.arange(start, stop, device=device), split)

    def rows_at(self, start: Tensor, batch_size: int, split: Split = "train") -> Tensor:
        """As `rows`, the first row given by a tensor: for a captured CUDA graph, which must not wait for the device.

        Whether the rows exist is not checked, as that would mean to wait. The first call on a device copies what the
        seeds need to it, so it comes before the capture.

        Args:
            start: 0-dimensional int64, on the device where the tokens are to be made.
            batch_size: rows of every seed (B).
            split: of the stream.

        Returns:
            (E, B, N) int64.

        Raises:
            ValueError: if the split is unknown.
        """
        self.tasks[0]._check(0, batch_size - 1, split)
        return self._generate(start + torch.arange(batch_size, device=start.device), split)

    def keep(self, indices: Sequence[int]) -> None:
        """Go on with these seeds only, in this order.

        Args:
            indices: positions among the seeds that are left, at least one, each once.

        Raises:
            ValueError: if there is none, or one is repeated or out of range.
        """
        n_seeds = len(self.tasks)
        if not indices or len({*indices}) < len(indices) or not {*indices} <= {*range(n_seeds)}:
            raise ValueError(f"keep needs different indices in 0..{n_seeds - 1}, at least one, got {list(indices)}")
        self.tasks = [self.tasks[index] for index in indices]
        self._patterns.clear()
        for device in self._stacked:
            self._stacked[device] = self._stack(device)

    def patterns(self, tokens_EBN: Tensor) -> Tensor:
        """The ground-truth attention patterns of every seed's own task in its sequences.

        Args:
            tokens_EBN: sequences of every seed; after the first call on their device nothing waits for it.

        Returns:
            (E, B, L, L) bool, query by key: True on the keys of a scored query. B is 1 where the sequences share one.

        Raises:
            ValueError: if the pattern is not known.
        """
        device = tokens_EBN.device
        if self.tasks[0].keys is None:
            found = [task.keys_in(tokens_BN) for task, tokens_BN in zip(self.tasks, tokens_EBN, strict=True)]
            keys = [keys_BLK for keys_BLK in found if keys_BLK is not None]
            if len(keys) < len(found):
                raise ValueError(f"the attention pattern of {self.tasks[0].name} is not known")
            return pattern_of(torch.stack(keys))
        if device not in self._patterns:
            keys = [task.keys[None] for task in self.tasks if task.keys is not None]
            self._patterns[device] = pattern_of(torch.stack(keys)).to(device)
        return self._patterns[device]

    def _generate(self, index_B: Tensor, split: Split) -> Tensor:
        device, alone = index_B.device, len(self.tasks) == 1
        if not (alone or self.tasks[0].vectorised):
            return torch.stack([task._generate(index_B, split, task._constant(device)) for task in self.tasks])
        if device not in self._stacked:
            self._stacked[device] = self._stack(device)
        task, constants = self._stacked[device]
        tokens = task._generate(index_B, split, constants)
        return tokens[None] if alone else tokens

    def _stack(self, device: torch.device) -> tuple[Task, Tensor]:
        """A task that draws from the streams of all seeds, and their constants (E, ...), on the device. A seed alone
        stays as it is, and costs nothing."""
        if len(self.tasks) == 1:
            return self.tasks[0], self.tasks[0]._constant(device)
        task = copy.copy(self.tasks[0])
        task.data_stream = Stream.stack([task.data_stream for task in self.tasks], device)
        # stacked on the CPU: the device needs no second copy of them
        constants = torch.stack([task._constant(torch.device("cpu")) for task in self.tasks])
        return task, constants.to(device)


def pattern_of(keys_LK: Tensor) -> Tensor:
    """(..., L, L) bool, query by key, of the keys of each query, (..., L, K) integers: -1 stands for none."""
    length = keys_LK.shape[-2]
    index_LK = keys_LK.long().where(keys_LK >= 0, length)  # into a column that is cut off
    mask = torch.zeros(*keys_LK.shape[:-1], length + 1, dtype=torch.bool, device=keys_LK.device)
    return mask.scatter_(-1, index_LK, True)[..., :length]
