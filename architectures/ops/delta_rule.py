"""Generalised delta rule: a linear recurrence of matrix states, diagonal plus rank one.

    S_t = diag(w_t) S_{t-1} + b_t (a_t^T S_{t-1}) + k_t v_t^T,        y_t = S_t^T q_t

with q, k, a, b, w in R^K, v, y in R^V, S in R^{K x V}, for every head of every sequence. RWKV-7 is this rule itself
(arXiv 2503.14456, with S transposed); the gated delta rule (arXiv 2412.06464, equation 10) is w = alpha, a = k,
b = -alpha beta k, with beta k in the place of k.

Shape letters: B batch, L positions, H heads, K key width, V value width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from architectures.ops.over_seeds import fold_seeds
from architectures.ops.registration import compiled_operator

CHUNK = 32
"""Steps whose states the compiled backward pass holds at once: 32 matrices of 64 x 64 fit the second-level cache."""

_TORCH_CHUNK = 16


@fold_seeds()
def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, log_w: Tensor, state: Tensor | None = None,
    *, implementation: str = "torch",
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Run the recurrence over all positions.

    Args:
        q, k, a, b: (B, L, H, K).
        v: (B, L, H, V).
        log_w: (B, L, H, K), or (B, L, H, 1) for one decay per head; at most 0.
        state: S_0 (B, H, K, V); None is zero.
        implementation: "torch", or "numba" for tensors on the CPU.

    Returns:
        y (B, L, H, V) in v's dtype and S_L (B, H, K, V); half precision is computed in float32.
    """
    dtype = torch.promote_types(v.dtype, torch.float32)
    q, k, a, b, log_w, values = (x.to(dtype) for x in (q, k, a, b, log_w, v))
    shape = (v.shape[0], v.shape[2], k.shape[3], v.shape[3])
    state = v.new_zeros(shape, dtype=dtype) if state is None else state.to(dtype)
    with torch.autocast(v.device.type, enabled=False):  # which would turn the products to half precision
        if implementation == "numba":
            y, state, _ = _compiled(q, k, values, a, b, log_w.exp().expand_as(k), state)
        else:
            y, state = _chunked(q, k, values, a, b, log_w, state)
    return y.to(v.dtype), state


def _chunked(
    q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, log_w: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run chunk by chunk in plain PyTorch; a chunk's inner tensors are recomputed in the backward pass."""
    heads_first = (x.transpose(1, 2).split(_TORCH_CHUNK, dim=2) for x in (q, k, v, a, b, log_w))
    outputs = []
    for inputs in zip(*heads_first, strict=True):
        y, state = checkpoint(_chunk, *inputs, state, use_reentrant=False, preserve_rng_state=False)
        outputs.append(y)
    return torch.cat(outputs, dim=2).transpose(1, 2), state


def _chunk(
    q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, log_w: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run all steps t of one chunk at once, on inputs (B, H, C, K) and the state at its start.

    With u_t = S_{t-1}^T a_t and P[t, j] = prod of w over j < i <= t, unrolling the rule gives a triangular system for u
    and the outputs from it. The products are sums of logarithms over exactly those i, never differences of two long
    sums, so that strong decay neither overflows nor cancels.
    """
    steps = q.shape[2]
    later = torch.ones(steps, steps, dtype=torch.bool, device=q.device).tril(-1)  # [i, j]: i > j
    sums = log_w.unsqueeze(3).masked_fill(~later[..., None], 0).cumsum(2)  # [t, j]: sum over j < i <= t
    inclusive = sums.exp().masked_fill(~(later | torch.eye(steps, dtype=torch.bool, device=q.device))[..., None], 0)
    before = torch.cat([torch.zeros_like(inclusive[:, :, :1]), inclusive[:, :, :-1]], dim=2)  # [t, j]: up to t - 1
    from_start = log_w.cumsum(2)
    up_to_before = torch.cat([torch.zeros_like(from_start[:, :, :1]), from_start[:, :, :-1]], dim=2)

    def pairs(left: Tensor, decay: Tensor, right: Tensor) -> Tensor:
        return ((left.unsqueeze(3) * decay) * right.unsqueeze(2)).sum(-1)

    known = (a * up_to_before.exp()) @ state + pairs(a, before, k) @ v
    unit = torch.eye(steps, dtype=q.dtype, device=q.device)
    u = torch.linalg.solve_triangular(unit - pairs(a, before, b), known, upper=False, unitriangular=True)
    y = (q * from_start.exp()) @ state + pairs(q, inclusive, k) @ v + pairs(q, inclusive, b) @ u
    to_end = inclusive[:, :, -1]
    state = (
        from_start[:, :, -1, :, None].exp() * state
        + (k * to_end).transpose(-1, -2) @ v
        + (b * to_end).transpose(-1, -2) @ u
    )
    return y, state


def _forward(q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, w: Tensor, state: Tensor) -> list[Tensor]:
    from architectures.ops.cpu import delta_rule_loops, loops

    batch, length, heads, n_keys = q.shape
    y, final = torch.empty_like(v), state.clone()
    saved = state.new_empty((batch * heads * -(-length // CHUNK), n_keys, v.shape[3]))
    rows = (x.flatten(0, 2) for x in (q, k, v, a, b, w, y))
    loops.run(delta_rule_loops.forward, batch * heads, *rows, final.flatten(0, 1), saved, length, heads, CHUNK)
    return [y, final, saved]


def _backward(
    q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, w: Tensor, saved: Tensor, gradients: list[Tensor]
) -> list[Tensor]:
    from architectures.ops.cpu import delta_rule_loops, loops

    batch, length, heads, _ = q.shape
    inputs, (dy, dstate) = (q, k, v, a, b, w), gradients
    dinputs, dstate = [torch.empty_like(x) for x in inputs], dstate.clone()
    loops.run(
        delta_rule_loops.backward, batch * heads,
        *(x.flatten(0, 2) for x in inputs), saved, dy.flatten(0, 2),
        *(x.flatten(0, 2) for x in dinputs), dstate.flatten(0, 1), length, heads, CHUNK,
    )  # fmt: skip
    return [*dinputs, dstate]


def _flops(q: Any, k: Any, v: Any, *_: Any) -> int:
    """A multiplication and an addition per state entry for each of: decay, a^T S, b u^T, k v^T, S^T q."""
    batch, length, heads, n_keys = q
    return 10 * batch * length * heads * n_keys * v[3]


_compiled = compiled_operator("delta_rule", _forward, _backward, _flops)
