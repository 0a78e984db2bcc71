"""The gated delta rule of arXiv 2412.06464, equation 10, step after step, with S as in the paper."""

import torch
from torch import Tensor


def gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs (B, L, H, V) and the final state (B, H, V, K) from the initial one.

    q, k are (B, L, H, K), v is (B, L, H, V), alpha and beta are (B, L, H).
    """
    unit, outputs, finals = torch.eye(q.shape[3], dtype=q.dtype), [], []
    for b in range(q.shape[0]):
        for h in range(q.shape[2]):
            s = state[b, h]
            for q_t, k_t, v_t, alpha_t, beta_t in zip(*(x[b, :, h] for x in (q, k, v, alpha, beta)), strict=True):
                s = alpha_t * (s @ (unit - beta_t * torch.outer(k_t, k_t))) + beta_t * torch.outer(v_t, k_t)
                outputs.append(s @ q_t)
            finals.append(s)
    batch, length, heads = alpha.shape
    y = torch.stack(outputs).view(batch, heads, length, -1).transpose(1, 2)
    return y, torch.stack(finals).view(batch, heads, *state.shape[2:])
