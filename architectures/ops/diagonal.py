"""Diagonal linear recurrence of complex states with constant decays (arXiv 2303.06349, equation 2).

    h_t[n] = lambda[n] h_{t-1}[n] + u_t[n]                     h, lambda, u complex

Complex numbers are pairs of real ones, all real parts first, so that the maps into and out of the states are ordinary
matrix products and every dtype of PyTorch serves.

Shape letters: B batch, L positions, N complex states, C positions of a chunk.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from architectures.ops.over_seeds import PER_SEQUENCE, fold_seeds
from architectures.ops.registration import compiled_operator

_CHUNK = 64


@fold_seeds(decay=PER_SEQUENCE)
def diagonal_scan(
    u: Tensor, decay: Tensor, state: Tensor | None = None, *, implementation: str = "torch"
) -> tuple[Tensor, Tensor]:
    """Run the recurrence over all positions.

    Args:
        u: (B, L, 2 N), real parts of all inputs, then imaginary parts.
        decay: lambda, (2 N,) likewise; or (B, 1, 2 N), one per sequence.
        state: h_0 (B, 2 N); None is zero.
        implementation: "torch", or "numba" for tensors on the CPU.

    Returns:
        h (B, L, 2 N) in u's dtype and h_L (B, 2 N); half precision is computed in float32.
    """
    out_dtype, dtype = u.dtype, torch.promote_types(u.dtype, torch.float32)
    u, decay = u.to(dtype), decay.to(dtype).expand(len(u), 1, -1).squeeze(1)
    state = torch.zeros_like(u[:, 0]) if state is None else state.to(dtype)
    with torch.autocast(u.device.type, enabled=False):
        (h,) = _compiled(u, decay, state) if implementation == "numba" else _chunked(u, decay, state)
    return h.to(out_dtype), h[:, -1].clone()


def _chunked(u: Tensor, decay: Tensor, state: Tensor) -> list[Tensor]:
    """Run chunk by chunk in plain PyTorch; a chunk's powers of lambda are recomputed in the backward pass."""
    h, outputs = _complex(state), []
    for u_c in _complex(u).split(_CHUNK, dim=1):
        h_c = checkpoint(_chunk, u_c, _complex(decay), h, use_reentrant=False, preserve_rng_state=False)
        h = h_c[:, -1]
        outputs.append(h_c)
    h_BLN = torch.cat(outputs, dim=1)
    return [torch.cat([h_BLN.real, h_BLN.imag], dim=-1)]


def _chunk(u: Tensor, decay: Tensor, h: Tensor) -> Tensor:
    """States of one chunk (B, C, N) from the state (B, N) before it, by sums over windows that double in length.

    After the pass with stride k, position t holds the sum over the last 2 k inputs, each times its power of lambda;
    powers are products, so that a decay of 0 is exact, which the exponential of a sum of logarithms would not be.
    """
    h_C = torch.cat([(u[:, 0] + decay * h)[:, None], u[:, 1:]], dim=1)
    power, stride = decay[:, None], 1
    while stride < u.shape[1]:
        h_C = torch.cat([h_C[:, :stride], h_C[:, stride:] + power * h_C[:, :-stride]], dim=1)
        power, stride = power * power, 2 * stride
    return h_C


def _complex(pairs: Tensor) -> Tensor:
    """(..., 2 N) real to (..., N) complex."""
    return torch.complex(*pairs.chunk(2, dim=-1))


def _forward(u: Tensor, decay: Tensor, state: Tensor) -> list[Tensor]:
    from architectures.ops.cpu import diagonal_loops, loops

    h = torch.empty_like(u)
    loops.run(diagonal_loops.forward, len(u), u, decay, state, h)
    return [h]


def _backward(decay: Tensor, state: Tensor, result: Tensor, gradients: list[Tensor]) -> list[Tensor]:
    from architectures.ops.cpu import diagonal_loops, loops

    du, ddecay, dstate = (torch.empty_like(z) for z in (result, decay, state))
    loops.run(diagonal_loops.backward, len(result), decay, state, result, *gradients, du, ddecay, dstate)
    return [du, ddecay, dstate]


def _flops(*shapes: Any) -> int:
    """A complex multiplication and addition per state: four products and four sums. Arrays are (B, L, 2 N)."""
    batch, length, n_reals = next(shape for shape in shapes if len(shape) == 3)
    return 4 * batch * length * n_reals


_compiled = compiled_operator("diagonal_scan", _forward, _backward, _flops)
