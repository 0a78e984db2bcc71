"""`python -m leaderboard compare A B`: any two entries: win rates, verdicts, and the ratio of times in each cell."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from leaderboard.board.aggregate import build_board
from leaderboard.board.columns import Table, columns_of
from leaderboard.board.wording import count_text, win_rate_text
from leaderboard.entries.places import RESULTS
from leaderboard.entries.reading import Entry, Results, entries_of, read_results
from leaderboard.mistakes import unknown
from leaderboard.render import comparison_data, csv_file, latex, markdown, text
from leaderboard.render.escape import markdown_text
from leaderboard.statistics.head_to_head import HeadToHead, head_to_head
from leaderboard.writing import write_whole

FORMATS = ("text", "markdown", "latex", "csv", "json")
CHARTS = (".svg", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    what = "an entry by its name, or a folder with the records of one: of a sweep, or an entry's"
    parser.add_argument("first", metavar="A", help=what)
    parser.add_argument("second", metavar="B", help="what to compare it with: the same")
    parser.add_argument("--suite", help="default: the one in which the two meet in most cells")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="PATH", help="where names are looked up (%(default)s)"
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="latex needs the package booktabs")
    parser.add_argument(
        "--chart", type=Path, metavar="FILE", help="draw the share of runs solved in each cell into an .svg or a .pdf"
    )


def run(options: argparse.Namespace) -> int:
    """Print the comparison.

    Raises:
        ValueError: one line, when there is nothing to compare.
    """
    if options.chart is not None and options.chart.suffix not in CHARTS:
        raise ValueError(f"--chart {options.chart}: must end in {' or '.join(CHARTS)}")
    read = cache(read_results)  # both sides, if they are names
    sides = [_entries(read, name, options.results, options.suite) for name in (options.first, options.second)]
    met = [(one, other) for one in sides[0] for other in sides[1] if one.suite == other.suite]
    if not met:
        raise ValueError(f"{options.first} and {options.second} have no suite in common")
    common = [len(one.cells.keys() & other.cells.keys()) for one, other in met]
    if common.count(max(common)) > 1:
        suites = ", ".join(one.suite for one, _ in met)
        raise ValueError(f"the two meet in {len(met)} suites ({suites}): choose one with --suite")
    first, second = met[common.index(max(common))]
    runs = [{record.run_id for kept in entry.records().values() for record in kept} for entry in (first, second)]
    if runs[0] & runs[1]:
        raise ValueError(f"{options.first} and {options.second} hold the same runs: there is nothing to compare")
    found = head_to_head(first.records(), second.records())
    if options.chart is not None:
        write_whole(options.chart, chart(first, second, options.chart.suffix))
    print(shown(found, first.suite, first.name, second.name, options.format))
    return 0


def chart(first: Entry, second: Entry, suffix: str) -> bytes:
    """The Kaplan-Meier curves of two entries, a panel for each cell, as an SVG or a PDF."""
    from leaderboard.render.charts import kaplan_meier, vega

    name = second.name if second.name != first.name else f"{second.name} (second)"
    board = build_board(Results((first, replace(second, name=name)), (), ()))
    svg = kaplan_meier.render(board.suites[0])
    assert svg is not None  # the two have been compared, so that runs have an outcome
    return svg.encode() if suffix == ".svg" else vega.pdf(svg)


def shown(found: HeadToHead, suite: str, first: str, second: str, form: str) -> str:
    """The comparison in a format."""
    if form == "json":
        return json.dumps(comparison_data.plain(found), indent=2, allow_nan=False)
    if form == "csv":
        return csv_file.table(columns_of(Table.PAIRS), found.cells).rstrip("\n")
    if form == "latex":
        return latex.table(columns_of(Table.PAIRS, "latex"), found.cells)
    lines = [f"{suite}: {first} against {second}"]
    for task, verdict in found.tasks.items():
        rate, cells = win_rate_text(verdict.win_rate), count_text(len(verdict.cells), "cell")
        lines.append(f"{task}: {verdict.kind}: win rate {rate} over {cells} ({verdict.reason})")
    if len(found.tasks) > 1:
        lines.append(f"mean of the tasks: {100 * found.overall:.0f} %")
    lines += [f"{cell} is left out: {why}" for cell, why in found.left_out.items()]
    if form == "markdown":
        head = "\n".join(f"- {markdown_text(line)}" for line in lines[1:])
        return "\n\n".join(
            [f"### {markdown_text(lines[0])}", head,
             markdown.table(columns_of(Table.PAIRS, "markdown"), found.cells)]
        )  # fmt: skip
    return "\n".join([*lines, "", text.table(columns_of(Table.PAIRS, "text"), found.cells)])


def _entries(read: Callable[[Path], Results], name: str, results: Path, suite: str | None) -> list[Entry]:
    """The entries of a name, or of a folder that holds one, at most one in a suite."""
    path = Path(name)
    is_path = path.is_dir() or path.is_file()
    found = read(path if is_path else results)
    if found.problems:
        more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
        raise ValueError(f"broken record: {found.problems[0]}{more}")
    everything = entries_of(found)
    entries = [entry for entry in everything if suite in (None, entry.suite)]
    if suite is not None and not entries:
        known = sorted({entry.suite for entry in everything})
        raise ValueError(f"{path if is_path else results}: {unknown('suite', suite, known)}")
    if is_path:
        names = sorted({entry.name for entry in entries})
        if len(names) != 1:
            held = f"entries of {len(names)} names ({', '.join(names)})" if names else "no record of a suite's cell"
            raise ValueError(f"{path}: holds {held}; give a folder with those of one")
        return entries
    of_name = [entry for entry in entries if entry.name == name]
    handed_in = [entry for entry in of_name if entry.file is not None]
    if handed_in:  # other records of the name, such as those of a tuning, are asked for by their suite
        return handed_in
    if not of_name:
        raise ValueError(f"{results}: {unknown('entry', name, sorted({entry.name for entry in entries}))}")
    return of_name
