import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from datamodules import LinearMap, dense_copy_loss_nats
from tests.oracles import linear_map as oracle
from tests.oracles import prefix_counts

LN2 = math.log(2)


@st.composite
def tasks(draw: st.DrawFn) -> LinearMap:
    size = draw(st.integers(1, 70))
    return LinearMap(
        size,
        draw(st.integers(1, size)),
        draw(st.integers(2, 4)),
        task_seed=draw(st.integers(0, 2**63)),
        data_seed=draw(st.integers(0, 2**63)),
    )


@pytest.mark.slow
@given(tasks(), st.integers(0, 2**50))
def test_every_sequence_obeys_its_matrix(task: LinearMap, start: int) -> None:
    columns = [np.flatnonzero(row).tolist() for row in task.matrix.numpy()]
    assert {len(row) for row in columns} == {task.n_nonzero}
    tokens = task.rows(start, start + 3)
    assert tokens.shape == (3, task.n_tokens)
    assert tokens.dtype == torch.int64
    for row in tokens.tolist():
        assert set(row) <= {0, 1}
        for t in range(1, task.n_states):
            previous, state = (row[u * task.state_size : (u + 1) * task.state_size] for u in (t - 1, t))
            assert state == oracle.next_state(columns, previous)


def test_columns_are_uniform_over_task_seeds() -> None:
    counts = sum(LinearMap(16, 3, task_seed=seed).matrix.sum(0) for seed in range(300))
    assert isinstance(counts, torch.Tensor)
    # fixed row sums shrink the variance by (1 - s/S), so chi-square is a little conservative against high counts
    assert chisquare(counts.numpy()).pvalue > 1e-3
    assert counts.float().std() > 0.5 * math.sqrt(300 * 16 * 3 / 16)


def test_first_states_are_uniform() -> None:
    first = LinearMap(4, 2).rows(0, 16_000)[:, :4]
    counts = torch.bincount((first * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16)
    assert chisquare(counts.numpy()).pvalue > 1e-3


def test_task_seed_moves_the_matrix_and_data_seed_the_data() -> None:
    task, other_data, other_task = LinearMap(), LinearMap(data_seed=1), LinearMap(task_seed=1)
    assert torch.equal(task.matrix, other_data.matrix)
    assert not torch.equal(task.matrix, other_task.matrix)
    first = slice(0, 16)
    assert torch.equal(task.batch(0, 8)[:, first], other_task.batch(0, 8)[:, first])
    assert not torch.equal(task.batch(0, 8)[:, first], other_data.batch(0, 8)[:, first])


@pytest.mark.parametrize(("state_size", "published"), [(8, 0.3235), (16, 0.3354), (32, 0.3411)])
def test_published_floor(state_size: int, published: float) -> None:
    assert LinearMap(state_size).floor_loss_nats == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize(("size", "n_nonzero", "n_states"), [(4, 2, 2), (3, 1, 3), (5, 3, 3)])
def test_floor_is_the_conditional_entropy(size: int, n_nonzero: int, n_states: int) -> None:
    """Over all 2^S first states, by counting prefixes: but the first token's own ln 2 has no position."""
    task = LinearMap(size, n_nonzero, n_states)
    columns = [np.flatnonzero(row).tolist() for row in task.matrix.numpy()]
    sequences = []
    for number in range(2**size):
        state = [number >> i & 1 for i in range(size)]
        tokens = list(state)
        for _ in range(n_states - 1):
            state = oracle.next_state(columns, state)
            tokens += state
        sequences.append(tuple(tokens))
    exact = prefix_counts.losses(sequences).mean(0)
    np.testing.assert_allclose(task.floor_by_position_nats.numpy(), exact, atol=1e-12)


@pytest.mark.parametrize(("size", "n_states"), [(4, 2), (5, 3), (6, 4)])
def test_dense_copy_loss(size: int, n_states: int) -> None:
    """With s = S: bits up to the first of x_1 look fair on their own, and that one decides every later token."""
    tokens = LinearMap(size, size, n_states).rows(0, 20_000).numpy()
    entropies = []
    for position in range(1, size * n_states):
        given_bits = tokens[:, size] if position > size else np.zeros(len(tokens), int)
        entropy = 0.0
        for bit in np.unique(given_bits):
            group = tokens[given_bits == bit, position]
            p = np.bincount(group) / len(group)
            p = p[p > 0]
            entropy -= len(group) / len(tokens) * float((p * np.log(p)).sum())
        entropies.append(entropy)
    assert np.mean(entropies) == pytest.approx(dense_copy_loss_nats(size, n_states), abs=2e-4)
    assert dense_copy_loss_nats(16) == pytest.approx(16 / 31 * LN2)


@pytest.mark.slow
@given(tasks().filter(lambda task: task.state_size < 12), st.integers(0, 1000))
def test_exactly_the_keys_decide_the_prediction(task: LinearMap, index: int) -> None:
    """Flip each token a query can see: the prediction flips if it is a key and stays if it is not."""
    columns = [np.flatnonzero(row).tolist() for row in task.matrix.numpy()]
    tokens = task.rows(index, index + 1)[0].tolist()
    assert task.keys.shape == (task.seq_len, task.n_nonzero)
    for query in range(task.seq_len):
        keys = set(task.keys[query].tolist())
        if not task.scored[query]:
            assert query + 1 < task.state_size
            assert keys == {-1}
            continue
        assert query + 1 >= task.state_size
        for position in range(query + 1):
            flipped = tokens.copy()
            flipped[position] ^= 1
            changed = oracle.continuation(columns, flipped, query + 1) != tokens[query + 1]
            assert changed == (position in keys)


def test_rows_solved_by_hand() -> None:
    """S = 4, T = 3: the accuracies of a row over the two predicted states are averaged; 0.99 itself does not count."""
    task = LinearMap(4, 2, 3)
    accuracy = torch.tensor([0.5, 0.5, 0.5, 1.0, 0.98, 0.99, 0.0, 1.0, 1.0, 0.99, 1.0], dtype=torch.float64)
    assert task.metrics(torch.zeros(11), accuracy) == {"rows_solved": 0.25}
    assert task.metrics(torch.zeros(11), torch.ones(11)) == {"rows_solved": 1.0}
    assert task.parts_solved(torch.zeros(11), accuracy).sum() == 1
    assert task.parts_solved(torch.zeros(11), torch.ones(11)).tolist() == [True] * 4


def test_targets() -> None:
    assert [(t.name, t.metric, t.op, t.value) for t in LinearMap.targets] == [
        ("rows_50", "rows_solved", ">=", 0.5),
        ("rows_90", "rows_solved", ">=", 0.9),
        ("rows_99", "rows_solved", ">=", 0.99),
        ("rows_100", "rows_solved", ">=", 1.0),
    ]
    assert LinearMap.primary == "rows_100"
    assert LinearMap().chance_loss_nats == pytest.approx(LN2)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"state_size": 0}, ["state_size", "1", "0"]),
        ({"n_nonzero": 0}, ["n_nonzero", "1", "0"]),
        ({"n_nonzero": 17}, ["n_nonzero=17", "state_size=16"]),
        ({"n_states": 1}, ["n_states", "2", "1"]),
        ({"task_seed": -1}, ["task_seed", "0", "-1"]),
        ({"data_seed": -2}, ["data_seed", "0", "-2"]),
    ],
)
def test_errors(options: dict[str, int], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        LinearMap(**options)
    assert all(name in str(error.value) for name in named)


def test_a_product_under_autocast_is_still_exact() -> None:
    """In bfloat16 sums above 256 would round."""
    task = LinearMap(700, 700)
    expected = task.batch(0, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(task.batch(0, 4), expected)
    parity = expected[:, :700].sum(1) % 2
    assert torch.equal(expected[:, 700:], parity[:, None].expand(4, 700))


@pytest.mark.slow
def test_large_state() -> None:
    task = LinearMap(4096, 3)
    tokens = task.batch(0, 1)[0]
    predicted = tokens[:4096][task.key_cells].sum(1) % 2
    assert torch.equal(tokens[4096:], predicted)
