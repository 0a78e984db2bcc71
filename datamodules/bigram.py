"""Task `bigram`: a Markov chain that all sequences of a run share, version 1.

Each of V symbols has b successors, drawn for the run from all V and equally likely. A model has nothing to look at but
the present token, and nothing to infer in context: as the first stage of two it is the control that trains as long, on
a loss that falls as far, without any structure beyond neighbours.
"""

import math
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from datamodules.registry import register_task
from datamodules.stream import Split, digit_words, scale
from datamodules.task import EXCESS_TARGETS, Task, require_at_least


@register_task("bigram")
class BigramChain(Task):
    """Bigram chain: every symbol is followed by one of a few, the same for all sequences.

    Args:
        n_tokens: tokens in a sequence (N), at least 2.
        n_symbols: symbols of the alphabet (V).
        n_successors: symbols that may follow each (b), at most V.
        task_seed: draws the successors.
        data_seed: draws the sequences.

    Raises:
        ValueError: if one is out of range.
    """

    version: ClassVar[int] = 1
    vectorised: ClassVar[bool] = True
    model_defaults: ClassVar[dict[str, Any]] = {"n_layers": 2}
    primary = "excess_10"
    targets = EXCESS_TARGETS

    def __init__(
        self, n_tokens: int = 32, n_symbols: int = 32, n_successors: int = 4, *, task_seed: int = 0, data_seed: int = 0
    ) -> None:
        super().__init__(n_tokens=n_tokens, vocab_size=n_symbols, task_seed=task_seed, data_seed=data_seed)
        require_at_least(1, n_symbols=n_symbols, n_successors=n_successors)
        if n_successors > n_symbols:
            raise ValueError(f"n_successors={n_successors} is more than n_symbols={n_symbols}")
        self.n_symbols = n_symbols
        self.n_successors = n_successors

    @property
    def words_per_sequence(self) -> int:
        return digit_words(self.n_tokens)

    @property
    def shared_bytes(self) -> int:
        return 8 * self.n_symbols * self.n_successors

    @property
    def successors(self) -> Tensor:
        """(V, b) int64: the symbols that may follow each, ascending."""
        return self._constant(torch.device("cpu"))

    def _make_constant(self) -> Tensor:
        return self.task_stream.subsets(self.n_symbols, self.n_successors, self.n_symbols)

    def _generate(self, index_B: Tensor, split: Split, constant: Tensor) -> Tensor:
        draws_BN = self.data_stream.uniform_32(index_B, self.n_tokens, split)
        tokens = [scale(draws_BN[..., 0], self.n_symbols)]
        followers = constant.flatten(-2)  # of all symbols, one after the other
        for choice_B in scale(draws_BN[..., 1:], self.n_successors).unbind(-1):
            tokens.append(followers.gather(-1, tokens[-1] * self.n_successors + choice_B))
        return torch.stack(tokens, -1)

    @cached_property
    def scored(self) -> Tensor:
        """(L,) bool: all positions."""
        return torch.ones(self.seq_len, dtype=torch.bool)

    @cached_property
    def keys(self) -> Tensor:
        """(L, 1) int32: the query's own position."""
        return torch.arange(self.seq_len, dtype=torch.int32)[:, None]

    def metrics(self, loss_L: Tensor, accuracy_L: Tensor) -> dict[str, float]:
        """`excess_nats`: the mean loss above the floor."""
        return {"excess_nats": (loss_L.double() - self.floor_by_position_nats).mean().item()}

    @cached_property
    def floor_by_position_nats(self) -> Tensor:
        """(L,) float64: ln b everywhere."""
        return torch.full((self.seq_len,), math.log(self.n_successors), dtype=torch.float64)
