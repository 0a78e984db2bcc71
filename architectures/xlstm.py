"""xLSTM (Beck et al., arXiv 2405.04517): blocks with a matrix memory (mLSTM) and blocks with a scalar one (sLSTM).

Glossary: d_model = D, n_heads = H, d_inner = I = expand D, d_conv = W, K = I / H (mLSTM) or D / H (sLSTM) is the width
of a head; i~, f~, z~, o~ = gates before their nonlinearities. Shape letters: B sequences, L positions, the others as
above.

    mLSTM:  x, z = W_up LN(u);  c = silu(conv(x));  q, k = Q c, K c;  v = V x                        figure 11
            i~, f~ = W_i [q, k, v], W_f [q, k, v];   y = GroupNorm(mlstm(q, k, v, i~, f~)) + skip * c
            u <- u + W_down (y * silu(z))
    sLSTM:  c = silu(conv(LN(u)));   i~, f~ = W_i c, W_f c;   z~, o~ = W_z LN(u), W_o LN(u)           figure 10
            u <- u + GroupNorm(slstm(i~, f~, z~, o~));   a, b = W_up LN(u);   u <- u + W_down (gelu(a) * b)

The memories are in `ops/mlstm.py` and `ops/slstm.py`. Q, K and V of mLSTM are block-diagonal, with blocks of 4; all
four gates of sLSTM are, with a block a head.

Initial values are those of the authors' code: projections N(0, 2 / (5 D)), output projections N(0, 4 / (n_layers^2 D)),
gates of mLSTM 0 with biases N(0, 0.01) and from 3 to 6 over the heads, R of sLSTM 0 and its forget biases falling
from 5 to -7 within a head, the more evenly the deeper the block; the rest PyTorch's own.

Departures: learned positions by default, as for every architecture here, because the tasks ask for tokens by position;
the feed-forward of sLSTM is ceil(4 D / 3) wide, as in the paper, and I is expand D, neither rounded up to a multiple of
64, as small models would be very different ones; no constant of 1e-6 is added to the normaliser; the final norm and the
embedding are those of every architecture here.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.model import Positions, RecurrentBlock, SequenceModel, State, require_divisor, require_positive
from architectures.ops.backend import Accelerated, Backend, require_backend
from architectures.ops.convolution import short_convolution
from architectures.ops.mlstm import mlstm
from architectures.ops.slstm import slstm
from architectures.registry import register

PROJECTION_BLOCK = 4
"""Width of the blocks of mLSTM's query, key and value projections."""


def _normal(std: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape) * std)


def _layer_norm(d_model: int) -> nn.LayerNorm:
    return nn.LayerNorm(d_model, bias=False)


def _blockwise(x_BLD: Tensor, weight: Tensor) -> Tensor:
    """Block-diagonal linear map: (B, L, N K) by N blocks (N, K out, K in)."""
    return torch.einsum("blnj,nij->blni", x_BLD.unflatten(-1, (len(weight), -1)), weight).flatten(2)


def _gate(qkv: tuple[Tensor, Tensor, Tensor], gate: nn.Linear) -> Tensor:
    """Linear map of [q, k, v] (B, L, 3 I) to (B, L, H), as three products: the one of [q, k, v] would be a copy."""
    products = [F.linear(part, weight) for part, weight in zip(qkv, gate.weight.chunk(3, dim=1), strict=True)]
    return sum(products) + gate.bias


def _head_norm(h_BLHK: Tensor, weight: Tensor) -> Tensor:
    """Norm within every head, (B, L, H, K) to (B, L, H K)."""
    return F.layer_norm(h_BLHK, h_BLHK.shape[-1:]).flatten(2) * weight


class MLSTMBlock(Accelerated, RecurrentBlock):
    """Pre-norm residual block with a matrix memory between an up- and a down-projection.

    The state is the convolution's last W - 1 inputs (B, W - 1, I), the memory (B, H, K, K + 1) with the normaliser as
    its last column, and its scale (B, H).

    Args:
        d_model: width D.
        n_layers: blocks of the model, which set the initial scale of the output.
        n_heads: heads H; divides I.
        expand: I / D.
        d_conv: filter width W.
        backend: of the memory and the convolution.
    """

    decay_axes: ClassVar[str] = "head"

    def __init__(
        self, d_model: int, *, n_layers: int, n_heads: int, expand: int, d_conv: int, backend: Backend
    ) -> None:
        d_inner = expand * d_model
        super().__init__(backend, d_inner // n_heads)
        self.n_heads, small = n_heads, math.sqrt(2 / (5 * d_model))
        self.norm = _layer_norm(d_model)
        self.up = _normal(small, 2 * d_inner, d_model)
        bound = d_conv**-0.5  # of a convolution with one input channel per filter
        self.conv_weight = nn.Parameter(torch.empty(d_inner, d_conv).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.empty(d_inner).uniform_(-bound, bound))
        block = math.gcd(PROJECTION_BLOCK, d_inner)
        self.query, self.key, self.value = (_normal(small, d_inner // block, block, block) for _ in range(3))
        self.input_gate, self.forget_gate = nn.Linear(3 * d_inner, n_heads), nn.Linear(3 * d_inner, n_heads)
        with torch.no_grad():
            self.input_gate.weight.zero_()
            self.input_gate.bias.normal_(std=0.1)
            self.forget_gate.weight.zero_()
            self.forget_gate.bias.copy_(torch.linspace(3, 6, n_heads))
        self.head_norm_weight, self.skip = nn.Parameter(torch.ones(d_inner)), nn.Parameter(torch.ones(d_inner))
        self.down = _normal(2 / (n_layers * math.sqrt(d_model)), d_model, d_inner)

    def initial_state(self, batch_size: int) -> State:
        """Zeros, in the shapes that the class names."""
        d_inner, d_conv = self.conv_weight.shape
        width = d_inner // self.n_heads
        shapes = (d_conv - 1, d_inner), (self.n_heads, width, width + 1), (self.n_heads,)
        return tuple(self.skip.new_zeros(batch_size, *shape) for shape in shapes)

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        """Read L positions; see `RecurrentBlock.scan`."""
        conv_state, memory, scale = state
        implementation = self.implementation(x_BLD)
        u_BLD = self.norm(x_BLD)
        inner, z = (F.linear(u_BLD, weight) for weight in self.up.chunk(2))
        convolved, conv_state = short_convolution(
            inner, self.conv_weight, self.conv_bias, conv_state, implementation=implementation
        )
        q, k, v = self._heads(inner, convolved)
        input_gate, forget_gate = (_gate((q, k, v), gate) for gate in (self.input_gate, self.forget_gate))
        q, k, v = (part.unflatten(-1, (self.n_heads, -1)) for part in (q, k, v))
        h_BLHK, memory, scale = mlstm(
            q * q.shape[-1] ** -0.5, k, v, input_gate, forget_gate, memory, scale, implementation=implementation
        )
        y = _head_norm(h_BLHK, self.head_norm_weight) + self.skip * convolved
        return x_BLD + F.linear(y * F.silu(z), self.down), (conv_state, memory, scale)

    def _heads(self, inner: Tensor, convolved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v, (B, L, I) each."""
        return _blockwise(convolved, self.query), _blockwise(convolved, self.key), _blockwise(inner, self.value)

    def decay(self, x_BLD: Tensor) -> Tensor:
        """f = sigmoid(f~): the share of the memory that is left after a token, (B, L, H), from the initial state."""
        inner = F.linear(self.norm(x_BLD), self.up.chunk(2)[0])
        convolved, _ = short_convolution(
            inner, self.conv_weight, self.conv_bias, None, implementation=self.implementation(x_BLD)
        )
        return _gate(self._heads(inner, convolved), self.forget_gate).sigmoid()


class SLSTMBlock(Accelerated, RecurrentBlock):
    """Pre-norm residual block with a scalar memory, followed by a gated feed-forward network.

    The state is the convolution's last W - 1 inputs (B, W - 1, D), and h, c, n and m (B, 4, H, K).

    Args:
        d_model: width D.
        n_layers: blocks of the model.
        index: place of the block among them, from 0, which sets the initial forget gates.
        n_heads: heads H; divides D.
        d_conv: filter width W.
        backend: of the memory and the convolution.
    """

    library = None
    no_weight_decay = ("bias",)  # a matrix here: gates by heads
    decay_axes: ClassVar[str] = "head channel"
    position_wise = ("mlp_norm", "up", "down")

    def __init__(self, d_model: int, *, n_layers: int, index: int, n_heads: int, d_conv: int, backend: Backend) -> None:
        super().__init__(backend)
        width, small = d_model // n_heads, math.sqrt(2 / (5 * d_model))
        self.norm, self.mlp_norm = _layer_norm(d_model), _layer_norm(d_model)
        bound = d_conv**-0.5
        self.conv_weight = nn.Parameter(torch.empty(d_model, d_conv).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.empty(d_model).uniform_(-bound, bound))
        self.input_gate, self.forget_gate, self.cell, self.output_gate = (
            _normal(small, n_heads, width, width) for _ in range(4)
        )
        self.recurrent = nn.Parameter(torch.zeros(n_heads, width, 4 * width))
        depth = index / max(1, n_layers - 1)
        place = torch.arange(width) / max(1, width - 1)
        bias = torch.zeros(n_heads, 4, width)
        bias[:, 1] = 5 - 12 * place ** (0.3 + 1.3 * depth)
        self.bias = nn.Parameter(bias.flatten(1))
        self.head_norm_weight = nn.Parameter(torch.ones(d_model))
        d_hidden = -(-4 * d_model // 3)
        self.up = _normal(small, 2 * d_hidden, d_model)
        self.down = _normal(2 / (n_layers * math.sqrt(d_model)), d_model, d_hidden)

    def initial_state(self, batch_size: int) -> State:
        """Zeros, in the shapes that the class names, but for m, the logarithm of nothing: far below any gate."""
        d_model, d_conv = self.conv_weight.shape
        memory = self.bias.new_zeros(batch_size, 4, *self.recurrent.shape[:2])
        memory[:, 3] = torch.finfo(memory.dtype).min / 2
        return self.bias.new_zeros(batch_size, d_conv - 1, d_model), memory

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        """Read L positions; see `RecurrentBlock.scan`."""
        h_BLHK, _, after = self._remember(x_BLD, state)
        x_BLD = x_BLD + _head_norm(h_BLHK, self.head_norm_weight)
        gate, value = F.linear(self.mlp_norm(x_BLD), self.up).chunk(2, dim=-1)
        return x_BLD + F.linear(F.gelu(gate) * value, self.down), after

    def decay(self, x_BLD: Tensor) -> Tensor:
        """f = sigmoid(f~): the share of the memory that is left after a token, (B, L, H, K), from the initial state."""
        h_BLHK, gates_BLHF, _ = self._remember(x_BLD, self.initial_state(len(x_BLD)))
        before_BLHK = F.pad(h_BLHK[:, :-1], (0, 0, 0, 0, 1, 0))
        width = h_BLHK.shape[-1]
        of_forgetting = slice(width, 2 * width)
        return (
            gates_BLHF[..., of_forgetting]
            + torch.einsum("blhj,hjk->blhk", before_BLHK, self.recurrent[..., of_forgetting])
        ).sigmoid()

    def _remember(self, x_BLD: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """h (B, L, H, K), the input's part of i~, f~, z~ and o~ (B, L, H, 4 K), and the state afterwards."""
        conv_state, memory = state
        implementation = self.implementation(x_BLD)
        u_BLD = self.norm(x_BLD)
        convolved, conv_state = short_convolution(
            u_BLD, self.conv_weight, self.conv_bias, conv_state, implementation=implementation
        )
        gates = [
            _blockwise(read, weight).unflatten(-1, (len(weight), -1))
            for read, weight in (
                (convolved, self.input_gate), (convolved, self.forget_gate),
                (u_BLD, self.cell), (u_BLD, self.output_gate),
            )
        ]  # fmt: skip
        gates_BLHF = torch.cat(gates, dim=-1) + self.bias
        h_BLHK, memory = slstm(gates_BLHF, self.recurrent, memory, implementation=implementation)
        return h_BLHK, gates_BLHF, (conv_state, memory)


@register("xlstm")
class XLSTM(SequenceModel):
    """xLSTM: LSTMs with exponential gates and matrix or scalar memories (arXiv 2405.04517).

    Args:
        n_heads: heads H of both kinds of memory; must divide d_model.
        slstm_every: interval between blocks with the scalar memory: 8 is the paper's xLSTM[7:1], 2 is xLSTM[1:1], 1 is
            all of them, and 0 none, xLSTM[1:0].
        expand: inner width of mLSTM as a multiple of d_model.

    Raises:
        ValueError: as `SequenceModel`, or if n_heads does not divide d_model, slstm_every is negative, or fused
            kernels are requested and cannot run.
    """

    def __init__(
        self, vocab_size: int, seq_len: int, *, d_model: int = 128, n_layers: int = 1, n_heads: int = 4,
        slstm_every: int = 2, expand: int = 2, d_conv: int = 4, positions: Positions = "learned",
        embedding_std: float = 0.02, backend: Backend = "auto",
    ) -> None:  # fmt: skip
        require_positive(d_model=d_model, n_layers=n_layers, n_heads=n_heads, expand=expand, d_conv=d_conv)
        require_divisor("n_heads", n_heads, "model.d_model", d_model)
        if slstm_every < 0:
            raise ValueError(f"model.slstm_every must be at least 0, got {slstm_every}")
        require_backend(backend, MLSTMBlock.library)
        sizes = {"n_layers": n_layers, "n_heads": n_heads, "d_conv": d_conv}
        scalar = [slstm_every > 0 and (i + 1) % slstm_every == 0 for i in range(n_layers)]
        super().__init__(
            vocab_size, seq_len, d_model=d_model,
            blocks=[
                SLSTMBlock(d_model, index=i, backend=_without_fused(backend), **sizes) if scalar[i]
                else MLSTMBlock(d_model, expand=expand, backend=backend, **sizes)
                for i in range(n_layers)
            ],
            positions=positions, embedding_std=embedding_std,
        )  # fmt: skip


def _without_fused(backend: Backend) -> Backend:
    """The choice for a block that no library has a kernel of."""
    return "auto" if backend == "fused" else backend
