"""The Bayes floor against an exact predictor that only counts prefixes, a simulation, and the published values."""

import itertools
import math

import numpy as np
import pytest
import torch

from datamodules import CellularAutomata
from datamodules.automata import floor
from datamodules.automata.floor import enumerable_rules
from tests.oracles import cellular_automata as oracle
from tests.oracles import prefix_counts


def all_sequences(task: CellularAutomata, tables: list[list[int]]) -> list[tuple[int, ...]]:
    """Every first state with every rule: the task's distribution, each sequence equally likely."""
    return [
        tuple(oracle.trajectory(table, list(first), task.n_states, task.n_colors, task.window, task.rule_steps))
        for table in tables
        for first in itertools.product(range(task.n_colors), repeat=task.state_size)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state_size", "n_states", "n_rules", "rule_steps", "n_colors", "window"),
    [
        (3, 3, 0, 1, 2, 3),
        (4, 3, 0, 1, 2, 3),
        (3, 3, 0, 2, 2, 3),
        (2, 4, 0, 1, 3, 1),
        (2, 3, 0, 3, 3, 1),
        (4, 4, 5, 1, 2, 3),
        (3, 3, 7, 2, 3, 3),
        (5, 3, 1, 1, 2, 5),
    ],
)
def test_bayes_loss_is_exact(
    state_size: int, n_states: int, n_rules: int, rule_steps: int, n_colors: int, window: int
) -> None:
    """Token by token, over every sequence that the task can make: brute force over all rules and first states."""
    task = CellularAutomata(state_size, n_states, n_rules, rule_steps, n_colors, window)
    tables = task.rules.tolist() or [list(t) for t in itertools.product(range(n_colors), repeat=task.n_entries)]
    sequences = all_sequences(task, tables)
    losses = task.bayes_loss(torch.tensor(sequences))
    assert losses is not None
    exact = prefix_counts.losses(sequences)
    np.testing.assert_allclose(losses.numpy(), exact, atol=1e-9)
    floor = task.floor_by_position_nats
    assert floor is not None
    # a mean of 4,096 losses with a spread of at most about ln C
    np.testing.assert_allclose(floor.numpy(), exact.mean(0), atol=5 * math.log(n_colors) / 64)
    assert task.floor_loss_nats == pytest.approx(exact.mean(), abs=0.02)


def test_chunks_do_not_change_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    task = CellularAutomata(8, 4)
    tokens = task.rows(0, 20)
    whole = task.bayes_loss(tokens)
    monkeypatch.setattr(floor, "CHUNK_ELEMENTS", 1)
    one_by_one = task.bayes_loss(tokens)
    assert whole is not None
    assert one_by_one is not None
    assert torch.equal(whole, one_by_one)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state_size", "n_rules", "published", "tolerance"),
    # published with a fresh rule: a simulation whose own error is about 0.01 at S = 8
    [(8, 0, 0.585, 0.01), (8, 256, 0.120, 1e-3), (16, 0, 0.393, 0.003), (16, 256, 0.103, 1e-3)],
)
def test_published_floors(state_size: int, n_rules: int, published: float, tolerance: float) -> None:
    assert CellularAutomata(state_size, 16, n_rules).floor_loss_nats == pytest.approx(published, abs=tolerance)


def test_fresh_floor_by_simulation() -> None:
    """NumPy's own random numbers and a set of the windows seen so far; 1,000 sequences give it to about 0.003."""
    rng = np.random.default_rng(0)
    size, n_states, surprises = 8, 16, 0
    for _ in range(1000):
        table, state = rng.integers(0, 4, (4, 4, 4)), rng.integers(0, 4, size).tolist()
        seen: set[tuple[int, int, int]] = set()
        for _ in range(n_states - 1):
            windows = [(state[i - 1], state[i], state[(i + 1) % size]) for i in range(size)]
            for window in windows:
                surprises += window not in seen
                seen.add(window)
            state = [int(table[window]) for window in windows]
    mean = (size - 1 + surprises / 1000) * math.log(4) / (size * n_states - 1)
    assert CellularAutomata(size, n_states, 0).floor_loss_nats == pytest.approx(mean, abs=0.012)


@pytest.mark.slow
def test_fresh_rules_applied_twice_have_a_floor_only_if_enumerable() -> None:
    assert CellularAutomata(4, 3, 0, rule_steps=2).floor_by_position_nats is None
    assert CellularAutomata(4, 3, 0, rule_steps=2).floor_loss_nats is None
    assert CellularAutomata(4, 3, 0, rule_steps=2, n_colors=2).floor_loss_nats is not None


def test_enumeration_is_complete_and_limited() -> None:
    tables = enumerable_rules(4, 4)
    assert tables is not None
    assert len(set(map(tuple, tables.tolist()))) == len(tables) == 256
    assert enumerable_rules(8, 4) is not None  # 8^4 = 4,096, the limit
    assert enumerable_rules(2, 13) is None


def test_a_foreign_sequence_is_refused() -> None:
    task = CellularAutomata(8, 4, n_rules=2)
    tokens = task.rows(0, 3)
    tokens[1, -1] = (tokens[1, -1] + 1) % 4
    with pytest.raises(ValueError, match="sequence 1 follows no rule of the pool"):
        task.bayes_loss(tokens)
