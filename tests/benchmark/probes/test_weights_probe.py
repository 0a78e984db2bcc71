"""The probe `weights`: decays and position matrices against what the layers do to their memory and their inputs."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, SequenceModel
from benchmark.probes import array, look
from datamodules import LinearMap

TASK = LinearMap(4, 2, 2, task_seed=0, data_seed=0)
SIZES: dict[str, dict[str, Any]] = {
    "mamba": {"d_model": 8, "d_state": 3},
    "mamba2": {"d_model": 16, "d_state": 4, "head_dim": 8},
    "gated_deltanet": {"d_model": 16, "n_heads": 2},
    "rwkv": {"d_model": 16, "head_dim": 8},
    "lru": {"d_model": 8, "d_state": 5},
    "xlstm": {"d_model": 16, "n_heads": 2},
}


def model_of(name: str, **options: Any) -> SequenceModel:
    """Two layers, with every parameter moved, so that nothing is zero or constant by its initial value."""
    torch.manual_seed(1)
    options = {"n_layers": 2, **SIZES.get(name, {}), **options}
    model = ARCHITECTURES[name](TASK.vocab_size, TASK.seq_len, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return model


def decays(model: SequenceModel) -> dict[int, tuple[str, np.ndarray]]:
    table = look("weights", model, TASK)
    rows = table[table["quantity"] == "decay"].itertuples()
    return {int(row.layer): (row.axes, array(row)) for row in rows}


def after_one_token(block: Any, x_1D: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The state of a block after one more token, in sequences of one."""
    if hasattr(block, "read"):  # RWKV-7
        return block.read(x_1D[None, None], state, None)[1]
    return block.scan(x_1D[None, None], state)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "part", "axes"),
    [("mamba", 1, "channel state"), ("mamba2", 1, "head"), ("lru", 0, "channel")],
)
def test_what_is_left_of_a_memory_after_a_token(name: str, part: int, axes: str) -> None:
    """A memory is linear in what it held before: the difference that a unit of it makes a token later is its decay."""
    model = model_of(name)
    (found_axes, found), block = decays(model)[0], model.blocks[0]
    assert found_axes == axes
    tokens = TASK.rows(0, 16, "eval")[:, :-1]
    shares = []
    with torch.no_grad():
        for x_LD in model.embed(tokens):
            state = block.initial_state(1)  # type: ignore[operator]
            for x_D in x_LD:
                moved = tuple(s + 1.0 if i == part else s for i, s in enumerate(state))
                after, plain = after_one_token(block, x_D, moved), after_one_token(block, x_D, state)
                shares.append((after[part] - plain[part])[0].double())
                state = plain
        mean = torch.stack(shares).mean(0)
        if name == "lru":  # a turn of (1, 1) in the plane keeps the modulus
            real, imaginary = mean.chunk(2)
            expected = (real**2 + imaginary**2).sqrt() / math.sqrt(2)
        else:
            expected = mean.T if name == "mamba" else mean[:, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gated_deltanet", "rwkv"])
def test_what_a_delta_rule_leaves_where_it_removes_nothing(name: str) -> None:
    """With the removal taken out of the layer, the memory decays by the gate alone."""
    model = model_of(name)
    axes, found = decays(model)[0]
    block: Any = model.blocks[0]
    tokens = TASK.rows(0, 16, "eval")[:, :-1]
    shares = []
    with torch.no_grad():
        if name == "rwkv":
            block.time_mixing.a0.fill_(-100.0)  # the rate of removal is 0; decays do not depend on it
        else:
            keys = block.mixer.head_dim * block.mixer.n_heads
            block.mixer.filters[keys : 2 * keys] = 0.0  # keys are 0: nothing is written or removed
        for x_LD in model.embed(tokens):
            state = block.initial_state(1)
            for x_D in x_LD:
                moved = tuple(s + 1.0 if i == 1 else s for i, s in enumerate(state))
                after, plain = after_one_token(block, x_D, moved), after_one_token(block, x_D, state)
                shares.append((after[1] - plain[1])[0].double())
                state = plain
    mean = torch.stack(shares).mean(0)
    assert axes == {"gated_deltanet": "head", "rwkv": "head channel"}[name]
    np.testing.assert_allclose(found, mean[:, 0, 0] if name == "gated_deltanet" else mean[:, :, 0], rtol=2e-4)


@pytest.mark.slow
def test_xlstm_by_its_equations() -> None:
    """f = sigmoid(f~), the gates read off step by step from the state that the blocks keep."""
    model = model_of("xlstm")
    found = decays(model)
    assert [found[i][0] for i in (0, 1)] == ["head", "head channel"]
    tokens, matrix, scalar = TASK.rows(0, 16, "eval")[:, :-1], [], []
    first, second = model.blocks
    with torch.no_grad():
        for x_LD in model.embed(tokens):
            state: Any = first.initial_state(1)  # type: ignore[operator]
            for x_D in x_LD:
                moved = (state[0], state[1] + 1.0, state[2])
                after, plain = after_one_token(first, x_D, moved), after_one_token(first, x_D, state)
                # memory is kept divided by exp(scale)
                difference = (after[1] * after[2].exp()[..., None, None] - plain[1] * plain[2].exp()[..., None, None])[
                    0
                ]
                matrix.append(difference[:, 0, 0] / state[2].exp()[0])
                state = plain
            state = second.initial_state(1)  # type: ignore[operator]
            for x_D in first(x_LD[None])[0]:
                plain = after_one_token(second, x_D, state)
                h, c, n, m = state[1][0]
                # the normaliser, n exp(m), takes what is left and exp(i~): moved by a unit, it differs by the decay
                more = torch.stack([h, c, n + 1.0, m])[None]
                n_moved, n_plain = (after_one_token(second, x_D, (state[0], s))[1][0] for s in (more, state[1]))
                share = (n_moved[2].double() - n_plain[2].double()) * (n_plain[3].double() - m.double()).exp()
                scalar.append(torch.where(m < -1e30, math.nan, share))  # where there is no memory yet
                state = plain
    np.testing.assert_allclose(found[0][1], torch.stack(matrix).mean(0), rtol=1e-3)
    tokens_L = torch.stack(scalar).view(16, -1, *scalar[0].shape)
    assert tokens_L[:, 0].isnan().all() and not tokens_L[:, 1:].isnan().any()
    # the first token's gate sees no h: its share is that of the input alone
    with torch.no_grad():
        first_gate = second.decay(first(model.embed(tokens)))[:, 0]  # type: ignore[operator]
        whole = torch.cat([first_gate[:, None].double(), tokens_L[:, 1:]], 1).mean((0, 1))
    np.testing.assert_allclose(found[1][1], whole, rtol=1e-3)


@pytest.mark.parametrize("token_mixing", ["linear", "mlp"])
def test_the_matrix_of_a_mixer_is_what_it_does(token_mixing: str) -> None:
    """Each input position by itself, through the part of the block that mixes positions."""
    model = model_of("mlp_mixer", d_model=8, token_mixing=token_mixing)
    table = look("weights", model, TASK)
    assert table["layer"].tolist() == [0, 1]
    for row in table.itertuples():
        mixing: Any = model.blocks[row.layer].position_mixing
        parts = [mixing] if token_mixing == "linear" else [mixing[0], mixing[2]]
        matrices = array(row) if token_mixing == "mlp" else array(row)[None]
        assert row.axes == ("query key" if token_mixing == "linear" else "channel query key")
        for part, matrix in zip(parts, matrices, strict=True):
            one_at_a_time = torch.eye(TASK.seq_len)[:, :, None]  # sequences with a 1 at one position
            with torch.no_grad():
                response = (part(one_at_a_time) - part(torch.zeros_like(one_at_a_time)))[..., 0].T
            np.testing.assert_allclose(matrix, response, rtol=1e-4, atol=1e-6)
            assert not matrix[np.triu_indices(TASK.seq_len, 1)].any()


@pytest.mark.slow
def test_every_recurrent_architecture_takes_part_and_a_hybrid_by_its_blocks() -> None:
    for name in SIZES:
        found = decays(model_of(name))
        assert sorted(found) == [0, 1], name
        for axes, values in found.values():
            assert values.ndim == len(axes.split()) and ((values > 0) & (values < 1)).all(), name
    options: Any = {"d_model": 16, "pattern": "attention(n_heads=2) rwkv(head_dim=8) lru"}
    hybrid = ARCHITECTURES["hybrid"](2, TASK.seq_len, **options)
    assert sorted(decays(hybrid)) == [1, 2]


def test_a_model_without_either_is_refused() -> None:
    options: Any = {"d_model": 8, "n_heads": 2}
    model = ARCHITECTURES["transformer"](2, TASK.seq_len, **options)
    with pytest.raises(ValueError, match="--probes weights: model transformer has no position matrices and no decays"):
        look("weights", model, TASK)
