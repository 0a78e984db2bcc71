"""Rows and columns of maps, against loops over queries and keys."""

import numpy as np
import pytest

from benchmark.report.map_grid import MOST_ROWS, grid_of
from datamodules import CellularAutomata, LinearMap
from datamodules.copy import Copying
from datamodules.states import States

TASKS: list[States] = [LinearMap(4, 2), LinearMap(5, 2, 3), CellularAutomata(5, 4, 3, n_colors=2)]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-{task.n_states}")
def test_cells_are_averaged_over_predicted_states(task: States) -> None:
    size, length = task.state_size, task.seq_len
    values = np.random.default_rng(0).random((length, length))
    grid = grid_of(task, length)
    found = grid.map(values)
    assert grid.names == list(range(size)) and grid.border == size
    for cell in range(size):
        for column in range(found.shape[1]):
            entries = []
            for state in range(1, task.n_states):
                query, key = state * size + cell - 1, (state - 1) * size + column
                if key <= query:
                    entries.append(values[query, key])
            np.testing.assert_allclose(found[cell, column], np.mean(entries) if entries else np.nan)
    loss = values[0]
    np.testing.assert_allclose(
        grid.by_row(loss), [np.mean([loss[t * size + c - 1] for t in range(1, task.n_states)]) for c in range(size)]
    )


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}-{task.n_states}")
def test_the_true_pattern_is_that_of_the_task(task: States) -> None:
    grid = grid_of(task, task.seq_len)
    assert grid.truth_RC is not None
    mask = task.pattern_mask().numpy().astype(float)
    np.testing.assert_allclose(np.nan_to_num(grid.map(mask)), grid.truth_RC)


def test_a_task_without_states_has_positions_and_no_common_pattern() -> None:
    task = Copying(12, 8, 2, 4)
    grid = grid_of(task, 11)
    assert (grid.noun, grid.names, grid.truth_RC, grid.border) == ("position", list(range(1, 12)), None, None)
    values = np.random.default_rng(0).random((11, 11))
    np.testing.assert_array_equal(grid.map(values), np.where(np.tri(11) > 0, values, np.nan))


def test_many_cells_are_thinned_with_both_ends() -> None:
    task = LinearMap(100, 3)
    grid = grid_of(task, task.seq_len)
    assert grid.truth_RC is not None
    assert len(grid.names) == MOST_ROWS and (grid.names[0], grid.names[-1]) == (0, 99)
    np.testing.assert_array_equal(grid.truth_RC[:, :100], task.matrix.numpy()[list(grid.names)])


def test_an_unknown_task_has_positions() -> None:
    assert grid_of(None, 5).names == [1, 2, 3, 4, 5]
