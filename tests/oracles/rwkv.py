"""RWKV-7 one position after another, from the equations of arXiv 2503.14456, section 4.

Weights go by the names of the authors' code. The state keeps the paper's orientation, values by keys.
Shape letters: B batch, L positions, D width, V token values.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def logits(weights: Weights, tokens_BL: Tensor) -> Tensor:
    """Next-token logits (B, L, V)."""
    n_layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    blocks = [
        {name.split(".", 2)[2]: w for name, w in weights.items() if name.startswith(f"blocks.{n}.")}
        for n in range(n_layers)
    ]
    previous: list[dict[str, Tensor]] = [{} for _ in blocks]
    outputs = []
    for tokens_B in tokens_BL.T:
        x = norm(weights["emb.weight"][tokens_B], weights, "blocks.0.ln0")
        v_first = None
        for block, last in zip(blocks, previous, strict=True):
            mixed, v_first = time_mixing(norm(x, block, "ln1"), last, block, v_first)
            x = x + mixed
            x = x + channel_mixing(norm(x, block, "ln2"), last, block)
        outputs.append(norm(x, weights, "ln_out") @ weights["head.weight"].T)
    return torch.stack(outputs, dim=1)


def time_mixing(x: Tensor, last: dict[str, Tensor], w: Weights, v_first: Tensor | None) -> tuple[Tensor, Tensor]:
    """One position, (B, D); `last` is changed to this position's input and state."""
    n_heads, head = w["att.r_k"].shape
    before = last.get("time", torch.zeros_like(x))
    shifted = {m: (1 - w[f"att.x_{m}"]) * x + w[f"att.x_{m}"] * before for m in "rwkvag"}
    r, k, v = (shifted[m] @ w[f"att.{name}.weight"].T for m, name in zip("rkv", NAMES, strict=True))
    if v_first is None:
        v_first = v
    else:
        share = 1 / (1 + torch.exp(-(w["att.v0"] + shifted["v"] @ w["att.v1"] @ w["att.v2"])))
        v = (1 - share) * v + share * v_first
    d = w["att.w0"] + torch.tanh(shifted["w"] @ w["att.w1"]) @ w["att.w2"]
    decay = torch.exp(-torch.exp(torch.tensor(-0.5, dtype=x.dtype)) / (1 + torch.exp(-d)))
    rate = 1 / (1 + torch.exp(-(w["att.a0"] + shifted["a"] @ w["att.a1"] @ w["att.a2"])))
    gate = 1 / (1 + torch.exp(-(shifted["g"] @ w["att.g1"]))) @ w["att.g2"]
    removal, k = k * w["att.k_k"], k * (1 + (rate - 1) * w["att.k_a"])

    r, k, v_heads, decay, rate, removal = (z.reshape(len(x), n_heads, head) for z in (r, k, v, decay, rate, removal))
    kappa = removal / removal.norm(dim=-1, keepdim=True)
    state = last.get("state", x.new_zeros(len(x), n_heads, head, head))
    # S_t = S_{t-1} (diag(w) - kappa^T (a * kappa)) + v^T k, with row vectors as in the paper
    transition = torch.diag_embed(decay) - kappa[..., :, None] * (rate * kappa)[..., None, :]
    state = state @ transition + v_heads[..., :, None] * k[..., None, :]
    y = (state @ r[..., None]).squeeze(-1)
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, correction=0, keepdim=True) + head * 1e-5).sqrt()
    y = y.flatten(1) * w["att.ln_x.weight"] + w["att.ln_x.bias"]
    bonus = (r * w["att.r_k"] * k).sum(-1, keepdim=True) * v_heads
    last["time"], last["state"] = x, state
    return ((y + bonus.flatten(1)) * gate) @ w["att.output.weight"].T, v_first


NAMES = ("receptance", "key", "value")


def channel_mixing(x: Tensor, last: dict[str, Tensor], w: Weights) -> Tensor:
    """One position, (B, D); `last` is changed to this position's input."""
    before, last["channel"] = last.get("channel", torch.zeros_like(x)), x
    k = ((1 - w["ffn.x_k"]) * x + w["ffn.x_k"] * before) @ w["ffn.key.weight"].T
    return k.clamp(min=0) ** 2 @ w["ffn.value.weight"].T


def norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Layer norm over the last dimension."""
    x = x - x.mean(-1, keepdim=True)
    return x / ((x**2).mean(-1, keepdim=True) + 1e-5).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]
