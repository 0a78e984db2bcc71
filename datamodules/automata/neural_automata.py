"""Task `nca`: neural cellular automata, whose rule the model must infer in context (arXiv 2603.10055), version 1.

A grid of H x W cells, a torus, in one of C colours each. A rule is a small random network that reads the colours of the
3 x 3 cells around a cell, one-hot, and says how likely each colour is there next:

    logits = W2 relu(W1 x + b)          W1: 16 x 9 C, b: 16, W2: C x 16

The next colour is the likeliest, or at a temperature t > 0 drawn from softmax(logits / t). Every sequence has a rule of
its own and begins with uniform colours; after `burn_in` steps its frames are written out, one after another, until
there are N tokens. A token is a patch of P x P cells, read as a number in base C, and patches come in raster order.

All arithmetic is exact: weights are whole numbers of 16 bits, so products and sums in float64 are whole numbers below
2^53 and do not depend on the device or the order of summation. The noise is a table of Gumbel's quantiles, rounded.

Automata leak copying: many rules come to rest, and to copy the frame before is right for 41 % of the tokens at the
default size and for 58 % with 4 colours.
`frozen_share` and `unchanged_share` say how often, and `n_candidates` draws rules anew while the frames stand still.
As the first stage for a task that copies over a fixed distance, take frames whose size shares no factor with it.

Departures: the published network has a convolution of few channels before its MLP, frames of 12 x 12 cells in 10
colours with patches of 2 x 2, marks between frames, and a filter by the ratio that gzip compresses a sequence to.
"""

import math
from decimal import Decimal, localcontext
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from datamodules.registry import register_task
from datamodules.stream import Split, digit_words, scale
from datamodules.task import Target, Task, require_at_least

N_HIDDEN = 16
LOGIT_STD = round(math.sqrt(80) * 2**30 / 3)
"""Standard deviation of a logit: a weight, uniform over 2^16 integers around 0, has variance s^2 = 2^30 / 3; a hidden
unit sums 10 of them, its ReLU has second moment 5 s^2, and a logit sums 16 products with a weight."""

NOISE_BITS = 10
MOST_COLORS, MOST_SYMBOLS, HOTTEST = 256, 1 << 16, 100.0
SHARE_SEQUENCES = 4096


@register_task("nca")
class NeuralAutomata(Task):
    """Neural cellular automata: each sequence follows a small random network, to be inferred in context.

    Args:
        n_tokens: tokens in a sequence (N), more than a frame has.
        height: cells of a column of the grid (H), a multiple of patch.
        width: cells of a row of the grid (W), a multiple of patch.
        n_colors: colours of a cell (C), from 2 to 256.
        patch: cells along each side of the square that makes a token (P); 1 for single cells.
        burn_in: steps before the first frame.
        temperature: of the choice of the next colour, in standard deviations of a logit; 0 takes the likeliest.
        n_candidates: rules drawn for a sequence at most, until one whose frames are not all alike; 1 filters nothing.
        n_symbols: values of a token, those above C^(P^2) never used; by default just as many.
        task_seed: draws nothing: all runs share one task.
        data_seed: draws the rules, the first colours and the noise.

    Raises:
        ValueError: if one is out of range.
    """

    version: ClassVar[int] = 1
    vectorised: ClassVar[bool] = True
    model_defaults: ClassVar[dict[str, Any]] = {"n_layers": 2}
    primary = "accuracy_75"
    targets = (
        Target("accuracy_50", "accuracy", ">=", 0.5),
        Target("accuracy_75", "accuracy", ">=", 0.75),
        Target("accuracy_90", "accuracy", ">=", 0.9),
    )

    def __init__(
        self,
        n_tokens: int = 32,
        height: int = 3,
        width: int = 3,
        n_colors: int = 8,
        patch: int = 1,
        burn_in: int = 4,
        temperature: float = 0.0,
        n_candidates: int = 1,
        n_symbols: int | None = None,
        *,
        task_seed: int = 0,
        data_seed: int = 0,
    ) -> None:
        require_at_least(1, height=height, width=width, patch=patch, n_candidates=n_candidates)
        require_at_least(0, burn_in=burn_in)
        if not 2 <= n_colors <= MOST_COLORS:
            raise ValueError(f"n_colors must be from 2 to {MOST_COLORS}, got {n_colors}")
        if not 0 <= temperature <= HOTTEST:  # in this form it catches NaN
            raise ValueError(f"temperature must be from 0 to {HOTTEST:g}, got {temperature}")
        for name, side in (("height", height), ("width", width)):
            if side % patch:
                raise ValueError(f"patch={patch} does not divide {name}={side}")
        if patch**2 * math.log(n_colors) > math.log(MOST_SYMBOLS) + 1e-9:
            raise ValueError(
                f"patch={patch} of n_colors={n_colors} colours would make {n_colors}^{patch**2} tokens: at most"
                f" {MOST_SYMBOLS:,} can be"
            )
        used = n_colors**patch**2
        if n_symbols is not None and not used <= n_symbols <= MOST_SYMBOLS:
            raise ValueError(f"n_symbols must be from C^(P^2) = {used} to {MOST_SYMBOLS:,}, got {n_symbols}")
        self.frame_size = height * width // patch**2
        if n_tokens <= self.frame_size:
            raise ValueError(f"n_tokens={n_tokens} must be more than the {self.frame_size} tokens of a frame")
        super().__init__(n_tokens=n_tokens, vocab_size=n_symbols or used, task_seed=task_seed, data_seed=data_seed)
        self.height, self.width, self.n_colors, self.patch = height, width, n_colors, patch
        self.burn_in, self.temperature, self.n_candidates = burn_in, temperature, n_candidates
        self.n_symbols = n_symbols

    @property
    def _n_steps(self) -> int:
        """Applications of the rule, from the first colours to the last frame."""
        return self.burn_in + -(-self.n_tokens // self.frame_size) - 1

    @property
    def _words(self) -> tuple[int, int, int]:
        """Words of a candidate: for its first colours, two a word; for its weights and its noise, four a word."""
        n_weights = N_HIDDEN * (9 * self.n_colors + 1 + self.n_colors)
        n_noise = self._n_steps * self.height * self.width * self.n_colors if self.temperature else 0
        return digit_words(self.height * self.width), -(-n_weights // 4), -(-n_noise // 4)

    @property
    def words_per_sequence(self) -> int:
        return self.n_candidates * sum(self._words)

    def _make_constant(self) -> Tensor:
        """(1024,) float64: the quantiles of Gumbel's distribution at (2 i + 1) / 2048 in units of the logits, rounded;
        computed in decimals, which are the same on every machine."""
        if not self.temperature:
            return torch.empty(0)
        n, unit = 1 << NOISE_BITS, Decimal(self.temperature) * LOGIT_STD
        with localcontext(prec=28):
            quantiles = [-(-(Decimal(2 * i + 1) / (2 * n)).ln()).ln() * unit for i in range(n)]
            return torch.tensor([int(quantile.to_integral_value()) for quantile in quantiles], dtype=torch.float64)

    def _generate(self, index_B: Tensor, split: Split, constant: Tensor) -> Tensor:
        words = self.data_stream.sequence_words(index_B, self.words_per_sequence, split)
        tokens_BN, *others = (self._candidate(part, constant) for part in words.chunk(self.n_candidates, -1))
        for other_BN in others:
            tokens_BN = torch.where(self.frozen_in(tokens_BN)[..., None], other_BN, tokens_BN)
        return tokens_BN

    def _candidate(self, words: Tensor, constant: Tensor) -> Tensor:
        """The tokens (..., B, N) that follow from the words of one candidate, (..., B, n)."""
        n_cells, n_colors, device = self.height * self.width, self.n_colors, words.device
        of_state, of_rule, of_noise = words.split(self._words, -1)
        halves = torch.stack((of_state, of_state >> 32), -1).bitwise_and_(0xFFFF_FFFF).flatten(-2)
        state_BM = scale(halves[..., :n_cells], n_colors)
        weights = (_quarters(of_rule) - (1 << 15)).double()
        sizes = [N_HIDDEN * 9 * n_colors, N_HIDDEN, N_HIDDEN * n_colors]
        first, bias, second = weights[..., : sum(sizes)].split(sizes, -1)
        first, bias, second = (
            first.unflatten(-1, (-1, N_HIDDEN)),
            bias[..., None, :],
            second.unflatten(-1, (N_HIDDEN, -1)),
        )
        noise = None
        if self.temperature:
            numbers = _quarters(of_noise)[..., : self._n_steps * n_cells * n_colors] >> (16 - NOISE_BITS)
            noise = constant.flatten().take(numbers).unflatten(-1, (self._n_steps, n_cells, n_colors))
        colors, around = torch.arange(n_colors, device=device), self._around(device)
        frames = [state_BM] if self.burn_in == 0 else []
        for step in range(self._n_steps):
            seen = (state_BM[..., around][..., None] == colors).double().flatten(-2)  # (..., M, 9 C)
            logits = (seen @ first + bias).relu() @ second
            if noise is not None:
                logits = logits + noise[..., step, :, :]
            # a tie goes to the lower colour, on every device
            state_BM = (logits.long() * n_colors - colors).argmax(-1)
            if step + 1 >= self.burn_in:
                frames.append(state_BM)
        return torch.cat([self._patches(state_BM) for state_BM in frames], -1)[..., : self.n_tokens]

    def _around(self, device: torch.device) -> Tensor:
        """(M, 9) int64: the 3 x 3 cells around each of the M, row by row."""
        cell_M1, offset_9 = (
            torch.arange(self.height * self.width, device=device)[:, None],
            torch.arange(9, device=device),
        )
        row = (cell_M1 // self.width + offset_9 // 3 - 1) % self.height
        return row * self.width + (cell_M1 % self.width + offset_9 % 3 - 1) % self.width

    def _patches(self, state_BM: Tensor) -> Tensor:
        """The tokens of a frame, (..., B, H W / P^2), from its cells."""
        if self.patch == 1:
            return state_BM
        rows, columns = self.height // self.patch, self.width // self.patch
        cells = state_BM.unflatten(-1, (rows, self.patch, columns, self.patch)).transpose(-3, -2).flatten(-4, -3)
        token = torch.zeros_like(cells[..., 0, 0])
        for digit in cells.flatten(-2).unbind(-1):
            token = token * self.n_colors + digit
        return token

    def frozen_in(self, tokens_BN: Tensor) -> Tensor:
        """Whether all that is seen of a sequence is one frame again and again: (..., B) bool."""
        return (tokens_BN[..., self.frame_size :] == tokens_BN[..., : -self.frame_size]).all(-1)

    @cached_property
    def _sample(self) -> Tensor:
        return self.rows(0, SHARE_SEQUENCES, "floor")

    @cached_property
    def frozen_share(self) -> float:
        """The share of frozen sequences, in 0..1, among 4,096 of the "floor" split."""
        return self.frozen_in(self._sample).double().mean().item()

    @cached_property
    def unchanged_share(self) -> float:
        """The share of scored tokens that are what they were a frame before, in 0..1, in the same sequences."""
        return (self._sample[:, self.frame_size :] == self._sample[:, : -self.frame_size]).double().mean().item()

    @cached_property
    def scored(self) -> Tensor:
        """(L,) bool: the positions whose next token lies after the first frame."""
        return torch.arange(1, self.n_tokens) >= self.frame_size

    @cached_property
    def keys(self) -> Tensor:
        """(L, K) int32: the tokens of the frame before that hold the 3 x 3 cells around those of the next token, all -1
        where unscored."""
        owner_M = self._patches_of_cells()
        around = owner_M[self._around(torch.device("cpu"))]
        needed = torch.stack([around[owner_M == token].unique() for token in range(self.frame_size)])
        target_L = torch.arange(1, self.n_tokens)
        keys_LK = needed[target_L % self.frame_size] + (target_L // self.frame_size - 1)[:, None] * self.frame_size
        return keys_LK.where(self.scored[:, None], -1).int()

    def _patches_of_cells(self) -> Tensor:
        """(M,) int64: the token of a frame that each cell is part of."""
        cell_M = torch.arange(self.height * self.width)
        row, column = cell_M // self.width // self.patch, cell_M % self.width // self.patch
        return row * (self.width // self.patch) + column


def _quarters(words: Tensor) -> Tensor:
    """(..., 4 n) int64 below 2^16 from (..., n) words, the lowest bits first."""
    return torch.stack([words >> shift for shift in (0, 16, 32, 48)], -1).bitwise_and_(0xFFFF).flatten(-2)
