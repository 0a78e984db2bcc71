"""Reads the tables in a run's folder: learning curves, and what probes found."""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.config.errors import BenchmarkError
from benchmark.probes import table
from benchmark.training.folder.layout import CURVES, PROBES_TABLE

if TYPE_CHECKING:
    import pandas as pd


def read_curves(folder: Path) -> "pd.DataFrame":
    """One row per evaluation: the columns of the file of curves, then the numbers of probes, missing where none looked.

    Raises:
        ValueError: one line, if there are none or they cannot be read.
    """
    import pandas as pd

    if not (path := folder / CURVES).exists():
        raise BenchmarkError(f"{path}: there are no curves")
    try:
        curves = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # of the reader, which has exceptions of its own below these
        raise BenchmarkError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not (folder / PROBES_TABLE).exists():
        return curves
    return curves.join(table.numbers_frame(read_probes(folder)), on="step")


def read_probes(folder: Path) -> "pd.DataFrame":
    """The table of probes, see `benchmark.probes.table`.

    Raises:
        ValueError: one line, if there is none or it cannot be read.
    """
    if not (path := folder / PROBES_TABLE).exists():
        raise BenchmarkError(f"{path}: there is no table: probes look at a run where --probes names some")
    try:
        return table.read(path)
    except ValueError as error:
        raise BenchmarkError(str(error)) from error
