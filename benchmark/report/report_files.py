"""Writes a report: the page, and pictures of each run beside it."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.config.errors import optional
from benchmark.report.page_data import run_part
from benchmark.report.report_page import report_html
from benchmark.report.report_pictures import pictures_of
from benchmark.report.run_folder import reported_runs
from leaderboard.whole_files import write_whole

NAME = "report.html"


def write_report(folders: Sequence[Path], out: Path | None = None, *, pictures: bool = True) -> Path:
    """Make the page of the runs in these folders, and write it when everything is made.

    A picture that cannot be drawn is a warning.

    Args:
        folders: run folders; one of many seeds stands for each of them.
        out: HTML file; by default `NAME` in the first of the folders.
        pictures: write a staircase and, with probes, maps of each run as PNG files beside it.

    Returns:
        The path of the page.

    Raises:
        ValueError: one line, if a folder holds no run that has ended, a file in it cannot be read, or `out` is none.
        CannotWrite: if a file cannot be written.
    """
    out = folders[0] / NAME if out is None else out
    if out.is_dir() or out.suffix.lower() not in {".html", ".htm"}:
        raise ValueError(f"--out: {out} is not the name of an HTML file, like report.html")
    runs = reported_runs(folders)
    if not out.parent.is_dir():
        raise ValueError(f"--out: {out.parent} is not a folder")
    parts = [run_part(run) for run in runs]
    content = {out: report_html(parts).encode()}
    for number, part in enumerate(parts) if pictures else ():
        stem = out.stem if len(parts) == 1 else f"{out.stem}-{number + 1}"
        with optional(f"{part.run.label}: the pictures were not drawn"):
            content |= {out.with_name(f"{stem}-{name}.png"): png for name, png in pictures_of(part).items()}
    for path, data in reversed(content.items()):  # the page last, as it tells of the pictures
        write_whole(path, data)
    return out
