import time

import numpy as np

from benchmark.speed import generator_speed
from datamodules import CellularAutomata, LinearMap
from tests.oracles import cellular_automata, linear_map


def test_the_loops_make_the_same_tasks() -> None:
    """A fair race: the NumPy loops obey the same dynamics with the same matrix and pool."""
    rng = np.random.default_rng(0)
    lm, ca = LinearMap(8, 3, 3), CellularAutomata(8, 3, 5, rule_steps=2)
    for tokens in generator_speed.numpy_linear_map(lm, 6, rng).tolist():
        assert tokens[8:] == [linear_map.continuation(lm.key_cells.tolist(), tokens, p) for p in range(8, 24)]
    for tokens in generator_speed.numpy_cellular_automata(ca, 6, rng).tolist():
        assert any(cellular_automata.trajectory(table, tokens[:8], 3, 4, 3, 2) == tokens for table in ca.rules.tolist())


def test_comparison_counts_tokens() -> None:
    """A loop that takes 1 ms a call at 4 sequences of 32 tokens makes at most 128,000 tokens per second."""
    task = LinearMap()
    result = generator_speed.compare(task, lambda n: time.sleep(0.00025 * n), 128, 2, 0.005)
    assert result.batch_tokens == 128
    assert 10_000 < result.loop_tokens_per_s <= 128_000
    assert result.ours_tokens_per_s > 0
    assert str(result).split()[:2] == ["lm", "128"]
