"""Task `copy`: in-context copying, the behaviour of induction heads (Olsson et al., arXiv 2209.11895), version 1.

A sequence is a string of p distinct symbols, repeated to the end: token i is symbol i mod p. The period p is drawn
anew for each sequence, because a fixed one is learned by position alone; the symbols are a uniformly random ordered
selection of the alphabet. To predict a token a model must find where the present one occurred before and look at the
token after it.

A query is scored if its token has occurred before, q >= p. The first repetition itself, token p, is not: whether the
string has ended cannot be known before it is seen.
"""

from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from datamodules.registry import register_task
from datamodules.stream import Split, scale
from datamodules.task import Target, Task, require_at_least


@register_task("copy")
class Copying(Task):
    """Copying: a string of distinct symbols, repeated to the end, its length drawn for each sequence.

    Args:
        n_tokens: tokens in a sequence (N), at least max_period + 2.
        n_symbols: symbols of the alphabet (V).
        min_period: least length of the string, at least 1.
        max_period: greatest length of the string, at most V.
        task_seed: draws nothing: all runs share one task.
        data_seed: draws the strings and their lengths.

    Raises:
        ValueError: if one is out of range.
    """

    version: ClassVar[int] = 1
    vectorised: ClassVar[bool] = True
    model_defaults: ClassVar[dict[str, Any]] = {"n_layers": 2}
    primary = "accuracy_90"
    targets = (
        Target("accuracy_50", "accuracy", ">=", 0.5),
        Target("accuracy_90", "accuracy", ">=", 0.9),
        Target("accuracy_99", "accuracy", ">=", 0.99),
    )
    scored = None

    def __init__(
        self,
        n_tokens: int = 32,
        n_symbols: int = 32,
        min_period: int = 8,
        max_period: int = 16,
        *,
        task_seed: int = 0,
        data_seed: int = 0,
    ) -> None:
        super().__init__(n_tokens=n_tokens, vocab_size=n_symbols, task_seed=task_seed, data_seed=data_seed)
        require_at_least(1, min_period=min_period)
        if max_period < min_period:
            raise ValueError(f"max_period={max_period} is less than min_period={min_period}")
        if max_period > n_symbols:
            raise ValueError(f"max_period={max_period} distinct symbols do not fit in n_symbols={n_symbols}")
        if n_tokens < max_period + 2:
            raise ValueError(
                f"n_tokens={n_tokens} leaves nothing to predict after a string of max_period={max_period}:"
                f" set n_tokens to at least {max_period + 2}"
            )
        self.n_symbols = n_symbols
        self.min_period = min_period
        self.max_period = max_period

    @property
    def words_per_sequence(self) -> int:
        return 1 + self.n_symbols

    def _generate(self, index_B: Tensor, split: Split, constant: Tensor) -> Tensor:
        words = self.data_stream.sequence_words(index_B, self.words_per_sequence, split)
        n_periods = self.max_period - self.min_period + 1
        period_B1 = self.min_period + scale(words[..., :1] & 0xFFFF_FFFF, n_periods)
        # the order of random words is a uniform permutation; they never tie, as their counters differ
        symbols_BP = words[..., 1:].argsort(-1)[..., : self.max_period]
        return symbols_BP.gather(-1, torch.arange(self.n_tokens, device=words.device) % period_B1)

    def _period(self, tokens_BN: Tensor) -> Tensor:
        """(..., B, 1) int64: where the first token occurs again, the first repetition, as symbols are distinct."""
        return 1 + (tokens_BN[..., 1:] == tokens_BN[..., :1]).byte().argmax(-1, keepdim=True)

    def scored_in(self, tokens_BN: Tensor) -> Tensor:
        """The queries whose token has occurred before: (..., B, L) bool."""
        return torch.arange(self.seq_len, device=tokens_BN.device) >= self._period(tokens_BN)

    def keys_in(self, tokens_BN: Tensor) -> Tensor:
        """The position after the previous occurrence of the query's token: (..., B, L, 1) int32, -1 where unscored."""
        key_BL = torch.arange(self.seq_len, device=tokens_BN.device) + 1 - self._period(tokens_BN)
        return key_BL.where(key_BL > 0, -1).int()[..., None]

    @cached_property
    def floor_by_position_nats(self) -> Tensor:
        """(L,) float64: the expected loss of the exact Bayes predictor, which knows how periods and strings are drawn.

        While nothing is repeated, token j repeats the first one with probability h = P(p = j | p >= j), and is else one
        of the V - j symbols not seen yet, all alike; after the first repetition nothing is left to guess. So the loss
        is P(p >= j) (H(h) + (1 - h) ln(V - j)) with the binary entropy H.
        """
        j = torch.arange(1, self.n_tokens, dtype=torch.float64)
        first, last = self.min_period, self.max_period
        n_left = (last + 1 - j.clamp(min=first)).clamp(min=0)  # periods p >= j
        h = (j >= first) / n_left.clamp(min=1)
        entropy = torch.special.entr(h) + torch.special.entr(1 - h)
        fresh = (1 - h) * (self.n_symbols - j).clamp(min=1).log()
        return n_left / (last + 1 - first) * (entropy + fresh)
