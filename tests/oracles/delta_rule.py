"""The generalised delta rule, one step after another."""

import torch
from torch import Tensor


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, log_w: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Outputs (B, L, H, V) and the final state (B, H, K, V); inputs as in `architectures.ops.delta_rule`."""
    s = q.new_zeros(q.shape[0], q.shape[2], q.shape[3], v.shape[3]) if state is None else state
    outputs = []
    for q_t, k_t, v_t, a_t, b_t, log_w_t in zip(*(x.unbind(1) for x in (q, k, v, a, b, log_w)), strict=True):
        s = (
            log_w_t.exp()[..., None] * s
            + torch.einsum("bhk,bhi,bhiv->bhkv", b_t, a_t, s)
            + torch.einsum("bhk,bhv->bhkv", k_t, v_t)
        )
        outputs.append(torch.einsum("bhk,bhkv->bhv", q_t, s))
    return torch.stack(outputs, dim=1), s
