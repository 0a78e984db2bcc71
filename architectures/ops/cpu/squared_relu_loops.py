"""Compiled loops of the squared ReLU. Rows are sequences."""

import numpy as np
from numpy.typing import NDArray

from architectures.ops.cpu.loops import loop

Array = NDArray[np.floating]


@loop
def forward(x: Array, y: Array, first: int, last: int) -> None:
    """Write `y` (B, L D)."""
    zero = x.dtype.type(0)
    for n in range(first, last):
        x_n, y_n = x[n], y[n]
        for i in range(len(x_n)):
            kept = max(x_n[i], zero)
            y_n[i] = kept * kept


@loop
def backward(x: Array, dy: Array, dx: Array, first: int, last: int) -> None:
    """Write `dx` (B, L D)."""
    zero = x.dtype.type(0)
    for n in range(first, last):
        x_n, dy_n, dx_n = x[n], dy[n], dx[n]
        for i in range(len(x_n)):
            kept = max(x_n[i], zero)
            dx_n[i] = (kept + kept) * dy_n[i]
