"""RWKV-7's keys and decay (arXiv 2503.14456), as its recurrence takes them.

    kk = k * k_k / |k * k_k| head by head,  a = sigmoid(a0 + rate),  k <- k * (1 + (a - 1) * k_a),
    log w = -exp(-0.5) sigmoid(w0 + decay)

Compiled, it is one pass over memory in each direction instead of some ten.

Shape letters: B batch, L positions, D channels, H heads.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.ops.over_seeds import fold_seeds
from architectures.ops.registration import compiled_operator

LOG_DECAY = -math.exp(-0.5)
"""Logarithm of the fastest decay per position."""


@fold_seeds(k=2, decay=2, rate=2, outputs=2, multiplied="n_heads", only="numba")
def keys(
    k: Tensor, decay: Tensor, rate: Tensor, w0: Tensor, a0: Tensor, k_k: Tensor, k_a: Tensor,
    *, n_heads: int, implementation: str = "torch",
) -> Sequence[Tensor]:  # fmt: skip
    """Turn keys, decay and in-context rate into the inputs of the recurrence.

    Args:
        k, decay, rate: (B, L, D), the last two before their sigmoids and without w0 and a0.
        w0, a0, k_k, k_a: (D,).
        n_heads: H.
        implementation: "numba" for tensors on the CPU; any other is plain PyTorch.

    Returns:
        log w, k, -kk and kk * a, (B, L, D) each.
    """
    if implementation == "numba":
        outputs = _compiled(k, decay, rate, w0, a0, k_k, k_a, n_heads)
        return [y.to(torch.result_type(k, w0)) for y in outputs]
    a = torch.sigmoid(rate + a0)
    kk = F.normalize((k * k_k).unflatten(-1, (n_heads, -1)), dim=-1).flatten(-2)
    return LOG_DECAY * torch.sigmoid(decay + w0), k * (1 + (a - 1) * k_a), -kk, kk * a


def _forward(
    k: Tensor, decay: Tensor, rate: Tensor, w0: Tensor, a0: Tensor, k_k: Tensor, k_a: Tensor, n_heads: int
) -> list[Tensor]:
    from architectures.ops.cpu import loops, rwkv_keys_loops

    outputs = [torch.empty_like(k) for _ in range(4)]
    loops.run(rwkv_keys_loops.forward, len(k), k, decay, rate, w0, a0, k_k, k_a, *outputs, n_heads)
    return outputs


def _backward(
    k: Tensor, decay: Tensor, rate: Tensor, w0: Tensor, a0: Tensor, k_k: Tensor, k_a: Tensor,
    gradients: list[Tensor], n_heads: int,
) -> list[Tensor]:  # fmt: skip
    from architectures.ops.cpu import loops, rwkv_keys_loops

    dinputs, dparameters = [torch.empty_like(k) for _ in range(3)], k.new_zeros((len(k), 4, k.shape[-1]))
    inputs = (k, decay, rate, w0, a0, k_k, k_a, *gradients)
    loops.run(rwkv_keys_loops.backward, len(k), *inputs, *dinputs, dparameters, n_heads)
    return [*dinputs, *(d.clone() for d in dparameters.sum(0))]


_compiled = compiled_operator("rwkv_keys", _forward, _backward)
