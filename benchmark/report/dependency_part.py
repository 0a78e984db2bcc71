"""The dependency probe of a run: how far predictions depend on the tokens they need, for any architecture.

Shape letters: N looks, L positions, R rows of the grid, C columns.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.report.frames import panel
from benchmark.report.jumps import change_point
from benchmark.report.learned_rows import LEAST_MASS, loss_jump
from benchmark.report.map_grid import Grid
from benchmark.report.run_folder import Floats, ReportedRun

PROBE = "dependency"
EXPLANATIONS = ("none", "a mixture", "another valid one", "the pattern")
"""Explanations of a prediction on `lm`, by the probe's number."""


@dataclass(frozen=True)
class DependentRow:
    """One row of the pattern over training.

    Attributes:
        loss_step: of the evaluation after the jump of its loss.
        mass_step: of the look after the jump of the share of the dependency on its keys.
        exact_step: of the look from which on every needed token matters more than any other, to the end.
        average_precision, chance, mass: at the end.
        explanation: in words, at the end; empty where the probe has none.
    """

    loss_step: int | None
    mass_step: int | None
    exact_step: int | None
    average_precision: float
    chance: float
    mass: float
    explanation: str


@dataclass(frozen=True)
class DependencyPart:
    """Dependency of a run over time.

    Attributes:
        looks: steps of the N looks.
        precision_N, chance_N, exact_N: means over the rows.
        rows: what happened to each row.
        map_looks: indices of the looks of which maps are kept.
        maps: of each of these, (R, C).
    """

    looks: list[int]
    precision_N: Floats
    chance_N: Floats
    exact_N: Floats
    rows: list[DependentRow]
    map_looks: list[int]
    maps: list[Floats]


def dependency_part(run: ReportedRun, grid: Grid) -> DependencyPart | None:
    """Dependency in a run's table; None where the probe did not look."""
    map_steps, maps = run.looks(PROBE, "map")
    looks, found = run.looks(PROBE, "average_precision")
    if not maps and not looks:
        return None
    folded = {step: grid.map(map_LL) for step, map_LL in zip(map_steps, maps, strict=True)}
    if not looks:  # nobody knows what the queries need
        empty = np.zeros(0)
        return DependencyPart(map_steps, empty, empty, empty, [], list(range(len(map_steps))), list(folded.values()))
    values = {"average_precision": np.stack(found)}
    for name in ("chance", "exact", "mass"):
        steps, others = run.looks(PROBE, name)
        values[name] = np.stack(others) if steps == looks else np.full_like(values["average_precision"], np.nan)
    by_row = {name: grid.by_row(values_NL) for name, values_NL in values.items()}
    explained = run.looks(PROBE, "explanation")[1]
    losses = grid.by_row(run.losses_NL)
    rows = []
    for r, queries in enumerate(grid.rows):
        at = loss_jump(losses[:, r], run.record.chance_loss_nats)
        rows.append(
            DependentRow(
                None if at is None else run.steps[at],
                _mass_step(looks, by_row["mass"][:, r]),
                _from_then_on(looks, by_row["exact"][:, r]),
                float(by_row["average_precision"][-1, r]),
                float(by_row["chance"][-1, r]),
                float(by_row["mass"][-1, r]),
                _in_words(explained[-1][queries]) if explained else "",
            )
        )
    return DependencyPart(
        looks=looks,
        precision_N=_mean(by_row["average_precision"]),
        chance_N=_mean(by_row["chance"]),
        exact_N=_mean(by_row["exact"]),
        rows=rows,
        map_looks=[looks.index(step) for step in map_steps if step in looks],
        maps=[map_RC for step, map_RC in folded.items() if step in looks],
    )


def _mean(values_NR: Floats) -> Floats:
    there = ~np.isnan(values_NR)
    result: Floats = np.where(there, values_NR, 0).sum(1) / np.maximum(there.sum(1), 1)
    return result


def _mass_step(looks: Sequence[int], mass_N: Floats) -> int | None:
    jump = change_point(mass_N)
    return None if jump is None or jump.rise < LEAST_MASS else looks[jump.place]


def _from_then_on(looks: Sequence[int], exact_N: Floats) -> int | None:
    """The first look from which on a row was exact at every one."""
    wrong = np.flatnonzero(~(exact_N >= 0.999))
    first = int(wrong[-1]) + 1 if len(wrong) else 0
    return looks[first] if first < len(looks) else None


def _in_words(codes: Floats) -> str:
    """The explanation of the predictions of a row's queries."""
    known = [int(code) for code in codes if np.isfinite(code) and 0 <= code < len(EXPLANATIONS)]
    counts = Counter(EXPLANATIONS[code] for code in known)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({n})" for name, n in counts.most_common())


def dependency_panels(part: DependencyPart, grid: Grid, frames: Sequence[int]) -> list[dict[str, Any]]:
    """The maps of these frames (of `part.maps`)."""
    if not frames:
        return []
    maps = [part.maps[frame] for frame in frames]
    truth = None if grid.truth_RC is None else np.where(np.isnan(maps[0]), np.nan, grid.truth_RC.astype(float))
    names: dict[str, Any] = {"border": grid.border, "names": list(grid.names), "noun": grid.noun}
    return [panel("Dependency of each prediction", PROBE, maps, truth, main=True, **names)]
