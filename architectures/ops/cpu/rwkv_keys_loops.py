"""Compiled loops of RWKV-7's keys and decay; the equations and the shapes are in `rwkv_keys.py`.

Rows are sequences. Sums over a head and gradients of parameters are taken in the same pass; a parameter's gradient
has a part for each sequence.
"""

import math

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from architectures.ops.cpu.elementary import exp
from architectures.ops.cpu.loops import loop

Array = NDArray[np.floating]


@register_jitable
def _sigmoid(x: Array, bias: Array, y: Array) -> None:
    """Write `y` = sigmoid(max(x + bias, -80)), which is at least 2e-35, so that `exp` stays in its range."""
    one, least = x.dtype.type(1), x.dtype.type(-80)
    for d in range(len(x)):
        y[d] = one / (one + exp(-max(x[d] + bias[d], least)))


@register_jitable
def _constants(x: Array) -> tuple[np.floating, ...]:
    """0, 1, the smallest length to divide by and the fastest log decay, in x's dtype."""
    kind = x.dtype.type
    return kind(0), kind(1), kind(1e-12), kind(-math.exp(-0.5))


@loop
def forward(
    k: Array, decay: Array, rate: Array, w0: Array, a0: Array, k_k: Array, k_a: Array,
    log_w: Array, new_k: Array, minus_kk: Array, kk_a: Array, n_heads: int, first: int, last: int,
) -> None:  # fmt: skip
    """Write the last four of the arrays (B, L, D)."""
    channels = k.shape[2]
    width = channels // n_heads
    zero, one, tiny, fastest = _constants(k)
    for n in range(first, last):
        for t in range(k.shape[1]):
            k_t, decay_t, rate_t = k[n, t], decay[n, t], rate[n, t]
            log_w_t, new_k_t, minus_kk_t, kk_a_t = log_w[n, t], new_k[n, t], minus_kk[n, t], kk_a[n, t]
            _sigmoid(decay_t, w0, log_w_t)
            _sigmoid(rate_t, a0, kk_a_t)
            for d in range(channels):
                log_w_t[d] *= fastest
                new_k_t[d] = k_t[d] * (one + (kk_a_t[d] - one) * k_a[d])
            for h in range(n_heads):
                head = slice(h * width, (h + 1) * width)
                k_h, k_k_h, minus_kk_h, kk_a_h = k_t[head], k_k[head], minus_kk_t[head], kk_a_t[head]
                square = zero
                for i in range(width):
                    kk = k_h[i] * k_k_h[i]
                    square += kk * kk
                scale = one / max(np.sqrt(square), tiny)
                for i in range(width):
                    kk = k_h[i] * k_k_h[i] * scale
                    minus_kk_h[i] = -kk
                    kk_a_h[i] *= kk


@loop
def backward(
    k: Array, decay: Array, rate: Array, w0: Array, a0: Array, k_k: Array, k_a: Array,
    dlog_w: Array, dnew_k: Array, dminus_kk: Array, dkk_a: Array,
    dk: Array, ddecay: Array, drate: Array, dparameters: Array, n_heads: int, first: int, last: int,
) -> None:  # fmt: skip
    """Write `dk`, `ddecay` and `drate`; add to `dparameters` (B, 4, D), the gradients of w0, a0, k_k and k_a."""
    channels = k.shape[2]
    width = channels // n_heads
    zero, one, tiny, fastest = _constants(k)
    gate, a = np.empty(channels, k.dtype), np.empty(channels, k.dtype)
    kk, dkk = np.empty(channels, k.dtype), np.empty(channels, k.dtype)
    for n in range(first, last):
        dw0, da0, dk_k, dk_a = dparameters[n, 0], dparameters[n, 1], dparameters[n, 2], dparameters[n, 3]
        for t in range(k.shape[1]):
            k_t, decay_t, rate_t = k[n, t], decay[n, t], rate[n, t]
            dk_t, ddecay_t, drate_t = dk[n, t], ddecay[n, t], drate[n, t]
            dlog_w_t, dnew_k_t, dminus_kk_t, dkk_a_t = dlog_w[n, t], dnew_k[n, t], dminus_kk[n, t], dkk_a[n, t]
            _sigmoid(decay_t, w0, gate)
            _sigmoid(rate_t, a0, a)
            for d in range(channels):
                ddecay_t[d] = dlog_w_t[d] * fastest * gate[d] * (one - gate[d])
                dw0[d] += ddecay_t[d]
            for h in range(n_heads):
                head = slice(h * width, (h + 1) * width)
                kk_h, dkk_h, k_h, k_k_h = kk[head], dkk[head], k_t[head], k_k[head]
                a_h, dkk_a_h, dminus_kk_h = a[head], dkk_a_t[head], dminus_kk_t[head]
                square = zero
                for i in range(width):
                    kk_h[i] = k_h[i] * k_k_h[i]
                    square += kk_h[i] * kk_h[i]
                length = np.sqrt(square)
                scale = one / max(length, tiny)
                along = zero
                for i in range(width):
                    kk_h[i] *= scale
                    dkk_h[i] = dkk_a_h[i] * a_h[i] - dminus_kk_h[i]
                    along += dkk_h[i] * kk_h[i]
                along = along if length > tiny else zero
                for i in range(width):
                    dkk_h[i] = (dkk_h[i] - along * kk_h[i]) * scale
            for d in range(channels):
                dk_t[d] = dnew_k_t[d] * (one + (a[d] - one) * k_a[d]) + dkk[d] * k_k[d]
            for d in range(channels):
                dk_k[d] += dkk[d] * k_t[d]
                dk_a[d] += dnew_k_t[d] * k_t[d] * (a[d] - one)
            for d in range(channels):
                drate_t[d] = (dkk_a_t[d] * kk[d] + dnew_k_t[d] * k_t[d] * k_a[d]) * a[d] * (one - a[d])
                da0[d] += drate_t[d]
