"""RWKV-7's readout (arXiv 2503.14456): from the output of the recurrence to the input of the output projection.

    (GroupNorm(y) + (sum over a head of r * r_k * k) v) * g

Compiled, it is one pass over memory in each direction instead of some ten.

Shape letters: B batch, L positions, D channels, H heads of width K (D = H K).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.ops.over_seeds import fold_seeds
from architectures.ops.registration import compiled_operator


@fold_seeds(y=2, r=2, k=2, v=2, g=2, outputs=2, only="numba")
def readout(
    y: Tensor, r: Tensor, k: Tensor, v: Tensor, g: Tensor, r_k: Tensor, weight: Tensor, bias: Tensor,
    *, eps: float, implementation: str = "torch",
) -> Tensor:  # fmt: skip
    """Norm every head, add the current position's value, and gate.

    Args:
        y: output of the recurrence, (B, L, D).
        r, k, v, g: (B, L, D).
        r_k: (H, K).
        weight, bias: of the group norm, (D,).
        eps: of the group norm.
        implementation: "numba" for tensors on the CPU; any other is plain PyTorch.

    Returns:
        (B, L, D).
    """
    if implementation == "numba":
        return _compiled(y, r, k, v, g, r_k, weight, bias, eps)[0].to(torch.result_type(y, weight))
    normed = F.layer_norm(y.unflatten(-1, r_k.shape), r_k.shape[1:], eps=eps).flatten(-2)
    share = ((r * k).unflatten(-1, r_k.shape) * r_k).sum(-1, keepdim=True)
    return (torch.addcmul(bias, normed, weight) + (share * v.unflatten(-1, r_k.shape)).flatten(-2)) * g


def _forward(
    y: Tensor, r: Tensor, k: Tensor, v: Tensor, g: Tensor, r_k: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> list[Tensor]:
    from architectures.ops.cpu import loops, rwkv_readout_loops

    out = torch.empty_like(y)
    loops.run(rwkv_readout_loops.forward, len(y), y, r, k, v, g, r_k, weight, bias, out, eps)
    return [out]


def _backward(
    y: Tensor, r: Tensor, k: Tensor, v: Tensor, g: Tensor, r_k: Tensor, weight: Tensor, bias: Tensor,
    gradients: list[Tensor], eps: float,
) -> list[Tensor]:  # fmt: skip
    from architectures.ops.cpu import loops, rwkv_readout_loops

    dinputs, dparameters = [torch.empty_like(y) for _ in range(5)], y.new_zeros((len(y), 3, y.shape[-1]))
    inputs = (y, r, k, v, g, r_k, weight, bias, *gradients)
    loops.run(rwkv_readout_loops.backward, len(y), *inputs, *dinputs, dparameters, eps)
    dr_k, dweight, dbias = (d.clone() for d in dparameters.sum(0))
    return [*dinputs, dr_k.view_as(r_k), dweight, dbias]


_compiled = compiled_operator("rwkv_readout", _forward, _backward)
