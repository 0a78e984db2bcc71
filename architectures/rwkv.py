"""RWKV-7 "Goose" (Peng et al., arXiv 2503.14456).

Glossary, code to paper: d_model = D, head_dim = K (64 in the paper), H = D / K heads; r receptance, k key (k-tilde
once the in-context rate has scaled it), v value, w decay, a in-context learning rate, g gate; kk the removal key
kappa-hat; S the matrix-valued state; x the token-shift weights mu; k_k, k_a, r_k the paper's xi, alpha and rho.
Shape letters: B batch, L positions, D model width, H heads, K head width, R low rank. * is elementwise.

    lerp_m(x_t) = x_t + (x_{t-1} - x_t) * mu_m             token shift, one mu for each of r, w, k, v, a, g
    r, k, v = W_m lerp_m(x)
    w = exp(-exp(-0.5) sigmoid(w0 + tanh(lerp_w(x) w1) w2))
    a = sigmoid(a0 + lerp_a(x) a1 a2)
    g = sigmoid(lerp_g(x) g1) g2
    v <- v + (v_first - v) * sigmoid(v0 + lerp_v(x) v1 v2) from the second layer on; v_first is the first layer's v
    kk = k * k_k, normalised head by head to length 1
    k <- k * (1 + (a - 1) * k_a)
    S_t = diag(w_t) S_{t-1} - (a_t * kk_t) (kk_t^T S_{t-1}) + k_t v_t^T
    y_t = GroupNorm(S_t^T r_t) + (sum over a head of r_t * r_k * k_t) v_t
    time mixing = W_o (y * g),    channel mixing = W_v relu(W_k lerp_k(x))^2
    x <- x + time mixing(LN(x));    x <- x + channel mixing(LN(x));    x <- LN(x) before the first block

Everything starts as in the authors' training code (`RWKV-v7/train_temp` of RWKV-LM, where what a layer's constructor
draws is drawn again for the whole model): orthogonal matrices, zeros for what writes to the residual stream, and fixed
curves over channels and depth for decays, rates and token shifts.

Departures: learned positions by default, as for every architecture here, because the tasks ask for tokens by position;
S is the paper's state transposed, so that keys index its rows. A model narrower than a head has one head of its own
width. With one layer the depth ratio l / (n_layers - 1) is 0. The embedding and the head start as in every other
architecture here; the norm before the first block sets the scale of the residual stream anyway. Ranks follow the first
published rule of the training code (32 each at D = 128); its present one asks for a little more.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from architectures.model import (
    ModelState,
    Positions,
    RecurrentBlock,
    SequenceModel,
    State,
    require_divisor,
    require_positive,
)
from architectures.ops.backend import Accelerated, Backend, require_backend
from architectures.ops.delta_rule import delta_rule
from architectures.ops.pointwise.rwkv_keys import LOG_DECAY, keys
from architectures.ops.pointwise.rwkv_readout import readout
from architectures.ops.pointwise.squared_relu import squared_relu
from architectures.ops.pointwise.token_shift import token_shift
from architectures.registry import register

_MIN_RANK = 32


def rank(d_model: int, factor: float, power: float) -> int:
    """Low rank R: factor * d_model^power, rounded to a multiple of 32, at least 32 (the authors' training code)."""
    return max(_MIN_RANK, round(factor * d_model**power / _MIN_RANK) * _MIN_RANK)


class TimeMixing(Accelerated):
    """Token mixer with a matrix-valued state (section 4 of the paper).

    Args:
        d_model: width D.
        head_dim: head width K; divides D.
        layer: index of the block, from 0; the first has no value residual.
        n_layers: number of blocks.
        backend: of the recurrence.
    """

    # The authors' code decays the weights of linear maps only, and doubles the learning rate of w0.
    lr_factors: ClassVar[dict[str, float]] = {"w0": 2.0}
    no_weight_decay = ("x", "w1", "w2", "a1", "a2", "v1", "v2", "g1", "g2", "r_k")
    decay_axes: ClassVar[str] = "head channel"

    def __init__(self, d_model: int, head_dim: int, layer: int, n_layers: int, backend: Backend) -> None:
        super().__init__(backend, head_dim)
        self.head_dim, self.n_heads = head_dim, d_model // head_dim
        deep, shallow = layer / max(n_layers - 1, 1), 1 - layer / n_layers
        channel = torch.arange(d_model) / d_model
        ramp = torch.arange(d_model) / max(d_model - 1, 1)
        zigzag = torch.linspace(-1, 1, head_dim) if head_dim > 1 else torch.zeros(1)
        zigzag = (zigzag * zigzag.abs()).repeat(self.n_heads)

        powers = torch.tensor([[0.2], [0.9], [0.7], [0.7], [0.9], [0.2]]) * shallow  # r, w, k, v, a, g
        self.x = nn.Parameter(1 - channel**powers)

        self.receptance, self.key, self.value, self.output = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))
        nn.init.orthogonal_(self.receptance.weight)
        nn.init.orthogonal_(self.key.weight, gain=0.1)
        nn.init.orthogonal_(self.value.weight)
        nn.init.zeros_(self.output.weight)

        self.w0 = nn.Parameter(-5.5 + 6 * ramp ** (1 + deep**0.3) + 2.5 * zigzag)
        self.w1, self.w2 = low_rank(d_model, rank(d_model, 1.8, 0.5))
        self.a0 = nn.Parameter(-0.19 + 0.3 * zigzag + 0.4 * (ramp - 0.5))
        self.a1, self.a2 = low_rank(d_model, rank(d_model, 1.8, 0.5))
        if layer > 0:
            self.v0 = nn.Parameter(0.73 - 0.4 * (ramp - 0.5))
            self.v1, self.v2 = low_rank(d_model, rank(d_model, 1.3, 0.5))
        self.g1, self.g2 = low_rank(d_model, rank(d_model, 0.6, 0.8))

        self.k_k = nn.Parameter(0.71 - 0.1 * (ramp - 0.5))
        self.k_a = nn.Parameter(torch.full((d_model,), 1.02))
        self.r_k = nn.Parameter(torch.full((self.n_heads, head_dim), -0.04))
        self.ln_x = nn.GroupNorm(self.n_heads, d_model, eps=1e-5 * head_dim)
        nn.init.constant_(self.ln_x.weight, ((1 + layer) / n_layers) ** 0.7)

    def forward(
        self, x_BLD: Tensor, before_BD: Tensor, state: Tensor, v_first: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Read L positions.

        Args:
            x_BLD: normed input.
            before_BD: the normed input before the first of these positions.
            state: S (B, H, K, K).
            v_first: v of the first layer, (B, L, D); None in the first layer itself.

        Returns:
            (B, L, D), S after the last position and the v of the first layer.
        """
        implementation = self.implementation(x_BLD)
        xr, xw, xk, xv, xa, xg = token_shift(x_BLD, before_BD, self.x, implementation=implementation)
        r, k, v = self.receptance(xr), self.key(xk), self.value(xv)
        if v_first is None:
            v_first = v
        else:
            share = torch.sigmoid(self.v0 + (xv @ self.v1) @ self.v2)
            v = torch.lerp(v, v_first, share.to(v.dtype))
        decay, rate = torch.tanh(xw @ self.w1) @ self.w2, (xa @ self.a1) @ self.a2
        log_w, k, minus_kk, kk_a = keys(
            k, decay, rate, self.w0, self.a0, self.k_k, self.k_a, n_heads=self.n_heads, implementation=implementation
        )
        y, state = self.recurrence(r, k, v, minus_kk, kk_a, log_w, state, implementation)
        g, norm = torch.sigmoid(xg @ self.g1) @ self.g2, self.ln_x
        y = readout(y, r, k, v, g, self.r_k, norm.weight, norm.bias, eps=norm.eps, implementation=implementation)
        return self.output(y), state, v_first

    def decay(self, x_BLD: Tensor, before_BD: Tensor, *more: Tensor | None) -> Tensor:
        """w: the share of each row of S that is left after a token, but for the removal key, (B, L, H, K).

        Args:
            x_BLD, before_BD, more: as in `forward`; it depends on the first two.
        """
        xw = token_shift(x_BLD, before_BD, self.x, implementation=self.implementation(x_BLD))[1]
        log_w = LOG_DECAY * torch.sigmoid(torch.tanh(xw @ self.w1) @ self.w2 + self.w0)
        return log_w.exp().unflatten(-1, (self.n_heads, -1))

    def recurrence(
        self, r: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, log_w: Tensor, state: Tensor, implementation: str
    ) -> tuple[Tensor, Tensor]:
        """Run S_t = diag(w_t) S_{t-1} + b_t (a_t^T S_{t-1}) + k_t v_t^T and y_t = S_t^T r_t, head by head.

        Args:
            r, k, v, a, b, log_w: (B, L, D).
            state: S (B, H, K, K).
            implementation: as `choose` returns it.

        Returns:
            y (B, L, D) and S after the last position.
        """
        r, k, v, a, b, log_w = (z.unflatten(-1, (self.n_heads, -1)) for z in (r, k, v, a, b, log_w))
        if implementation == self.library:
            from architectures.ops.cuda import fused

            y, state = fused.rwkv7(r, log_w, k, v, a, b, state, least_log_w=LOG_DECAY)
        else:
            y, state = delta_rule(r, k, v, a, b, log_w, state, implementation=implementation)
        return y.flatten(-2), state


def low_rank(d_model: int, n_ranks: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Two thin matrices: D x R zeros, and R x D a tenth of an orthogonal matrix (with longer rows if R > D)."""
    up = nn.init.orthogonal_(torch.empty(n_ranks, d_model), gain=0.1 * max(1.0, n_ranks / d_model) ** 0.5)
    return nn.Parameter(torch.zeros(d_model, n_ranks)), nn.Parameter(up)


class ChannelMixing(Accelerated):
    """Two-layer network with squared ReLU on token-shifted input.

    Args:
        d_model: width D.
        d_hidden: hidden width.
        layer: index of the block, from 0.
        n_layers: number of blocks.
        backend: of the token shift and the squared ReLU.
    """

    no_weight_decay = ("x",)

    def __init__(self, d_model: int, d_hidden: int, layer: int, n_layers: int, backend: Backend) -> None:
        super().__init__(backend)
        self.x = nn.Parameter(1 - (torch.arange(d_model) / d_model)[None] ** (1 - layer / n_layers) ** 4)
        self.key = nn.Linear(d_model, d_hidden, bias=False)
        self.value = nn.Linear(d_hidden, d_model, bias=False)
        nn.init.orthogonal_(self.key.weight)
        nn.init.zeros_(self.value.weight)

    def forward(self, x_BLD: Tensor, before_BD: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D); `before_BD` is the input before the first position."""
        implementation = self.implementation(x_BLD)
        (x_k,) = token_shift(x_BLD, before_BD, self.x, implementation=implementation)
        return self.value(squared_relu(self.key(x_k), implementation=implementation))


class RWKVBlock(RecurrentBlock):
    """Time mixing, then channel mixing, each on normed input and added to the residual stream.

    The state is the last normed input of time mixing (B, D), S (B, H, K, K) and the last normed input of channel
    mixing (B, D).
    """

    position_wise = ("channel_norm", "channel_mixing")  # which looks at the token before, but chooses nothing

    def __init__(self, d_model: int, head_dim: int, d_hidden: int, layer: int, n_layers: int, backend: Backend) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(d_model) if layer == 0 else nn.Identity()
        self.time_norm = nn.LayerNorm(d_model)
        self.time_mixing = TimeMixing(d_model, head_dim, layer, n_layers, backend)
        self.channel_norm = nn.LayerNorm(d_model)
        self.channel_mixing = ChannelMixing(d_model, d_hidden, layer, n_layers, backend)

    def initial_state(self, batch_size: int) -> State:
        """Zeros."""
        time, like = self.time_mixing, self.time_norm.weight
        last_BD = like.new_zeros(batch_size, len(like))
        return last_BD, like.new_zeros(batch_size, time.n_heads, time.head_dim, time.head_dim), last_BD.clone()

    def read(self, x_BLD: Tensor, state: State, v_first: Tensor | None) -> tuple[Tensor, State, Tensor]:
        """Read L positions as `scan` does, with the first layer's v (B, L, D); None takes this block's own v for it."""
        time_BD, s, channel_BD = state
        x_BLD = self.input_norm(x_BLD)
        time_BLD = self.time_norm(x_BLD)
        mixed_BLD, s, v_first = self.time_mixing(time_BLD, time_BD, s, v_first)
        x_BLD = x_BLD + mixed_BLD
        channel_BLD = self.channel_norm(x_BLD)
        x_BLD = x_BLD + self.channel_mixing(channel_BLD, channel_BD)
        return x_BLD, (time_BLD[:, -1], s, channel_BLD[:, -1]), v_first

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        """Read L positions as the first block does, with its own v; see `RecurrentBlock.scan`."""
        return self.read(x_BLD, state, None)[:2]


@register("rwkv")
class RWKV(SequenceModel):
    """RWKV-7: linear attention with a generalised delta rule, vector-valued decay and rates (arXiv 2503.14456).

    Args:
        head_dim: head width; must divide d_model, unless d_model is smaller: then there is one head of that width.
        mlp_ratio: hidden width of the channel mixing as a multiple of d_model.

    Raises:
        ValueError: as `SequenceModel`, or if head_dim does not divide d_model, or fused kernels are requested and
            cannot run.
    """

    def __init__(
        self, vocab_size: int, seq_len: int, *, d_model: int = 128, n_layers: int = 1, head_dim: int = 64,
        mlp_ratio: int = 4, positions: Positions = "learned", embedding_std: float = 0.02, backend: Backend = "auto",
    ) -> None:  # fmt: skip
        require_positive(d_model=d_model, n_layers=n_layers, head_dim=head_dim, mlp_ratio=mlp_ratio)
        require_backend(backend, TimeMixing.library)
        width = min(head_dim, d_model)
        require_divisor("head_dim", width, "model.d_model", d_model)
        blocks = [RWKVBlock(d_model, width, mlp_ratio * d_model, layer, n_layers, backend) for layer in range(n_layers)]
        super().__init__(
            vocab_size, seq_len, d_model=d_model, blocks=blocks, positions=positions, embedding_std=embedding_std
        )

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Next-token logits: (B, L) integers, L <= seq_len, to (B, L, V)."""
        return self.scan(tokens_BL, self.initial_state(len(tokens_BL)))[0]

    def scan(self, tokens_BL: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Read L more tokens; see `SequenceModel.scan`. The first layer's v goes to all later layers."""
        x_BLD, states, v_first = self.embed(tokens_BL, state.position), [], None
        for block, before in zip(self.blocks, state.blocks, strict=True):
            assert isinstance(block, RWKVBlock)
            x_BLD, after, v_first = block.read(x_BLD, before, v_first)
            states.append(after)
        return self.unembed(x_BLD), ModelState(state.position + tokens_BL.shape[1], tuple(states))
