"""`python -m leaderboard check`: a verdict on new records against the committed ones, for a person and for CI."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from leaderboard.board.columns import Table, columns_of
from leaderboard.board.standings import REFERENCE
from leaderboard.board.wording import win_rate_text
from leaderboard.entries.places import RESULTS
from leaderboard.entries.reading import Entry, Results, entries_of, read_results
from leaderboard.mistakes import unknown
from leaderboard.records.record import Record
from leaderboard.render import comparison_data, markdown, text
from leaderboard.render.escape import markdown_text
from leaderboard.statistics.verdict import Kind, Verdict, compare

if TYPE_CHECKING:
    from leaderboard.statistics.simulation import Scenario

EXIT: dict[Kind, int] = {
    "same": 0, "better": 10, "needs-seeds": 11, "regressed": 12, "not-comparable": 13, "mixed": 14
}  # fmt: skip
# Of several entries the code of the one that needs a look most.
SEVERITY: tuple[Kind, ...] = ("same", "better", "needs-seeds", "mixed", "not-comparable", "regressed")


@dataclass(frozen=True)
class Comparison:
    """A new entry, what it was compared with, and the verdict. `itself`: with older runs of the same entry."""

    suite: str
    name: str
    against: str
    itself: bool
    verdict: Verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "new", nargs="*", type=Path, metavar="NEW", help="folders with new records: of a sweep, or an entry's"
    )
    parser.add_argument(
        "--against", type=Path, default=RESULTS, metavar="PATH", help="what to compare with (%(default)s)"
    )
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help=f"entry to compare with (default: the one of the same name, else {REFERENCE})",
    )
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    parser.add_argument(
        "--gate",
        action="store_true",
        help="exit 0 unless an entry got worse than itself on a task or cannot be compared",
    )
    parser.add_argument(
        "--simulate", action="store_true", help="instead: how often each verdict is given for a known ratio"
    )
    group = parser.add_argument_group("of --simulate")
    group.add_argument("--ratio", type=float, nargs="+", default=[1.0, 2.0], help="true ratios of steps (1 2)")
    group.add_argument("--sigma", type=float, default=0.55, help="spread of log times (%(default)s)")
    group.add_argument("--seeds", type=int, default=5, help="new seeds per cell (%(default)s)")
    group.add_argument("--reference_seeds", type=int, default=20, help="reference's seeds per cell (%(default)s)")
    group.add_argument("--runs", type=int, default=1000, help="simulated comparisons (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Do what the options say; returns the exit code.

    Raises:
        ValueError: one line, when there is nothing to compare.
    """
    if options.simulate:
        from leaderboard.statistics.simulation import Scenario

        scenarios = [Scenario(ratio, options.sigma, options.seeds, options.reference_seeds) for ratio in options.ratio]
        print(simulated(scenarios, options.runs))
        return 0
    if not options.new:
        raise ValueError("which new records? Give one or more folders: python -m leaderboard check NEW...")
    comparisons = compare_all(options.new, options.against, options.reference)
    if not comparisons:
        print(f"nothing new: every record is in {options.against} already")
        return 0
    show = {"text": to_text, "markdown": to_markdown, "json": to_json}[options.format]
    print(show(comparisons))
    if options.gate:
        failed = [each for each in comparisons if _fails(each)]
        return EXIT[max((each.verdict.kind for each in failed), key=SEVERITY.index)] if failed else 0
    return EXIT[max((each.verdict.kind for each in comparisons), key=SEVERITY.index)]


def compare_all(new: Sequence[str | Path], against: str | Path, reference: str | None = None) -> list[Comparison]:
    """Compare every entry among the new records with the entry of its name, or else the reference of its suite.

    Records that stand in `against` already are left out, so that a whole tree of results can be given as new.

    Raises:
        ValueError: one line: a broken or mixed record, nothing to read, an unknown reference.
    """
    board = _board(against, new)
    if reference is not None and reference not in {name for _, name in board}:
        raise ValueError(f"{against}: {unknown('entry', reference, sorted({name for _, name in board}))}")
    known = {record.run_id for entry in board.values() for records in entry.records().values() for record in records}
    comparisons = []
    for path in new:
        for entry in _entries(path):
            fresh = {
                cell: kept
                for cell, records in entry.records().items()
                if (kept := [record for record in records if record.run_id not in known])
            }
            if fresh:
                comparisons.append(_compared(entry, fresh, board, reference))
    return comparisons


def to_text(comparisons: Sequence[Comparison]) -> str:
    """Plain text: a paragraph and a table for each entry."""
    columns = columns_of(Table.PAIRS, "text")
    return "\n\n".join(
        "\n".join(_said(each)) + (f"\n\n{text.table(columns, found.cells)}" if (found := each.verdict.found) else "")
        for each in comparisons
    )


def to_markdown(comparisons: Sequence[Comparison]) -> str:
    """Markdown for a summary of a pull request: a heading, a line for each task, and a table for each entry."""
    columns = columns_of(Table.PAIRS, "markdown")
    parts = []
    for each in comparisons:
        head, *lines = map(markdown_text, _said(each))
        parts.append(f"### {head}")
        parts += ["\n".join(f"- {line}" for line in lines)] if lines else []
        parts += [markdown.table(columns, found.cells)] if (found := each.verdict.found) else []
    return "\n\n".join(parts)


def to_json(comparisons: Sequence[Comparison]) -> str:
    """A list of objects, unrounded."""
    data = [
        {
            "suite": each.suite,
            "name": each.name,
            "against": each.against,
            "itself": each.itself,
            "verdict": each.verdict.kind,
            "reason": each.verdict.reason,
            "missing": each.verdict.missing,
            "seeds_needed": each.verdict.seeds_needed,
            **({} if each.verdict.found is None else comparison_data.plain(each.verdict.found)),
        }
        for each in comparisons
    ]
    return json.dumps(data, indent=2, allow_nan=False)


def simulated(scenarios: Sequence[Scenario], runs: int) -> str:
    """A Markdown table of the share of verdicts in simulated comparisons."""
    from leaderboard.statistics.simulation import rates

    kinds = [kind for kind in SEVERITY if kind != "not-comparable"]
    first = scenarios[0]
    lines = [
        f"{runs:,} simulated comparisons per line: {first.seeds} new seeds against {first.reference_seeds} in each of "
        f"{sum(map(len, first.tasks.values()))} cells of {len(first.tasks)} tasks, log-normal times of sigma "
        f"{first.sigma}.",
        "",
        "| true ratio of steps | " + " | ".join(kinds) + " |",
        "|---:|" + "---:|" * len(kinds),
    ]
    for scenario in scenarios:
        found = rates(scenario, runs)
        lines.append(f"| {scenario.ratio:g} | " + " | ".join(f"{100 * found[kind]:.1f} %" for kind in kinds) + " |")
    return "\n".join(lines)


def _compared(
    entry: Entry, fresh: dict[str, list[Record]], board: dict[tuple[str, str], Entry], reference: str | None
) -> Comparison:
    """Compare with the entry asked for, else the one of the same name, else the suite's reference."""
    wanted = [reference] if reference is not None else [entry.name, REFERENCE]
    for name in wanted:
        if (base := board.get((entry.suite, name))) is not None:
            verdict = compare(base.records(), fresh)
            return Comparison(entry.suite, entry.name, name, name == entry.name, verdict)
    reason = f"suite {entry.suite} has no entry {' or '.join(dict.fromkeys(wanted))} to compare with"
    verdict = Verdict("not-comparable", None, (), None, reason)
    return Comparison(entry.suite, entry.name, wanted[-1], False, verdict)


def _board(against: str | Path, new: Sequence[str | Path]) -> dict[tuple[str, str], Entry]:
    """The entries to compare with, without the ones asked about: `submit` has put those there already."""
    root = _real(against)
    asked = [folder for path in new if root in (folder := _real(path)).parents]
    board = {}
    for entry in _entries(against):
        cells = {
            cell: kept
            for cell, runs in entry.cells.items()
            if (kept := tuple(run for run in runs if not asked or not _below(run.folder, asked)))
        }
        if cells:
            board[entry.suite, entry.name] = replace(entry, cells=cells)
    return board


def _below(folder: Path, asked: Sequence[Path]) -> bool:
    return any(_real(folder).is_relative_to(each) for each in asked)


def _real(path: str | Path) -> Path:
    """Where a path leads; unlike `Path.resolve` it takes a link that leads to itself as it is."""
    return Path(os.path.realpath(path))


def _entries(path: str | Path) -> tuple[Entry, ...]:
    results: Results = read_results(Path(path))
    if results.problems:
        more = f" (and {len(results.problems) - 1} more)" if len(results.problems) > 1 else ""
        raise ValueError(f"broken record: {results.problems[0]}{more}")
    entries = entries_of(results)
    if not entries:
        raise ValueError(f"{path}: no record that belongs to a cell of a suite")
    return entries


def _fails(each: Comparison) -> bool:
    """Whether the gate refuses: a slower architecture is no regression, an entry that became slower is one."""
    if each.verdict.found is None:
        return each.verdict.kind == "not-comparable"
    return each.itself and any(task.kind == "worse" for task in each.verdict.found.tasks.values())


def _said(each: Comparison) -> list[str]:
    """The verdict in a line, and one for each task."""
    verdict, tasks = each.verdict, {} if each.verdict.found is None else each.verdict.found.tasks
    parts = [f"{each.suite}/{each.name} against {each.against}: {verdict.kind}"]
    if verdict.kind == "not-comparable" or not tasks or verdict.reason.startswith("would be"):
        parts.append(verdict.reason)
    if verdict.missing:
        parts.append(f"missing cells: {', '.join(verdict.missing)}")
    if verdict.seeds_needed is not None:
        parts.append(f"{verdict.seeds_needed} seeds per cell would probably decide")
    lines = [
        f"{task}: {found.kind}: win rate {win_rate_text(found.win_rate)} ({found.reason})"
        for task, found in tasks.items()
    ]
    return ["; ".join(parts), *lines]
