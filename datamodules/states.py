"""The base of tasks whose sequences are states, one after another.

Shape letters: B sequences, S cells of a state, T states, L = S*T - 1 positions a model reads and predicts, K keys.
"""

from abc import abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from datamodules.task import Task, require_at_least

PATTERN_MASK_LIMIT_BYTES = 1 << 30


class States(Task):
    """T states of S cells, flattened with no separators; each but the first follows from the one before it.

    Args:
        state_size: cells in a state (S).
        n_states: states in a sequence (T).
        vocab_size: values of a cell.
        task_seed: draws what all sequences of a run share.
        data_seed: draws the sequences.

    Raises:
        ValueError: if one is out of range.
    """

    def __init__(self, *, state_size: int, n_states: int, vocab_size: int, task_seed: int, data_seed: int) -> None:
        require_at_least(1, state_size=state_size)
        require_at_least(2, n_states=n_states)
        super().__init__(
            n_tokens=state_size * n_states, vocab_size=vocab_size, task_seed=task_seed, data_seed=data_seed
        )
        self.state_size = state_size
        self.n_states = n_states

    @property
    @abstractmethod
    def key_cells(self) -> Tensor:
        """(S, K) int64: the cells of the previous state that determine each cell of the next one, ascending."""

    @cached_property
    def scored(self) -> Tensor:
        """(L,) bool: the positions whose next token lies after the first state."""
        return torch.arange(1, self.n_tokens) >= self.state_size

    @cached_property
    def keys(self) -> Tensor:
        """(L, K) int32, the ground-truth attention pattern: the positions that query q needs, all -1 where unscored."""
        previous_state = torch.arange(self.n_states - 1)[:, None, None] * self.state_size
        needed = (previous_state + self.key_cells).flatten(0, 1).int()
        unscored = needed.new_full((self.state_size - 1, needed.shape[1]), -1)
        return torch.cat((unscored, needed))

    def exact(self, correct_BL: Tensor, scored_BL: Tensor | None = None) -> Tensor:
        """Predicted states that are right in every cell: (..., B, T - 1) bool of (..., B, L) bool."""
        return correct_BL[..., self.state_size - 1 :].unflatten(-1, (-1, self.state_size)).all(-1)

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
