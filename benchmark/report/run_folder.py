"""Reads what a report shows: record, curves and, where there is one, the table of probes of each run.

Shape letters: N evaluations, L positions.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark.config.plugins import load_plugins
from benchmark.training.folder.layout import CURVES, RECORD
from datamodules import TASKS, Task
from leaderboard.records.record import Record, read_record

PROBES = "probes.parquet"
"""The table of probes beside the curves."""

PROBE_COLUMNS = ("step", "probe", "quantity", "layer", "axes", "shape", "values")
CURVE_COLUMNS = ("step", "loss_nats", "loss_scored_nats", "accuracy", "exact_match", "loss_by_position_nats")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReportedRun:
    """One seed's run.

    Attributes:
        label: unique among the runs of a report.
        name: of its folder.
        curves: a row per evaluation.
        losses_NL: loss by position, in nats.
        probes: a row per look, probe, quantity and layer; None if the run had no probe.
        task: the stream that it learned; None where its task, or this version of it, is not registered here.
    """

    label: str
    name: str
    record: Record
    curves: pd.DataFrame
    losses_NL: Floats
    probes: pd.DataFrame | None
    task: Task | None

    @property
    def steps(self) -> list[int]:
        """Of the evaluations, ascending."""
        return [int(step) for step in self.curves["step"]]

    def looks(self, probe: str, quantity: str, layer: int | None = None) -> tuple[list[int], list[Floats]]:
        """The steps at which a quantity of a probe was kept, and its values there; both empty if it never was."""
        if self.probes is None:
            return [], []
        table = self.probes
        of_layer = table["layer"].isna() if layer is None else (table["layer"] == layer).fillna(False)
        rows = table[(table["probe"] == probe) & (table["quantity"] == quantity) & of_layer]
        values = [
            np.asarray(values, dtype=np.float64).reshape([int(n) for n in shape])
            for values, shape in zip(rows["values"], rows["shape"], strict=True)
        ]
        return [int(step) for step in rows["step"]], values

    def layers(self, probe: str) -> list[int]:
        """The layers of which a probe has quantities, ascending."""
        if self.probes is None:
            return []
        found = self.probes.loc[self.probes["probe"] == probe, "layer"].dropna()
        return sorted(int(layer) for layer in found.unique())


def reported_runs(folders: Iterable[Path]) -> list[ReportedRun]:
    """The runs in these folders, in their order; a folder of many seeds stands for all of them.

    Raises:
        ValueError: one line, if a folder holds no run that has ended, or a file in it cannot be read.
    """
    load_plugins()
    found = [seed for folder in folders for seed in _seeds(folder)]
    if len(set(found)) < len(found):
        twice = next(folder for folder in found if found.count(folder) > 1)
        raise ValueError(f"{twice}: is named twice")
    records = [read_record(folder / RECORD) for folder in found]
    return [
        _read(folder, record, label)
        for folder, record, label in zip(found, records, _labels(found, records), strict=True)
    ]


def _seeds(folder: Path) -> list[Path]:
    """The folders with the records of a run."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder: give the folder of a run, which fit prints at its end")
    if (folder / RECORD).is_file():
        return [folder]
    seeds = [path for path in folder.glob("seed*") if path.name[4:].isdecimal() and (path / RECORD).is_file()]
    if not seeds:
        raise ValueError(f"{folder}: is not the folder of a run that has ended (it has no {RECORD})")
    return sorted(seeds, key=lambda path: int(path.name[4:]))


def _labels(folders: Sequence[Path], records: Sequence[Record]) -> list[str]:
    """Architecture and seed, and what else is needed to tell runs apart."""

    def distinct(labels: list[str], more: Iterable[object]) -> list[str]:
        return [
            f"{label}, {word}" if labels.count(label) > 1 else label for label, word in zip(labels, more, strict=True)
        ]

    labels = [f"{record.architecture.name}, seed {record.seeds.init_seed}" for record in records]
    tasks = [
        " ".join([record.task.name, *(f"{name}={value}" for name, value in record.task.config.items())])
        for record in records
    ]
    if len(set(tasks)) > 1:
        labels = distinct(labels, tasks)
    labels = distinct(labels, (folder.name for folder in folders))
    return distinct(labels, (f"run {i}" for i in range(1, len(labels) + 1)))


def _read(folder: Path, record: Record, label: str) -> ReportedRun:
    curves = _table(folder / CURVES, CURVE_COLUMNS, None if record.curves is None else record.curves.sha256)
    losses = [np.asarray(values, dtype=np.float64) for values in curves["loss_by_position_nats"]]
    if not losses or len({len(loss_L) for loss_L in losses}) > 1 or not curves["step"].is_monotonic_increasing:
        raise ValueError(f"{folder / CURVES}: holds no learning curves")
    probes = None
    if (path := folder / PROBES).is_file():
        probes = _table(path, PROBE_COLUMNS)
        sizes = probes["shape"].map(lambda shape: int(np.prod(shape)))
        if (wrong := probes.index[sizes != probes["values"].map(len)]).size:
            raise ValueError(f"{path}: row {wrong[0]} has not as many values as its shape says")
    return ReportedRun(label, folder.name, record, curves, np.stack(losses), probes, _task_of(record))


def _table(path: Path, columns: Sequence[str], sha256: str | None = None) -> pd.DataFrame:
    """A Parquet file with these columns, and with this content where a hash is known."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file, which every run leaves beside its {RECORD}")
    if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{path}: is not the file that the {RECORD} beside it was written with")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # of the reader, which has exceptions of its own below these
        raise ValueError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if missing := [name for name in columns if name not in table]:
        raise ValueError(f"{path}: has no column {missing[0]}")
    return table


def _task_of(record: Record) -> Task | None:
    """The task of a record."""
    module = TASKS.get(record.task.name)
    if module is None or module.task_class.version != record.task.version:
        return None
    options: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in record.task.config.items()
    }
    return module.task_class(**options, task_seed=record.seeds.task_seed, data_seed=record.seeds.data_seed)
