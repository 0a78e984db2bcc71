"""Compiled loops of RWKV-7's token shift; the equation and the shapes are in `token_shift.py`. Rows are sequences."""

import numpy as np
from numpy.typing import NDArray

from architectures.ops.cpu.loops import loop

Array = NDArray[np.floating]


@loop
def forward(x: Array, before: Array, mu: Array, mixes: tuple[Array, ...], first: int, last: int) -> None:
    """Write M mixes (B, L, D), whose weights are `mu` (M, D)."""
    for m in range(len(mu)):
        mu_m, mixed = mu[m], mixes[m]
        for n in range(first, last):
            for t in range(x.shape[1]):
                x_t, mixed_t = x[n, t], mixed[n, t]
                p = x[n, t - 1] if t else before[n]
                for d in range(len(mu_m)):
                    mixed_t[d] = x_t[d] + (p[d] - x_t[d]) * mu_m[d]


@loop
def backward(
    x: Array, before: Array, mu: Array, dmixes: tuple[Array, ...], dx: Array, dbefore: Array, dmu: Array,
    first: int, last: int,
) -> None:  # fmt: skip
    """Add to `dx`, `dbefore` and `dmu` (M, B, D)."""
    for m in range(len(mu)):
        mu_m, dmixed = mu[m], dmixes[m]
        for n in range(first, last):
            dmu_n = dmu[m, n]
            for t in range(x.shape[1]):
                x_t, dy, dx_t = x[n, t], dmixed[n, t], dx[n, t]
                p, dp = (x[n, t - 1], dx[n, t - 1]) if t else (before[n], dbefore[n])
                for d in range(len(mu_m)):
                    dx_t[d] += dy[d] - dy[d] * mu_m[d]
                for d in range(len(mu_m)):
                    dp[d] += dy[d] * mu_m[d]
                for d in range(len(mu_m)):
                    dmu_n[d] += dy[d] * (p[d] - x_t[d])
