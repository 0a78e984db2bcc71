"""MLP-Mixer (Tolstikhin et al., arXiv 2105.01601), made causal.

Glossary: X in R^{L x D} is one sequence (paper: S patches x C channels); W, W1, W2 in R^{L x L} mix positions, shared
by all channels; tril(.) zeroes what lies above the diagonal.

    linear:  U = X + tril(W) LN(X) + b                                   one matrix per layer
    mlp:     U = X + tril(W2) gelu(tril(W1) LN(X) + b1) + b2             equation 1, both matrices masked
    Y = U + MLP(LN(U))                                                   channel mixing, equation 2

Departures: both position matrices are lower triangular, so that position l reads positions 0..l only; the hidden width
of the position MLP is therefore L, one hidden unit per position. The default is the one-matrix form, as in arXiv
2606.25010. The matrices have one row per position: the longest input is fixed when the model is built.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from architectures.model import MLP, Positions, SequenceModel, require_choice, require_positive
from architectures.registry import register


class CausalPositionLinear(nn.Module):
    """Lower-triangular linear map over positions, the same for every channel.

    Initialised uniformly in +-1/sqrt(L), PyTorch's default for a linear map over L inputs.

    Args:
        seq_len: longest input L.
    """

    def __init__(self, seq_len: int) -> None:
        super().__init__()
        bound = seq_len**-0.5
        self.weight = nn.Parameter(torch.empty(seq_len, seq_len).uniform_(-bound, bound).tril())
        self.bias = nn.Parameter(torch.empty(seq_len, 1).uniform_(-bound, bound))

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D); output position l is a function of inputs 0..l."""
        length = x_BLD.shape[-2]
        return self.matrix(length) @ x_BLD + self.bias[:length]

    def matrix(self, length: int) -> Tensor:
        """The map over the first so many positions, (L, L), output by input; 0 above the diagonal."""
        return self.weight[:length, :length].tril()


class MixerBlock(nn.Module):
    """Position mixing, then channel mixing, each pre-norm and residual.

    Args:
        d_model: width D.
        seq_len: longest input L.
        d_hidden: width of the channel MLP.
        token_mixing: "linear" (one matrix) or "mlp" (two matrices with GELU between).
    """

    position_wise = ("channel_norm", "channel_mixing")

    def __init__(self, d_model: int, seq_len: int, d_hidden: int, token_mixing: Literal["linear", "mlp"]) -> None:
        super().__init__()
        self.position_norm = nn.LayerNorm(d_model)
        self.position_mixing = (
            CausalPositionLinear(seq_len)
            if token_mixing == "linear"
            else nn.Sequential(CausalPositionLinear(seq_len), nn.GELU(), CausalPositionLinear(seq_len))
        )
        self.channel_norm = nn.LayerNorm(d_model)
        self.channel_mixing = MLP(d_model, d_hidden)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        x_BLD = x_BLD + self.position_mixing(self.position_norm(x_BLD))
        return x_BLD + self.channel_mixing(self.channel_norm(x_BLD))

    def position_matrices(self, length: int) -> list[Tensor]:
        """The maps over the first so many positions in the order of their use, (L, L) each."""
        maps = [part for part in self.position_mixing.modules() if isinstance(part, CausalPositionLinear)]
        return [part.matrix(length) for part in maps]


@register("mlp_mixer")
class MLPMixer(SequenceModel):
    """Causal MLP-Mixer: a lower-triangular matrix over positions and an MLP over channels (arXiv 2105.01601).

    Args:
        seq_len: longest input L in tokens (set by the task), which fixes the size of the L x L position matrices.
        token_mixing: "linear" (one lower-triangular matrix per layer) or "mlp" (two with a GELU between).
        positions: "none", as in the paper, since the position matrices know where they read; or "learned" (absolute).

    Raises:
        ValueError: as `SequenceModel`.
    """

    fixed_length: ClassVar[bool] = True

    def __init__(
        self, vocab_size: int, seq_len: int, *, d_model: int = 128, n_layers: int = 1, mlp_ratio: int = 4,
        token_mixing: Literal["linear", "mlp"] = "linear", positions: Positions = "none", embedding_std: float = 0.02,
    ) -> None:  # fmt: skip
        require_positive(seq_len=seq_len, d_model=d_model, n_layers=n_layers, mlp_ratio=mlp_ratio)
        require_choice(("linear", "mlp"), token_mixing=token_mixing)
        blocks = [MixerBlock(d_model, seq_len, mlp_ratio * d_model, token_mixing) for _ in range(n_layers)]
        super().__init__(
            vocab_size, seq_len, d_model=d_model, blocks=blocks, positions=positions, embedding_std=embedding_std
        )
