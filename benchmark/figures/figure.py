"""The contract of a figure: cells by scale, drawing, claims, the published values, and what was changed afterwards."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmark.config.errors import unknown
from benchmark.figures.figure_runs import FigureRun, Runs
from benchmark.figures.judging import Finding

SCALES = ("lite", "paper")
World = Literal["none", "published", "reversed"]
"""The effect that is planted in a simulation: no effect, the one that the paper reports, or one of the other sign."""

Plant = Callable[[World, int, Any], list[FigureRun]]
"""Runs of a figure's cells in a world, with so many seeds, from a random generator."""


@dataclass(frozen=True)
class Part:
    """A sweep that belongs to a figure: cells of its suite file with options of their own.

    Args:
        cells: names; none for all that the file has.
        models: registered names; none for those that the file sets up.
        grid: KEY=VALUES as on the command line of `sweep`.
        options: of every run, as in a YAML file for `fit`.
        name: is added to the names of the cells, so that no two parts share one.
    """

    cells: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    grid: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class Scale:
    """A size of a figure.

    Args:
        seeds: that count, as on the command line.
        parts: sweeps over the cells of its suite file, `figure_ID_SCALE.yaml` in the figure's folder.
        crossed: whether every seed of the task meets every one of init and data, in place of three equal ones.
    """

    seeds: str
    parts: tuple[Part, ...] = (Part(),)
    crossed: bool = False


@dataclass(frozen=True)
class Claim:
    """One sentence and one test.

    Args:
        name: short, for tables; unique within the figure.
        sentence: what is said.
        published: what the paper reports, as text.
        test: the finding in the runs of a scale.
        tried: what was tried where the claim fails.
    """

    name: str
    sentence: str
    published: str
    test: Callable[[Runs], Finding]
    tried: str = ""


@dataclass(frozen=True)
class Deviation:
    """A change of a figure after it was first committed."""

    date: str
    change: str
    reason: str


@dataclass(frozen=True)
class Figure:
    """A figure of the paper.

    Args:
        name: as on the command line, like 5b.
        title: what it shows, on one line.
        folder: of its files.
        scales: its sizes, by name.
        draw: a Vega-Lite specification of runs and published values.
        claims: in the order of the table.
        plant: runs for the simulation of its claims' error rates, at lite's cells.
        reads: what it needs of a run beside the record: "curves", "attention", "dependency".
        table: rows of a table beside the verdicts, where there is one, with the same keys each as far as they apply.
    """

    name: str
    title: str
    folder: Path
    scales: Mapping[str, Scale]
    draw: Callable[[Runs, Sequence[Mapping[str, Any]]], dict[str, Any]]
    claims: tuple[Claim, ...]
    plant: Plant
    reads: tuple[str, ...] = ()
    table: Callable[[Runs], list[dict[str, str]]] | None = None

    @cached_property
    def published(self) -> list[dict[str, Any]]:
        """The published values, each with its own keys and the figure it was read off."""
        return _rows(self.folder / "published.yaml")

    @cached_property
    def deviations(self) -> list[Deviation]:
        """The changes after the figure was first committed; mostly none."""
        return [
            Deviation(str(row["date"]), row["change"], row["reason"]) for row in _rows(self.folder / "deviations.yaml")
        ]

    @cached_property
    def error_rates(self) -> dict[str, Any]:
        """Simulated shares of verdicts, as `planting.write_error_rates` left them: `n`, `seeds` and `claims`."""
        path = self.folder / "error_rates.yaml"
        found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
        return dict(found or {})

    def suite(self, scale: str) -> Path:
        """The file of a scale's cells."""
        return self.folder / f"figure_{self.name}_{scale}.yaml"


def require_scale(scale: str) -> None:
    """Raise a ValueError of one line for a scale that does not exist."""
    if scale not in SCALES:
        raise ValueError(unknown("scale", scale, SCALES, " for --scale"))


def parts_of(figure: Figure, scale: str, seeds: Sequence[int]) -> list[Part]:
    """The sweeps of a scale; a crossed one has each of its own for every pair of an init and a data seed."""
    chosen = figure.scales[scale]
    if not chosen.crossed:
        return list(chosen.parts)
    return [
        Part(
            part.cells,
            part.models,
            part.grid,
            {**part.options, "init_seed": init, "data_seed": data},
            f"init={init},data={data}",
        )
        for part in chosen.parts
        for init, data in product(seeds, repeat=2)
    ]


def _rows(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load(path.read_text(encoding="utf-8")) or []) if path.exists() else []


def committed(folder: Path) -> str:
    """The commit that last changed a figure's folder, in words for a table; says so where there is none or more was
    changed since."""

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(folder), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("log", "-1", "--format=%h of %cs", "--", ".")
        changed = bool(git("status", "--porcelain", "--", "."))
    except (OSError, subprocess.TimeoutExpired):
        return "not known"
    if not commit:
        return "not committed"
    return f"{commit}, changed since" if changed else commit
