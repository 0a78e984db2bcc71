"""Small streaming models for the contract's tests: an honest one, and some with one planted fault each."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from architectures import SequenceModel
from architectures.model import ModelState, RecurrentBlock, State
from benchmark import contract
from benchmark.contract import Check


class Decay(RecurrentBlock):
    """x + linear(h), h_l = h_{l-1} / 2 + x_l: the state is h."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def initial_state(self, batch_size: int) -> State:
        return (self.linear.weight.new_zeros(batch_size, self.linear.in_features),)

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        (h_BD,), sums = state, []
        for x_BD in x_BLD.unbind(1):
            h_BD = h_BD / 2 + x_BD
            sums.append(h_BD)
        return x_BLD + self.linear(torch.stack(sums, 1)), (h_BD,)


class Recurrent(SequenceModel):
    """An honest streaming model; each fault below overrides one thing of it."""

    block: ClassVar[type[Decay]] = Decay

    def __init__(self, vocab_size: int, seq_len: int, *, d_model: int = 32, positions: Any = "learned") -> None:
        block = type(self).block(d_model)
        super().__init__(vocab_size, seq_len, d_model=d_model, blocks=[block], positions=positions)


def streaming(block: type[Decay]) -> type[SequenceModel]:
    """The model with this block."""
    return type(block.__name__, (Recurrent,), {"block": block})


class Forgets(Decay):
    """Starts every piece anew."""

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        return super().scan(x_BLD, self.initial_state(len(x_BLD)))


class Grows(Decay):
    """Keeps every input."""

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        x_new_BLD, h = super().scan(x_BLD, state[:1])
        return x_new_BLD, (*h, *state[1:], *x_BLD.unbind(1))


class Overwrites(Decay):
    """Writes the new state over the old one."""

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        x_new_BLD, (h_BD,) = super().scan(x_BLD, state)
        return x_new_BLD, (state[0].copy_(h_BD),)


class OneForAll(Decay):
    """One state whatever the batch."""

    def initial_state(self, batch_size: int) -> State:
        return super().initial_state(1)


class ShiftedPositions(Recurrent):
    """Every step takes itself for the first."""

    def scan(self, tokens_BL: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        logits_BLV, after = super().scan(tokens_BL, state._replace(position=0))
        return logits_BLV, after._replace(position=state.position + tokens_BL.shape[1])


STREAMING_FAULTS: list[tuple[Check, type[SequenceModel], str]] = [
    (contract.check_streaming, streaming(Forgets), "token by token: logits differ"),
    (contract.check_streaming, ShiftedPositions, "token by token: logits differ"),
    (contract.check_streaming, streaming(Grows), "the state changed its size at token 1"),
    (contract.check_streaming, streaming(Overwrites), "a step changes the state that it was given"),
    (contract.check_streaming, streaming(OneForAll), "the state does not grow with the batch"),
]
