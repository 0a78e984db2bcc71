"""What every architecture is: tokens in, next-token logits out, causal.

Shape letters: B batch, L positions, D model width, V vocabulary, H heads, K head width.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

HEAD_STD = 0.02
"""Small, so that a model starts at a uniform guess: logits of variance D * 0.02^2 on normed inputs, loss near ln V."""

Positions = Literal["learned", "none"]


class SequenceModel(nn.Module, ABC):
    """Base of every architecture: owns embedding, positions, final norm and head; the architecture brings its blocks.

    An architecture is a final class, registered by name, whose ``__init__`` builds its residual blocks (each maps
    (B, L, D) to (B, L, D), causally, residual connection included) and hands them to this one.

    Token embedding and learned positions both start at N(0, embedding_std^2): one scale for both decides how soon a
    position-selective pattern is found, and it must not differ between architectures that are compared.

    Args:
        vocab_size: number of token values V.
        seq_len: longest input L in tokens.
        d_model: width D of the residual stream.
        blocks: residual blocks, applied in order.
        positions: "learned" absolute positions added to the token embedding, or "none".
        embedding_std: standard deviation of the initial token and position embeddings.

    Raises:
        ValueError: if a size is smaller than 1, embedding_std is not positive or positions is neither of the two.
    """

    version: ClassVar[int] = 1
    """Goes up when a change alters what the architecture computes or how it starts; records carry it."""

    fixed_length: ClassVar[bool] = False
    """True where parameters are tied to absolute positions, so that no input longer than seq_len can ever be read."""

    @abstractmethod
    def __init__(
        self,
        vocab_size: int,
        seq_len: int,
        *,
        d_model: int,
        blocks: Sequence[nn.Module],
        positions: Positions = "learned",
        embedding_std: float = 0.02,
    ) -> None:
        super().__init__()
        require_positive(vocab_size=vocab_size, seq_len=seq_len, d_model=d_model, n_layers=len(blocks))
        require_choice(get_args(Positions), positions=positions)
        if not embedding_std > 0:  # so that NaN fails too
            raise ValueError(f"model.embedding_std must be positive, got {embedding_std}")
        self.vocab_size, self.seq_len, self.d_model = vocab_size, seq_len, d_model
        self.embedding = nn.Embedding(vocab_size, d_model)
        nn.init.normal_(self.embedding.weight, std=embedding_std)
        self.positions: nn.Parameter | None = None
        if positions == "learned":
            self.positions = nn.Parameter(torch.randn(seq_len, d_model) * embedding_std)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        nn.init.normal_(self.head.weight, std=HEAD_STD)

    @property
    def backend(self) -> str:
        """Which implementation of the sequence operator runs; records carry it."""
        return "torch"

    def embed(self, tokens_BL: Tensor) -> Tensor:
        """Token embedding plus positions.

        Args:
            tokens_BL: (B, L) integers in 0..V-1.

        Returns:
            (B, L, D).

        Raises:
            ValueError: if L exceeds seq_len.
        """
        length = tokens_BL.shape[1]
        if length > self.seq_len:
            raise ValueError(f"input of {length} tokens is longer than seq_len = {self.seq_len} of this model")
        x_BLD = self.embedding(tokens_BL)
        return x_BLD if self.positions is None else x_BLD + self.positions[:length]

    def unembed(self, x_BLD: Tensor) -> Tensor:
        """Final norm and head: (B, L, D) to next-token logits (B, L, V)."""
        return self.head(self.norm(x_BLD))

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Next-token logits; position l sees tokens 0..l only.

        Args:
            tokens_BL: (B, L) integers in 0..V-1, L <= seq_len.

        Returns:
            logits (B, L, V): position l predicts token l + 1.
        """
        x_BLD = self.embed(tokens_BL)
        for block in self.blocks:
            x_BLD = block(x_BLD)
        return self.unembed(x_BLD)


def require_positive(**sizes: int) -> None:
    """Raise a ValueError that names the first size below 1 as the user types it (``model.NAME``)."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"model.{name} must be at least 1, got {size}")


def require_choice(choices: Sequence[str], **options: str) -> None:
    """Raise a ValueError that names the first option that is none of the choices, and the choices."""
    for name, value in options.items():
        if value not in choices:
            raise ValueError(f"model.{name} must be one of {', '.join(choices)}; got {value!r}")


class MLP(nn.Module):
    """Position-wise feed-forward network: Linear, GELU, Linear (Vaswani et al., arXiv 1706.03762, section 3.3).

    Args:
        d_model: input and output width D.
        d_hidden: hidden width.
    """

    def __init__(self, d_model: int, d_hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(d_model, d_hidden)
        self.down = nn.Linear(d_hidden, d_model)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        return self.down(nn.functional.gelu(self.up(x_BLD)))
