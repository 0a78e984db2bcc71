"""Short convolution before a recurrence: causal, one filter per channel, followed by SiLU.

    y_t = silu(bias + sum over i < W of weight_i * x_{t - W + 1 + i})         elementwise over channels

Part of Mamba (arXiv 2312.00752, section 3.4), Mamba-2 and Gated DeltaNet.

Shape letters: B batch, L positions, D channels, W filter width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.ops.over_seeds import fold_seeds
from architectures.ops.registration import compiled_operator


@fold_seeds(x=2, weight=0, bias=0, state=2, outputs=2)
def short_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None, *, implementation: str = "torch"
) -> tuple[Tensor, Tensor]:
    """Convolve every channel with its own filter over the last W positions, and apply SiLU.

    Args:
        x: (B, L, D).
        weight: (D, W); the last column multiplies the current position.
        bias: (D,) or None.
        state: the W - 1 inputs before the first position, (B, W - 1, D); None is zeros.
        implementation: "torch", or "numba" for tensors on the CPU.

    Returns:
        y (B, L, D) and the last W - 1 inputs (B, W - 1, D), which continue the sequence.
    """
    width = weight.shape[1]
    padded = F.pad(x, (0, 0, width - 1, 0)) if state is None else torch.cat([state.to(x.dtype), x], dim=1)
    if implementation == "numba":
        (y,) = _compiled(padded, weight.T, weight.new_zeros(len(weight)) if bias is None else bias)
        y = y.to(x.dtype)
    else:
        bias = None if bias is None else bias.to(x.dtype)
        y = F.silu(F.conv1d(padded.transpose(1, 2), weight[:, None].to(x.dtype), bias, groups=len(weight)))
        y = y.transpose(1, 2)
    return y, padded[:, padded.shape[1] - (width - 1) :]


def _forward(padded: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
    from architectures.ops.cpu import convolution_loops, loops

    y = padded.new_empty((padded.shape[0], padded.shape[1] - len(weight) + 1, padded.shape[2]))
    loops.run(convolution_loops.forward, len(padded), padded, weight, bias, y)
    return [y]


def _backward(padded: Tensor, weight: Tensor, bias: Tensor, gradients: list[Tensor]) -> list[Tensor]:
    from architectures.ops.cpu import convolution_loops, loops

    batch = len(padded)
    dx, dweight = torch.zeros_like(padded), weight.new_zeros((batch, *weight.shape))
    dbias = bias.new_zeros((batch, *bias.shape))
    loops.run(convolution_loops.backward, batch, padded, weight, bias, *gradients, dx, dweight, dbias)
    return [dx, dweight.sum(0), dbias.sum(0)]


def _flops(padded: Any, weight: Any, *_: Any) -> int:
    """A multiplication and an addition per filter entry and position."""
    batch, length, channels = padded
    return 2 * batch * (length - weight[0] + 1) * channels * weight[0]


_compiled = compiled_operator("short_convolution", _forward, _backward, _flops)
