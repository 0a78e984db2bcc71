"""Compiled loops of the short convolution; the equation and the shapes are in `convolution.py`.

Rows are sequences. The inner loops run over the channels, which are contiguous, so that they vectorise.
"""

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from architectures.ops.cpu.elementary import exp
from architectures.ops.cpu.loops import FASTMATH, loop

Array = NDArray[np.floating]


@register_jitable(fastmath=FASTMATH)
def _convolve(x: Array, weight: Array, bias: Array, z: Array) -> None:
    """Write `z` (D,), the sum at one position, from `x` (W, D) or more, which starts W - 1 positions earlier."""
    width, channels = weight.shape
    for d in range(channels):
        z[d] = bias[d]
    for i in range(width):
        w_i, x_i = weight[i], x[i]
        for d in range(channels):
            z[d] += w_i[d] * x_i[d]


@loop
def forward(x: Array, weight: Array, bias: Array, y: Array, first: int, last: int) -> None:
    """Write `y` (B, L, D) from `x` (B, L + W - 1, D), which starts with the inputs before the first position."""
    one = x.dtype.type(1)
    for n in range(first, last):
        for t in range(y.shape[1]):
            y_t = y[n, t]
            _convolve(x[n, t:], weight, bias, y_t)
            for d in range(len(bias)):
                y_t[d] = y_t[d] / (one + exp(-y_t[d]))


@loop
def backward(
    x: Array, weight: Array, bias: Array, dy: Array, dx: Array, dweight: Array, dbias: Array, first: int, last: int
) -> None:
    """Add to `dx` (B, L + W - 1, D), `dweight` (B, W, D) and `dbias` (B, D), the last two with a part per sequence."""
    width, channels = weight.shape
    one = x.dtype.type(1)
    z = np.empty(channels, x.dtype)
    for n in range(first, last):
        for t in range(dy.shape[1]):
            dy_t, dbias_n = dy[n, t], dbias[n]
            _convolve(x[n, t:], weight, bias, z)
            for d in range(channels):
                gate = one / (one + exp(-z[d]))
                z[d] = dy_t[d] * gate * (one + z[d] * (one - gate))
                dbias_n[d] += z[d]
            for i in range(width):
                w_i, x_i, dx_i, dw_i = weight[i], x[n, t + i], dx[n, t + i], dweight[n, i]
                for d in range(channels):
                    dx_i[d] += z[d] * w_i[d]
                    dw_i[d] += z[d] * x_i[d]
