"""The Linear Recurrent Unit in complex numbers, one step after another, from the equations of arXiv 2303.06349."""

import torch
from torch import Tensor


def diagonal_scan(u: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """States (B, L, 2 N) and the last one; arguments as in `architectures.ops.diagonal`."""
    h, rates, inputs = complex_of(state), complex_of(decay), complex_of(u)
    states = []
    for t in range(u.shape[1]):
        h = rates * h + inputs[:, t]
        states.append(torch.cat([h.real, h.imag], dim=-1))
    return torch.stack(states, dim=1), states[-1]


def layer(u: Tensor, nu_log: Tensor, theta_log: Tensor, gamma_log: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """y (L, D) of one sequence u (L, D) by the sum over all earlier inputs: Re(C lambda^(t - s) gamma B u_s) + D u_t.

    B is (N, D) and C (D, N), both complex.
    """
    exponent = torch.complex(-nu_log.exp(), theta_log.exp())
    y = []
    for t in range(len(u)):
        powers = torch.stack([(exponent * (t - s)).exp() for s in range(t + 1)])  # (t + 1, N)
        h = (powers * (gamma_log.exp() * (u[: t + 1].to(B.dtype) @ B.T))).sum(0)
        y.append((C @ h).real + D * u[t])
    return torch.stack(y)


def complex_of(pairs: Tensor) -> Tensor:
    """(..., 2 N) real to (..., N) complex."""
    n = pairs.shape[-1] // 2
    return torch.view_as_complex(torch.stack([pairs[..., :n], pairs[..., n:]], dim=-1))
