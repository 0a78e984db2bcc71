"""Matrix memory of mLSTM (arXiv 2405.04517, section 2.3): linear attention with exponential input gates.

    C_t = f_t C_{t-1} + i_t k_t v_t^T,     n_t = f_t n_{t-1} + i_t k_t,     f = sigmoid(f~), i = exp(i~)
    h_t = C_t^T q_t / max(|n_t . q_t|, 1)

The normaliser n is the memory of a value that is always 1, so that both are one scan of the state-space dual over
values with such a column. i_t would overflow: memory is kept divided by exp(m), which cancels in h if the 1 becomes
exp(-m). The paper moves m along (equation 15), which costs a scan of its own; here m is one number per call, sequence
and head, the largest input gate, so that nothing overflows and what is 1e-38 times smaller than the largest is lost.

Shape letters: B batch, L positions, H heads, K key width, V value width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.ops.over_seeds import fold_seeds
from architectures.ops.ssd import gated_ssd

_LARGEST_RISE = 60.0
"""Logarithm of the most that a memory is scaled up at the end of a call, well within the range of float32."""


@fold_seeds()
def mlstm(
    q: Tensor, k: Tensor, v: Tensor, input_gate: Tensor, forget_gate: Tensor,
    memory: Tensor | None = None, scale: Tensor | None = None, *, implementation: str = "torch",
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Run the recurrence over all positions.

    Args:
        q, k: (B, L, H, K), q already scaled.
        v: (B, L, H, V).
        input_gate, forget_gate: i~ and f~ (B, L, H), before exponential and sigmoid.
        memory: C_0 and n_0, both divided by exp(m_0), (B, H, K, V + 1), n in the last column; None is zero.
        scale: m_0 (B, H); None is zero.
        implementation: "torch", "numba" for tensors on the CPU, or "fla" for tensors on a CUDA device.

    Returns:
        h (B, L, H, V) in v's dtype, memory after the last position and its scale; half precision is computed in
        float32, but by "fla", which multiplies in the dtype of v.
    """
    dtype = torch.promote_types(v.dtype, torch.float32)
    input_gate, log_forget = input_gate.to(dtype), F.logsigmoid(forget_gate.to(dtype))
    if memory is None or scale is None:
        memory = v.new_zeros((*v.shape[:1], *k.shape[2:], v.shape[3] + 1), dtype=dtype)
        scale = memory[..., 0, 0]
    m_BH = torch.maximum(input_gate.amax(1), scale).detach()  # it cancels, so that no gradient goes through it
    memory = memory * (scale - m_BH).exp()[..., None, None]
    values = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
    weights = (input_gate - m_BH[:, None]).exp()
    if implementation == "fla":
        from architectures.ops.cuda import fused

        sums, memory = fused.gated_ssd(values, weights, log_forget, k, q, memory)
    else:
        no_skip = weights.new_zeros(weights.shape[-1])
        sums, memory = gated_ssd(
            values.to(dtype), weights, log_forget, k, q, no_skip, memory, implementation=implementation
        )
    read, normaliser = sums[..., :-1].to(dtype), sums[..., -1:].to(dtype)
    least = torch.exp(-m_BH).clamp_min(torch.finfo(dtype).tiny)[:, None, :, None]
    # The paper's own scale, for what comes next: the largest input gate so far, each less what was forgotten since.
    left = log_forget.detach().flip(1).cumsum(1).flip(1)
    gates = input_gate.detach() + torch.cat([left[:, 1:], torch.zeros_like(left[:, :1])], dim=1)
    after = torch.maximum(gates.amax(1), scale.detach() + left[:, 0]).clamp_min(m_BH - _LARGEST_RISE)
    return (
        (read / torch.maximum(normaliser.abs(), least)).to(v.dtype),
        memory * (m_BH - after).exp()[..., None, None],
        after,
    )
