"""RWKV-7's token shift (arXiv 2503.14456): every position mixed with the one before it, in M ways.

    y_m = x_t + (x_{t-1} - x_t) * mu_m

Compiled, it is one pass over memory per mix and direction instead of several.

Shape letters: B batch, L positions, D channels, M mixes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from architectures.ops.over_seeds import fold_seeds
from architectures.ops.registration import compiled_operator


@fold_seeds(x=2, before=1, mu=1, outputs=2, only="numba")
def token_shift(x: Tensor, before: Tensor, mu: Tensor, *, implementation: str = "torch") -> Sequence[Tensor]:
    """Mix every position with the one before it, in M ways.

    Args:
        x: (B, L, D).
        before: x before the first position, (B, D).
        mu: (M, D): 0 takes the position itself, 1 the one before.
        implementation: "numba" for tensors on the CPU; any other is plain PyTorch.

    Returns:
        M tensors (B, L, D).
    """
    if implementation == "numba":
        return [y.to(torch.result_type(x, mu)) for y in _compiled(x, before, mu)]
    change = torch.cat([before.to(x.dtype)[:, None], x[:, :-1]], dim=1) - x
    return tuple(torch.addcmul(x, change, mu_D) for mu_D in mu)


def _forward(x: Tensor, before: Tensor, mu: Tensor) -> list[Tensor]:
    from architectures.ops.cpu import loops, token_shift_loops

    mixes = [torch.empty_like(x) for _ in range(len(mu))]
    loops.run(token_shift_loops.forward, len(x), x, before, mu, tuple(mixes))
    return mixes


def _backward(x: Tensor, before: Tensor, mu: Tensor, gradients: list[Tensor]) -> list[Tensor]:
    from architectures.ops.cpu import loops, token_shift_loops

    dx, dbefore, dmu = torch.zeros_like(x), torch.zeros_like(before), x.new_zeros((len(mu), len(x), mu.shape[1]))
    loops.run(token_shift_loops.backward, len(x), x, before, mu, tuple(gradients), dx, dbefore, dmu)
    return [dx, dbefore, dmu.sum(1)]


_compiled = compiled_operator("token_shift", _forward, _backward)
