"""Task `lm`: a fixed sparse linear map over the integers mod 2 (arXiv 2606.25010).

Each row of the S x S binary matrix A has exactly s ones at distinct columns, drawn uniformly; nothing else is required.
x_0 is uniform random bits, x_{t+1} = A x_t mod 2, and a sequence is x_0 .. x_{T-1} flattened. To predict bit i of a
state a model must attend to the ones of row i in the state before.
"""

import math
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from datamodules.registry import register_task
from datamodules.states import States
from datamodules.stream import Split, bit_words
from datamodules.task import Target, require_at_least

ROW_SOLVED_ACCURACY = 0.99


@register_task("lm")
class LinearMap(States):
    """Linear map: x_{t+1} = A x_t mod 2 with a fixed sparse random matrix A.

    Args:
        state_size: bits in a state (S).
        n_nonzero: ones in each row of the matrix (s), at most S.
        n_states: states in a sequence (T), at least 2.
        task_seed: draws the matrix.
        data_seed: draws the first states.

    Raises:
        ValueError: if one is out of range.
    """

    version: ClassVar[int] = 1
    model_defaults: ClassVar[dict[str, Any]] = {"n_layers": 1}
    vectorised: ClassVar[bool] = True
    primary = "rows_100"
    targets = (
        Target("rows_50", "rows_solved", ">=", 0.5),
        Target("rows_90", "rows_solved", ">=", 0.9),
        Target("rows_99", "rows_solved", ">=", 0.99),
        Target("rows_100", "rows_solved", ">=", 1.0),
    )

    def __init__(
        self, state_size: int = 16, n_nonzero: int = 3, n_states: int = 2, *, task_seed: int = 0, data_seed: int = 0
    ) -> None:
        super().__init__(
            state_size=state_size, n_states=n_states, vocab_size=2, task_seed=task_seed, data_seed=data_seed
        )
        require_at_least(1, n_nonzero=n_nonzero)
        if n_nonzero > state_size:
            raise ValueError(f"n_nonzero={n_nonzero} ones do not fit in a row of state_size={state_size} cells")
        self.n_nonzero = n_nonzero

    @property
    def words_per_sequence(self) -> int:
        return bit_words(self.state_size)

    @property
    def shared_bytes(self) -> int:
        """Of the matrix, as bool and as float32."""
        return 5 * self.state_size**2

    @cached_property
    def key_cells(self) -> Tensor:
        """(S, s) int64: the columns of the ones in each row of A, ascending."""
        return self.task_stream.subsets(self.state_size, self.n_nonzero, self.state_size)

    @cached_property
    def matrix(self) -> Tensor:
        """A, (S, S) bool."""
        return torch.zeros(self.state_size, self.state_size, dtype=torch.bool).scatter_(1, self.key_cells, True)

    def _make_constant(self) -> Tensor:
        return self.matrix.T.float().contiguous()

    def _generate(self, index_B: Tensor, split: Split, constant: Tensor) -> Tensor:
        state_BS = self.data_stream.bits(index_B, self.state_size, split)
        tokens_BTS = state_BS.new_empty(*state_BS.shape[:-1], self.n_states, self.state_size)
        tokens_BTS[..., 0, :] = state_BS
        sums_BS = torch.empty_like(state_BS, dtype=torch.float32)
        for t in range(1, self.n_states):
            # a float32 sum of at most 2^24 ones is exact; `out` keeps the product out of any autocast to 16 bits
            torch.matmul(tokens_BTS[..., t - 1, :].float(), constant, out=sums_BS)
            tokens_BTS[..., t, :].copy_(sums_BS).bitwise_and_(1)
        return tokens_BTS.flatten(-2)

    @cached_property
    def floor_by_position_nats(self) -> Tensor:
        """(L,) float64: ln 2 within the first state, which is random, and 0 after it."""
        return torch.where(self.scored, 0.0, math.log(2)).double()

    def parts_solved(self, loss_L: Tensor, accuracy_L: Tensor) -> Tensor:
        """(S,) bool: the rows whose accuracy over all predicted states exceeds 0.99."""
        return accuracy_L[self.state_size - 1 :].view(-1, self.state_size).double().mean(0) > ROW_SOLVED_ACCURACY

    def metrics(self, loss_L: Tensor, accuracy_L: Tensor) -> dict[str, float]:
        """`rows_solved`: the fraction of the S rows that are solved."""
        return {"rows_solved": self.parts_solved(loss_L, accuracy_L).double().mean().item()}


def dense_copy_loss_nats(state_size: int, n_states: int = 2) -> float:
    """The loss, averaged over all S*T - 1 positions, of guessing the first bit of x_1 and copying it, when s = S.

    With s = S all rows are equal, so all bits of x_1 are the parity p of x_0. Later states cost nothing more: all
    bits of x_2 are S * p mod 2 (p again for odd S, 0 for even S), and so on. What is left is ln 2 at the S - 1
    unpredictable positions of x_0 and at the guess: S / (S*T - 1) * ln 2, the paper's S / (2S - 1) * ln 2 at T = 2.
    """
    return state_size / (state_size * n_states - 1) * math.log(2)
