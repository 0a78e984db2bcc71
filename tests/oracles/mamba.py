"""The selective scan of Mamba-1 (arXiv 2312.00752, algorithm 2), one step after another."""

import torch
from torch import Tensor


def selective_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Outputs (B, L, D) and the final state (B, N, D); inputs as in `architectures.ops.selective`."""
    h = x.new_zeros(x.shape[0], A.shape[1], A.shape[0]) if state is None else state
    outputs = []
    for x_t, dt_t, B_t, C_t, z_t in zip(*(tensor.unbind(1) for tensor in (x, dt, B, C, z)), strict=True):
        delta_t = torch.log1p(torch.exp(dt_t))
        h = torch.exp(torch.einsum("bd,dn->bnd", delta_t, A)) * h + torch.einsum("bd,bn,bd->bnd", delta_t, B_t, x_t)
        outputs.append((torch.einsum("bn,bnd->bd", C_t, h) + D * x_t) * z_t / (1 + torch.exp(-z_t)))
    return torch.stack(outputs, dim=1), h
