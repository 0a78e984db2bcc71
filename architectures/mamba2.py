"""Mamba-2 (Dao & Gu, arXiv 2405.21060): a state-space model with one decay per head, dual to masked attention.

Glossary: d_model = D, expand = E, d_state = N, head_dim = P, n_heads = H = E D / P, n_groups = G (heads of a group
share B and C, as in multi-value attention, section 7.2), d_conv = W, dt = Delta, `ssm_state` = S. Shape letters: B
sequences, L positions, the others as above.

    z, x, B, C, dt = W_in u;   x, B, C <- silu(conv(x, B, C));   dt <- softplus(dt + dt_bias)     section 7.1, figure 6
    S_t = exp(dt_t A) S_{t-1} + B_t (dt_t x_t)^T;   y_t = S_t^T C_t + D x_t                       sections 2.1 and 6
    mixer(u) = W_out RMSNorm(y * silu(z));   h <- h + mixer(RMSNorm(h))

Initial values are those of the authors' code: A uniform in [1, 16], dt log-uniform in [0.001, 0.1], D = 1, W_out
divided by sqrt(n_layers), the rest PyTorch's own.

Departures: learned positions by default, as for every architecture here, because the tasks ask for tokens by position;
N is 64 instead of 128, so that a state is as small as the models here; the final norm and the embedding are those of
every architecture here (LayerNorm, head not tied).
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.model import Positions, RecurrentBlock, SequenceModel, State, require_divisor, require_positive
from architectures.ops.backend import Accelerated, Backend, require_backend
from architectures.ops.convolution import short_convolution
from architectures.ops.ssd import ssd
from architectures.registry import register

EPSILON = 1e-5
"""Epsilon of both norms."""


class Mamba2Block(Accelerated, RecurrentBlock):
    """Pre-norm residual block with one Mamba-2 mixer.

    The state is the convolution's last W - 1 inputs (B, W - 1, E D + 2 G N), and S (B, H, N, P).

    Args:
        d_model: width D.
        n_layers: blocks of the model, which set the initial scale of the output.
        d_state: state size N.
        d_conv: filter width W.
        expand: E.
        head_dim: P; divides E D.
        n_groups: G; divides the number of heads.
        backend: of the recurrence and the convolution.
    """

    decay_axes: ClassVar[str] = "head"

    def __init__(
        self, d_model: int, *, n_layers: int, d_state: int, d_conv: int, expand: int, head_dim: int, n_groups: int,
        backend: Backend,
    ) -> None:  # fmt: skip
        super().__init__(backend, d_state)
        self.d_inner, self.d_state, self.head_dim, self.n_groups = expand * d_model, d_state, head_dim, n_groups
        n_heads, d_convolved = self.d_inner // head_dim, self.d_inner + 2 * n_groups * d_state
        self.norm = nn.RMSNorm(d_model, eps=EPSILON)
        self.in_proj = nn.Linear(d_model, self.d_inner + d_convolved + n_heads, bias=False)
        bound = d_conv**-0.5  # of a convolution with one input channel per filter
        self.conv_weight = nn.Parameter(torch.empty(d_convolved, d_conv).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.empty(d_convolved).uniform_(-bound, bound))
        dt = torch.empty(n_heads).uniform_(math.log(1e-3), math.log(1e-1)).exp()
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # softplus(dt_bias) = dt
        self.A_log = nn.Parameter(torch.empty(n_heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(n_heads))
        self.gated_norm_weight = nn.Parameter(torch.ones(self.d_inner))
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)
        with torch.no_grad():
            self.out_proj.weight /= math.sqrt(n_layers)

    def initial_state(self, batch_size: int) -> State:
        """Zeros, in the shapes that the class names."""
        d_convolved, d_conv = self.conv_weight.shape
        conv_state = self.D.new_zeros(batch_size, d_conv - 1, d_convolved)
        return conv_state, self.D.new_zeros(batch_size, len(self.D), self.d_state, self.head_dim)

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        """Read L positions; see `RecurrentBlock.scan`."""
        conv_state, ssm_state = state
        implementation = self.implementation(x_BLD)
        # Three products instead of one to be split: the gradient of a split is a copy.
        weights = self.in_proj.weight.split([self.d_inner, len(self.conv_weight), len(self.D)])
        u_BLD = self.norm(x_BLD)
        z, convolved, dt_BLH = (F.linear(u_BLD, weight) for weight in weights)
        convolved, conv_state = short_convolution(
            convolved, self.conv_weight, self.conv_bias, conv_state, implementation=implementation
        )
        d_shared = self.n_groups * self.d_state
        x, b, c = convolved.split([self.d_inner, d_shared, d_shared], dim=-1)
        x_BLHP = x.unflatten(-1, (-1, self.head_dim))
        b_BLGN, c_BLGN = (shared.unflatten(-1, (self.n_groups, -1)) for shared in (b, c))
        dt_BLH = F.softplus(dt_BLH + self.dt_bias)
        if implementation == self.library:
            from architectures.ops.cuda import fused

            y, ssm_state = fused.ssd(x_BLHP, dt_BLH, -self.A_log.exp(), b_BLGN, c_BLGN, ssm_state)
            y = y + self.D[:, None] * x_BLHP
        else:
            y, ssm_state = ssd(
                x_BLHP, dt_BLH, -self.A_log.exp(), b_BLGN, c_BLGN, self.D, ssm_state, implementation=implementation
            )
        return x_BLD + self.output(y.flatten(2), z), (conv_state, ssm_state)

    def decay(self, x_BLD: Tensor) -> Tensor:
        """exp(dt_t A): the share of S that is left after a token, (B, L, H)."""
        weight = self.in_proj.weight[-len(self.D) :]
        return torch.exp(F.softplus(F.linear(self.norm(x_BLD), weight) + self.dt_bias) * -self.A_log.exp())

    def output(self, y: Tensor, z: Tensor) -> Tensor:
        """W_out RMSNorm(y * silu(z)), (B, L, E D) each to (B, L, D); every group is normed on its own."""
        gated = (y * F.silu(z)).unflatten(-1, (self.n_groups, -1))
        normed = F.rms_norm(gated, gated.shape[-1:], eps=EPSILON).flatten(-2)
        # The norm's weight scales columns of W_out: there the product is small.
        return F.linear(normed, self.out_proj.weight * self.gated_norm_weight)


@register("mamba2")
class Mamba2(SequenceModel):
    """Mamba-2: state-space duality (arXiv 2405.21060).

    Args:
        head_dim: head width P; must divide expand * d_model.
        n_groups: groups G of heads that share B and C; must divide the number of heads expand * d_model / head_dim.

    Raises:
        ValueError: as `SequenceModel`, or if head_dim does not divide expand * d_model, n_groups does not divide the
            number of heads, or fused kernels are requested and cannot run.
    """

    def __init__(
        self, vocab_size: int, seq_len: int, *, d_model: int = 128, n_layers: int = 1, d_state: int = 64,
        d_conv: int = 4, expand: int = 2, head_dim: int = 64, n_groups: int = 1, positions: Positions = "learned",
        embedding_std: float = 0.02, backend: Backend = "auto",
    ) -> None:  # fmt: skip
        sizes = {
            "n_layers": n_layers, "d_state": d_state, "d_conv": d_conv, "expand": expand, "head_dim": head_dim,
            "n_groups": n_groups,
        }  # fmt: skip
        require_positive(d_model=d_model, **sizes)
        require_backend(backend, Mamba2Block.library)
        d_inner, n_heads = expand * d_model, "the number of heads, model.expand * model.d_model / model.head_dim"
        require_divisor("head_dim", head_dim, "model.expand * model.d_model", d_inner)
        require_divisor("n_groups", n_groups, n_heads, d_inner // head_dim)
        super().__init__(
            vocab_size, seq_len, d_model=d_model,
            blocks=[Mamba2Block(d_model, **sizes, backend=backend) for _ in range(n_layers)],
            positions=positions, embedding_std=embedding_std,
        )  # fmt: skip
