"""Data that the page's script draws: curves and maps of a run as JSON, within limits whatever the size of the tables.

Shape letters: N evaluations or looks, R rows of the grid, H heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.report.attention_part import MOST_HEADS, AttentionPart, attention_panels, attention_part
from benchmark.report.dependency_part import DependencyPart, dependency_panels, dependency_part
from benchmark.report.frames import MOST_SIDE, kept_frames
from benchmark.report.jumps import largest_fall
from benchmark.report.map_grid import Grid, grid_of
from benchmark.report.run_folder import Floats, ReportedRun
from benchmark.report.weights_part import WeightsPart, weights_panels, weights_part

MOST_POINTS = 12_000
"""Points of a line, of all runs of a page together; a run has at most `MOST_POINTS_OF_RUN` of them."""

MOST_POINTS_OF_RUN = 400

MOST_MAP_BYTES = 3 << 20
"""Entries of all maps of all runs of a page; each is a byte, in base64 a third more."""

MOST_FRAMES = 100
MOST_PART_HITS = 512
MOST_LINES = 64
"""Heads whose lines are drawn: those that serve a row first."""


@dataclass(frozen=True)
class RunPart:
    """A run with what was found in it.

    Attributes:
        jump: index of the evaluation after the largest fall of its loss over predictable positions.
        attention, dependency, weights: None where the probe did not look.
    """

    run: ReportedRun
    grid: Grid
    jump: int | None
    attention: AttentionPart | None
    dependency: DependencyPart | None
    weights: WeightsPart | None

    @property
    def loss_steps(self) -> list[int]:
        """Steps after the jumps of the losses of rows, ascending."""
        rows = [*(self.attention.rows if self.attention else ()), *(self.dependency.rows if self.dependency else ())]
        return sorted({row.loss_step for row in rows if row.loss_step is not None})

    @property
    def moments(self) -> dict[str, int]:
        """Steps to look at: the start, before and after the largest jump, the end."""
        steps = self.run.steps
        between = {} if self.jump is None else {"before": steps[self.jump - 1], "after": steps[self.jump]}
        return {"start": steps[0], **between, "end": steps[-1]}


def run_part(run: ReportedRun) -> RunPart:
    """Find everything that a report says of a run."""
    grid = grid_of(run.task, run.losses_NL.shape[1])
    scored = run.curves["loss_scored_nats"].to_numpy(dtype=float)
    jump = largest_fall(scored, run.record.chance_loss_nats)
    parts = attention_part(run, grid), dependency_part(run, grid), weights_part(run, grid)
    return RunPart(run, grid, jump, *parts)


def numbers(values: Sequence[float] | Floats) -> list[Any]:
    """Nested lists of numbers with five digits, None for NaN."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim > 1:
        return [numbers(row) for row in array]
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in array]


def nearest(steps: Sequence[int], step: int) -> int:
    """Index of the last of the steps that is not after a step; 0 if all are."""
    return max(int(np.searchsorted(steps, step, side="right")) - 1, 0)


def run_data(part: RunPart, n_runs: int = 1) -> dict[str, Any]:
    """A run for the script.

    Args:
        n_runs: on the page, which share its limits.
    """
    run, record = part.run, part.run.record
    steps = run.steps
    moments = part.moments
    at_moments = [steps.index(step) for step in moments.values()]
    points = kept_frames(len(steps), min(MOST_POINTS_OF_RUN, MOST_POINTS // n_runs), at_moments)
    shown = run.curves.iloc[points]
    shares = [name for name in ("rows_solved", "accuracy_second_half") if name in run.curves]
    hits: dict[int, list[str]] = {}
    for name, hit in record.hits.items():
        if hit.step is not None:
            hits.setdefault(hit.step, []).append(name)
    chance, floor = record.chance_loss_nats, record.floor_loss_nats
    return {
        "label": run.label,
        "emergence": record.primary_step,
        "moments": moments,
        "steps": [steps[i] for i in points],
        "every": -(-len(steps) // len(points)),
        "loss": numbers(shown["loss_nats"].to_numpy(dtype=float)),
        "scored": numbers(shown["loss_scored_nats"].to_numpy(dtype=float)),
        "shares": {name: numbers(shown[name].to_numpy(dtype=float)) for name in ("accuracy", "exact_match", *shares)},
        "levels": {"chance": chance, "floor": floor},
        "hits": [{"step": step, "names": names} for step, names in sorted(hits.items())],
        "part_hits": [
            {"part": i, "step": hit.step} for i, hit in enumerate(record.part_hits or ()) if hit.step is not None
        ][:MOST_PART_HITS],
        "noun": part.grid.noun,
        "names": list(part.grid.names),
        "rows": numbers(part.grid.by_row(run.losses_NL[points]).T),
        "row_heads": _row_heads(part.attention, len(part.grid.rows)),
        "row_steps": [row.loss_step for row in part.attention.rows] if part.attention else [],
        "attention": None if part.attention is None else _attention_data(part.attention),
        "dependency": None if part.dependency is None else _dependency_data(part.dependency),
        "decay": None if part.weights is None else _decay_data(part.weights),
        "maps": _maps(part, n_runs),
    }


def _row_heads(attention: AttentionPart | None, n_rows: int) -> list[int | None]:
    """The place of each row's head in the order of heads, which decides its colour."""
    if attention is None:
        return [None] * n_rows
    order = attention.order
    return [order.index(row.best) if row.heads and row.best in order else None for row in attention.rows]


def _attention_data(part: AttentionPart) -> dict[str, Any]:
    order = part.order
    others = [head for head in range(len(part.heads)) if head not in order]
    drawn = [*order, *others][:MOST_LINES]
    kept = kept_frames(len(part.looks), MOST_POINTS_OF_RUN, ())
    return {
        "steps": [part.looks[i] for i in kept],
        "heads": [part.heads[head] for head in drawn],
        "learned": len([head for head in drawn if head in order]),
        "entropy": numbers(part.entropy_NH[kept][:, drawn].T),
        "mass": numbers(part.best_NR[kept].T),
    }


def _dependency_data(part: DependencyPart) -> dict[str, Any] | None:
    if not len(part.precision_N):
        return None
    kept = kept_frames(len(part.looks), MOST_POINTS_OF_RUN, ())
    return {
        "steps": [part.looks[i] for i in kept],
        "average precision": numbers(part.precision_N[kept]),
        "its chance": numbers(part.chance_N[kept]),
        "share exact": numbers(part.exact_N[kept]),
    }


def _decay_data(part: WeightsPart) -> dict[str, Any] | None:
    if not part.decays:
        return None
    kept = kept_frames(len(part.looks), MOST_POINTS_OF_RUN, ())
    lines = list(part.decays.items())[:MOST_LINES]
    return {
        "steps": [part.looks[i] for i in kept],
        "lines": [{"name": name, "values": numbers(np.array(values)[kept])} for name, values in lines],
    }


def _maps(part: RunPart, n_runs: int) -> list[dict[str, Any]]:
    """Groups of panels with their steps: what each probe has kept."""
    attention, dependency, weights, grid = part.attention, part.dependency, part.weights, part.grid
    groups = []
    if attention is not None and attention.maps:
        frames, steps = _frames(part, n_runs, attention)
        groups.append({"title": "Attention", "steps": steps, "panels": attention_panels(attention, grid, frames)})
    if dependency is not None and dependency.maps:
        frames, steps = _frames(part, n_runs, dependency)
        groups.append({"title": "Dependency", "steps": steps, "panels": dependency_panels(dependency, grid, frames)})
    if weights is not None and weights.maps:
        frames, steps = _frames(part, n_runs, weights)
        groups.append({"title": "Weights", "steps": steps, "panels": weights_panels(weights, grid, frames)})
    return groups


def _frames(
    part: RunPart, n_runs: int, probe: AttentionPart | DependencyPart | WeightsPart
) -> tuple[list[int], list[int]]:
    """Indices of the maps that the page has, and their steps."""
    steps = [probe.looks[i] for i in probe.map_looks]
    *several, n_rows, n_columns = probe.maps[0].shape
    n_maps = min(int(np.prod(several, dtype=int)), MOST_HEADS) + 1
    size = n_maps * min(n_rows, MOST_SIDE) * min(n_columns, MOST_SIDE)
    most = max(MOST_MAP_BYTES // n_runs // 2 // size, len(part.moments))
    needed = [nearest(steps, step) for step in part.moments.values()]
    after = [nearest(steps, step) for step in part.loss_steps]
    around = {*after, *(max(i - 1, 0) for i in after)}
    if len(around) <= most // 2:  # both sides of the jump of every row, too
        needed += around
    frames = kept_frames(len(steps), min(MOST_FRAMES, most), needed)
    return frames, [steps[i] for i in frames]
