"""Mamba-1 (Gu and Dao, arXiv 2312.00752): a state-space model whose step size, input and output depend on the token.

Glossary: d_model is the width of the residual stream, D = expand d_model the paper's inner width (its symbol D for the
skip is the parameter `skip`), d_state = N states per channel, d_conv = filter width of the convolution, dt_rank = R,
the rank of the step size's projection; in_proj and gate_proj are the two halves of the paper's input projection, x_proj
is its s_B, s_C and the first half of s_Delta, dt_proj the other half; A_log = log(-A).

    x, z = in_proj(u), gate_proj(u)              u = RMSNorm(residual stream); figure 3
    x = silu(convolution(x))                     causal, one filter per channel
    dt, B, C = x_proj(x);  Delta = softplus(dt_proj(dt))                            section 3.2
    h_t = exp(Delta_t A) h_{t-1} + Delta_t B_t x_t;   y_t = C_t h_t + skip x_t       algorithm 2, equation 2a
    residual stream += out_proj(y * silu(z))

The block has no MLP. Initialisation as in the authors' code (github.com/state-spaces/mamba): A[d, n] = -n,
n = 1..N (S4D-real, section 3.6); skip 1; softplus(bias of dt_proj) log-uniform in [0.001, 0.1], weight of dt_proj
uniform in +-R^-1/2; everything else by PyTorch's default, and out_proj then divided by sqrt(n_layers).

Departures: learned positions by default, as for every architecture here, because the tasks ask for tokens by position;
the head is not tied to the embedding; embedding, head and final LayerNorm are the base's, so that all architectures
share them; the optimizer decays A_log, skip and biases like every parameter, if it decays weights at all.
"""

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.model import Positions, RecurrentBlock, SequenceModel, State, require_positive
from architectures.ops.backend import Accelerated, Backend, require_backend
from architectures.ops.convolution import short_convolution
from architectures.ops.selective import selective_scan
from architectures.registry import register

DT_MIN, DT_MAX = 0.001, 0.1


class MambaBlock(Accelerated, RecurrentBlock):
    """Pre-norm residual block: gated convolution and selective scan.

    Args:
        d_model: width of the residual stream.
        d_inner: channels D of the scan.
        d_state: states per channel N.
        d_conv: filter width W of the convolution.
        dt_rank: rank R of the projection to step sizes.
        n_layers: blocks of the model, which set the initial scale of the output.
        backend: of the scan and the convolution.
    """

    library: ClassVar[str] = "mamba_ssm"
    no_weight_decay = ("A_log",)  # as in the authors' code; a matrix here
    decay_axes: ClassVar[str] = "channel state"

    def __init__(
        self, d_model: int, d_inner: int, d_state: int, d_conv: int, dt_rank: int, n_layers: int, backend: Backend
    ) -> None:
        super().__init__(backend, d_state)
        self.norm = nn.RMSNorm(d_model, eps=1e-5)
        self.in_proj = nn.Linear(d_model, d_inner, bias=False)
        self.gate_proj = nn.Linear(d_model, d_inner, bias=False)
        self.conv_weight = nn.Parameter(torch.empty(d_inner, d_conv).uniform_(-1, 1) * d_conv**-0.5)
        self.conv_bias = nn.Parameter(torch.empty(d_inner).uniform_(-1, 1) * d_conv**-0.5)
        self.x_proj = nn.Linear(d_inner, dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(dt_rank, d_inner)
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(d_inner, 1))
        self.skip = nn.Parameter(torch.ones(d_inner))
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)
        with torch.no_grad():
            self.out_proj.weight /= math.sqrt(n_layers)
            self.dt_proj.weight.uniform_(-1, 1).mul_(dt_rank**-0.5)
            delta = torch.empty(d_inner).uniform_(math.log(DT_MIN), math.log(DT_MAX)).exp()
            self.dt_proj.bias.copy_(delta + torch.log(-torch.expm1(-delta)))  # the inverse of softplus

    def initial_state(self, batch_size: int) -> State:
        """Zeros: the last W - 1 inputs of the convolution (B, W - 1, D), and h (B, N, D)."""
        (d_inner, d_conv), d_state = self.conv_weight.shape, self.A_log.shape[1]
        zeros = self.A_log.new_zeros
        return zeros(batch_size, d_conv - 1, d_inner), zeros(batch_size, d_state, d_inner)

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        """Read L positions from a state; see `RecurrentBlock.scan`."""
        inputs, h = state
        return self._read(x_BLD, inputs, h)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, d_model) to (B, L, d_model), without a state, because the fused kernel starts from zero only."""
        return self._read(x_BLD, None, None)[0]

    def decay(self, x_BLD: Tensor) -> Tensor:
        """exp(Delta_t A): the share of each state that is left after a token, (B, L, D, N), from the initial state."""
        dt, *_ = self._projections(self.norm(x_BLD), None, self.implementation(x_BLD))
        return torch.exp(F.softplus(self.dt_proj(dt))[..., None] * -self.A_log.exp())

    def _projections(self, u: Tensor, inputs: Tensor | None, implementation: str) -> tuple[Tensor, ...]:
        """dt, B and C, what the scan reads, and the last inputs of the convolution."""
        x, inputs = short_convolution(
            self.in_proj(u), self.conv_weight, self.conv_bias, inputs, implementation=implementation
        )
        d_state = self.A_log.shape[1]
        return *self.x_proj(x).split([self.dt_proj.in_features, d_state, d_state], dim=-1), x, inputs

    def _read(self, x_BLD: Tensor, inputs: Tensor | None, h: Tensor | None) -> tuple[Tensor, State]:
        implementation = self.implementation(x_BLD)
        u = self.norm(x_BLD)
        dt, B, C, x, inputs = self._projections(u, inputs, implementation)
        y, h = selective_scan(
            x, self.dt_proj(dt), -self.A_log.exp(), B, C, self.skip, self.gate_proj(u), h, implementation=implementation
        )
        return x_BLD + self.out_proj(y), (inputs, h)


@register("mamba")
class Mamba(SequenceModel):
    """Mamba-1, a selective state-space model (arXiv 2312.00752).

    Args:
        d_state: states N per channel.
        dt_rank: rank of the projection to step sizes, or "auto" for d_model / 16, rounded up.

    Raises:
        ValueError: as `SequenceModel`, or if the fused kernel is requested and cannot run.
    """

    def __init__(
        self, vocab_size: int, seq_len: int, *, d_model: int = 128, n_layers: int = 1, d_state: int = 16,
        d_conv: int = 4, expand: int = 2, dt_rank: int | Literal["auto"] = "auto", positions: Positions = "learned",
        embedding_std: float = 0.02, backend: Backend = "auto",
    ) -> None:  # fmt: skip
        require_positive(d_model=d_model, n_layers=n_layers, d_state=d_state, d_conv=d_conv, expand=expand)
        require_backend(backend, MambaBlock.library)
        rank = math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"model.dt_rank must be auto or a whole number from 1 on, got {dt_rank}")
        sizes = (d_model, expand * d_model, d_state, d_conv, rank, n_layers)
        super().__init__(
            vocab_size, seq_len, d_model=d_model, blocks=[MambaBlock(*sizes, backend) for _ in range(n_layers)],
            positions=positions, embedding_std=embedding_std,
        )  # fmt: skip
