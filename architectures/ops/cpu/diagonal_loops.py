"""Compiled loops of the diagonal recurrence; the equation and the shapes are in `diagonal.py`.

Rows are sequences. The inner loops run over the states, whose real and imaginary parts are contiguous each, so that
they vectorise; the states of one position stay in the first-level cache.
"""

import numpy as np
from numpy.typing import NDArray

from architectures.ops.cpu.loops import loop

Array = NDArray[np.floating]


@loop
def forward(u: Array, decay: Array, state: Array, h: Array, first: int, last: int) -> None:
    """Write the states `h` (B, L, 2 N)."""
    n = u.shape[2] // 2
    for b in range(first, last):
        a_re, a_im, p_re, p_im = decay[b, :n], decay[b, n:], state[b, :n], state[b, n:]
        for t in range(u.shape[1]):
            u_re, u_im, h_re, h_im = u[b, t, :n], u[b, t, n:], h[b, t, :n], h[b, t, n:]
            for i in range(n):
                re, im = p_re[i], p_im[i]
                h_re[i] = a_re[i] * re - a_im[i] * im + u_re[i]
                h_im[i] = a_re[i] * im + a_im[i] * re + u_im[i]
            p_re, p_im = h_re, h_im


@loop
def backward(
    decay: Array, state: Array, h: Array, dh: Array, du: Array, ddecay: Array, dstate: Array, first: int, last: int
) -> None:
    """Write the gradients of all inputs from `dh`: du_t = dh_t + conj(lambda) du_{t+1}, by pairs (d/dRe, d/dIm)."""
    n, length = h.shape[2] // 2, h.shape[1]
    for b in range(first, last):
        a_re, a_im, s_re, s_im = decay[b, :n], decay[b, n:], dstate[b, :n], dstate[b, n:]
        da_re, da_im = ddecay[b, :n], ddecay[b, n:]
        for i in range(n):
            s_re[i] = s_im[i] = da_re[i] = da_im[i] = 0
        for t in range(length - 1, -1, -1):
            dh_re, dh_im, du_re, du_im = dh[b, t, :n], dh[b, t, n:], du[b, t, :n], du[b, t, n:]
            before = h[b, t - 1] if t > 0 else state[b]
            h_re, h_im = before[:n], before[n:]
            for i in range(n):
                re, im = dh_re[i] + s_re[i], dh_im[i] + s_im[i]
                du_re[i], du_im[i] = re, im
                da_re[i] += h_re[i] * re + h_im[i] * im
                da_im[i] += h_re[i] * im - h_im[i] * re
                s_re[i] = a_re[i] * re + a_im[i] * im
                s_im[i] = a_re[i] * im - a_im[i] * re
