"""The table of probes: a row for every quantity, layer and look, ``probes.parquet`` beside the curves.

Columns: step (int64), probe and quantity (string), layer (Int32, null where there is none), axes (string: names with a
blank between, empty for a number), shape (list of int32) and values (list of float32, row-major, NaN where not
defined). Rows are sorted by step, probe, quantity and layer.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from architectures import SequenceModel
from benchmark.probes.registry import Measured, make_probes, measured
from datamodules import Task

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("step", "probe", "quantity", "layer", "axes", "shape", "values")

MOST_VALUES = 2**22
"""Of one quantity of one layer in a whole run: 16 MiB. Larger ones are kept at every k-th look only."""


class TableRow(NamedTuple):
    """A row; `values` is a float32 tensor on the CPU."""

    step: int
    probe: str
    quantity: str
    layer: int | None
    axes: str
    values: Tensor


class ProbeTable:
    """The rows of one seed, in order, for a file and for a checkpoint."""

    def __init__(self) -> None:
        self.rows: list[TableRow] = []

    def add(self, step: int, probe: str, found: Sequence[Measured], look_number: int = 0, n_looks: int = 1) -> None:
        """Add what a probe found at a step.

        Args:
            step: optimizer steps made.
            probe: its name; probes come in alphabetical order.
            found: as `measured` returns it.
            look_number: how many times the probe has looked before.
            n_looks: how many times it looks in the whole run, which decides what is too large to be kept each time.
        """
        for quantity, values, axes, layer in found:
            assert isinstance(values, Tensor)
            if is_kept(values.numel(), look_number, n_looks):
                self.rows.append(TableRow(step, probe, quantity, layer, axes, values))

    def frame(self) -> "pd.DataFrame":
        """The table, `values` and `shape` as one-dimensional arrays."""
        import pandas as pd

        columns: dict[str, Any] = {
            name: [getattr(row, name) for row in self.rows] for name in COLUMNS if name != "shape"
        }
        columns["values"] = [row.values.flatten().numpy() for row in self.rows]
        columns["shape"] = [np.array(row.values.shape, dtype=np.int32) for row in self.rows]
        frame = pd.DataFrame(columns)[list(COLUMNS)]
        return frame.astype({"step": "int64", "layer": "Int32"})

    def state_dict(self) -> dict[str, Any]:
        """Everything, with all values in one tensor: a checkpoint of thousands of small ones would be slow."""
        rows = [[*row[:-1], list(row.values.shape)] for row in self.rows]
        values = [row.values.flatten() for row in self.rows]
        return {"rows": rows, "values": torch.cat(values) if values else torch.empty(0)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        shapes = [shape for *_, shape in state["rows"]]
        parts = state["values"].split([math.prod(shape) for shape in shapes])
        self.rows = [
            TableRow(step, probe, quantity, layer, axes, part.view(shape).clone())
            for (step, probe, quantity, layer, axes, shape), part in zip(state["rows"], parts, strict=True)
        ]


def is_kept(size: int, look_number: int, n_looks: int) -> bool:
    """Whether a quantity of this many values is kept at a look: at every k-th, the smallest k for which a run's looks
    have at most `MOST_VALUES`; never if one look has more."""
    return size <= MOST_VALUES and look_number % max(1, math.ceil(size * n_looks / MOST_VALUES)) == 0


def look(names: str | Sequence[str], model: SequenceModel, task: Task, *, step: int = 0) -> "pd.DataFrame":
    """The table of one look at a model; the model itself is left as it is.

    Args:
        names: of probes, also as one text with commas between.
        model: with any weights, for example `Run.model`.
        task: that it learns, for example `Run.task`.
        step: that the rows say.

    Raises:
        ValueError: one line, if the model or the task lacks what a probe needs.
        KeyError: if there is none of a name.
    """
    asked = names.split(",") if isinstance(names, str) else names
    table = ProbeTable()
    for probe in sorted(make_probes(asked, model, task), key=lambda probe: probe.name):
        table.add(step, probe.name, measured(probe, copy.deepcopy(model)))
    return table.frame()


def read(path: str | Path) -> "pd.DataFrame":
    """The table in a file; `array` gives the values of a row their shape.

    Raises:
        ValueError: one line, if it cannot be read or is no table of probes.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # of the reader, which has exceptions of its own below these
        raise ValueError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if list(frame.columns) != list(COLUMNS):
        raise ValueError(f"{path}: is no table of probes: its columns are {', '.join(map(str, frame.columns))}")
    return frame


def array(row: Any) -> npt.NDArray[np.float32]:
    """The values of a row of the table, float32 in the shape that its axes name: ``array(table.iloc[0])``, or of a
    tuple from `itertuples`."""
    values, shape = (row["values"], row["shape"]) if hasattr(row, "keys") else (row.values, row.shape)
    return np.asarray(values, dtype=np.float32).reshape([int(length) for length in shape])


def numbers_frame(table: "pd.DataFrame") -> "pd.DataFrame":
    """The curves in a table: a row per step, a column for every quantity that is a number of no layer."""
    plain = table[(table["axes"] == "") & table["layer"].isna()]
    values = plain["values"].map(lambda values: float(values[0]))
    return plain.assign(values=values).pivot(index="step", columns="quantity", values="values")
