"""Compiled loops of causal attention over short sequences; the equations and the shapes are in `attention.py`.

Rows are (sequence, head) pairs. A head's keys and values are kept transposed, so that the inner loops run over earlier
positions: a head's width is often smaller than a vector register. Every loop writes one array, because loops that write
several do not vectorise.
"""

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from architectures.ops.cpu.elementary import exp
from architectures.ops.cpu.loops import FASTMATH, loop

Array = NDArray[np.floating]


@register_jitable(fastmath=FASTMATH)
def _products(x: Array, at: int, scale: np.floating, columns: Array, n: int, out: Array) -> None:
    """Add scale x^T columns to `out`, its first `n` entries: x is K long and starts at `at`, `columns` are (K, L)."""
    width = len(columns)
    for c in range(0, width - 3, 4):
        x0, x1, x2, x3 = scale * x[at + c], scale * x[at + c + 1], scale * x[at + c + 2], scale * x[at + c + 3]
        c0, c1, c2, c3 = columns[c], columns[c + 1], columns[c + 2], columns[c + 3]
        for j in range(n):
            out[j] += x0 * c0[j] + x1 * c1[j] + x2 * c2[j] + x3 * c3[j]
    for c in range(width - width % 4, width):
        x0, c0 = scale * x[at + c], columns[c]
        for j in range(n):
            out[j] += x0 * c0[j]


@register_jitable(fastmath=FASTMATH)
def _sums(weights: Array, columns: Array, n: int, scale: np.floating, out: Array, at: int) -> None:
    """Write scale * columns weights, over their first `n` positions, into `out` from `at` on."""
    width, zero = len(columns), weights.dtype.type(0)
    for c in range(0, width - 3, 4):
        s0 = s1 = s2 = s3 = zero
        c0, c1, c2, c3 = columns[c], columns[c + 1], columns[c + 2], columns[c + 3]
        for j in range(n):
            w = weights[j]
            s0 += w * c0[j]
            s1 += w * c1[j]
            s2 += w * c2[j]
            s3 += w * c3[j]
        out[at + c], out[at + c + 1], out[at + c + 2], out[at + c + 3] = scale * s0, scale * s1, scale * s2, scale * s3
    for c in range(width - width % 4, width):
        s0, c0 = zero, columns[c]
        for j in range(n):
            s0 += weights[j] * c0[j]
        out[at + c] = scale * s0


@register_jitable(fastmath=FASTMATH)
def _spread(x: Array, at: int, scale: np.floating, weights: Array, out: Array) -> None:
    """Write scale * weights^T x as (K, L): x is (L, ...), from channel `at` on; `weights` are (L, L), 0 where j > i."""
    length, zero = len(weights), weights.dtype.type(0)
    for c in range(len(out)):
        out_c = out[c]
        for j in range(length):
            out_c[j] = zero
        for i in range(0, length - 3, 4):
            x0, x1, x2, x3 = x[i, at + c], x[i + 1, at + c], x[i + 2, at + c], x[i + 3, at + c]
            x0, x1, x2, x3 = scale * x0, scale * x1, scale * x2, scale * x3
            w0, w1, w2, w3 = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
            for j in range(i + 4):
                out_c[j] += x0 * w0[j] + x1 * w1[j] + x2 * w2[j] + x3 * w3[j]
        for i in range(length - length % 4, length):
            x0, w0 = scale * x[i, at + c], weights[i]
            for j in range(i + 1):
                out_c[j] += x0 * w0[j]


@register_jitable(fastmath=FASTMATH)
def _transpose(x: Array, at: int, out: Array) -> None:
    """Write the channels from `at` on, (L, K), as (K, L)."""
    for c in range(len(out)):
        for j in range(len(x)):
            out[c, j] = x[j, at + c]


@loop
def forward(qkv: Array, bias: Array, y: Array, saved: Array, biased: bool, first: int, last: int) -> None:
    """Write `y` (B, L, D) and the probabilities `saved` (B, H, L, L)."""
    length, heads, d_model = qkv.shape[1], saved.shape[1], y.shape[2]
    width = d_model // heads
    zero, one, scale = qkv.dtype.type(0), qkv.dtype.type(1), qkv.dtype.type(width**-0.5)
    keys, values = np.empty((width, length), qkv.dtype), np.empty((width, length), qkv.dtype)
    for row in range(first, last):
        b, h = row // heads, row % heads
        x, y_b = qkv[b], y[b]
        _transpose(x, d_model + h * width, keys)
        _transpose(x, 2 * d_model + h * width, values)
        for i in range(length):
            p, n, total = saved[b, h, i], i + 1, zero
            for j in range(length):
                p[j] = zero
            if biased:
                bias_i = bias[b, h, i]
                for j in range(n):
                    p[j] = bias_i[j]
            _products(x[i], h * width, scale, keys, n, p)
            top = p[0]
            for j in range(n):
                top = max(top, p[j])
            for j in range(n):
                p[j] = exp(p[j] - top)
            for j in range(n):
                total += p[j]
            share = one / total
            for j in range(n):
                p[j] *= share
            _sums(p, values, n, one, y_b[i], h * width)


@loop
def backward(
    qkv: Array, saved: Array, dy: Array, dqkv: Array, dbias: Array, biased: bool, first: int, last: int
) -> None:
    """Write `dqkv` (B, L, 3 D) and `dbias` (B, H, L, L)."""
    length, heads, d_model = qkv.shape[1], saved.shape[1], dy.shape[2]
    width = d_model // heads
    zero, one, scale = qkv.dtype.type(0), qkv.dtype.type(1), qkv.dtype.type(width**-0.5)
    keys, values = np.empty((width, length), qkv.dtype), np.empty((width, length), qkv.dtype)
    dlogits = np.empty((length, length), qkv.dtype)
    for row in range(first, last):
        b, h = row // heads, row % heads
        at, x, dx, dy_b, p = h * width, qkv[b], dqkv[b], dy[b], saved[b, h]
        _transpose(x, d_model + at, keys)
        _transpose(x, 2 * d_model + at, values)
        for i in range(length):
            p_i, d, n, along = p[i], dlogits[i], i + 1, zero
            for j in range(length):
                d[j] = zero
            _products(dy_b[i], at, one, values, n, d)
            for j in range(n):
                along += p_i[j] * d[j]
            for j in range(n):
                d[j] = p_i[j] * (d[j] - along)
            _sums(d, keys, n, scale, dx[i], at)
        if biased:
            dbias_h = dbias[b, h]
            for i in range(length):
                for j in range(length):
                    dbias_h[i, j] = dlogits[i, j]
        _spread(x, at, scale, dlogits, keys)  # the gradient of the keys, which are not needed any more
        _spread(dy_b, at, one, p, values)
        for c in range(width):
            for j in range(length):
                dx[j, d_model + at + c] = keys[c, j]
            for j in range(length):
                dx[j, 2 * d_model + at + c] = values[c, j]
