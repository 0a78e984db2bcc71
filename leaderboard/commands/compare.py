"""`python -m leaderboard compare A B`: any two entries: win rates, verdicts, and the ratio of times in each cell."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from leaderboard.board.columns import Table, columns_of
from leaderboard.board.wording import count_text, win_rate_text
from leaderboard.entries.places import RESULTS
from leaderboard.entries.reading import Entry, entries_of, read_results
from leaderboard.mistakes import unknown
from leaderboard.render import comparison_data, csv_file, latex, markdown, text
from leaderboard.render.escape import markdown_text
from leaderboard.statistics.head_to_head import HeadToHead, head_to_head

FORMATS = ("text", "markdown", "latex", "csv", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    what = "an entry by its name, or a folder with the records of one: of a sweep, or an entry's"
    parser.add_argument("first", metavar="A", help=what)
    parser.add_argument("second", metavar="B", help="what to compare it with: the same")
    parser.add_argument("--suite", help="needed where the two meet in several")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="PATH", help="where names are looked up (%(default)s)"
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="latex needs the package booktabs")


def run(options: argparse.Namespace) -> int:
    """Print the comparison.

    Raises:
        ValueError: one line, when there is nothing to compare.
    """
    sides = [_entries(name, options.results, options.suite) for name in (options.first, options.second)]
    suites = sorted({entry.suite for entry in sides[0]} & {entry.suite for entry in sides[1]})
    if not suites:
        raise ValueError(f"{options.first} and {options.second} have no suite in common")
    if len(suites) > 1:
        raise ValueError(f"the two meet in {len(suites)} suites ({', '.join(suites)}): choose one with --suite")
    first, second = (next(entry for entry in side if entry.suite == suites[0]) for side in sides)
    runs = [{record.run_id for kept in entry.records().values() for record in kept} for entry in (first, second)]
    if runs[0] & runs[1]:
        raise ValueError(f"{options.first} and {options.second} hold the same runs: there is nothing to compare")
    found = head_to_head(first.records(), second.records())
    print(shown(found, suites[0], first.name, second.name, options.format))
    return 0


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


def _entries(name: str, results: Path, suite: str | None) -> list[Entry]:
    """The entries of a name, or of a folder that holds one, at most one in a suite."""
    path = Path(name)
    is_path = path.is_dir() or path.is_file()
    found = read_results(path if is_path else results)
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
