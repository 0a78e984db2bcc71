"""`python -m leaderboard build`: everything that is shown, made from the records alone.

The same records give the same bytes: no date of today, no random number, no order of a file system. All texts are made
before the first one is written, and each is swapped in whole.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leaderboard.board.aggregate import build_board, of_figure
from leaderboard.board.standings import Board
from leaderboard.entries.places import RESULTS, WRITTEN
from leaderboard.entries.reading import read_results
from leaderboard.records.bounded import read_bytes
from leaderboard.records.plain_text import shown
from leaderboard.render import csv_file, markdown
from leaderboard.render.charts import kaplan_meier, vega
from leaderboard.render.charts.colours import board_styles
from leaderboard.writing import write_whole, writing

BEGIN, END = "<!-- leaderboard:begin -->", "<!-- leaderboard:end -->"
MAX_README_BYTES = 1_000_000
README_SUITE = "lite"  # what README shows; without entries in it the first suite
_SUITE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command, read by `run`."""
    parser.add_argument(
        "root",
        nargs="?",
        type=Path,
        default=RESULTS,
        help="folder of results (default: %(default)s)",
        metavar="RESULTS",
    )
    parser.add_argument("--out", type=Path, default=WRITTEN, help="folder to write to (default: %(default)s)")
    parser.add_argument("--readme", type=Path, help=f"also renew the table in this file, between {BEGIN} and {END}")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file is out of date")


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code, see `build`."""
    return build(options.root, options.out, readme=options.readme, check=options.check)


def build(root: Path = RESULTS, out: Path = WRITTEN, *, readme: Path | None = None, check: bool = False) -> int:
    """Write LEADERBOARD.md, leaderboard.csv, figures/kaplan_meier_<suite>.svg and site/ from the records below `root`.

    Which entries are verified stands in `verified.yaml` beside the results.

    Args:
        out: folder to write to; figures of suites that are gone are removed from it.
        readme: file whose part between the two marks is renewed with the headline table and the figure of a suite.
        check: compare in place of writing; a line for every file that is out of date. The site, which nobody commits,
            is compared where there is one.

    Returns:
        0 all well; 1 broken records (a line each on stderr, nothing is written), or something is out of date.

    Raises:
        ValueError: no record at all, a README without the marks, or a file that cannot be read or written.
    """
    with _no_collection():
        return _build(root, out, readme, check)


def _build(root: Path, out: Path, readme: Path | None, check: bool) -> int:
    if not check or (out / "site").is_dir():
        vega.prepare()  # meanwhile records are read
    results = read_results(root, root.parent / "verified.yaml")
    if results.problems:
        for problem in results.problems:
            print(f"broken: {shown(' '.join(problem.split()))}", file=sys.stderr)
        print(f"error: {len(results.problems)} broken under {root}: nothing was written", file=sys.stderr)
        return 1
    n_records = len(results.others) + sum(len(runs) for entry in results.entries for runs in entry.cells.values())
    if not n_records:
        raise ValueError(f"no record found in {root}")
    for run in results.others:
        if (changed := run.record.intervention) is not None and not of_figure(run.record):
            print(f"left out: {shown(f'{run.folder}: is {changed.text}')}", file=sys.stderr)
    board = build_board(results)
    texts = _texts(board, out)
    if readme is not None:
        texts[readme] = _readme(board, readme, out)
    stale = sorted(set((out / "figures").glob("kaplan_meier_*.svg")) - set(texts))
    if check:
        return _check(board, texts, stale, out / "site")
    _write(board, texts, stale, out / "site")
    written = ", ".join(map(str, [*texts, out / "site"]))
    print(f"{n_records:,} records of {len(results.entries)} entries: wrote {written}")
    return 0


@contextmanager
def _no_collection() -> Iterator[None]:
    """Turn garbage collection off, which would go through all records again and again and free nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _texts(board: Board, out: Path) -> dict[Path, str]:
    """Every generated file but the site's, in the order of writing: what is linked to comes before the link."""
    figures = {}
    for suite in board.suites:
        if not _SUITE_NAME.fullmatch(suite.name):
            raise ValueError(f"suite {suite.name!r}: a name is of a-z, 0-9, - and _, since files are called after it")
        if (svg := kaplan_meier.render(suite, board_styles(board))) is not None:
            figures[out / "figures" / f"kaplan_meier_{suite.name}.svg"] = svg
    return {**figures, out / "leaderboard.csv": csv_file.render(board), out / "LEADERBOARD.md": markdown.render(board)}


def _readme(board: Board, readme: Path, out: Path) -> str:
    """README with a new part between the marks."""
    text = read_bytes(readme, MAX_README_BYTES).decode("utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{readme}: needs the lines {BEGIN} and {END}, once each and in this order")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    suites = {suite.name: suite for suite in board.suites}
    suite = suites.get(README_SUITE) or next(iter(suites.values()), None)
    if suite is None:
        parts = ["No entry yet."]
    else:
        folder = Path(os.path.relpath(out / "figures", readme.parent)).as_posix()
        figures = [markdown.figure_link(suite, folder)] if suite.has_curves else []
        parts = [*figures, markdown.headline(suite)]
    return "\n\n".join([before + BEGIN, *parts, END + after])


def _check(board: Board, texts: dict[Path, str], stale: list[Path], site: Path) -> int:
    """Say which files a build would change; the exit code."""
    wanted: dict[Path, bytes | None] = {path: text.encode() for path, text in texts.items()}
    wanted |= dict.fromkeys(stale)
    if site.is_dir():
        from leaderboard.render.site.site import site_files

        there: dict[Path, bytes | None] = dict.fromkeys(path for path in site.rglob("*") if path.is_file())
        made = site_files(board)
        # A PDF has other bytes each time: it is made of the SVG beside it.
        made |= {name: _read(site / name) or made[name] for name in made if name.endswith(".pdf")}
        there |= {site / name: content for name, content in made.items()}
        wanted |= dict(sorted(there.items()))
    code = 0
    for path, content in wanted.items():
        old = _read(path)
        if old != content:
            what = "missing" if old is None else "left over" if content is None else "out of date"
            print(f"{path}: {what}, run python -m leaderboard build")
            code = 1
    return code


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _write(board: Board, texts: dict[Path, str], stale: list[Path], site: Path) -> None:
    from leaderboard.render.site import write_site

    write_site(board, site)  # first: it is the one that may fail, on curves that cannot be read
    for path, text in texts.items():
        write_whole(path, text.encode())
    for path in stale:
        with writing(path):
            path.unlink()
