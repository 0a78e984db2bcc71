"""What a task is.

Shape letters: B sequences, S cells of a state, T states, L = S*T - 1 positions a model reads and predicts, K keys.
A sequence is T states of S tokens, flattened with no separators. Query q reads tokens 0..q and predicts token q + 1.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor

from datamodules.stream import SPLITS, Split, Stream, check_index_range

PATTERN_MASK_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True)
class Target:
    """A level of a metric that marks a stage of learning, for example `Target("rows_50", "rows_solved", ">=", 0.5)`."""

    name: str
    metric: str
    op: Literal[">=", "<"]
    value: float

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """Whether the metrics reach the target; a NaN never does.

        Raises:
            ValueError: if the metric is not among them.
        """
        if self.metric not in metrics:
            raise ValueError(f"target {self.name!r} needs metric {self.metric!r}; got {', '.join(sorted(metrics))}")
        value = metrics[self.metric]
        return value >= self.value if self.op == ">=" else value < self.value


def require_at_least(least: int, **options: int) -> None:
    """Raise a ValueError that names the first option below `least`."""
    for name, value in options.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


class Task(ABC):
    """A pure generator of token sequences with a known attention pattern and known best losses.

    Sequence i of a split is a function of the task's name, version, configuration, task_seed, data_seed and i: it does
    not depend on the process, the device or the order of asking. A change that alters any token must raise `version`.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    targets: tuple[Target, ...]
    primary: str
    vectorised: ClassVar[bool] = False
    """Whether `_generate` can make many seeds at once: with a `data_stream` that is a stack of E streams, and constants
    (E, ...), the sequences are (E, B, S*T). `TaskEnsemble` makes them seed by seed where it cannot."""

    def __init__(self, *, state_size: int, n_states: int, vocab_size: int, task_seed: int, data_seed: int) -> None:
        require_at_least(1, state_size=state_size)
        require_at_least(2, n_states=n_states)
        require_at_least(0, task_seed=task_seed, data_seed=data_seed)
        self.state_size = state_size
        self.n_states = n_states
        self.vocab_size = vocab_size
        self.task_seed = task_seed
        self.data_seed = data_seed
        self.n_tokens = state_size * n_states
        self.seq_len = self.n_tokens - 1
        self.task_stream = Stream(self.name, self.version, "task", task_seed)
        self.data_stream = Stream(self.name, self.version, "data", data_seed)
        self._constants: dict[torch.device, Tensor] = {}

    @property
    @abstractmethod
    def config(self) -> dict[str, int]:
        """Every option that defines the task, except the seeds."""

    @property
    @abstractmethod
    def words_per_sequence(self) -> int:
        """64-bit words of the data stream that one sequence takes."""

    @property
    @abstractmethod
    def key_cells(self) -> Tensor:
        """(S, K) int64: the cells of the previous state that determine each cell of the next one, ascending."""

    @abstractmethod
    def _make_constant(self) -> Tensor:
        """What all sequences of a run share (the matrix, the rules), on the CPU."""

    @abstractmethod
    def _generate(self, index_B: Tensor, split: Split, constant: Tensor) -> Tensor:
        """The sequences of these indices, (B, S*T) int64; `constant` is already on their device."""

    @abstractmethod
    def metrics(self, loss_L: Tensor, accuracy_L: Tensor) -> dict[str, float]:
        """The task's own metrics from means by position: loss in nats and accuracy in 0..1, each (L,)."""

    @property
    @abstractmethod
    def floor_by_position_nats(self) -> Tensor | None:
        """(L,) float64: the expected loss of the best possible predictor by position; None where not computable."""

    @property
    def floor_loss_nats(self) -> float | None:
        """The best possible loss averaged over all L positions; None where not computable."""
        floor_L = self.floor_by_position_nats
        return None if floor_L is None else floor_L.mean().item()

    @property
    def chance_loss_nats(self) -> float:
        """The loss of a uniform guess, ln(vocab_size)."""
        return math.log(self.vocab_size)

    def sequences(self, index_B: Tensor, split: Split = "train") -> Tensor:
        """The sequences of these int64 indices, in their order: (B, S*T) int64 tokens on the device of the indices.

        Raises:
            ValueError: if an index is negative or too large for its counters, or the split is unknown.
        """
        if index_B.numel():
            self._check(int(index_B.min()), int(index_B.max()), split)
        return self._generate(index_B, split, self._constant(index_B.device))

    def rows(self, start: int, stop: int, split: Split = "train", device: torch.device | str = "cpu") -> Tensor:
        """Sequences start..stop-1 of a split: (stop - start, S*T) int64 tokens, made on the device.

        Raises:
            ValueError: as `sequences`.
        """
        self._check(start, stop - 1, split)
        index_B = torch.arange(start, stop, device=device)
        return self._generate(index_B, split, self._constant(index_B.device))

    def batch(
        self, step: int, batch_size: int, *, split: Split = "train", device: torch.device | str = "cpu"
    ) -> Tensor:
        """Batch number `step` of a split: sequences step*batch_size and on, (batch_size, S*T) int64 on the device.

        Raises:
            ValueError: as `sequences`.
        """
        return self.rows(step * batch_size, (step + 1) * batch_size, split, device)

    def _check(self, first: int, last: int, split: Split) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known splits: {', '.join(SPLITS)}")
        check_index_range(first, last, self.words_per_sequence)

    def _constant(self, device: torch.device) -> Tensor:
        if device not in self._constants:
            cpu = torch.device("cpu")
            if cpu not in self._constants:
                self._constants[cpu] = self._make_constant()
            self._constants[device] = self._constants[cpu].to(device)
        return self._constants[device]

    @cached_property
    def scored(self) -> Tensor:
        """(L,) bool: the positions whose next token follows from the earlier ones (it lies after the first state)."""
        return torch.arange(1, self.n_tokens) >= self.state_size

    @cached_property
    def keys(self) -> Tensor:
        """(L, K) int32, the ground-truth attention pattern: the positions that query q needs, all -1 where unscored."""
        previous_state = torch.arange(self.n_states - 1)[:, None, None] * self.state_size
        needed = (previous_state + self.key_cells).flatten(0, 1).int()
        unscored = needed.new_full((self.state_size - 1, needed.shape[1]), -1)
        return torch.cat((unscored, needed))

    def pattern_mask(self) -> Tensor:
        """The pattern as an (L, L) bool mask, query by key.

        Raises:
            ValueError: if it would take more than 1 GiB (L > 32,768); `keys` holds the same as index lists.
        """
        if self.seq_len**2 > PATTERN_MASK_LIMIT_BYTES:
            raise ValueError(
                f"pattern_mask of {self.seq_len} x {self.seq_len} would take {self.seq_len**2 / 2**30:.1f} GiB,"
                " more than the limit of 1 GiB: use the index lists in keys, or fewer tokens in a sequence"
            )
        mask = torch.zeros(self.seq_len, self.seq_len, dtype=torch.bool)
        first_scored = self.state_size - 1
        mask[first_scored:].scatter_(1, self.keys[first_scored:].long(), True)
        return mask
