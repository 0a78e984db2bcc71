"""Picture and verdicts of a figure, from those of its runs that are there."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.figures.figure import Figure
from benchmark.figures.figure_runs import RECORD, FigureRun, figure_run, with_tables
from benchmark.figures.panels import PUBLISHED, finished, shows, write_pictures
from benchmark.figures.verdicts import judged, print_verdicts, write_verdicts
from leaderboard.records.record import read_record


def present(figure: Figure, scale: str, folders: Sequence[Path], out: Path) -> list[Path]:
    """Print the verdicts, and write picture and verdicts beside the runs; returns the paths of the files.

    Args:
        figure: which.
        scale: of `SCALES`.
        folders: of its runs; those without a record are left out.
        out: where the files go.

    Raises:
        ValueError: one line, if no run has ended, or a table that the figure needs is missing.
    """
    runs = [run for folder in folders if (run := _run_in(folder, figure)) is not None]
    if not runs:
        raise ValueError(f"{out}: no run of figure {figure.name} has ended: there is nothing to draw")
    found = judged(figure, runs)
    print_verdicts(figure, found)
    stem = out / f"figure_{figure.name}_{scale}"
    write_verdicts(stem.with_name(f"{stem.name}.json"), figure, scale, found)
    return [*draw(figure, scale, runs, stem), stem.with_name(f"{stem.name}.json")]


def draw(figure: Figure, scale: str, runs: list[FigureRun], stem: Path) -> list[Path]:
    """Write the figure as SVG and PNG; returns both paths."""
    n_seeds = len({run.seeds for run in runs})
    what = "combinations of seeds" if figure.scales[scale].crossed else "seeds"
    spec = figure.draw(runs, figure.published)
    subtitle = f"{scale} scale, {n_seeds} {what}"
    if shows(spec, PUBLISHED):
        subtitle += "; hollow and dashed: read off the paper's figure, at its own sizes"
    heading = figure.name if figure.name == "seeds" else f"Figure {figure.name}"
    return write_pictures(stem, finished(spec, f"{heading}: {figure.title}", subtitle))


def _run_in(folder: Path, figure: Figure) -> FigureRun | None:
    path = folder / RECORD
    run = figure_run(read_record(path), folder) if path.exists() else None
    return None if run is None else with_tables(run, figure.reads)
