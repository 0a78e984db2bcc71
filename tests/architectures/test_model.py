"""Base class of architectures: embeddings, errors, streaming."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from architectures import ARCHITECTURES, SequenceModel
from architectures.model import MLP
from benchmark.contract import small
from tests.helpers.streaming_faults import Recurrent


@pytest.mark.parametrize("std", [0.02, 1.0, 3.0])
@pytest.mark.parametrize("cls", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_token_and_position_embeddings_start_at_the_given_scale(cls: type[SequenceModel], std: float) -> None:
    """4,096 samples each: a standard deviation is off by 1.1 %, a mean by 1.6 % of it, so 8 % is over five of both."""
    torch.manual_seed(0)
    model = small(cls, 128, 128, d_model=32, embedding_std=std, positions="learned")
    assert model.positions is not None
    for embedding in (model.embedding.weight, model.positions):
        assert embedding.std().item() == pytest.approx(std, rel=0.08)
        assert abs(embedding.mean().item()) < 0.08 * std


def test_the_base_class_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        SequenceModel(2, 3, d_model=8, blocks=[])  # type: ignore[abstract]


class NoBlocks(SequenceModel):
    """Forgets its blocks, or asks for positions that the base does not know."""

    def __init__(self, vocab_size: int, seq_len: int, *, n_layers: int = 0, positions: Any = "learned") -> None:
        blocks = [nn.Identity()] * n_layers
        super().__init__(vocab_size, seq_len, d_model=8, blocks=blocks, positions=positions)


def test_the_base_class_checks_what_it_is_given() -> None:
    with pytest.raises(ValueError, match="^model.n_layers must be at least 1, got 0$"):
        NoBlocks(2, 3)
    with pytest.raises(ValueError, match="^model.positions must be one of learned, none; got 'rotary'$"):
        NoBlocks(2, 3, n_layers=1, positions="rotary")


def test_mlp_by_hand() -> None:
    """One hidden unit with gelu(1) = 0.841345, the normal distribution function at 1."""
    mlp = MLP(2, 1)
    with torch.no_grad():
        for parameter, value in zip(mlp.parameters(), ([[2.0, -1.0]], [0.5], [[3.0], [-4.0]], [0.0, 1.0]), strict=True):
            parameter.copy_(torch.tensor(value))
    phi_1 = 0.5 * (1 + math.erf(math.sqrt(0.5)))
    # 2 * 0.5 - 1 * 0.5 + 0.5 = 1
    torch.testing.assert_close(mlp(torch.tensor([[0.5, 0.5]])), torch.tensor([[3 * phi_1, 1 - 4 * phi_1]]))


@pytest.mark.parametrize("cls", ARCHITECTURES.values(), ids=ARCHITECTURES)
@pytest.mark.parametrize(
    ("std", "named"),
    [
        (0.0, ["model.embedding_std", "0.0"]),
        (-1.0, ["model.embedding_std", "-1.0"]),
        (math.nan, ["model.embedding_std"]),
    ],
)
def test_embedding_std_must_be_positive(cls: type[SequenceModel], std: float, named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        small(cls, 2, 3, embedding_std=std, positions="learned")
    assert all(name in str(error.value) for name in named)


@pytest.mark.parametrize("cls", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_a_long_input_is_refused_with_both_lengths(cls: type[SequenceModel]) -> None:
    with pytest.raises(ValueError) as error:
        small(cls, 2, 7)(torch.zeros(1, 8, dtype=torch.int64))
    assert str(error.value) == "input of 8 tokens is longer than seq_len = 7 of this model"


def test_state_bytes_are_counted_from_the_state() -> None:
    """One vector of width 24 a sequence, in the dtype of the parameters."""
    model = Recurrent(2, 7, d_model=24)
    assert (model.streams, model.state_bytes) == (True, 24 * 4)
    assert model.double().state_bytes == 24 * 8


def test_a_stream_longer_than_the_model_is_refused() -> None:
    model = Recurrent(2, 7)
    _, state = model.scan(torch.zeros(1, 7, dtype=torch.int64), model.initial_state(1))
    with pytest.raises(ValueError, match="input of 8 tokens is longer than seq_len = 7 of this model"):
        model.step(torch.zeros(1, dtype=torch.int64), state)


def test_a_model_without_a_state_says_that_it_cannot_stream() -> None:
    model = small(ARCHITECTURES["transformer"], 2, 7)
    assert (model.streams, model.state_bytes) == (False, None)
    with pytest.raises(TypeError, match="transformer has blocks without a state of fixed size: it cannot stream"):
        model.initial_state(1)
