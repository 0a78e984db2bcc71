"""Every check of the contract finds the faults it is for: small models, each with one planted fault."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from architectures import SequenceModel
from benchmark import contract
from benchmark.contract import CHECKS, TRAINING_CHECKS, Check, NotOffered
from tests.helpers.streaming_faults import STREAMING_FAULTS, Recurrent


class PlantedBlock(nn.Module):
    """The planted models' block: what a function of the class makes of x, beside a linear map."""

    def __init__(self, d_model: int, mix: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.mix = nn.Linear(d_model, d_model), mix

    def forward(self, x_BLD: Tensor) -> Tensor:
        return x_BLD + self.linear(self.mix(x_BLD))


def running_mean(x_BLD: Tensor) -> Tensor:
    """A causal mix that keeps the contract."""
    return x_BLD.cumsum(1) / torch.arange(1, x_BLD.shape[1] + 1)[:, None]


class Faultless(SequenceModel):
    """A small honest model; each fault below overrides one thing of it."""

    mix: ClassVar[Callable[[Tensor], Tensor]] = running_mean

    def __init__(self, vocab_size: int, seq_len: int, *, d_model: int = 32) -> None:
        super().__init__(vocab_size, seq_len, d_model=d_model, blocks=[PlantedBlock(d_model, type(self).mix)])


def mixing(mix: Callable[[Tensor], Tensor]) -> type[SequenceModel]:
    """The model that mixes in this way."""
    return type("Mixing", (Faultless,), {"mix": staticmethod(mix)})


class Truncates(Faultless):
    """Reads the end of an input that is too long."""

    def forward(self, tokens_BL: Tensor) -> Tensor:
        return super().forward(tokens_BL[:, -self.seq_len :])


class LastOnly(Faultless):
    """Logits of the last position only."""

    def forward(self, tokens_BL: Tensor) -> Tensor:
        return super().forward(tokens_BL)[:, -1:]


class Double(Faultless):
    """Logits in another precision."""

    def forward(self, tokens_BL: Tensor) -> Tensor:
        return super().forward(tokens_BL).double()


class UnusedParameter(Faultless):
    """A parameter that nothing reads."""

    def __init__(self, vocab_size: int, seq_len: int) -> None:
        super().__init__(vocab_size, seq_len)
        self.unused = nn.Parameter(torch.ones(3))


class Detached(Faultless):
    """A parameter whose gradient is cut off."""

    def unembed(self, x_BLD: Tensor) -> Tensor:
        return super().unembed(x_BLD.detach())


class InfiniteSlope(Faultless):
    """The square root of zero: finite logits, infinite gradient."""

    def unembed(self, x_BLD: Tensor) -> Tensor:
        return super().unembed(x_BLD + (x_BLD - x_BLD.detach()).abs().sqrt())


class BypassesEmbedding(Faultless):
    """Hides its input from the gradient check."""

    def embed(self, tokens_BL: Tensor, start: int = 0) -> Tensor:
        return self.embedding.weight[tokens_BL]


class ZeroGate(Faultless):
    """A leak behind a gate that starts at zero: only the perturbed weights show it."""

    def __init__(self, vocab_size: int, seq_len: int) -> None:
        super().__init__(vocab_size, seq_len)
        self.gate = nn.Parameter(torch.zeros(()))

    def unembed(self, x_BLD: Tensor) -> Tensor:
        return super().unembed(x_BLD + self.gate * x_BLD.roll(-1, 1))


class BatchPlace(Faultless):
    """Adds the place in the batch."""

    def embed(self, tokens_BL: Tensor, start: int = 0) -> Tensor:
        x_BLD = super().embed(tokens_BL)
        return x_BLD + torch.arange(len(x_BLD))[:, None, None]


class LoudHead(Faultless):
    """Starts far from a uniform guess."""

    def __init__(self, vocab_size: int, seq_len: int) -> None:
        super().__init__(vocab_size, seq_len)
        nn.init.normal_(self.head.weight)


class QuietPositions(Faultless):
    """Positions at another scale than the tokens."""

    def __init__(self, vocab_size: int, seq_len: int) -> None:
        super().__init__(vocab_size, seq_len)
        assert self.positions is not None
        nn.init.normal_(self.positions, std=0.02 * float(self.embedding.weight.detach().std()))


class RemembersInput(Faultless):
    """Carries state from one forward pass to the next."""

    state: Tensor | float = 0.0

    def embed(self, tokens_BL: Tensor, start: int = 0) -> Tensor:
        x_BLD = super().embed(tokens_BL) + self.state
        self.state = x_BLD.detach().mean()
        return x_BLD


class OwnGenerator(Faultless):
    """Weights that torch.manual_seed does not fix."""

    def __init__(self, vocab_size: int, seq_len: int) -> None:
        super().__init__(vocab_size, seq_len)
        generator = torch.Generator()
        generator.seed()
        nn.init.normal_(self.head.weight, generator=generator)


class IgnoresSeed(Faultless):
    """The same weights under every seed."""

    def __init__(self, vocab_size: int, seq_len: int) -> None:
        with contract.seeded():
            super().__init__(vocab_size, seq_len)


class Dropout(Faultless):
    """Training mode differs from evaluation mode, without noise."""

    def unembed(self, x_BLD: Tensor) -> Tensor:
        return super().unembed(x_BLD * torch.arange(32) if self.training else x_BLD)


class HiddenWeight(Faultless):
    """A random weight that is neither parameter nor buffer."""

    def __init__(self, vocab_size: int, seq_len: int) -> None:
        super().__init__(vocab_size, seq_len)
        self.hidden = torch.randn(32)

    def unembed(self, x_BLD: Tensor) -> Tensor:
        return super().unembed(x_BLD * self.hidden)


class GrowingBuffer(Faultless):
    """A buffer whose shape differs between two instances with the same sizes."""

    count = 0

    def __init__(self, vocab_size: int, seq_len: int) -> None:
        super().__init__(vocab_size, seq_len)
        GrowingBuffer.count += 1
        self.register_buffer("seen", torch.zeros(GrowingBuffer.count))


class SharedCopies(Faultless):
    """A deep copy that is the original."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedCopies":
        return copy.copy(self)


def local_class() -> type[SequenceModel]:
    class Local(Faultless):
        pass

    return Local


def future(x_BLD: Tensor) -> Tensor:
    return x_BLD.roll(-1, 1)


trains = partial(pytest.param, marks=pytest.mark.train)
FAULTS = [
    (contract.check_shapes, Truncates, "10 tokens were read without a ValueError"),
    (contract.check_shapes, LastOnly, r"shape \(1, 1, 5\), expected \(1, 2, 5\)"),
    (contract.check_shapes, Double, "torch.float64, expected torch.float32"),
    (contract.check_shapes, mixing(lambda x: x / 0), "not finite"),
    (contract.check_gradients, UnusedParameter, "parameter unused gets no gradient"),
    (contract.check_gradients, Detached, "parameter positions gets no gradient"),
    (contract.check_gradients, mixing(torch.zeros_like), "parameter blocks.0.linear.weight gets no gradient"),
    (contract.check_gradients, InfiniteSlope, "is not finite"),
    (contract.check_causality_by_gradient, mixing(future), "position 0 depend on token 1"),
    (contract.check_causality_by_gradient, mixing(lambda x: x - 1e-30 * x.mean(1, keepdim=True)), "not causal"),
    (contract.check_causality_by_gradient, ZeroGate, "not causal"),
    (contract.check_causality_by_gradient, BypassesEmbedding, "called self.embedding 0 times"),
    (contract.check_causality_by_gradient, Detached, "of a position do not depend on its own token"),
    (contract.check_causality_by_perturbation, mixing(lambda x: future(x).detach()), "later tokens were changed"),
    (contract.check_causality_by_perturbation, mixing(lambda x: x / x.shape[1]), "later tokens were removed"),
    (contract.check_causality_by_perturbation, mixing(lambda x: x.mean(1, keepdim=True)), "not causal"),
    (contract.check_causality_by_perturbation, ZeroGate, "not causal"),
    (contract.check_independent_sequences, mixing(lambda x: x - x.mean(0)), "depend on the others in the batch"),
    (contract.check_independent_sequences, BatchPlace, "the order of the sequences in the batch matters"),
    (contract.check_initial_scale, LoudHead, "initial loss .* not within 0.25 of ln"),
    (contract.check_initial_scale, QuietPositions, "positions start at 0.02 times the scale"),
    (contract.check_reproducible, RemembersInput, "other logits the second time|same seed differ"),
    (contract.check_reproducible, mixing(nn.Dropout(0.5)), "other logits the second time|same seed differ"),
    (contract.check_reproducible, OwnGenerator, "built under the same seed differ"),
    (contract.check_reproducible, IgnoresSeed, "built under different seeds are equal"),
    (contract.check_reproducible, Dropout, "train and eval mode differ"),
    (contract.check_copies, HiddenWeight, "a copy by state_dict gives other logits"),
    (contract.check_copies, local_class(), "cannot be saved and loaded: .* local object"),
    (contract.check_copies, GrowingBuffer, "cannot be saved and loaded: .*size mismatch for seen"),
    (contract.check_copies, SharedCopies, "a copy by deepcopy shares weights"),
    trains(contract.check_no_leak, mixing(future), "leak: the loss on random tokens is 0.1"),
    trains(contract.check_no_leak, ZeroGate, "leak: the loss on random tokens is 1.0"),
    trains(contract.check_overfits, mixing(torch.zeros_like), "one batch of lm was not learnt by heart"),
    *STREAMING_FAULTS,
]


@pytest.mark.slow
@pytest.mark.parametrize(("check", "cls", "message"), FAULTS)
def test_a_fault_is_found(check: Check, cls: type[SequenceModel], message: str) -> None:
    options = {"steps": 100} if check in TRAINING_CHECKS else {}
    with pytest.raises(AssertionError, match=message):
        check(cls, **options)


@pytest.mark.parametrize("check", CHECKS + TRAINING_CHECKS)
def test_every_check_has_a_fault(check: Check) -> None:
    assert check in [getattr(fault, "values", fault)[0] for fault in FAULTS]


@pytest.mark.parametrize("check", [*CHECKS, pytest.param(contract.check_no_leak, marks=pytest.mark.train)])
def test_without_its_fault_the_planted_model_passes(check: Check) -> None:
    """So each failure above is the fault's doing."""
    check(Recurrent if check is contract.check_streaming else Faultless)


def test_streaming_is_not_asked_of_a_model_without_a_state() -> None:
    with pytest.raises(NotOffered, match="no state of fixed size"):
        contract.check_streaming(Faultless)
    assert Faultless(5, 9).state_bytes is None


def test_a_check_leaves_the_random_state() -> None:
    before = torch.random.get_rng_state()
    contract.check_reproducible(Faultless)
    assert torch.equal(torch.random.get_rng_state(), before)
