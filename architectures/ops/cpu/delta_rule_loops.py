"""Compiled loops of the generalised delta rule; the equation and the shapes are in `delta_rule.py`.

Rows are (sequence, head) pairs. Inputs come as 2-D arrays whose row (b L + t) H + h belongs to sequence b, time t, head
h. Every inner loop runs over the contiguous value dimension, so that it vectorises.
"""

import numpy as np
from numpy.typing import NDArray

from architectures.ops.cpu.loops import loop

Array = NDArray[np.floating]


@loop
def forward(
    q: Array, k: Array, v: Array, a: Array, b: Array, w: Array, y: Array,
    state: Array, saved: Array, length: int, heads: int, chunk: int, first: int, last: int,
) -> None:  # fmt: skip
    """Write `y` and, at the start of every chunk, `saved`; turn the initial `state` into the final one."""
    n_keys, n_values, n_chunks = q.shape[1], v.shape[1], (length + chunk - 1) // chunk
    u, y_t = np.empty(n_values, q.dtype), np.empty(n_values, q.dtype)
    zero = q.dtype.type(0)
    for n in range(first, last):
        s = state[n]
        for t in range(length):
            if t % chunk == 0:
                saved_t = saved[n * n_chunks + t // chunk]
                for i in range(n_keys):
                    for j in range(n_values):
                        saved_t[i, j] = s[i, j]
            row = ((n // heads) * length + t) * heads + n % heads
            v_t = v[row]
            for j in range(n_values):
                u[j] = y_t[j] = zero
            for i in range(n_keys):
                a_i = a[row, i]
                for j in range(n_values):
                    u[j] += a_i * s[i, j]
            for i in range(n_keys):
                w_i, k_i, b_i, q_i = w[row, i], k[row, i], b[row, i], q[row, i]
                for j in range(n_values):
                    s_ij = w_i * s[i, j] + k_i * v_t[j] + b_i * u[j]
                    s[i, j] = s_ij
                    y_t[j] += q_i * s_ij
            for j in range(n_values):
                y[row, j] = y_t[j]


@loop
def backward(  # noqa: PLR0912 - one loop nest, that a chunk's states stay local to
    q: Array, k: Array, v: Array, a: Array, b: Array, w: Array, saved: Array, dy: Array,
    dq: Array, dk: Array, dv: Array, da: Array, db: Array, dw: Array, dstate: Array,
    length: int, heads: int, chunk: int, first: int, last: int,
) -> None:  # fmt: skip
    """Write the gradients of all inputs from `dy`; turn the final state's gradient `dstate` into the initial state's.

    States are recomputed chunk by chunk from `saved`, since dividing by the decay to run backwards would not be exact.
    """
    n_keys, n_values, n_chunks = q.shape[1], v.shape[1], (length + chunk - 1) // chunk
    states, us = np.empty((chunk + 1, n_keys, n_values), q.dtype), np.empty((chunk, n_values), q.dtype)
    du, dv_t = np.empty(n_values, q.dtype), np.empty(n_values, q.dtype)
    zero = q.dtype.type(0)
    for n in range(first, last):
        d = dstate[n]
        for c in range(n_chunks - 1, -1, -1):
            start = c * chunk
            steps = min(chunk, length - start)
            s, saved_c = states[0], saved[n * n_chunks + c]
            for i in range(n_keys):
                for j in range(n_values):
                    s[i, j] = saved_c[i, j]
            for m in range(steps):
                row = ((n // heads) * length + start + m) * heads + n % heads
                s, s_new, u, v_t = states[m], states[m + 1], us[m], v[row]
                for j in range(n_values):
                    u[j] = zero
                for i in range(n_keys):
                    a_i = a[row, i]
                    for j in range(n_values):
                        u[j] += a_i * s[i, j]
                for i in range(n_keys):
                    w_i, k_i, b_i = w[row, i], k[row, i], b[row, i]
                    for j in range(n_values):
                        s_new[i, j] = w_i * s[i, j] + k_i * v_t[j] + b_i * u[j]
            for m in range(steps - 1, -1, -1):
                row = ((n // heads) * length + start + m) * heads + n % heads
                s, s_new, u, v_t, dy_t = states[m], states[m + 1], us[m], v[row], dy[row]
                for j in range(n_values):
                    du[j] = dv_t[j] = zero
                for i in range(n_keys):
                    q_i, k_i, b_i = q[row, i], k[row, i], b[row, i]
                    dq_i = dk_i = db_i = dw_i = zero
                    for j in range(n_values):
                        d_ij = d[i, j] + q_i * dy_t[j]
                        d[i, j] = d_ij
                        dq_i += s_new[i, j] * dy_t[j]
                        dk_i += d_ij * v_t[j]
                        db_i += d_ij * u[j]
                        dw_i += d_ij * s[i, j]
                        dv_t[j] += k_i * d_ij
                        du[j] += b_i * d_ij
                    dq[row, i], dk[row, i], db[row, i], dw[row, i] = dq_i, dk_i, db_i, dw_i
                for j in range(n_values):
                    dv[row, j] = dv_t[j]
                for i in range(n_keys):
                    w_i, a_i = w[row, i], a[row, i]
                    da_i = zero
                    for j in range(n_values):
                        da_i += s[i, j] * du[j]
                        d[i, j] = w_i * d[i, j] + a_i * du[j]
                    da[row, i] = da_i
