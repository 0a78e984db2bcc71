"""Runs of a figure as its claims and its drawing see them: knobs, hitting times, losses.

Shape letters: N evaluations, L positions, H heads of all layers, K looks of a probe.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leaderboard.records.hits import middle
from leaderboard.records.record import Record, read_record
from leaderboard.statistics.finish import progress, staircase_time

Floats = npt.NDArray[np.float64]
RECORD, CURVES, PROBES = "record.json", "curves.parquet", "probes.parquet"


@dataclass(frozen=True)
class LossCurve:
    """Losses of one run.

    Attributes:
        steps_N: of the evaluations.
        loss_N: mean over all positions, in nats.
        loss_NL: by position.
    """

    steps_N: Floats
    loss_N: Floats
    loss_NL: Floats


@dataclass(frozen=True)
class HeadCurve:
    """The probe `attention` over a run.

    Attributes:
        steps_K: of its looks.
        entropy_KH: of each head, in nats.
        mass_KHL: attention on the keys that each query needs.
    """

    steps_K: Floats
    entropy_KH: Floats
    mass_KHL: Floats


@dataclass(frozen=True)
class DependencyCurve:
    """The probe `dependency` over a run.

    Attributes:
        steps_K: of its looks.
        accuracy_K: at these: of the second half of the states where the task has that, else of all of them.
        values: its quantities by query, each (K, L); NaN where a query is not scored.
    """

    steps_K: Floats
    accuracy_K: Floats
    values: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class FigureRun:
    """One run.

    Attributes:
        knobs: what was set, by option (`state_size`, `n_heads`, ...), with `task`, `architecture` and `bias` (0 without
            an attention bias).
        seeds: task, init and data.
        budget: steps that it could take.
        times: hitting time of each target, the middle of its evaluation interval; inf where it was not hit. Where parts
            are learned by themselves also `first_part`, and `staircase`, the mean over parts of min(time, budget).
        part_times: the same of each part, such as the rows of a linear map; empty for tasks without parts.
        progress: the leaderboard's, of a run that did not hit its primary target; -inf of one that diverged.
        loss: at the last evaluation, over all positions, in nats.
        chance, floor: losses of chance and of the best possible predictor; the floor is None where it is not known.
        folder: where its files are; None for a planted run.
        losses, heads, dependency: of the run, where the figure reads them and they are there.
    """

    knobs: Mapping[str, Any]
    seeds: tuple[int, int, int]
    budget: int
    times: Mapping[str, float]
    part_times: tuple[float, ...] = ()
    loss: float = inf
    chance: float = inf
    floor: float | None = None
    folder: Path | None = None
    losses: LossCurve | None = None
    heads: HeadCurve | None = None
    dependency: DependencyCurve | None = None
    run_s: float = 0.0
    progress: float = 0.0

    def __getitem__(self, knob: str) -> Any:
        return self.knobs[knob]


Runs = Sequence[FigureRun]


def where(runs: Iterable[FigureRun], **knobs: Any) -> list[FigureRun]:
    """The runs with these knobs; a tuple stands for any of its values."""
    return [
        run
        for run in runs
        if all(
            run.knobs.get(knob) in (wanted if isinstance(wanted, tuple) else (wanted,))
            for knob, wanted in knobs.items()
        )
    ]


def by(runs: Iterable[FigureRun], *knobs: str) -> dict[tuple[Any, ...], list[FigureRun]]:
    """The runs grouped by the values of knobs, in ascending order of these."""
    found: dict[tuple[Any, ...], list[FigureRun]] = {}
    for run in runs:
        found.setdefault(tuple(run.knobs.get(knob) for knob in knobs), []).append(run)
    return dict(sorted(found.items(), key=lambda item: tuple((value is not None, value) for value in item[0])))


def figure_run(record: Record, folder: Path | None = None) -> FigureRun | None:
    """A record as claims see it; None for an error or an interruption, which say nothing about the experiment.

    A diverged run counts as one that never got anywhere: no target is hit, and its loss is that of chance.
    """
    if record.status in {"error", "interrupted"}:
        return None
    diverged = record.status == "diverged"
    bias = None if record.intervention is None else record.intervention.attention_bias
    parts = record.part_hits or ()

    def time(hit: Any) -> float:
        return inf if diverged or hit.step is None else middle(hit)

    final = None if diverged else record.final
    seeds = record.seeds
    return FigureRun(
        knobs={
            **record.architecture.config, **record.task.config, "task": record.task.name,
            "architecture": record.architecture.name, "bias": 0.0 if bias is None else bias.strength,
            "lr": record.optimizer.get("lr"),
        },
        seeds=(seeds.task_seed, seeds.init_seed, seeds.data_seed),
        budget=record.protocol.max_steps,
        times={name: time(hit) for name, hit in record.hits.items()} | _times_of_parts(record, diverged),
        part_times=tuple(time(hit) for hit in parts),
        progress=-inf if diverged else progress(record),
        loss=record.chance_loss_nats if final is None else final.loss_nats,
        chance=record.chance_loss_nats,
        floor=record.floor_loss_nats,
        folder=folder,
        run_s=(record.wall_train_s + record.wall_eval_s + record.wall_compile_s) / record.ensemble_size,
    )  # fmt: skip


def _times_of_parts(record: Record, diverged: bool) -> dict[str, float]:
    if not record.part_hits:
        return {}
    found = [middle(hit) for hit in record.part_hits if hit.step is not None]
    if diverged or not found:
        return {"first_part": inf, "staircase": inf}
    return {"first_part": min(found), "staircase": staircase_time(record) or inf}


def read_runs(root: Path, reads: Iterable[str] = ()) -> list[FigureRun]:
    """The runs below a folder, in the order of their paths, with what else a figure reads of them.

    Args:
        root: with records at any depth; there is none of them if it does not exist.
        reads: "curves" for losses, "attention" or "dependency" for what that probe found.

    Raises:
        ValueError: one line, for a record or a table that cannot be read, or a table that is not there.
    """
    paths = sorted(root.rglob(RECORD)) if root.is_dir() else []
    found = [figure_run(read_record(path), path.parent) for path in paths]
    return [with_tables(run, reads) for run in found if run is not None]


def with_tables(run: FigureRun, reads: Iterable[str]) -> FigureRun:
    """The run with what else a figure reads of it.

    Raises:
        ValueError: one line, if a table is not there or cannot be read.
    """
    from dataclasses import replace

    readers: dict[str, tuple[str, Callable[[Path], Any]]] = {
        "curves": ("losses", _losses), "attention": ("heads", _heads), "dependency": ("dependency", _dependencies)
    }  # fmt: skip
    if run.folder is None:
        return run
    tables = {readers[name][0]: readers[name][1](run.folder) for name in reads}
    return replace(run, **tables)


def _frame(path: Path, missing: str) -> Any:
    import pandas as pd

    if not path.exists():
        raise ValueError(f"{path}: {missing}")
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error


def _losses(folder: Path) -> LossCurve:
    frame = _frame(folder / CURVES, "there are no curves, which this figure draws")
    return LossCurve(
        frame["step"].to_numpy(np.float64),
        frame["loss_nats"].to_numpy(np.float64),
        np.stack([np.asarray(row, dtype=np.float64) for row in frame["loss_by_position_nats"]]),
    )


def _looks_of(folder: Path, probe: str) -> Any:
    """The rows of one probe in the table of a run."""
    frame = _frame(folder / PROBES, f"is not there: this figure needs the probe {probe} (--probes {probe})")
    table = frame[frame["probe"] == probe]
    if table.empty:
        raise ValueError(f"{folder / PROBES}: this figure needs the probe {probe}, which has not looked at this run")
    return table


def _dependencies(folder: Path) -> DependencyCurve:
    table = _looks_of(folder, "dependency")
    by_query = table[table["axes"] == "query"]
    values = {
        str(name): np.stack([np.asarray(row, dtype=np.float64) for row in rows.sort_values("step")["values"]])
        for name, rows in by_query.groupby("quantity")
    }
    steps = sorted({int(step) for step in by_query["step"]})
    curves = _frame(folder / CURVES, "there are no curves, which this figure reads").set_index("step")
    name = "accuracy_second_half" if "accuracy_second_half" in curves else "accuracy"
    return DependencyCurve(np.array(steps, dtype=np.float64), curves.loc[steps, name].to_numpy(np.float64), values)


def _heads(folder: Path) -> HeadCurve:
    table = _looks_of(folder, "attention")

    def looks(quantity: str) -> tuple[Floats, Floats]:
        """Steps, and the values of the heads of all layers laid end to end."""
        rows = table[table["quantity"] == quantity]
        steps = sorted({int(step) for step in rows["step"]})
        values = [
            np.concatenate(
                [
                    np.asarray(v, dtype=np.float64).reshape([int(n) for n in shape])
                    for v, shape, at in zip(rows["values"], rows["shape"], rows["step"], strict=True)
                    if int(at) == step
                ]
            )
            for step in steps
        ]
        return np.array(steps, dtype=np.float64), np.stack(values)

    steps_K, entropy_KH = looks("entropy")
    mass_steps, mass_KHL = looks("mass")
    if not np.array_equal(steps_K, mass_steps):
        raise ValueError(f"{folder / PROBES}: entropy and mass of the probe attention were kept at different steps")
    return HeadCurve(steps_K, entropy_KH, mass_KHL)
