"""A figure as a sweep: its plan, what of it is missing, and running that."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.config.files.yaml_text import from_text, to_text
from benchmark.config.grid import parse_grid
from benchmark.figures.figure import Figure, Part, parts_of, require_scale
from benchmark.sweeps.plan import Plan, PlanEntry, make_plan
from benchmark.sweeps.state import outcome

if TYPE_CHECKING:
    from benchmark.sweeps.display import Display
    from benchmark.sweeps.driver import Driver
    from benchmark.sweeps.sweep import SweepConfig


def figure_plan(figure: Figure, scale: str, seeds: Sequence[int]) -> Plan:
    """Every run of a figure at a scale.

    Args:
        figure: which.
        scale: of `SCALES`.
        seeds: of every cell; of a crossed scale, of task, init and data each.

    Raises:
        ValueError: one line for whatever could not be run.
    """
    require_scale(scale)
    entries = [
        _of_part(entry, part)
        for part in parts_of(figure, scale, seeds)
        for entry in make_plan(
            seeds,
            suite=str(figure.suite(scale)),
            models=part.models,
            cells=part.cells,
            grid=parse_grid(part.grid),
            options=part.options,
        ).entries
    ]
    return Plan(tuple(entries), tuple(seeds))


def _of_part(entry: PlanEntry, part: Part) -> PlanEntry:
    """The entry under the name of its part; its records name the figure's suite whatever the part alters."""
    name = ",".join([entry.cell, part.name][: 1 + bool(part.name)])
    return replace(entry, cell=name, config=to_text(from_text(entry.config) | {"cell": name, "suite": entry.suite}))


def missing(plan: Plan, out: Path) -> int:
    """Number of runs that have no outcome yet; a folder that holds something else counts as missing."""
    found = 0
    for entry, seed in plan.runs():
        unit = entry.unit(seed)
        try:
            found += outcome(out / unit.folder, unit, entry.identity_of(seed)) is None
        except (ValueError, OSError):
            found += 1
    return found


def run_missing(plan: Plan, config: "SweepConfig", display: "Display") -> "Driver | None":
    """Run what has no outcome; None if there is nothing to run."""
    if not missing(plan, config.out):
        return None
    from benchmark.sweeps.sweep import begin, carry_out_plan

    begin(config)
    return carry_out_plan(plan, config, display)


def folders(plan: Plan, out: Path) -> list[Path]:
    """The run folders of a plan, in its order."""
    return [out / entry.unit(seed).folder for entry, seed in plan.runs()]
