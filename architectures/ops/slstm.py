"""Scalar memory of sLSTM (arXiv 2405.04517, section 2.2): an LSTM with exponential gates whose units read each other.

    (i~, f~, z~, o~)_t = x_t + R h_{t-1}                                 within a head, equations 8 to 14
    m_t = max(log sigmoid(f~_t) + m_{t-1}, i~_t)                         equation 15
    i = exp(i~ - m_t),  f = exp(log sigmoid(f~) + m_{t-1} - m_t),  z = tanh(z~),  o = sigmoid(o~)
    c_t = f c_{t-1} + i z,     n_t = f n_{t-1} + i,     h_t = o c_t / n_t

c and n are kept divided by exp(m), which cancels in h, so that no gradient goes through m.

Shape letters: B batch, L positions, H heads, K units of a head.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.ops.over_seeds import fold_seeds
from architectures.ops.registration import compiled_operator

SAVED = 7
"""Numbers per unit that the compiled forward pass keeps: i, f, z, o, 1 - sigmoid(f~), c and n."""


@fold_seeds(x=2, R=0, state=2, outputs=2)
def slstm(x: Tensor, R: Tensor, state: Tensor, *, implementation: str = "torch") -> tuple[Tensor, Tensor]:
    """Run the recurrence over all positions.

    Args:
        x: the input's part of i~, f~, z~ and o~, (B, L, H, 4 K), gate by gate.
        R: (H, K, 4 K), from the units of a head to its gates.
        state: h, c, n and m before the first position, (B, 4, H, K); where n is 0, m is far below any gate.
        implementation: "torch", or "numba" for tensors on the CPU.

    Returns:
        h (B, L, H, K) in x's dtype and the state after the last position; half precision is computed in float32.
    """
    out_dtype, dtype = x.dtype, torch.promote_types(x.dtype, torch.float32)
    x, R, state = (z.to(dtype) for z in (x, R, state))
    with torch.autocast(x.device.type, enabled=False):  # which would turn the products to half precision
        h, state, *_ = _compiled(x, R, state) if implementation == "numba" else _step_by_step(x, R, state)
    return h.to(out_dtype), state


def _step_by_step(x: Tensor, R: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    h, c, n, m = state.unbind(1)
    m = m.detach()
    outputs = []
    for x_t in x.unbind(1):
        i, f, z, o = (x_t + torch.einsum("bhj,hjk->bhk", h, R)).chunk(4, dim=-1)
        kept = F.logsigmoid(f) + m
        m = torch.maximum(kept, i).detach()
        i, f = (i - m).exp(), (kept - m).exp()
        c, n = f * c + i * z.tanh(), f * n + i
        h = o.sigmoid() * c / n
        outputs.append(h)
    return torch.stack(outputs, dim=1), torch.stack([h, c, n, m], dim=1)


def _forward(x: Tensor, R: Tensor, state: Tensor) -> list[Tensor]:
    from architectures.ops.cpu import loops, slstm_loops

    batch, length, heads, width = x.shape
    h, final = x.new_empty((batch, length, heads, width // 4)), state.clone()
    saved = x.new_empty((batch, length, heads, SAVED, width // 4))
    loops.run(slstm_loops.forward, batch * heads, x, R, h, final, saved)
    return [h, final, saved]


def _backward(R: Tensor, state: Tensor, saved: Tensor, gradients: list[Tensor]) -> list[Tensor]:
    from architectures.ops.cpu import loops, slstm_loops

    batch, length, heads, _, width = saved.shape
    dh, dstate = gradients
    dx, dstate = saved.new_empty((batch, length, heads, 4 * width)), dstate.clone()
    loops.run(slstm_loops.backward, batch * heads, R.mT.contiguous(), state, saved, dh, dx, dstate)
    # h_{t-1} of every position, from what is kept: o c / n.
    o, c, n = (saved[:, :-1, :, j] for j in (3, 5, 6))
    before = torch.cat([state[:, None, 0], o * c / n], dim=1)
    dR = before.flatten(0, 1).permute(1, 2, 0) @ dx.flatten(0, 1).transpose(0, 1)
    return [dx, dR, dstate]


def _flops(*shapes: Any) -> int:
    """The product with R: a multiplication and an addition per entry and position."""
    batch, length, heads, width = shapes[0] if len(shapes[0]) == 4 else (*shapes[2][:3], 4 * shapes[2][4])
    return 2 * batch * length * heads * width * (width // 4)


_compiled = compiled_operator("slstm", _forward, _backward, _flops)
