"""The short convolution before a recurrence: causal, one filter a channel, then SiLU.

    y_t = silu(bias + sum over i < W of weight_i * x_{t - W + 1 + i})         elementwise over channels

It stands in Mamba (arXiv 2312.00752, section 3.4), Mamba-2 and Gated DeltaNet.

Shape letters: B batch, L positions, D channels, W filter width.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from architectures.ops.over_seeds import fold_seeds


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
        dtype = torch.promote_types(x.dtype, torch.float32)
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        y = _compiled(*(z.to(dtype).contiguous() for z in (padded, weight.T, bias))).to(x.dtype)
    else:
        y = F.silu(F.conv1d(padded.transpose(1, 2), weight[:, None].to(x.dtype), _cast(bias, x), groups=len(weight)))
        y = y.transpose(1, 2)
    return y, padded[:, padded.shape[1] - (width - 1) :]


def _cast(bias: Tensor | None, x: Tensor) -> Tensor | None:
    return None if bias is None else bias.to(x.dtype)


@torch.library.custom_op("emergence::short_convolution", mutates_args=(), device_types="cpu")
def _compiled(padded: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    from architectures.ops.cpu import convolution_loops, loops

    y = padded.new_empty((padded.shape[0], padded.shape[1] - len(weight) + 1, padded.shape[2]))
    loops.run(convolution_loops.forward, len(padded), padded, weight, bias, y)
    return y


@_compiled.register_fake
def _(padded: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return padded.new_empty((padded.shape[0], padded.shape[1] - len(weight) + 1, padded.shape[2]))


@torch.library.custom_op("emergence::short_convolution_backward", mutates_args=(), device_types="cpu")
def _compiled_backward(padded: Tensor, weight: Tensor, bias: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from architectures.ops.cpu import convolution_loops, loops

    batch = len(padded)
    dx, dweight = torch.zeros_like(padded), weight.new_zeros((batch, *weight.shape))
    dbias = bias.new_zeros((batch, *bias.shape))
    loops.run(convolution_loops.backward, batch, padded, weight, bias, dy, dx, dweight, dbias)
    return dx, dweight.sum(0), dbias.sum(0)


@_compiled_backward.register_fake
def _(padded: Tensor, weight: Tensor, bias: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(padded), torch.empty_like(weight), torch.empty_like(bias)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, dy: Tensor) -> tuple[Tensor, ...]:
    return _compiled_backward(*ctx.saved_tensors, dy.contiguous())


_compiled.register_autograd(_differentiate, setup_context=_save)


def _flops(padded: Any, weight: Any, *args: Any, **kwargs: Any) -> int:
    """A multiplication and an addition a filter entry and position."""
    batch, length, channels = padded
    return 2 * batch * (length - weight[0] + 1) * channels * weight[0]


def _flops_backward(*args: Any, **kwargs: Any) -> int:
    """Twice the forward pass, as for a matrix product."""
    return 2 * _flops(*args)


register_flop_formula(torch.ops.emergence.short_convolution)(_flops)
register_flop_formula(torch.ops.emergence.short_convolution_backward)(_flops_backward)
