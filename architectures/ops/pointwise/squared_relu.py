"""Squared ReLU of RWKV-7's channel mixing (arXiv 2503.14456): relu(x)^2, elementwise, in one pass over memory."""

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.ops.over_seeds import fold_seeds
from architectures.ops.registration import compiled_operator


@fold_seeds(only="numba")
def squared_relu(x: Tensor, *, implementation: str = "torch") -> Tensor:
    """relu(x)^2, elementwise, for x of any shape; "numba" needs tensors on the CPU, any other is plain PyTorch."""
    return _compiled(x)[0].to(x.dtype) if implementation == "numba" else F.relu(x).square()


def _forward(x: Tensor) -> list[Tensor]:
    from architectures.ops.cpu import loops, squared_relu_loops

    y = torch.empty_like(x)
    loops.run(squared_relu_loops.forward, len(x), x.flatten(1), y.flatten(1))
    return [y]


def _backward(x: Tensor, gradients: list[Tensor]) -> list[Tensor]:
    from architectures.ops.cpu import loops, squared_relu_loops

    (dy,), dx = gradients, torch.empty_like(x)
    loops.run(squared_relu_loops.backward, len(x), x.flatten(1), dy.flatten(1), dx.flatten(1))
    return [dx]


_compiled = compiled_operator("squared_relu", _forward, _backward)
