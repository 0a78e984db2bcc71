"""The state-space dual of Mamba-2, one step after another."""

import torch
from torch import Tensor


def ssd(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Outputs (B, L, H, P) and the final state (B, H, N, P); inputs as in `architectures.ops.ssd`."""
    heads, groups = x.shape[2], B.shape[2]
    s = x.new_zeros(x.shape[0], heads, B.shape[3], x.shape[3]) if state is None else state
    outputs = []
    for t in range(x.shape[1]):
        B_t, C_t = (torch.stack([z[:, t, h * groups // heads] for h in range(heads)], dim=1) for z in (B, C))
        decay = torch.exp(dt[:, t] * A)
        s = decay[..., None, None] * s + torch.einsum("bhn,bhp->bhnp", B_t, dt[:, t, :, None] * x[:, t])
        outputs.append(torch.einsum("bhn,bhnp->bhp", C_t, s) + D[:, None] * x[:, t])
    return torch.stack(outputs, dim=1), s
