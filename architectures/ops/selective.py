"""Selective scan of Mamba-1 (arXiv 2312.00752, algorithm 2), with the skip and the gate that always follow it.

    Delta_t = softplus(dt_t)
    h_t[n, d] = exp(Delta_t[d] A[d, n]) h_{t-1}[n, d] + Delta_t[d] B_t[n] x_t[d]         the state, diagonal in d and n
    y_t[d] = (sum over n of C_t[n] h_t[n, d] + D[d] x_t[d]) silu(z_t[d])

The exponential is the paper's zero-order hold (equation 4) of A; for B it takes Delta B, as the authors' code does.

Shape letters: B batch, L positions, D channels, N states per channel. The parameters A, B, C and D are the paper's.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from architectures.ops.over_seeds import each_sequence, fold, over_seeds, unfold
from architectures.ops.registration import compiled_operator

CHUNK = 16
"""Steps whose states and decays the compiled backward pass holds at once: 2 x 256 KiB at 256 channels and 16 states."""

BLOCK = 256
"""Channels that the compiled loops take at once: their state fits the first-level cache, and long loops are fast."""

_TORCH_CHUNK = 64


def _over_seeds(
    scan: Callable[..., tuple[Tensor, Tensor]],
    n_seeds: int,
    *,
    implementation: str,
    state: Tensor | None,
    **inputs: Tensor,
) -> tuple[Tensor, ...]:
    """Rule for a map over seeds: B and C are shared by all channels of a seed, A and D by all its sequences."""
    if implementation == "mamba_ssm" and state is None:
        # The kernel's parameters are those of channels, its B and C those of groups of channels: a seed is a group.
        dims = {"x": 2, "dt": 2, "A": 0, "D": 0, "z": 2}
        folded = {name: fold(x, dims[name]) if name in dims else x.movedim(0, 2) for name, x in inputs.items()}
        results = scan(**folded, implementation=implementation)
        return tuple(unfold(x, n_seeds, 2) for x in results)
    if implementation == "numba":
        # The compiled loops have neither groups nor parameters of a sequence; and calls cost a CPU less than a GPU.
        states = [None] * n_seeds if state is None else state
        runs = [
            scan(**{name: x[e] for name, x in inputs.items()}, state=states[e], implementation=implementation)
            for e in range(n_seeds)
        ]
        return tuple(torch.stack(parts) for parts in zip(*runs, strict=True))
    batch, shared = inputs["x"].shape[1], ("A", "D")
    folded = {name: each_sequence(x, batch) if name in shared else fold(x, 0) for name, x in inputs.items()}
    results = scan(**folded, state=None if state is None else fold(state, 0), implementation=implementation)
    return tuple(unfold(x, n_seeds, 0) for x in results)


@over_seeds(_over_seeds)
def selective_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, state: Tensor | None = None,
    *, implementation: str = "torch",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Run the recurrence over all positions, add the skip and apply the gate.

    Args:
        x: (B, L, D).
        dt: step sizes before the softplus, (B, L, D).
        A: (D, N), negative; for "torch" also (B, 1, D, N), one per sequence.
        B, C: (B, L, N); for "mamba_ssm" also (B, L, G, N) of G groups of channels.
        D: (D,); for "torch" also (B, 1, D).
        z: gate before the SiLU, (B, L, D).
        state: h_0 (B, N, D); None is zero.
        implementation: "torch"; "numba" for tensors on the CPU; "mamba_ssm" for tensors on a CUDA device, whose kernel
            starts from zero only, so that a given state takes "torch".

    Returns:
        y (B, L, D) in x's dtype and h_L (B, N, D); half precision is computed in float32.
    """
    if implementation == "mamba_ssm" and state is None:
        from architectures.ops.cuda import fused

        y, state = fused.selective_scan(x, softplus(dt), A, B, C)
        return _skip_and_gate(y, x, D, z).to(x.dtype), state
    out_dtype, dtype = x.dtype, torch.promote_types(x.dtype, torch.float32)
    x, dt, A, B, C, D, z = (tensor.to(dtype) for tensor in (x, dt, A, B, C, D, z))
    state = x.new_zeros((len(x), A.shape[-1], A.shape[-2])) if state is None else state.to(dtype)
    with torch.autocast(x.device.type, enabled=False):  # which would turn the products to half precision
        if implementation == "numba":
            y, state, _ = _compiled(x, dt, A.mT, B, C, D, z, state)
        else:
            y, state = _chunked(x, softplus(dt), A.mT, B, C, state)
            y = _skip_and_gate(y, x, D, z)
    return y.to(out_dtype), state


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x); linear only where that is exact in float64, unlike PyTorch's default."""
    return F.softplus(x, threshold=40)


def _skip_and_gate(y: Tensor, x: Tensor, D: Tensor, z: Tensor) -> Tensor:
    return (y + D * x) * F.silu(z)


def _chunked(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run chunk by chunk in plain PyTorch; a chunk's inner tensors are recomputed in the backward pass."""
    outputs = []
    for inputs in zip(*(tensor.split(_TORCH_CHUNK, dim=1) for tensor in (x, delta, B, C)), strict=True):
        y, state = checkpoint(_chunk, *inputs, A, state, use_reentrant=False, preserve_rng_state=False)
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


def _chunk(x: Tensor, delta: Tensor, B: Tensor, C: Tensor, A: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run all steps of one chunk at once, from the state (B, N, D) at its start; A is (N, D) or (B, 1, N, D)."""
    decay = (delta.unsqueeze(2) * A).exp()
    added = B.unsqueeze(3) * (delta * x).unsqueeze(2)
    added = torch.cat([(added[:, 0] + decay[:, 0] * state)[:, None], added[:, 1:]], dim=1)
    states = _prefixes(decay, added)
    return torch.einsum("bln,blnd->bld", C, states), states[:, -1].clone()  # a view would keep all of them alive


def _prefixes(decay: Tensor, added: Tensor) -> Tensor:
    """h_t = decay_t h_{t-1} + added_t for all t of dimension 1, from h = 0.

    Pairs of neighbouring steps form a scan of half the length, whose states are those at odd t; each even one follows
    from the odd one before it (Blelloch 1990). Decays are only multiplied, so that nothing overflows or cancels.
    """
    steps = decay.shape[1]
    if steps == 1:
        return added
    pairs = steps // 2
    decay_even, decay_odd = decay[:, 0 : 2 * pairs : 2], decay[:, 1::2]
    added_even, added_odd = added[:, 0 : 2 * pairs : 2], added[:, 1::2]
    odd = _prefixes(decay_odd * decay_even, decay_odd * added_even + added_odd)
    even = torch.cat([added[:, :1], decay[:, 2::2] * odd[:, : (steps - 1) // 2] + added[:, 2::2]], dim=1)
    both = torch.stack([even[:, :pairs], odd], dim=2).flatten(1, 2)
    return both if steps % 2 == 0 else torch.cat([both, even[:, -1:]], dim=1)


def _forward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, state: Tensor
) -> list[Tensor]:
    from architectures.ops.cpu import loops, selective_loops

    (batch, length, channels), y, final = x.shape, torch.empty_like(x), state.clone()
    saved = state.new_empty((batch * -(-length // CHUNK), *state.shape[1:]))
    loops.run(
        selective_loops.forward, -(-channels // BLOCK) * batch,
        x, dt, A / math.log(2), B, C, D, z, y, final, saved, BLOCK, CHUNK,
    )  # fmt: skip
    return [y, final, saved]


def _backward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, saved: Tensor, gradients: list[Tensor]
) -> list[Tensor]:
    from architectures.ops.cpu import loops, selective_loops

    (batch, _, channels), (dy, dstate) = x.shape, gradients
    n_blocks, dstate = -(-channels // BLOCK), dstate.clone()
    dx, ddt, dz = (torch.empty_like(x) for _ in range(3))
    dA, dD = A.new_zeros((batch, *A.shape)), D.new_zeros((batch, *D.shape))
    dB, dC = B.new_empty((n_blocks, *B.shape)), C.new_empty((n_blocks, *C.shape))
    loops.run(
        selective_loops.backward, n_blocks * batch,
        x, dt, A / math.log(2), B, C, D, z, saved, dy,
        dx, ddt, dA, dB, dC, dD, dz, dstate, BLOCK, CHUNK,
    )  # fmt: skip
    return [dx, ddt, dA.sum(0), dB.sum(0), dC.sum(0), dD.sum(0), dz, dstate]


def _flops(x: Any, dt: Any, A: Any, *_: Any) -> int:
    """A multiplication and an addition per state entry for each of: Delta A, decay, input and output."""
    batch, length, channels = x
    return 8 * batch * length * channels * A[0]


_compiled = compiled_operator("selective_scan", _forward, _backward, _flops)
