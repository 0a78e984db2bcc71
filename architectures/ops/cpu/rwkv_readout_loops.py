"""Compiled loops of RWKV-7's readout; the equation and the shapes are in `rwkv_readout.py`.

Rows are sequences. Sums over a head and gradients of parameters are taken in the same pass; a parameter's gradient
has a part for each sequence.
"""

import numpy as np
from numpy.typing import NDArray

from architectures.ops.cpu.loops import loop

Array = NDArray[np.floating]


@loop
def forward(
    y: Array, r: Array, k: Array, v: Array, g: Array, r_k: Array, weight: Array, bias: Array,
    out: Array, eps: float, first: int, last: int,
) -> None:  # fmt: skip
    """Write `out` (B, L, D)."""
    n_heads, width = r_k.shape
    kind = y.dtype.type
    zero, one = kind(0), kind(1)
    for n in range(first, last):
        for t in range(y.shape[1]):
            for h in range(n_heads):
                head = slice(h * width, (h + 1) * width)
                y_h, r_h, k_h, v_h = y[n, t, head], r[n, t, head], k[n, t, head], v[n, t, head]
                g_h, out_h, weight_h, bias_h, r_k_h = g[n, t, head], out[n, t, head], weight[head], bias[head], r_k[h]
                total = share = square = zero
                for i in range(width):
                    total += y_h[i]
                    share += r_h[i] * k_h[i] * r_k_h[i]
                mean = total / kind(width)
                for i in range(width):
                    square += (y_h[i] - mean) * (y_h[i] - mean)
                scale = one / np.sqrt(square / kind(width) + kind(eps))
                for i in range(width):
                    out_h[i] = (y_h[i] - mean) * scale * weight_h[i] + bias_h[i]
                for i in range(width):
                    out_h[i] = (out_h[i] + share * v_h[i]) * g_h[i]


@loop
def backward(
    y: Array, r: Array, k: Array, v: Array, g: Array, r_k: Array, weight: Array, bias: Array, dout: Array,
    dy: Array, dr: Array, dk: Array, dv: Array, dg: Array, dparameters: Array, eps: float, first: int, last: int,
) -> None:  # fmt: skip
    """Add to `dparameters` (B, 3, D), the gradients of r_k, weight and bias; write the other gradients."""
    n_heads, width = r_k.shape
    kind = y.dtype.type
    zero, one = kind(0), kind(1)
    normed, dinner = np.empty(width, y.dtype), np.empty(width, y.dtype)
    for n in range(first, last):
        for t in range(y.shape[1]):
            for h in range(n_heads):
                head = slice(h * width, (h + 1) * width)
                y_h, r_h, k_h, v_h = y[n, t, head], r[n, t, head], k[n, t, head], v[n, t, head]
                g_h, dout_h, dy_h, dr_h = g[n, t, head], dout[n, t, head], dy[n, t, head], dr[n, t, head]
                dk_h, dv_h, dg_h = dk[n, t, head], dv[n, t, head], dg[n, t, head]
                weight_h, bias_h, r_k_h = weight[head], bias[head], r_k[h]
                dr_k, dweight, dbias = dparameters[n, 0, head], dparameters[n, 1, head], dparameters[n, 2, head]
                total = share = square = dshare = mean_d = along = zero
                for i in range(width):
                    total += y_h[i]
                    share += r_h[i] * k_h[i] * r_k_h[i]
                mean = total / kind(width)
                for i in range(width):
                    normed[i] = y_h[i] - mean
                    square += normed[i] * normed[i]
                scale = one / np.sqrt(square / kind(width) + kind(eps))
                for i in range(width):
                    normed[i] *= scale
                    dg_h[i] = dout_h[i] * (normed[i] * weight_h[i] + bias_h[i] + share * v_h[i])
                for i in range(width):
                    dinner[i] = dout_h[i] * g_h[i]
                    dshare += dinner[i] * v_h[i]
                for i in range(width):
                    dv_h[i] = dinner[i] * share
                    dbias[i] += dinner[i]
                    dweight[i] += dinner[i] * normed[i]
                for i in range(width):
                    dr_h[i] = dshare * k_h[i] * r_k_h[i]
                    dk_h[i] = dshare * r_h[i] * r_k_h[i]
                for i in range(width):
                    dr_k[i] += dshare * r_h[i] * k_h[i]
                for i in range(width):
                    dinner[i] *= weight_h[i]
                    mean_d += dinner[i]
                    along += dinner[i] * normed[i]
                mean_d, along = mean_d / kind(width), along / kind(width)
                for i in range(width):
                    dy_h[i] = (dinner[i] - mean_d - along * normed[i]) * scale
