"""Gated DeltaNet (Yang, Kautz and Hatamizadeh, Gated Delta Networks, arXiv 2412.06464).

Glossary: d_model = D, n_heads = H, head_dim = K (d_k, queries and keys), expand_v K = V (d_v), d_conv = W, SwiGLU width
F; C = 2HK + HV channels are convolved. `A_log` and `dt_bias` parametrise the gate alpha, as in Mamba-2.

    S_t = alpha_t S_{t-1} (I - beta_t k_t k_t^T) + beta_t v_t k_t^T,   o_t = S_t q_t             equation 10, every head
    q, k, v = silu(conv(W_qkv x)),   q <- q / (|q| sqrt(K)),   k <- k / |k|                      figure 1
    beta = sigmoid(W_beta x),   log alpha = -exp(A_log) softplus(W_alpha x + dt_bias)
    mixer(x) = W_out (RMSNorm(o) * silu(W_g x)),   RMSNorm within every head
    x <- x + mixer(RMSNorm(x));   x <- x + W_down (silu(W_gate z) * W_up z),  z = RMSNorm(x)

S is (V, K) in the paper; here it is kept transposed, so that values are contiguous.

Initialisation, from the authors' training code (NVlabs/GatedDeltaNet with `mamba_init`, as in its models): maps and
filters uniform within 1 / sqrt(inputs of an output), W_down divided by sqrt(2 n_layers), exp(A_log) uniform in (0, 16),
softplus(dt_bias) log-uniform in (0.001, 0.1), weights of norms 1.

Departures
- Learned positions by default, as for every architecture here, because the tasks ask for tokens by position.
- Sizes: HK = 3/4 D and V = 2K as published, where 9 heads have K = 128 and more. At D = 128 that leaves HK = 96, cut
  into 3 heads of K = 32, because a head keeps at most K keys apart without error.
- F = 8/3 D, where a SwiGLU is as large as a plain MLP of width 4 D (published models: 2.45 D to 4 D), rounded up to a
  multiple of 32; the authors' library rounds up to a multiple of 256, which would make it 4 D here.
- W_beta has no bias, as in the equations and in the authors' library (flash-linear-attention), unlike their training
  code.
- exp(A_log) starts above 1e-4, so that its logarithm is finite.
- Final norm and head are those of all models here.

Shape letters: B batch, L positions, D, H, K, V, C and W as above.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.model import Positions, RecurrentBlock, SequenceModel, State, require_positive
from architectures.ops.backend import Accelerated, Backend, require_backend
from architectures.ops.convolution import short_convolution
from architectures.ops.delta_rule import delta_rule
from architectures.registry import register

NORM_EPS, L2_EPS = 1e-5, 1e-6


def gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_alpha: Tensor,
    beta: Tensor,
    state: Tensor | None = None,
    *,
    implementation: str,
) -> tuple[Tensor, Tensor]:
    """Run equation 10 over all positions.

    Args:
        q, k: (B, L, H, K).
        v: (B, L, H, V).
        log_alpha, beta: (B, L, H); log_alpha at most 0.
        state: S_0 transposed, (B, H, K, V); None is zero.
        implementation: as `choose` returns it.

    Returns:
        o (B, L, H, V) and S_L transposed (B, H, K, V).
    """
    if implementation == GatedDeltaMixer.library:
        from architectures.ops.cuda import fused

        return fused.gated_delta_rule(q, k, v, log_alpha, beta, state)
    log_w, beta_k = log_alpha.unsqueeze(-1), beta.unsqueeze(-1) * k
    return delta_rule(q, beta_k, v, k, -log_w.exp() * beta_k, log_w, state, implementation=implementation)


def l2_normalise(x: Tensor, length: float = 1.0) -> Tensor:
    """Scale the vectors of the last dimension to a length; those far shorter than sqrt(L2_EPS) stay short."""
    return x * (length * (torch.linalg.vecdot(x, x) + L2_EPS).rsqrt()).unsqueeze(-1)


class RMSNorm(nn.RMSNorm):
    """RMSNorm of the last dimension (arXiv 1910.07467)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if x.device.type != "cpu":
            return super().forward(x)
        # PyTorch has no fused kernel for it on a CPU, and this costs it less than its own composition.
        mean_square = torch.linalg.vecdot(x, x) / x.shape[-1]
        return x * (mean_square + NORM_EPS).rsqrt().unsqueeze(-1) * self.weight


class GatedDeltaMixer(Accelerated):
    """Token mixer: short convolutions, gated delta rule, gated output norm (figure 1 of the paper).

    Args:
        d_model: width D.
        n_heads: number of heads H.
        head_dim: width K of queries and keys in a head.
        expand_v: V / K.
        d_conv: filter width W.
        backend: one of `Backend`.
    """

    def __init__(self, d_model: int, n_heads: int, head_dim: int, expand_v: int, d_conv: int, backend: Backend) -> None:
        super().__init__(backend, head_dim)
        self.n_heads, self.head_dim = n_heads, head_dim
        keys, values = n_heads * head_dim, n_heads * head_dim * expand_v
        self.qkv_sizes = (keys, keys, values)
        self.qkv = nn.Linear(d_model, sum(self.qkv_sizes), bias=False)
        self.filters = nn.Parameter(torch.empty(sum(self.qkv_sizes), d_conv).uniform_(-1, 1) * d_conv**-0.5)
        self.gates = nn.Linear(d_model, 2 * n_heads, bias=False)
        self.A_log = nn.Parameter(torch.empty(n_heads).uniform_(1e-4, 16).log())
        dt = torch.empty(n_heads).uniform_(math.log(0.001), math.log(0.1)).exp()
        self.dt_bias = nn.Parameter(dt.expm1().log())  # the inverse of softplus
        self.output_gate = nn.Linear(d_model, values, bias=False)
        self.head_norm = RMSNorm(head_dim * expand_v, eps=NORM_EPS)
        self.out = nn.Linear(values, d_model, bias=False)

    def initial_state(self, batch_size: int) -> State:
        """Zeros: the last W - 1 inputs of the convolution (B, W - 1, C) and S transposed (B, H, K, V)."""
        channels, width = self.filters.shape
        return (
            self.filters.new_zeros(batch_size, width - 1, channels),
            self.filters.new_zeros(batch_size, self.n_heads, self.head_dim, self.head_norm.normalized_shape[0]),
        )

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, L, D) to (B, L, D) and the state after the last position."""
        implementation = self.implementation(x_BLD)
        on_cpu = "numba" if implementation == "numba" else "torch"
        inputs, memory = state
        qkv_BLC, inputs = short_convolution(self.qkv(x_BLD), self.filters, state=inputs, implementation=on_cpu)
        q, k, v = (part.unflatten(-1, (self.n_heads, -1)) for part in qkv_BLC.split(self.qkv_sizes, dim=-1))
        beta_BLH, log_alpha_BLH = self.rates(x_BLD)
        o_BLHV, memory = gated_delta_rule(
            l2_normalise(q, self.head_dim**-0.5),
            l2_normalise(k),
            v,
            log_alpha_BLH,
            beta_BLH.sigmoid(),
            memory,
            implementation=implementation,
        )
        y_BLD = self.out(self.head_norm(o_BLHV).flatten(2) * F.silu(self.output_gate(x_BLD)))
        return y_BLD, (inputs, memory)

    def rates(self, x_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """beta before its sigmoid, and log alpha, (B, L, H) each."""
        beta_BLH, alpha_BLH = self.gates(x_BLD).chunk(2, dim=-1)
        return beta_BLH, -self.A_log.exp() * F.softplus(alpha_BLH + self.dt_bias)


class SwiGLU(nn.Module):
    """Gated feed-forward network without biases (Shazeer, arXiv 2002.05202, equation 6).

    Args:
        d_model: input and output width D.
        d_hidden: hidden width F.
        n_layers: blocks of the model, which set the initial scale of the output.
    """

    def __init__(self, d_model: int, d_hidden: int, n_layers: int) -> None:
        super().__init__()
        self.gate = nn.Linear(d_model, d_hidden, bias=False)
        self.up = nn.Linear(d_model, d_hidden, bias=False)
        self.down = nn.Linear(d_hidden, d_model, bias=False)
        with torch.no_grad():
            self.down.weight.div_(math.sqrt(2 * n_layers))

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        return self.down(F.silu(self.gate(x_BLD)) * self.up(x_BLD))


class GatedDeltaNetBlock(RecurrentBlock):
    """Pre-norm residual block: mixer, then SwiGLU.

    Args:
        d_model: width D.
        mixer: the first sublayer.
        mlp: the second sublayer.
    """

    decay_axes: ClassVar[str] = "head"
    position_wise = ("mlp_norm", "mlp")

    def __init__(self, d_model: int, mixer: GatedDeltaMixer, mlp: SwiGLU) -> None:
        super().__init__()
        self.mixer_norm, self.mixer = RMSNorm(d_model, eps=NORM_EPS), mixer
        self.mlp_norm, self.mlp = RMSNorm(d_model, eps=NORM_EPS), mlp

    def initial_state(self, batch_size: int) -> State:
        """As `GatedDeltaMixer.initial_state`."""
        return self.mixer.initial_state(batch_size)

    def decay(self, x_BLD: Tensor) -> Tensor:
        """alpha: the share of the memory that is left after a token, but for the key that it overwrites, (B, L, H)."""
        return self.mixer.rates(self.mixer_norm(x_BLD))[1].exp()

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, L, D) to (B, L, D) and the state after the last position."""
        y_BLD, state = self.mixer.scan(self.mixer_norm(x_BLD), state)
        x_BLD = x_BLD + y_BLD
        return x_BLD + self.mlp(self.mlp_norm(x_BLD)), state


@register("gated_deltanet")
class GatedDeltaNet(SequenceModel):
    """Gated DeltaNet: linear attention with a gated delta rule, and SwiGLU (arXiv 2412.06464).

    Args:
        n_heads: heads H of the delta rule.
        head_dim: width K of queries and keys in a head; by default 3/4 d_model / n_heads, rounded down.
        expand_v: width of values in a head as a multiple of head_dim.
        mlp_ratio: SwiGLU width as a multiple of 2/3 d_model (rounded up to a multiple of 32), which makes it as large
            as a plain MLP of that ratio.

    Raises:
        ValueError: as `SequenceModel`, or if fused kernels are requested and cannot run.
    """

    def __init__(
        self, vocab_size: int, seq_len: int, *, d_model: int = 128, n_layers: int = 1, n_heads: int = 3,
        head_dim: int | None = None, expand_v: int = 2, d_conv: int = 4, mlp_ratio: int = 4,
        positions: Positions = "learned", embedding_std: float = 0.02, backend: Backend = "auto",
    ) -> None:  # fmt: skip
        require_positive(d_model=d_model, n_layers=n_layers, n_heads=n_heads)
        if head_dim is None:
            head_dim = max(1, 3 * d_model // (4 * n_heads))
        require_positive(head_dim=head_dim, expand_v=expand_v, d_conv=d_conv, mlp_ratio=mlp_ratio)
        require_backend(backend, GatedDeltaMixer.library)
        d_hidden = 32 * math.ceil(2 * mlp_ratio * d_model / (3 * 32))
        blocks = [
            GatedDeltaNetBlock(
                d_model,
                GatedDeltaMixer(d_model, n_heads, head_dim, expand_v, d_conv, backend),
                SwiGLU(d_model, d_hidden, n_layers),
            )
            for _ in range(n_layers)
        ]
        super().__init__(
            vocab_size, seq_len, d_model=d_model, blocks=blocks, positions=positions, embedding_std=embedding_std
        )
