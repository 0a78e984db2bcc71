"""The base of every task: a plain stream of tokens, some of which can be predicted.

Shape letters: B sequences, N tokens of a sequence, L = N - 1 positions a model reads and predicts, K keys, U units that
are right or wrong as a whole. Query q reads tokens 0..q and predicts token q + 1.
"""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from datamodules.stream import SPLITS, Split, Stream, check_index_range

SEEDS = ("task_seed", "data_seed")
"""Options that choose one run of a task; all the others define the task."""


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


EXCESS_TARGETS = (
    Target("excess_50", "excess_nats", "<", 0.5),
    Target("excess_10", "excess_nats", "<", 0.1),
    Target("excess_5", "excess_nats", "<", 0.05),
)
"""Of tasks whose floor loss is known and far above 0: the loss above it, in nats."""


def require_at_least(least: int, **options: int) -> None:
    """Raise a ValueError that names the first option below `least`."""
    for name, value in options.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


class Task(ABC):
    """A pure generator of token sequences, which says what can be predicted, from where, and how well.

    Sequence i of a split is a function of the task's name, version, configuration, task_seed, data_seed and i: it does
    not depend on the process, the device or the order of asking. A change that alters any token must raise `version`.

    A task keeps each option of its constructor in the attribute of the same name. `register_task` gives it its name and
    a data module.

    Args:
        n_tokens: tokens in a sequence (N), at least 2.
        vocab_size: values of a token.
        task_seed: draws what all sequences of a run share.
        data_seed: draws the sequences.

    Raises:
        ValueError: if one is out of range.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    model_defaults: ClassVar[dict[str, Any]] = {}
    """Model options of the task's paper setting, taken where the user gives none."""
    targets: tuple[Target, ...]
    primary: str
    """The target that says that a run has solved the task."""
    vectorised: ClassVar[bool] = False
    """Whether `_generate` can make many seeds at once: with a `data_stream` that is a stack of E streams, and constants
    (E, ...), the sequences are (E, B, N). `TaskEnsemble` makes them seed by seed where it cannot."""

    def __init__(self, *, n_tokens: int, vocab_size: int, task_seed: int, data_seed: int) -> None:
        require_at_least(2, n_tokens=n_tokens)
        require_at_least(0, task_seed=task_seed, data_seed=data_seed)
        self.n_tokens = n_tokens
        self.seq_len = n_tokens - 1
        self.vocab_size = vocab_size
        self.task_seed = task_seed
        self.data_seed = data_seed
        self.task_stream = Stream(self.name, self.version, "task", task_seed)
        self.data_stream = Stream(self.name, self.version, "data", data_seed)
        self._constants: dict[torch.device, Tensor] = {}

    @property
    def config(self) -> dict[str, Any]:
        """Every option that defines the task, in the order of the constructor: all but the seeds."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters if name not in SEEDS}

    @property
    @abstractmethod
    def words_per_sequence(self) -> int:
        """64-bit words of the data stream that one sequence takes."""

    @abstractmethod
    def _generate(self, index_B: Tensor, split: Split, constant: Tensor) -> Tensor:
        """The sequences of these indices, (B, N) int64; `constant` is already on their device."""

    def _make_constant(self) -> Tensor:
        """The tensor that all sequences of a run share (a matrix, rules), on the CPU; empty if they share nothing."""
        return torch.empty(0)

    @property
    def shared_bytes(self) -> int:
        """The size of what all sequences share, worked out before it is made; 0 if it is small."""
        return 0

    @property
    @abstractmethod
    def scored(self) -> Tensor | None:
        """(L,) bool: the positions whose next token follows from the earlier ones. None where every sequence has its
        own, which `scored_in` then tells."""

    def scored_in(self, tokens_BN: Tensor) -> Tensor:
        """The scored positions of sequences: (..., B, L) bool for tokens (..., B, N), on their device."""
        assert self.scored is not None, "a task whose scored positions differ by sequence overrides scored_in"
        return self.scored.to(tokens_BN.device).expand(*tokens_BN.shape[:-1], -1)

    @property
    def keys(self) -> Tensor | None:
        """(L, K) int32, the ground-truth attention pattern: the positions that query q needs, all -1 where unscored.
        None where it is unknown, or every sequence has its own, which `keys_in` then tells."""
        return None

    def keys_in(self, tokens_BN: Tensor) -> Tensor | None:
        """The pattern in sequences: (..., B, L, K) int32 for tokens (..., B, N), on their device; None if unknown."""
        if self.keys is None:
            return None
        return self.keys.to(tokens_BN.device).expand(*tokens_BN.shape[:-1], -1, -1)

    def exact(self, correct_BL: Tensor, scored_BL: Tensor) -> Tensor:
        """Units that are right as a whole: here one per sequence, all of its scored positions.

        Args:
            correct_BL: (..., B, L) bool.
            scored_BL: bool, broadcastable to it: `scored`, or `scored_in` of the sequences.

        Returns:
            (..., B, U) bool.
        """
        return (correct_BL | ~scored_BL).all(-1, keepdim=True)

    def metrics(self, loss_L: Tensor, accuracy_L: Tensor) -> dict[str, float]:
        """The task's own metrics from means by position: loss in nats and accuracy in 0..1, each (L,)."""
        return {}

    def parts_solved(self, loss_L: Tensor, accuracy_L: Tensor) -> Tensor:
        """(P,) bool: which of the P parts that are learned one at a time are solved, from what `metrics` takes.

        Each is an emergence of its own, with a hitting step in the record. Here there are none.
        """
        return torch.zeros(0, dtype=torch.bool)

    @property
    def floor_by_position_nats(self) -> Tensor | None:
        """(L,) float64: the expected loss of the best possible predictor by position; None where not computable."""
        return None

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
        """The sequences of these int64 indices, in their order: (B, N) int64 tokens on the device of the indices.

        Raises:
            ValueError: if an index is negative or too large for its counters, or the split is unknown.
        """
        if index_B.numel():
            self._check(int(index_B.min()), int(index_B.max()), split)
        return self._generate(index_B, split, self._constant(index_B.device))

    def rows(self, start: int, stop: int, split: Split = "train", device: torch.device | str = "cpu") -> Tensor:
        """Sequences start..stop-1 of a split: (stop - start, N) int64 tokens, made on the device.

        Raises:
            ValueError: as `sequences`.
        """
        self._check(start, stop - 1, split)
        index_B = torch.arange(start, stop, device=device)
        return self._generate(index_B, split, self._constant(index_B.device))

    def batch(
        self, step: int, batch_size: int, *, split: Split = "train", device: torch.device | str = "cpu"
    ) -> Tensor:
        """Batch number `step` of a split: sequences step*batch_size and on, (batch_size, N) int64 on the device.

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
