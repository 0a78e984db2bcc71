"""Task `dyck`: shuffle Dyck, brackets of k types that are closed in any order (arXiv 2502.19249), version 1.

Token i < k opens a bracket of type i, and token k + i closes one: a string is right as long as no type is closed more
often than it was opened, whatever lies between. With no bracket open the next token opens one; with `max_depth` open
it closes one; else either is as likely. The type that is opened is uniform among all, the one that is closed among
those that are open, however many brackets of each there are. A sequence is the beginning of such a string.

No token is certain, but after any prefix the distribution of the next one is known, and so is the floor. A query is
scored if the next token closes a bracket: which types can be closed follows from the tokens before, while those that
are opened are anybody's guess.
"""

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from datamodules.registry import register_task
from datamodules.stream import Split
from datamodules.task import EXCESS_TARGETS, Task, require_at_least

FLOOR_TOKENS = 1 << 20
MOST_STATES = 20_000
"""Of the exact floor: there are 915 up to a depth of 16, and 28,629 up to 30."""

Depths = tuple[int, ...]
"""How many brackets of each open type there are, in descending order."""


@register_task("dyck")
class ShuffleDyck(Task):
    """Shuffle Dyck: brackets of several types, closed in any order.

    Args:
        n_tokens: tokens in a sequence (N), more than max_depth.
        n_types: types of brackets (k); each has a token that opens and one that closes.
        max_depth: most brackets of all types that are open at once, at least 1.
        task_seed: draws nothing: all runs share one task.
        data_seed: draws the sequences.

    Raises:
        ValueError: if one is out of range.
    """

    version: ClassVar[int] = 1
    vectorised: ClassVar[bool] = True
    model_defaults: ClassVar[dict[str, Any]] = {"n_layers": 2}
    primary = "excess_10"
    targets = EXCESS_TARGETS
    scored = None

    def __init__(
        self, n_tokens: int = 32, n_types: int = 16, max_depth: int = 16, *, task_seed: int = 0, data_seed: int = 0
    ) -> None:
        require_at_least(1, n_types=n_types, max_depth=max_depth)
        super().__init__(n_tokens=n_tokens, vocab_size=2 * n_types, task_seed=task_seed, data_seed=data_seed)
        if n_tokens <= max_depth:  # or some sequences would close nothing
            raise ValueError(f"n_tokens={n_tokens} must be more than max_depth={max_depth}")
        self.n_types = n_types
        self.max_depth = max_depth

    @property
    def words_per_sequence(self) -> int:
        return self.n_tokens

    def _generate(self, index_B: Tensor, split: Split, constant: Tensor) -> Tensor:
        words_BN = self.data_stream.sequence_words(index_B, self.n_tokens, split)
        heads_BN, digits_BN = words_BN < 0, words_BN & 0xFFFF_FFFF  # bit 63 opens, bits 0-31 choose the type
        depth_BK = words_BN.new_zeros(*words_BN.shape[:-1], self.n_types)
        total_B, tokens = depth_BK[..., 0], []
        for heads_B, digit_B in zip(heads_BN.unbind(-1), digits_BN.unbind(-1), strict=True):
            opens_B = (total_B == 0) | (heads_B & (total_B < self.max_depth))
            rank_BK = (depth_BK > 0).cumsum(-1)  # of each open type among the open ones, from 1
            choice_B = (digit_B * torch.where(opens_B, self.n_types, rank_BK[..., -1])) >> 32
            closed_B = (rank_BK > choice_B[..., None]).byte().argmax(-1)
            type_B, change_B = torch.where(opens_B, choice_B, closed_B), 2 * opens_B.long() - 1
            depth_BK = depth_BK.scatter_add(-1, type_B[..., None], change_B[..., None])
            total_B = total_B + change_B
            tokens.append(type_B + torch.where(opens_B, 0, self.n_types))
        return torch.stack(tokens, -1)

    def scored_in(self, tokens_BN: Tensor) -> Tensor:
        """The queries whose next token closes a bracket: (..., B, L) bool."""
        return tokens_BN[..., 1:] >= self.n_types

    def metrics(self, loss_L: Tensor, accuracy_L: Tensor) -> dict[str, float]:
        """`excess_nats`: the mean loss above the floor."""
        return {"excess_nats": (loss_L.double() - self.floor_by_position_nats).mean().item()}

    @cached_property
    def floor_by_position_nats(self) -> Tensor:
        """(L,) float64: the expected entropy of the next token given all before it.

        Exact where the depths of the types, in whatever order, take at most 20,000 values, as they do up to a depth of
        28; beyond, the mean over as many sequences of the "floor" split as make 2^20 tokens, each with the entropies
        that its own prefixes leave.
        """
        exact = self._exact_floor()
        return self._sampled_floor(max(1, FLOOR_TOKENS // self.n_tokens)) if exact is None else exact

    def _entropy(self, total: Tensor, n_open: Tensor) -> Tensor:
        """Entropy in nats of the next token after so many open brackets of so many types, in float64."""
        n_open = n_open.double().clamp(min=1).log()
        either = math.log(2) + (math.log(self.n_types) + n_open) / 2
        return torch.where(total == 0, math.log(self.n_types), torch.where(total == self.max_depth, n_open, either))

    def _exact_floor(self) -> Tensor | None:
        """The floor by the distribution of the depths after every token; None if there are too many."""
        number: dict[Depths, int] = {(): 0}
        sources, targets, weights = [], [], []
        waiting: list[Depths] = [()]
        while waiting:
            depths = waiting.pop()
            for after, weight in self._followers(depths):
                if after not in number:
                    number[after] = len(number)
                    waiting.append(after)
                sources.append(number[depths])
                targets.append(number[after])
                weights.append(weight)
            if len(number) > MOST_STATES:
                return None
        source, target, weight_of = (
            torch.tensor(sources),
            torch.tensor(targets),
            torch.tensor(weights, dtype=torch.float64),
        )
        total, n_open = torch.tensor([(sum(depths), len(depths)) for depths in number]).T
        entropy = self._entropy(total, n_open)
        p = torch.zeros(len(number), dtype=torch.float64)
        p[0] = 1
        found = []
        for _ in range(self.seq_len):
            p = torch.zeros_like(p).index_add(0, target, p[source] * weight_of)
            found.append(p @ entropy)
        return torch.stack(found)

    def _followers(self, depths: Depths) -> Iterator[tuple[Depths, float]]:
        """The depths that may come next, and their probabilities; some may come twice."""
        total = sum(depths)
        p_open = 1.0 if total == 0 else 0.0 if total == self.max_depth else 0.5
        for depth in {0, *depths}:
            rest = list(depths)
            if depth:
                rest.remove(depth)
                closed = rest + [depth - 1] * (depth > 1)
                if p_open < 1:
                    yield _ordered(closed), (1 - p_open) * depths.count(depth) / len(depths)
            n_alike = depths.count(depth) if depth else self.n_types - len(depths)
            if p_open and n_alike:
                yield _ordered([*rest, depth + 1]), p_open * n_alike / self.n_types

    def _sampled_floor(self, n_sequences: int) -> Tensor:
        """The floor as a mean over sequences of the "floor" split, each with its own exact entropies."""
        tokens_BN = self.rows(0, n_sequences, "floor")
        depth_BK = torch.zeros(n_sequences, self.n_types, dtype=torch.int64)
        found = []
        for token_B in tokens_BN[:, :-1].unbind(-1):
            change_B = torch.where(token_B < self.n_types, 1, -1)
            depth_BK.scatter_add_(-1, (token_B % self.n_types)[:, None], change_B[:, None])
            found.append(self._entropy(depth_BK.sum(-1), (depth_BK > 0).sum(-1)).mean())
        return torch.stack(found)


def _ordered(depths: list[int]) -> Depths:
    return tuple(sorted(depths, reverse=True))
