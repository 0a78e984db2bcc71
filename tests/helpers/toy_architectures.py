"""Architectures that PyTorch cannot map over seeds, or that do what is easily mapped wrongly."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from architectures import SequenceModel

B, L, V, D = 2, 6, 5, 4
"""Sequences, positions, token values, model width."""


class Toy(SequenceModel):
    """Predicts a token from the one before; the classes below each do one thing that may be hard to map."""

    calls: Tensor

    def __init__(self, vocab_size: int = V, seq_len: int = L, *, d_model: int = D) -> None:
        super().__init__(vocab_size, seq_len, d_model=d_model, blocks=[nn.Identity()])
        self.register_buffer("calls", torch.zeros(d_model))


class CountsInPlace(Toy):
    def forward(self, tokens_BL: Tensor) -> Tensor:
        self.calls += tokens_BL.sum()
        return super().forward(tokens_BL) * (1 + 0.01 * self.calls[0])


class CountsByAssignment(Toy):
    def forward(self, tokens_BL: Tensor) -> Tensor:
        self.calls = self.calls + tokens_BL.sum()
        return super().forward(tokens_BL) * (1 + 0.01 * self.calls[0])


class RunningNorm(Toy):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.blocks.append(nn.BatchNorm1d(L))  # over positions; its buffers change in place


class Branches(Toy):
    def forward(self, tokens_BL: Tensor) -> Tensor:
        logits = super().forward(tokens_BL)
        return logits if logits.sum() > 0 else 2 * logits


class ReadsANumber(Toy):
    def forward(self, tokens_BL: Tensor) -> Tensor:
        return super().forward(tokens_BL) * self.head.weight.max().item()


class DropsOut(Toy):
    def unembed(self, x_BLD: Tensor) -> Tensor:
        return F.dropout(super().unembed(x_BLD), 0.5, self.training)


class DropsAttention(Toy):
    """Its random numbers are drawn where seeds are folded into the batch, which no map forbids."""

    def unembed(self, x_BLD: Tensor) -> Tensor:
        y_BLD = F.scaled_dot_product_attention(x_BLD, x_BLD, x_BLD, dropout_p=0.5 * self.training, is_causal=True)
        return super().unembed(x_BLD + y_BLD)


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *dy: Tensor) -> Tensor:
        return 2 * dy[0]


class OwnGradient(Toy):
    """Through a function that says nothing of maps."""

    def forward(self, tokens_BL: Tensor) -> Tensor:
        return _Doubled.apply(super().forward(tokens_BL))


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor) -> Any:
        return x.movedim(in_dims[0], 0) - x.movedim(in_dims[0], 0).mean((0, 1), keepdim=True), 0


class MixesSeeds(Toy):
    """Has a wrong rule for maps, which raises nothing."""

    def forward(self, tokens_BL: Tensor) -> Tensor:
        return _Mixed.apply(super().forward(tokens_BL)) if _mapped(self.norm.weight) else super().forward(tokens_BL)


def _mapped(x: Tensor) -> bool:
    return torch._C._functorch.is_batchedtensor(x)


class ForgetsItsGradient(Toy):
    """Right logits, but no gradient for the embedding inside a map."""

    def embed(self, tokens_BL: Tensor, start: int = 0) -> Tensor:
        x_BLD = super().embed(tokens_BL, start)
        return x_BLD.detach() if _mapped(x_BLD) else x_BLD


class KeepsActivations(Toy):
    """For someone to look at."""

    def unembed(self, x_BLD: Tensor) -> Tensor:
        self.seen = x_BLD.detach()
        return super().unembed(x_BLD)


class CheckpointsItself(Toy):
    def unembed(self, x_BLD: Tensor) -> Tensor:
        return checkpoint(super().unembed, x_BLD, use_reentrant=False)


class LibraryAttention(Toy):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.attention = nn.MultiheadAttention(D, 2, batch_first=True)

    def unembed(self, x_BLD: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x_BLD.shape[1])
        return super().unembed(self.attention(x_BLD, x_BLD, x_BLD, attn_mask=mask, is_causal=True)[0])


class SharesItsTable(Toy):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.embedding.weight = self.head.weight
