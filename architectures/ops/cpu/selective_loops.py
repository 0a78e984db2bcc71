"""Compiled loops of the selective scan; the equations and the shapes are in `selective.py`.

Rows are (sequence, block of channels) pairs. The inner loops run over the channels of a block, which are contiguous, so
that they vectorise; a block's state stays in the first-level cache. What every sequence or row adds to (the gradients
of A, D, B and C) has a place for each, and is summed by the caller. Most of the time goes into the exponentials of
Delta A: they are powers of two, whose base is folded into `A2` = A / ln 2, and the backward pass takes them once only.
"""

import math

import numpy as np
from numpy.typing import NDArray

from architectures.ops.cpu.elementary import exp, exp2, log1p, sigmoid
from architectures.ops.cpu.loops import loop

Array = NDArray[np.floating]


@loop
def forward(
    x: Array, dt: Array, A2: Array, B: Array, C: Array, D: Array, z: Array, y: Array,
    state: Array, saved: Array, block: int, chunk: int, first: int, last: int,
) -> None:  # fmt: skip
    """Write `y` and, at the start of every chunk, `saved`; turn the initial `state` into the final one."""
    length, n_states = x.shape[1], A2.shape[0]
    n_blocks, n_chunks = (x.shape[2] + block - 1) // block, (length + chunk - 1) // chunk
    zero = x.dtype.type(0)
    for row in range(first, last):
        b, start = row // n_blocks, (row % n_blocks) * block
        end = min(start + block, x.shape[2])
        width, skip = end - start, D[start:end]
        delta, u, y_t = np.empty(width, x.dtype), np.empty(width, x.dtype), np.empty(width, x.dtype)
        for t in range(length):
            if t % chunk == 0:
                for n in range(n_states):
                    s_n, saved_n = state[b, n, start:end], saved[b * n_chunks + t // chunk, n, start:end]
                    for i in range(width):
                        saved_n[i] = s_n[i]
            x_t, dt_t, z_t, out = x[b, t, start:end], dt[b, t, start:end], z[b, t, start:end], y[b, t, start:end]
            for i in range(width):
                delta[i] = max(dt_t[i], zero) + log1p(exp(-abs(dt_t[i])))
                u[i] = delta[i] * x_t[i]
                y_t[i] = skip[i] * x_t[i]
            for n in range(n_states):
                B_n, C_n, a_n, s_n = B[b, t, n], C[b, t, n], A2[n, start:end], state[b, n, start:end]
                for i in range(width):
                    s_i = exp2(delta[i] * a_n[i]) * s_n[i] + u[i] * B_n
                    s_n[i] = s_i
                    y_t[i] += C_n * s_i
            for i in range(width):
                out[i] = y_t[i] * z_t[i] * sigmoid(z_t[i])


@loop
def backward(  # noqa: PLR0912, PLR0915 - one loop nest, that a chunk's states stay local to
    x: Array, dt: Array, A2: Array, B: Array, C: Array, D: Array, z: Array, saved: Array, dy: Array,
    dx: Array, ddt: Array, dA: Array, dB: Array, dC: Array, dD: Array, dz: Array, dstate: Array,
    block: int, chunk: int, first: int, last: int,
) -> None:  # fmt: skip
    """Write the gradients of all inputs from `dy`; turn the final state's gradient `dstate` into the initial state's.

    Adds to `dA` (the gradient of A, not of A / ln 2) and `dD`. States are recomputed chunk by chunk from `saved`, since
    dividing by the decay to run backwards would not be exact.
    """
    length, n_states = x.shape[1], A2.shape[0]
    n_blocks, n_chunks = (x.shape[2] + block - 1) // block, (length + chunk - 1) // chunk
    zero, one, ln2 = x.dtype.type(0), x.dtype.type(1), x.dtype.type(math.log(2))
    for row in range(first, last):
        b, k = row // n_blocks, row % n_blocks
        start = k * block
        end = min(start + block, x.shape[2])
        width, skip, dskip = end - start, D[start:end], dD[b, start:end]
        states, decays = np.empty((chunk + 1, n_states, width), x.dtype), np.empty((chunk, n_states, width), x.dtype)
        deltas, us = np.empty((chunk, width), x.dtype), np.empty((chunk, width), x.dtype)
        dys, y_t = np.empty((chunk, width), x.dtype), np.empty(width, x.dtype)
        du, dexponents = np.empty(width, x.dtype), np.empty(width, x.dtype)
        for c in range(n_chunks - 1, -1, -1):
            steps = min(chunk, length - c * chunk)
            for n in range(n_states):
                s, saved_n = states[0, n], saved[b * n_chunks + c, n, start:end]
                for i in range(width):
                    s[i] = saved_n[i]
            for m in range(steps):
                t = c * chunk + m
                x_t, dt_t, z_t, delta, u = x[b, t, start:end], dt[b, t, start:end], z[b, t, start:end], deltas[m], us[m]
                dy_t, dy_m, dz_t = dy[b, t, start:end], dys[m], dz[b, t, start:end]
                for i in range(width):
                    delta[i] = max(dt_t[i], zero) + log1p(exp(-abs(dt_t[i])))
                    u[i] = delta[i] * x_t[i]
                    y_t[i] = skip[i] * x_t[i]
                    gate = sigmoid(z_t[i])
                    dy_m[i] = dy_t[i] * z_t[i] * gate
                    dz_t[i] = dy_t[i] * gate * (one + z_t[i] * (one - gate))
                    dskip[i] += dy_m[i] * x_t[i]
                for n in range(n_states):
                    B_n, C_n, a_n = B[b, t, n], C[b, t, n], A2[n, start:end]
                    s, s_new, w = states[m, n], states[m + 1, n], decays[m, n]
                    dC_n = zero
                    for i in range(width):
                        w_i = exp2(delta[i] * a_n[i])
                        s_i = w_i * s[i] + u[i] * B_n
                        w[i] = w_i
                        s_new[i] = s_i
                        y_t[i] += C_n * s_i
                        dC_n += dy_m[i] * s_i
                    dC[k, b, t, n] = dC_n
                for i in range(width):
                    dz_t[i] *= y_t[i]
            for m in range(steps - 1, -1, -1):
                t = c * chunk + m
                delta, u, dy_m = deltas[m], us[m], dys[m]
                for i in range(width):
                    du[i] = dexponents[i] = zero
                for n in range(n_states):
                    B_n, C_n, a_n = B[b, t, n], C[b, t, n], A2[n, start:end]
                    s, w, da_n, d_n = states[m, n], decays[m, n], dA[b, n, start:end], dstate[b, n, start:end]
                    dB_n = zero
                    for i in range(width):
                        d_i = d_n[i] + C_n * dy_m[i]
                        dB_n += d_i * u[i]
                        du[i] += d_i * B_n
                        d_i *= w[i]
                        d_n[i] = d_i
                        dexponent = d_i * s[i]
                        dexponents[i] += dexponent * a_n[i]
                        da_n[i] += dexponent * delta[i]
                    dB[k, b, t, n] = dB_n
                x_t, dx_t = x[b, t, start:end], dx[b, t, start:end]
                dt_t, ddt_t = dt[b, t, start:end], ddt[b, t, start:end]
                for i in range(width):
                    dx_t[i] = skip[i] * dy_m[i] + delta[i] * du[i]
                    ddt_t[i] = (ln2 * dexponents[i] + x_t[i] * du[i]) * sigmoid(dt_t[i])
