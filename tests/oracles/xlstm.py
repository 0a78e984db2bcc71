"""The two memories of xLSTM, one step after another, from the equations of arXiv 2405.04517; without stabilisers."""

import torch
from torch import Tensor


def mlstm(q: Tensor, k: Tensor, v: Tensor, input_gate: Tensor, forget_gate: Tensor) -> Tensor:
    """h (B, L, H, V) from zero memory, equations 19 to 27; q already scaled, gates before exponential and sigmoid."""
    batch, length, heads, width = v.shape
    memory, norm = v.new_zeros(batch, heads, k.shape[3], width), v.new_zeros(batch, heads, k.shape[3])
    outputs = []
    for t in range(length):
        f, i = torch.sigmoid(forget_gate[:, t])[..., None], torch.exp(input_gate[:, t])[..., None]
        memory = f[..., None] * memory + i[..., None] * k[:, t, :, :, None] * v[:, t, :, None]
        norm = f * norm + i * k[:, t]
        read = torch.einsum("bhkv,bhk->bhv", memory, q[:, t])
        against = (norm * q[:, t]).sum(-1, keepdim=True).abs().clamp_min(1)
        outputs.append(read / against)
    return torch.stack(outputs, dim=1)


def slstm(x: Tensor, R: Tensor) -> Tensor:
    """h (B, L, H, K) from zero memory, equations 8 to 14; arguments as in `architectures.ops.slstm`."""
    batch, length, heads, width = x.shape
    h, c, n = (x.new_zeros(batch, heads, width // 4) for _ in range(3))
    outputs = []
    for t in range(length):
        raw = x[:, t] + (h[:, :, :, None] * R).sum(2)
        i, f, z, o = raw.unflatten(-1, (4, -1)).unbind(2)
        c = f.sigmoid() * c + i.exp() * z.tanh()
        n = f.sigmoid() * n + i.exp()
        h = o.sigmoid() * c / n
        outputs.append(h)
    return torch.stack(outputs, dim=1)
