"""State-space dual: a linear recurrence of matrix states with one decay per head (arXiv 2405.21060, section 6).

    S_t = exp(dt_t A) S_{t-1} + B_t (dt_t x_t)^T,        y_t = S_t^T C_t + D x_t

with x, y in R^P, B, C in R^N, S in R^{N x P}; dt > 0, A < 0 and D are numbers per head; B and C are shared by the
heads of a group. Over a chunk of positions that starts from the state S the same is a product of matrices:

    y = M x + diag(from start to t) C S,    M[t, j] = (C_t . B_j) exp(sum of dt A over j < i <= t) dt_j, j <= t

Shape letters: B batch, L positions, H heads, P head width, G groups, N state size; in the compiled form R = B G rows,
each with the H / G heads of its group, and C positions a chunk.
"""

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils.checkpoint import checkpoint

from architectures.ops.over_seeds import PER_SEQUENCE, fold_seeds
from architectures.ops.registration import compiled_operator

CHUNK = 64
"""Positions per chunk: products of 64 x 64 matrices run near a CPU's full speed, and cost is linear in length."""

_LEAST = {torch.float32: -69.0, torch.float64: -690.0}
"""Logarithms of the smallest decays told from 0, 1e-30 and 1e-300: products with them are still normal numbers."""


@fold_seeds(A=PER_SEQUENCE, D=PER_SEQUENCE)
def ssd(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor | None = None,
    *, implementation: str = "torch",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Run the recurrence over all positions.

    Args:
        x: (B, L, H, P).
        dt: step sizes (B, L, H), not negative.
        A: (H,), not positive; or (B, 1, H), one per sequence.
        B, C: (B, L, G, N); head h belongs to group h // (H / G).
        D: (H,), the weight of the skip from x to y; or (B, 1, H).
        state: S_0 (B, H, N, P); None is zero.
        implementation: "torch", or "numba" for tensors on the CPU.

    Returns:
        y (B, L, H, P) in x's dtype and S_L (B, H, N, P); half precision is computed in float32.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    dt, A = dt.to(dtype), A.to(dtype)
    return gated_ssd(x, dt, dt * A, B, C, D, state, implementation=implementation)


def gated_ssd(
    x: Tensor, weight: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor | None = None,
    *, implementation: str = "torch",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Run the recurrence with decay and input weight apart: S_t = exp(log_decay_t) S_{t-1} + B_t (weight_t x_t)^T.

    Args:
        x: (B, L, H, P).
        weight, log_decay: (B, L, H); neither weights nor decays grow a state without bound: log_decay is not positive.
        B, C, D, state, implementation: as for `ssd`; without its rule for a map over seeds.

    Returns:
        as `ssd`.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    values, weight, log_decay, B, C, D = (z.to(dtype) for z in (x, weight, log_decay, B, C, D))
    (batch, _, heads, width), (groups, n_keys) = x.shape, B.shape[2:]
    if state is None:
        state = x.new_zeros((batch, heads, n_keys, width), dtype=dtype)

    def rows(z: Tensor) -> Tensor:
        """(B, L, H or G, ...) to (R, L, H / G or 1, ...): a group is a sequence of its own."""
        return z.unflatten(2, (groups, -1)).transpose(1, 2).flatten(0, 1)

    values, weight, log_decay, B, C = (rows(z) for z in (values, weight, log_decay, B, C))
    skip = rows(D.expand(batch, 1, heads)).squeeze(1)
    state = state.to(dtype).unflatten(1, (groups, -1)).flatten(0, 1).transpose(1, 2)  # (R, N, H / G, P)
    run = _compiled if implementation == "numba" else _chunked
    inputs = (values, weight, log_decay, B.squeeze(2), C.squeeze(2), skip, state)
    with torch.autocast(x.device.type, enabled=False):  # which would turn the products to half precision
        y, state, *_ = run(*(z.contiguous() for z in inputs))
    y = y.unflatten(0, (batch, groups)).transpose(1, 2).flatten(2, 3)
    return y.to(x.dtype), state.transpose(1, 2).unflatten(0, (batch, groups)).flatten(1, 2)


def _chunked(
    x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, skip: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run chunk by chunk in plain PyTorch; a chunk's inner tensors are recomputed in the backward pass."""
    state, outputs = state.transpose(1, 2), []
    for inputs in zip(*(z.split(CHUNK, dim=1) for z in (x, dt, log_decay, B, C)), strict=True):
        y, state = checkpoint(_chunk, *inputs, state, use_reentrant=False, preserve_rng_state=False)
        outputs.append(y)
    return torch.cat(outputs, dim=1) + skip[:, None, :, None] * x, state.transpose(1, 2)


def _chunk(x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run all steps of one chunk at once, from the state (R, H, N, P) at its start.

    Decays are exponentials of sums over exactly the steps between two positions, never of differences of two longer
    sums, so that strong decay neither overflows nor cancels.
    """
    steps = x.shape[1]
    x, dt, log_decay = x.transpose(1, 2), dt.transpose(1, 2), log_decay.transpose(1, 2)  # heads first
    causal = torch.ones(steps, steps, dtype=torch.bool, device=x.device).tril()
    sums = log_decay.unsqueeze(3).masked_fill(~causal.tril(-1), 0).cumsum(2)  # [t, j]: sum over j < i <= t
    decay = sums.exp().masked_fill(~causal, 0)
    B, C, injected = B.unsqueeze(1), C.unsqueeze(1), dt.unsqueeze(3) * x
    from_start = log_decay.cumsum(2).exp().unsqueeze(3)
    y = (C @ B.transpose(2, 3) * decay) @ injected + from_start * (C @ state)
    state = from_start[:, :, -1:] * state + B.transpose(2, 3) @ (decay[:, :, -1, :, None] * injected)
    return y.transpose(1, 2), state


def _forward(
    x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, skip: Tensor, state: Tensor
) -> list[Tensor]:
    from architectures.ops.cpu import loops, ssd_loops

    rows, length, heads, width = x.shape
    y = torch.empty_like(x)
    states = state.new_empty((-(-length // CHUNK) + 1, *state.shape))  # at the start of every chunk, then the final one
    states[0] = state
    from_nothing = _is_zero(state)
    for c, start in enumerate(range(0, length, CHUNK)):
        here, steps = slice(start, start + CHUNK), min(CHUNK, length - start)
        scores = C[:, here] @ B[:, here].transpose(1, 2)
        if c == 0 and from_nothing:
            y[:, here].zero_()
        else:
            y[:, here].flatten(2)[:] = C[:, here] @ states[c].flatten(2)
        mixing, injected = x.new_empty((rows, heads, steps, steps)), x.new_empty((rows, steps, heads, width))
        loops.run(
            ssd_loops.forward, rows,
            scores, x, dt, log_decay, skip, states[c], mixing, y, injected, states[c + 1], _LEAST[x.dtype], start,
        )  # fmt: skip
        y[:, here] += (mixing @ x[:, here].transpose(1, 2)).transpose(1, 2)
        states[c + 1].flatten(2).baddbmm_(B[:, here].transpose(1, 2), injected.flatten(2))
    return [y, states[-1].clone(), states]


def _backward(
    x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, skip: Tensor, saved: Tensor, gradients: list[Tensor]
) -> list[Tensor]:
    from architectures.ops.cpu import loops, ssd_loops

    (rows, length, heads, width), (dy, dstate) = x.shape, gradients
    dx, ddt, dlog_decay, dB, dC = (torch.empty_like(z) for z in (x, dt, log_decay, B, C))
    dskip, dstate, dstate_start = torch.zeros_like(skip), dstate.clone(), torch.empty_like(dstate)
    from_nothing, unused = _is_zero(saved[0]), _is_zero(dstate)  # mostly so in training: half of the products are 0
    for c in reversed(range(len(saved) - 1)):
        start = c * CHUNK
        here, wide = slice(start, start + CHUNK), (rows, min(CHUNK, length - start), heads, width)
        B_c, C_c, state = B[:, here], C[:, here], saved[c]
        scores = C_c @ B_c.transpose(1, 2)
        starts, ends = c == 0 and from_nothing, c == len(saved) - 2 and unused
        zeros = x.new_zeros((rows, wide[1], heads * width)) if starts or ends else x
        read = zeros if starts else C_c @ state.flatten(2)
        dinjected = zeros if ends else B_c @ dstate.flatten(2)
        dy_c = dy[:, here].transpose(1, 2)
        dmixing = dy_c @ x[:, here].permute(0, 2, 3, 1)
        mixing, dscores = torch.empty_like(dmixing), torch.empty_like(scores)
        dread, injected = torch.empty_like(read), torch.empty_like(read)
        loops.run(
            ssd_loops.backward, rows, scores, x, dt, log_decay, skip, state,
            dy, dmixing, read.view(wide), dinjected.view(wide), dstate,
            mixing, dread.view(wide), injected.view(wide), dscores, dstate_start,
            dx, ddt, dlog_decay, dskip, _LEAST[x.dtype], start,
        )  # fmt: skip
        dx[:, here] += (mixing.transpose(2, 3) @ dy_c).transpose(1, 2)
        dC[:, here], dB[:, here] = dscores @ B_c, dscores.transpose(1, 2) @ C_c
        if not starts:
            dC[:, here] += dread @ state.flatten(2).transpose(1, 2)
        if not ends:
            dB[:, here] += injected @ dstate.flatten(2).transpose(1, 2)
        dstate_start.flatten(2).baddbmm_(C_c.transpose(1, 2), dread)
        dstate, dstate_start = dstate_start, dstate
    return [dx, ddt, dlog_decay, dB, dC, dskip, dstate]


def _is_zero(x: Tensor) -> bool:
    """Whether all is 0; of a tensor without data that is not known."""
    return not (x.is_meta or isinstance(x, FakeTensor) or bool(x.any()))


def _flops(x: Any, dt: Any, log_decay: Any, B: Any, *_: Any) -> int:
    """A multiplication and an addition per state entry for each of: decay, B x^T, S^T C."""
    rows, length, heads, width = x
    return 6 * rows * length * heads * width * B[2]


_compiled = compiled_operator("ssd", _forward, _backward, _flops)
