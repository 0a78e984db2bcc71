"""Compiled loops of the state-space dual; the equation, the shapes and the matrix products are in `ssd.py`.

Each call serves one chunk of C positions from `start` on: everything between its matrix products, in one pass. Rows are
sequences. Inner loops run over a contiguous dimension, from end to end even where only j <= t counts: at a fixed length
they vectorise, which saves more than the other half costs.

Decays are exponentials of sums over exactly the steps between two positions. Sums below `least` count as -infinity, so
that no product is a denormal number, on which a CPU is slow; this also leaves out the pairs j > t. NaN stays NaN.
"""

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from architectures.ops.cpu.elementary import exp
from architectures.ops.cpu.loops import FASTMATH, loop

Array = NDArray[np.floating]


@register_jitable(fastmath=FASTMATH)
def _mix(
    t: int, log_t: float, skip: float, scores_t: Array, dts: Array, bound: np.floating,
    sums: Array, decays: Array, mixing_t: Array,
) -> None:  # fmt: skip
    """Advance `sums` and `decays` from every step j to step t, and write row t of the matrix from x to y."""
    steps, zero = len(dts), dts.dtype.type(0)
    for j in range(steps):
        sums[j] += log_t
    sums[t] = zero
    for j in range(steps):
        decays[j] = exp(sums[j])
    for j in range(steps):
        decays[j] = zero if sums[j] < bound else decays[j]
    for j in range(steps):
        mixing_t[j] = scores_t[j] * dts[j] * decays[j]
    mixing_t[t] += skip


@loop
def forward(
    scores: Array, x: Array, dt: Array, log_decay: Array, skip: Array, state: Array,
    mixing: Array, y: Array, injected: Array, next_state: Array, least: float, start: int, first: int, last: int,
) -> None:  # fmt: skip
    """Prepare the chunk's products, from its `scores` C B^T (R, C, C) and the `state` (R, N, H, P) at its start.

    Writes `mixing` (R, H, C, C), the matrix from x to y within the chunk, `injected` (R, C, H, P), which is dt x, and
    `next_state`, which is `state`, both decayed until the chunk's end. Decays `y` (R, L, H, P), which holds C S, since
    the chunk's start.
    """
    steps, heads, width, n_keys = scores.shape[1], x.shape[2], x.shape[3], state.shape[1]
    zero, bound, never = x.dtype.type(0), x.dtype.type(least), x.dtype.type(2 * least)
    sums, decays, dts = np.empty(steps, x.dtype), np.empty(steps, x.dtype), np.empty(steps, x.dtype)
    for r in range(first, last):
        for h in range(heads):
            total = zero
            sums[:] = never
            for t in range(steps):
                dts[t] = dt[r, start + t, h]
            for t in range(steps):
                log_t, m_t, scores_t = log_decay[r, start + t, h], mixing[r, h, t], scores[r, t]
                total += log_t
                _mix(t, log_t, skip[r, h], scores_t, dts, bound, sums, decays, m_t)
                since_start, y_t = zero if total < bound else exp(total), y[r, start + t, h]
                for p in range(width):
                    y_t[p] *= since_start
            for j in range(steps):
                scale, x_j, injected_j = dts[j] * decays[j], x[r, start + j, h], injected[r, j, h]
                for p in range(width):
                    injected_j[p] = scale * x_j[p]
            kept = zero if total < bound else exp(total)  # type: ignore[arg-type]
            for n in range(n_keys):
                s, s_next = state[r, n, h], next_state[r, n, h]
                for p in range(width):
                    s_next[p] = kept * s[p]


@loop
def backward(  # noqa: PLR0912 - as in `forward`
    scores: Array, x: Array, dt: Array, log_decay: Array, skip: Array, state: Array,
    dy: Array, dmixing: Array, read: Array, dinjected: Array, dstate: Array,
    mixing: Array, dread: Array, injected: Array, dscores: Array, dstate_kept: Array,
    dx: Array, ddt: Array, dlog_decay: Array, dskip: Array, least: float, start: int, first: int, last: int,
) -> None:  # fmt: skip
    """Compute gradients through everything between the chunk's products.

    Given are `dmixing` = dy x^T (R, H, C, C), `read` = C S and `dinjected` = B dS (R, C, H, P), and the gradient
    `dstate` of the state at the chunk's end. Writes `mixing` and `injected` as `forward` does, `dread` (R, C, H, P),
    the gradient of `read`, `dscores` (R, C, C), `dstate_kept`, what reaches the state at the start by decay, the
    gradients `ddt` and `dlog_decay`, and the part of `dx` by way of `injected`; adds to `dskip`; overwrites `dmixing`.
    """
    steps, heads, width, n_keys = scores.shape[1], x.shape[2], x.shape[3], state.shape[1]
    zero, bound, never = x.dtype.type(0), x.dtype.type(least), x.dtype.type(2 * least)
    sums, decays, dts = np.empty(steps, x.dtype), np.empty(steps, x.dtype), np.empty(steps, x.dtype)
    ddts, dlogs, columns = np.empty(steps, x.dtype), np.empty(steps, x.dtype), np.empty(steps, x.dtype)
    since_start = np.empty(steps, x.dtype)
    for r in range(first, last):
        dscores[r] = zero
        for h in range(heads):
            total = zero
            sums[:] = never
            ddts[:] = zero
            for t in range(steps):
                dts[t] = dt[r, start + t, h]
            for t in range(steps):
                log_t, m_t, scores_t = log_decay[r, start + t, h], mixing[r, h, t], scores[r, t]
                dm_t, dscores_t = dmixing[r, h, t], dscores[r, t]
                total += log_t
                since_start[t] = zero if total < bound else exp(total)
                dskip[r, h] += dm_t[t]
                _mix(t, log_t, skip[r, h], scores_t, dts, bound, sums, decays, m_t)
                for j in range(steps):
                    dm_t[j] *= decays[j]
                for j in range(steps):
                    dscores_t[j] += dm_t[j] * dts[j]
                for j in range(steps):
                    dm_t[j] *= scores_t[j]
                for j in range(steps):
                    ddts[j] += dm_t[j]
            kept, dkept = zero if total < bound else exp(total), zero  # type: ignore[arg-type]
            for n in range(n_keys):
                s, ds, ds_kept = state[r, n, h], dstate[r, n, h], dstate_kept[r, n, h]
                for p in range(width):
                    dkept += s[p] * ds[p]
                for p in range(width):
                    ds_kept[p] = kept * ds[p]
            # The gradient of step i's log decay sums over all pairs t >= i > j: here first over t, for j in columns.
            columns[:] = zero
            from_later = kept * dkept
            for t in range(steps - 1, -1, -1):
                by_pairs, by_reading, since, dm_t = zero, zero, since_start[t], dmixing[r, h, t]
                for j in range(steps):
                    columns[j] += dm_t[j] * dts[j]
                for j in range(steps):
                    by_pairs += columns[j] if j < t else zero
                read_t, dread_t, dy_t = read[r, t, h], dread[r, t, h], dy[r, start + t, h]
                for p in range(width):
                    by_reading += read_t[p] * dy_t[p]
                for p in range(width):
                    dread_t[p] = since * dy_t[p]
                from_later += since * by_reading
                dlogs[t] = from_later + by_pairs
            from_earlier = zero
            for j in range(steps):
                scale, by_injecting = dts[j] * decays[j], zero
                x_j, dx_j = x[r, start + j, h], dx[r, start + j, h]
                injected_j, dinjected_j = injected[r, j, h], dinjected[r, j, h]
                for p in range(width):
                    by_injecting += x_j[p] * dinjected_j[p]
                for p in range(width):
                    injected_j[p] = scale * x_j[p]
                for p in range(width):
                    dx_j[p] = scale * dinjected_j[p]
                dlog_decay[r, start + j, h] = dlogs[j] + from_earlier
                ddt[r, start + j, h] = ddts[j] + decays[j] * by_injecting
                from_earlier += scale * by_injecting
