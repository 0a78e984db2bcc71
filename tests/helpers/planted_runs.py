"""Run folders with a known story: which row of `lm` is learned when, and by which head.

A row's loss is at chance before its step and 0 from it on. A head spreads its attention evenly over all that it can
read, and over the keys of the row from the step at which it learned it; D of the dependency probe is 0 before the loss
falls and 1 on the keys afterwards.

Shape letters: L positions, S rows.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from datamodules.linear_map import LinearMap
from leaderboard.records.hits import hitting_step
from leaderboard.records.record import Record, write_record
from tests.helpers.leaderboard.records import make_record

EVERY = 50
CHANCE = math.log(2)


def planted_curves(task: LinearMap, learned: Mapping[int, int], n_steps: int, every: int = EVERY) -> pd.DataFrame:
    """Curves of a run in which each row is learned at a step; rows that are not named never are."""
    rows = []
    for step in range(0, n_steps + 1, every):
        solved = np.array([row in learned and step >= learned[row] for row in range(task.state_size)])
        loss_L = np.full(task.seq_len, CHANCE, dtype=np.float32)
        loss_L[task.state_size - 1 :] = np.where(solved, 0.0, CHANCE)
        rows.append(
            {
                "step": step,
                "loss_nats": float(loss_L.mean()),
                "loss_scored_nats": float(loss_L[task.state_size - 1 :].mean()),
                "accuracy": float((1 + solved.mean()) / 2),
                "exact_match": float(0.5 ** (~solved).sum()),
                "rows_solved": float(solved.mean()),
                "loss_by_position_nats": loss_L,
                "parts_solved": solved,
            }
        )
    return pd.DataFrame(rows)


def planted_map(task: LinearMap, serves: Sequence[int]) -> npt.NDArray[np.float64]:
    """(L, L) attention of a head that serves these rows."""
    length, size = task.seq_len, task.state_size
    map_LL = np.tril(np.ones((length, length))) / np.arange(1, length + 1)[:, None]
    for row in serves:
        map_LL[size - 1 + row] = 0
        map_LL[size - 1 + row, task.key_cells[row].numpy()] = 1 / task.n_nonzero
    return map_LL


def planted_probes(
    task: LinearMap,
    heads: Mapping[int, tuple[int, int]],
    learned: Mapping[int, int],
    steps: Sequence[int],
    n_heads: int,
) -> pd.DataFrame:
    """The table of probes: `heads` has for each row its head, and the step from which it attends to the row's keys."""
    length, size = task.seq_len, task.state_size
    rows: list[dict[str, Any]] = []

    def add(step: int, probe: str, quantity: str, layer: int | None, axes: str, values: Any) -> None:
        array = np.asarray(values, dtype=np.float32)
        shape = np.array(array.shape, dtype=np.int32)
        rows.append(dict(zip(COLUMNS, (step, probe, quantity, layer, axes, shape, array.ravel()), strict=True)))

    for step in steps:
        maps = np.stack(
            [
                planted_map(task, [r for r, (h, at) in heads.items() if h == head and step >= at])
                for head in range(n_heads)
            ]
        )
        spread = -(maps * np.log(np.where(maps > 0, maps, 1))).sum(-1)
        entropy = spread[:, size - 1 :].mean(-1)
        mass = np.full((n_heads, length), np.nan)
        needed = np.zeros((length, length))
        for row in range(size):
            keys = task.key_cells[row].numpy()
            mass[:, size - 1 + row] = maps[:, size - 1 + row, keys].sum(-1)
            if row in learned and step >= learned[row]:
                needed[size - 1 + row, keys] = 1
        exact = np.full(length, np.nan)
        exact[size - 1 :] = needed[size - 1 :].any(-1)
        add(step, "attention", "entropy", 0, "head", entropy)
        add(step, "attention", "query_entropy", 0, "head query", spread)
        add(step, "attention", "map", 0, "head query key", maps)
        add(step, "attention", "mass", 0, "head query", mass)
        add(step, "attention", "sample_entropy", 0, "head", entropy)
        add(
            step,
            "dependency",
            "average_precision",
            None,
            "query",
            np.where(exact == 1, 1.0, np.where(exact == 0, 0.4, exact)),
        )
        add(step, "dependency", "chance", None, "query", np.where(np.isnan(exact), np.nan, 0.4))
        add(step, "dependency", "exact", None, "query", exact)
        add(step, "dependency", "explanation", None, "query", 3 * exact)
        add(step, "dependency", "map", None, "query key", np.where(np.tri(length) > 0, needed, np.nan))
        add(step, "dependency", "mass", None, "query", exact)
    return pd.DataFrame(rows).astype({"step": "int64", "layer": "Int32"})


COLUMNS = ("step", "probe", "quantity", "layer", "axes", "shape", "values")


def planted_run(
    folder: Path,
    learned: Mapping[int, int],
    heads: Mapping[int, tuple[int, int]] | None = None,
    *,
    size: int = 4,
    n_steps: int = 1000,
    every: int = EVERY,
    n_heads: int = 3,
    seed: int = 0,
    **changes: Any,
) -> Record:
    """Write record and curves of a run of `lm` into a folder, and probes where heads are given; returns the record."""
    task = LinearMap(size, 2, task_seed=seed, data_seed=seed)
    folder.mkdir(parents=True)
    curves = planted_curves(task, learned, n_steps, every)
    curves.to_parquet(folder / "curves.parquet", index=False)
    steps = curves["step"].tolist()
    if heads is not None:
        planted_probes(task, heads, learned, steps, n_heads).to_parquet(folder / "probes.parquet", index=False)
    fields: dict[str, Any] = {
        "task.config": {"state_size": size, "n_nonzero": 2, "n_states": 2},
        "protocol.max_steps": n_steps,
        "protocol.eval_every": every,
        "seeds": {"task_seed": seed, "init_seed": seed, "data_seed": seed},
        "steps": n_steps,
        "protocol.stop_when_solved": False,
        "status": "solved" if len(learned) == size else "censored",
        "final": None,
        "curves": {
            "file": "curves.parquet",
            "sha256": hashlib.sha256((folder / "curves.parquet").read_bytes()).hexdigest(),
        },
    }
    hits = {}
    for name, share in (("rows_50", 0.5), ("rows_100", 1.0)):
        step, previous = hitting_step(steps, [value >= share for value in curves["rows_solved"]])
        hits[name] = {"step": step, "previous_step": previous}
    parts = [hitting_step(steps, [bool(solved[row]) for solved in curves["parts_solved"]]) for row in range(size)]
    fields["part_hits"] = [{"step": step, "previous_step": previous} for step, previous in parts]
    record = make_record(**{**fields, "hits": hits, **changes})
    write_record(folder / "record.json", record)
    return record
