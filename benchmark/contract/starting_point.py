"""Starting point (authors, arXiv 0000.00000): say in one line what is new in it.

Glossary, from the code to the paper: D = d_model; u_t = the normed input at position t; decay_t = a_t, write_t = b_t,
state = h_t, all vectors of D channels; * is elementwise.

    a_t = sigmoid(W_a u_t + bias)                      how much of the state is kept       equation 1
    h_t = a_t * h_{t-1} + (1 - a_t) * (W_v u_t)        a gated linear recurrence           equation 2
    x <- x + W_o (h_t * silu(W_g u_t));   x <- x + MLP(LN(x))

Departures: list every place where the code differs from the paper, and why.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.model import MLP, RecurrentBlock, SequenceModel, State, require_positive
from architectures.registry import register


def linear_recurrence(decay_BLD: Tensor, write_BLD: Tensor) -> Tensor:
    """Equation 2, h_t = decay_t * h_{t-1} + write_t with h_{-1} = 0, for all t in about log2(L) rounds.

    Before the round with distance d, every position holds what its last d positions make of a zero state. Nothing is
    divided by a decay, so that any decay in 0..1 is exact.

    Args:
        decay_BLD: (B, L, D).
        write_BLD: (B, L, D).

    Returns:
        h, (B, L, D).
    """
    distance = 1
    while distance < write_BLD.shape[1]:
        earlier_h, earlier_decay = write_BLD[:, :-distance], decay_BLD[:, :-distance]
        later_h = write_BLD[:, distance:] + decay_BLD[:, distance:] * earlier_h
        later_decay = decay_BLD[:, distance:] * earlier_decay
        write_BLD = torch.cat([write_BLD[:, :distance], later_h], dim=1)
        decay_BLD = torch.cat([decay_BLD[:, :distance], later_decay], dim=1)
        distance *= 2
    return write_BLD


class StartingPointBlock(RecurrentBlock):
    """Pre-norm residual block: the gated recurrence, then an MLP.

    A block that cannot go on from a state of fixed size (attention) is a plain `nn.Module` with `forward` alone.

    Args:
        d_model: width D.
        d_hidden: MLP width.
    """

    def __init__(self, d_model: int, d_hidden: int) -> None:
        super().__init__()
        self.mixer_norm, self.mlp_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.decay, self.value = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model, bias=False)
        self.gate, self.out = nn.Linear(d_model, d_model, bias=False), nn.Linear(d_model, d_model, bias=False)
        self.mlp = MLP(d_model, d_hidden)
        # Use the initialisation of your paper: here, channels that remember for 2 to 100 positions or so.
        with torch.no_grad():
            self.decay.bias.copy_(torch.linspace(0.0, 4.6, d_model))

    def initial_state(self, batch_size: int) -> State:
        """h before the first token: zeros (B, D)."""
        return (self.decay.bias.new_zeros(batch_size, len(self.decay.bias)),)

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        """Read L positions from a state: (B, L, D) and the state after the last one."""
        (h_BD,) = state
        u_BLD = self.mixer_norm(x_BLD)
        decay_BLD = self.decay(u_BLD).sigmoid()
        write_BLD = (1 - decay_BLD) * self.value(u_BLD)
        first_B1D = write_BLD[:, :1] + decay_BLD[:, :1] * h_BD[:, None]
        h_BLD = linear_recurrence(decay_BLD, torch.cat([first_B1D, write_BLD[:, 1:]], dim=1))
        x_BLD = x_BLD + self.out(h_BLD * F.silu(self.gate(u_BLD)))
        return x_BLD + self.mlp(self.mlp_norm(x_BLD)), (h_BLD[:, -1],)


@register("starting_point")
class StartingPoint(SequenceModel):
    """Gated linear recurrence (arXiv 0000.00000).

    Args:
        positions: "learned" (absolute) or "none": the recurrence knows the order, but the tasks ask for places.

    Raises:
        ValueError: if a size is smaller than 1, embedding_std is not positive or positions is neither of the two.
    """

    def __init__(
        self,
        vocab_size: int,
        seq_len: int,
        *,
        d_model: int = 128,
        n_layers: int = 1,
        mlp_ratio: int = 4,
        positions: Literal["learned", "none"] = "learned",
        embedding_std: float = 0.02,
    ) -> None:
        require_positive(d_model=d_model, n_layers=n_layers, mlp_ratio=mlp_ratio)
        super().__init__(
            vocab_size,
            seq_len,
            d_model=d_model,
            blocks=[StartingPointBlock(d_model, mlp_ratio * d_model) for _ in range(n_layers)],
            positions=positions,
            embedding_std=embedding_std,
        )
