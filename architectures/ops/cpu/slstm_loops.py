"""Compiled loops of the scalar memory; the equations and the shapes are in `slstm.py`.

Rows are (sequence, head) pairs. The inner loops run over the units of a head, or over the units of its four gates,
which are contiguous, so that they vectorise; a head's R stays in the first-level cache.
"""

import numpy as np
from numpy.typing import NDArray

from architectures.ops.cpu.elementary import exp, log1p, sigmoid
from architectures.ops.cpu.loops import loop

Array = NDArray[np.floating]


@loop
def forward(x: Array, R: Array, h: Array, state: Array, saved: Array, first: int, last: int) -> None:
    """Write `h` and `saved`; turn the initial `state` into the final one."""
    heads, width = x.shape[2], h.shape[3]
    zero, one, two = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2)
    raw = np.empty(4 * width, x.dtype)
    for row in range(first, last):
        b, head = row // heads, row % heads
        h_t, c, n, m, R_h = state[b, 0, head], state[b, 1, head], state[b, 2, head], state[b, 3, head], R[head]
        for t in range(x.shape[1]):
            x_t, out, kept = x[b, t, head], h[b, t, head], saved[b, t, head]
            for k in range(4 * width):
                raw[k] = x_t[k]
            for j in range(width):
                h_j, R_j = h_t[j], R_h[j]
                for k in range(4 * width):
                    raw[k] += h_j * R_j[k]
            i_t, f_t, z_t, o_t, rest, c_t, n_t = kept[0], kept[1], kept[2], kept[3], kept[4], kept[5], kept[6]
            for k in range(width):
                f = raw[width + k]
                carried = min(f, zero) - log1p(exp(-abs(f))) + m[k]
                new = max(carried, raw[k])
                i_t[k] = exp(raw[k] - new)
                f_t[k] = exp(carried - new)
                m[k] = new
                rest[k] = sigmoid(-f)
                z_t[k] = one - two * sigmoid(-two * raw[2 * width + k])  # tanh
                o_t[k] = sigmoid(raw[3 * width + k])
            for k in range(width):
                c_t[k] = f_t[k] * c[k] + i_t[k] * z_t[k]
                n_t[k] = f_t[k] * n[k] + i_t[k]
                c[k], n[k] = c_t[k], n_t[k]
                h_t[k] = out[k] = o_t[k] * c_t[k] / n_t[k]


@loop
def backward(
    R_T: Array, state: Array, saved: Array, dh: Array, dx: Array, dstate: Array, first: int, last: int
) -> None:
    """Write `dx`; turn the final state's gradient `dstate` into the initial state's; `R_T` is (H, 4 K, K)."""
    length, heads, width = dh.shape[1], dh.shape[2], dh.shape[3]
    one = dh.dtype.type(1)
    for row in range(first, last):
        b, head = row // heads, row % heads
        g, dc, dn, R_h = dstate[b, 0, head], dstate[b, 1, head], dstate[b, 2, head], R_T[head]
        for t in range(length - 1, -1, -1):
            kept, dh_t, d = saved[b, t, head], dh[b, t, head], dx[b, t, head]
            i_t, f_t, z_t, o_t, rest, c_t, n_t = kept[0], kept[1], kept[2], kept[3], kept[4], kept[5], kept[6]
            c_old = saved[b, t - 1, head, 5] if t > 0 else state[b, 1, head]
            n_old = saved[b, t - 1, head, 6] if t > 0 else state[b, 2, head]
            for k in range(width):
                ratio, total = c_t[k] / n_t[k], g[k] + dh_t[k]
                through = total * o_t[k] / n_t[k]
                dc_k, dn_k = dc[k] + through, dn[k] - through * ratio
                d[k] = (dc_k * z_t[k] + dn_k) * i_t[k]
                d[width + k] = (dc_k * c_old[k] + dn_k * n_old[k]) * f_t[k] * rest[k]
                d[2 * width + k] = dc_k * i_t[k] * (one - z_t[k] * z_t[k])
                d[3 * width + k] = total * ratio * o_t[k] * (one - o_t[k])
                dc[k], dn[k] = dc_k * f_t[k], dn_k * f_t[k]
            for k in range(width):
                g[k] = 0
            for j in range(4 * width):
                d_j, R_j = d[j], R_h[j]
                for k in range(width):
                    g[k] += d_j * R_j[k]
        for k in range(width):
            dstate[b, 3, head, k] = 0
