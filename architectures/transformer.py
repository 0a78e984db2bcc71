"""Transformer (Vaswani et al., arXiv 1706.03762), decoder-only, pre-LayerNorm.

Glossary: d_model = D, n_heads = H, head width K = D / H, d_hidden = the feed-forward width (4 D).

    Attention(Q, K, V) = softmax(Q K^T / sqrt(K) + bias) V        equation 1, under a causal mask
    x <- x + Attention(LN(x));   x <- x + MLP(LN(x))

Departures: the norm stands before each sublayer (pre-LN, Xiong et al., arXiv 2002.04745) as in arXiv 2606.25010; GELU
instead of ReLU; learned absolute positions instead of sinusoids, rotary ones (Su et al., arXiv 2104.09864) as an
option; no dropout; the head is not tied to the embedding.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.model import MLP, SequenceModel, require_choice, require_divisor, require_positive
from architectures.ops.attention import LONGEST, MOST_KEPT, WIDEST, short_attention
from architectures.ops.backend import compiles, watched
from architectures.registry import register

ATTENTIONS = ("numba", "sdpa")
"""Implementations: compiled loops, PyTorch's fused attention."""

Edit = Callable[[Tensor, Tensor], Tensor]
"""The outputs of all heads, (B, H, L, K), from their attention probabilities (B, H, L, L) and values (B, H, L, K)."""


def rotate(x_BHLK: Tensor, base: float = 10_000.0) -> Tensor:
    """Apply rotary position embedding (arXiv 2104.09864, equation 34, half-split pairing).

    Args:
        x_BHLK: queries or keys (B, H, L, K), K even; position l is index l.
        base: wavelength base.

    Returns:
        (B, H, L, K): pair (i, i + K/2) at position l rotated by the angle l * base^(-2i/K).
    """
    length, half = x_BHLK.shape[-2], x_BHLK.shape[-1] // 2
    frequency = base ** (-torch.arange(half, device=x_BHLK.device, dtype=torch.float32) / half)
    angle_LK = torch.arange(length, device=x_BHLK.device, dtype=torch.float32)[:, None] * frequency
    cos, sin = angle_LK.cos().to(x_BHLK.dtype), angle_LK.sin().to(x_BHLK.dtype)
    first, second = x_BHLK.split(half, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Attention(nn.Module):
    """Causal multi-head self-attention.

    Args:
        d_model: width D.
        n_heads: number of heads H; divides D.
        rotary: rotate queries and keys by their positions.

    Attributes:
        edit: computes the outputs of the heads in the place of this module while it is set; see `edited`.
    """

    edit: Edit | None = None

    def __init__(self, d_model: int, n_heads: int, rotary: bool) -> None:
        super().__init__()
        self.n_heads, self.rotary = n_heads, rotary
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x_BLD: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, L, D) to (B, L, D); `bias` is added to the logits, broadcastable to (B, H, L, L)."""
        qkv = self.qkv(x_BLD)
        batch, length, _ = x_BLD.shape
        if self.edit is not None:
            q, k, v = self.heads(qkv)
            return self.out(self.edit(self.probabilities(q, k, bias), v).transpose(1, 2).flatten(2))
        if self.implementation(length, x_BLD.device, batch) == "numba":
            if bias is not None:
                bias = bias.to(qkv.dtype).expand(batch, self.n_heads, length, length)
            return self.out(short_attention(self.rotated(qkv), bias, n_heads=self.n_heads))
        q, k, v = self.heads(qkv)
        mask = None if bias is None else causal_mask(q) + bias.to(q.dtype)
        y_BHLK = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.out(y_BHLK.transpose(1, 2).flatten(2))

    def implementation(self, length: int, device: torch.device, batch: int = 1) -> str:
        """The fastest of `ATTENTIONS` for B sequences of L positions on a device."""
        # Tools that watch operators see PyTorch's own attention, so that FLOPs are counted alike at every length.
        short = length <= LONGEST and self.out.in_features // self.n_heads <= WIDEST
        short = short and batch * self.n_heads * length**2 <= MOST_KEPT
        return "numba" if short and device.type == "cpu" and not watched() and compiles() else "sdpa"

    def heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, H, L, K), from (B, L, 3 D)."""
        q, k, v = qkv.unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        return (rotate(q), rotate(k), v) if self.rotary else (q, k, v)

    def rotated(self, qkv: Tensor) -> Tensor:
        """(B, L, 3 D) with queries and keys rotated, if they are at all."""
        return torch.stack(self.heads(qkv)).permute(1, 3, 0, 2, 4).flatten(2) if self.rotary else qkv

    def maps(self, x_BLD: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attention probabilities (B, H, L, L); rows are queries."""
        q, k, _ = self.heads(self.qkv(x_BLD))
        return self.probabilities(q, k, bias)

    @staticmethod
    def probabilities(q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
        """Attention probabilities (B, H, L, L) of queries and keys, each (B, H, L, K)."""
        mask = causal_mask(q) if bias is None else causal_mask(q) + bias.to(q.dtype)
        return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + mask).softmax(-1)

    def of_head(self, head: int) -> dict[str, tuple[Tensor | slice, ...]]:
        """Where a head's own numbers are: by the name of a parameter, an index into it. The bias of `out` is shared."""
        width = self.out.in_features // self.n_heads
        columns = torch.arange(head * width, (head + 1) * width)
        rows = torch.cat([columns + part * self.out.in_features for part in range(3)])
        return {"qkv.weight": (rows,), "qkv.bias": (rows,), "out.weight": (slice(None), columns)}


@contextmanager
def edited(attention: Attention, edit: Edit) -> Iterator[None]:
    """Let a function compute the outputs of an attention's heads inside the block, by plain operations."""
    before, attention.edit = attention.edit, edit
    try:
        yield
    finally:
        attention.edit = before


def attentions_of(model: SequenceModel) -> dict[int, Attention]:
    """The attention of every block that has some, by the number of the block."""
    found = ((i, m) for i, block in enumerate(model.blocks) for m in block.modules() if isinstance(m, Attention))
    return dict(found)


def causal_mask(q_BHLK: Tensor) -> Tensor:
    """(L, L): 0 where key <= query, -inf where key > query."""
    length = q_BHLK.shape[-2]
    return q_BHLK.new_full((length, length), float("-inf")).triu(1)


class TransformerBlock(nn.Module):
    """Pre-LN residual block: attention, then MLP.

    Args:
        d_model: width D.
        n_heads: number of heads H.
        d_hidden: MLP width.
        rotary: rotary positions in the attention.
    """

    position_wise = ("mlp_norm", "mlp")

    def __init__(self, d_model: int, n_heads: int, d_hidden: int, rotary: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(d_model)
        self.attention = Attention(d_model, n_heads, rotary)
        self.mlp_norm = nn.LayerNorm(d_model)
        self.mlp = MLP(d_model, d_hidden)

    def forward(self, x_BLD: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, L, D) to (B, L, D); `bias` as in `Attention.forward`."""
        x_BLD = x_BLD + self.attention(self.attention_norm(x_BLD), bias)
        return x_BLD + self.mlp(self.mlp_norm(x_BLD))


@register("transformer")
class Transformer(SequenceModel):
    """Decoder-only transformer, pre-LN, scaled-dot-product attention (arXiv 1706.03762).

    Args:
        n_heads: attention heads H; must divide d_model.
        positions: "learned" (absolute), "rotary" or "none".

    Raises:
        ValueError: as `SequenceModel`, or if n_heads does not divide d_model, or a rotary head width is odd.
    """

    def __init__(
        self, vocab_size: int, seq_len: int, *, d_model: int = 128, n_layers: int = 1, n_heads: int = 8,
        mlp_ratio: int = 4, positions: Literal["learned", "rotary", "none"] = "learned", embedding_std: float = 0.02,
    ) -> None:  # fmt: skip
        require_positive(d_model=d_model, n_layers=n_layers, n_heads=n_heads, mlp_ratio=mlp_ratio)
        require_choice(("learned", "rotary", "none"), positions=positions)
        require_divisor("n_heads", n_heads, "model.d_model", d_model)
        rotary = positions == "rotary"
        if rotary and (d_model // n_heads) % 2:
            raise ValueError(f"rotary positions need an even head width, got d_model / n_heads = {d_model // n_heads}")
        super().__init__(
            vocab_size, seq_len, d_model=d_model,
            blocks=[TransformerBlock(d_model, n_heads, mlp_ratio * d_model, rotary) for _ in range(n_layers)],
            positions="learned" if positions == "learned" else "none", embedding_std=embedding_std,
        )  # fmt: skip

    takes_attention_bias = True

    @property
    def backend(self) -> str:
        """Implementation of the attention that runs on sequences of `seq_len` where the parameters are."""
        (first, *_) = self.blocks
        assert isinstance(first, TransformerBlock)
        return first.attention.implementation(self.seq_len, self.embedding.weight.device)

    def forward(self, tokens_BL: Tensor, attention_bias: Tensor | None = None) -> Tensor:
        """Compute next-token logits.

        Args:
            tokens_BL: (B, L) integers, L <= seq_len.
            attention_bias: added to the attention logits of every layer, broadcastable to (B, H, L, L); the causal
                mask is applied as well.

        Returns:
            logits (B, L, V).
        """
        x_BLD = self.embed(tokens_BL)
        for block in self.blocks:
            x_BLD = block(x_BLD, attention_bias)
        return self.unembed(x_BLD)

    def attention_maps(self, tokens_BL: Tensor, attention_bias: Tensor | None = None) -> list[Tensor]:
        """Compute the attention probabilities of every layer.

        Args:
            tokens_BL: (B, L) integers, L <= seq_len.
            attention_bias: as in `forward`.

        Returns:
            one (B, H, L, L) tensor per layer; rows are queries and sum to 1 over keys <= query.
        """
        x_BLD, maps = self.embed(tokens_BL), []
        for block in self.blocks:
            assert isinstance(block, TransformerBlock)
            maps.append(block.attention.maps(block.attention_norm(x_BLD), attention_bias))
            x_BLD = block(x_BLD, attention_bias)
        return maps
