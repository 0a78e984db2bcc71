"""Rows and columns of a map: cells of states where a task has states, positions where it has none.

With states, the queries that predict one cell are read together: a row of the grid is a cell, the columns are the cells
of the state before it, then those of its own state that were emitted already, and every entry is the mean over the
predicted states. At two states nothing is averaged. What a query finds in earlier states is not shown.

Shape letters: L positions as queries and keys, R rows, C columns, S cells, Q queries of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.report.run_folder import Floats
from datamodules import Task
from datamodules.states import States

MOST_ROWS = 64
"""Rows that are named in tables and drawn as lines; of more, evenly spaced ones are taken."""


@dataclass(frozen=True)
class Grid:
    """Rows and columns of the maps of a task.

    Attributes:
        noun: of a row, "cell" or "position".
        rows: queries of each row.
        columns: for each row, (Q, C) positions of the keys, -1 where a column lies after the query.
        names: of the rows; predicted cells, or positions of the predicted tokens.
        truth_RC: bool, the keys that each row needs; None where they are unknown or differ between sequences.
        border: the column before which a line stands, where the second state begins.
    """

    noun: str
    rows: Sequence[npt.NDArray[np.int64]]
    columns: Sequence[npt.NDArray[np.int64]]
    names: Sequence[int]
    truth_RC: npt.NDArray[np.bool_] | None
    border: int | None

    def by_row(self, values: Floats) -> Floats:
        """Means over the queries of each row: (..., L) to (..., R); NaN are left out."""
        return np.stack([_mean(values[..., row], -1) for row in self.rows], -1)

    def map(self, values_LL: Floats) -> Floats:
        """A map by row and column: (..., L, L) to (..., R, C), NaN where a column lies after the query."""
        found = []
        for row, columns_QC in zip(self.rows, self.columns, strict=True):
            entries = values_LL[..., row[:, None], columns_QC]
            found.append(_mean(np.where(columns_QC < 0, np.nan, entries), -2))
        return np.stack(found, -2)


def _mean(values: Floats, axis: int) -> Floats:
    """The mean without NaN, NaN where there is nothing else; numpy's own warns of it."""
    there = ~np.isnan(values)
    counts = there.sum(axis)
    sums = np.where(there, values, 0).sum(axis)
    result: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return result


def grid_of(task: Task | None, length: int) -> Grid:
    """The grid of a task, or of L positions where the task is unknown."""
    if isinstance(task, States) and task.seq_len == length:
        return _of_states(task)
    return _of_positions(task, length)


def _spread(n: int) -> npt.NDArray[np.int64]:
    """At most `MOST_ROWS` of n indices, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, MOST_ROWS)).round().astype(np.int64))


def _of_states(task: States) -> Grid:
    size, length = task.state_size, task.seq_len
    cells = _spread(size)
    queries = [np.arange(size - 1 + cell, length, size) for cell in cells]
    columns = []
    for row in queries:
        start = row[:, None] + 1 - (row[:, None] + 1) % size  # the first cell of the predicted state
        keys = start - size + np.arange(2 * size)
        columns.append(np.where(keys <= row[:, None], keys, -1))
    truth = np.zeros((len(cells), 2 * size), dtype=bool)
    np.put_along_axis(truth, task.key_cells.numpy()[cells], True, 1)
    n_columns = min(2 * size, length)  # with two states, the last cell is never a key
    return Grid("cell", queries, [c[:, :n_columns] for c in columns], cells.tolist(), truth[:, :n_columns], size)


def _of_positions(task: Task | None, length: int) -> Grid:
    known = task is not None and task.seq_len == length
    scored = task.scored.numpy() if known and task is not None and task.scored is not None else np.ones(length, bool)
    queries = np.flatnonzero(scored)
    queries = queries[_spread(len(queries))]
    keys = np.arange(length)
    columns = [np.where(keys <= query, keys, -1)[None] for query in queries]
    truth = None
    if known and task is not None and task.keys is not None:
        needed = task.keys.numpy()[queries]
        truth = np.zeros((len(queries), length + 1), dtype=bool)
        np.put_along_axis(truth, np.where(needed < 0, length, needed), True, 1)
        truth = truth[:, :length]
    return Grid("position", [np.array([query]) for query in queries], columns, (queries + 1).tolist(), truth, None)
