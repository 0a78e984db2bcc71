"""Causal multi-head attention over short sequences on a CPU (arXiv 1706.03762, equation 1).

    y_i = sum over j <= i of p_ij v_j,        p_i = softmax over j <= i of (q_i . k_j / sqrt(K) + bias_ij)

PyTorch's fused attention is made for long sequences and wide heads. Where a head's probabilities fit a cache, compiled
loops that keep them are about twice as fast.

Shape letters: B batch, L positions, H heads of width K, D = H K.
"""

import torch
from torch import Tensor

from architectures.ops.over_seeds import fold_seeds
from architectures.ops.registration import compiled_operator

LONGEST, WIDEST = 128, 8
"""Most positions, and greatest head width, up to which the loops are faster than PyTorch's fused attention."""

MOST_KEPT = 1 << 26
"""Most probabilities, B H L L, that are kept for the backward pass: 256 MiB in float32."""


@fold_seeds()
def short_attention(qkv: Tensor, bias: Tensor | None = None, *, n_heads: int) -> Tensor:
    """Attend, compiled, for tensors on the CPU.

    Args:
        qkv: queries, keys and values, each with one head after another, (B, L, 3 D).
        bias: added to the logits, (B, H, L, L); None adds nothing.
        n_heads: H.

    Returns:
        y (B, L, D), one head after another, in qkv's dtype; half precision is computed in float32.
    """
    biased = bias is not None
    bias = bias if bias is not None else qkv.new_empty(0, 0, 0, 0)
    return _compiled(qkv, bias, n_heads, biased)[0].to(qkv.dtype)


def _forward(qkv: Tensor, bias: Tensor, n_heads: int, biased: bool) -> list[Tensor]:
    from architectures.ops.cpu import attention_loops, loops

    batch, length, channels = qkv.shape
    y, saved = qkv.new_empty((batch, length, channels // 3)), qkv.new_empty((batch, n_heads, length, length))
    loops.run(attention_loops.forward, batch * n_heads, qkv, bias, y, saved, biased)
    return [y, saved]


def _backward(
    qkv: Tensor, bias: Tensor, saved: Tensor, gradients: list[Tensor], n_heads: int, biased: bool
) -> list[Tensor]:
    from architectures.ops.cpu import attention_loops, loops

    dqkv, dbias = torch.empty_like(qkv), torch.empty_like(bias)
    loops.run(attention_loops.backward, len(qkv) * n_heads, qkv, saved, gradients[0], dqkv, dbias, biased)
    return [dqkv, dbias]


_compiled = compiled_operator("short_attention", _forward, _backward)
