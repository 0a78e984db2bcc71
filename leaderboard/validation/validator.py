"""Everything that is checked of a folder of results, in order: files, runs, entries, history, replay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from leaderboard.board.standings import REFERENCE
from leaderboard.entries.places import RESULTS
from leaderboard.validation.checkout import links_to
from leaderboard.validation.curves import CurvesReader
from leaderboard.validation.entry_folder import LINK, EntryFolder, RunFolder, Tree, scan
from leaderboard.validation.entry_rules import copies, entry_problems, unknown_cells
from leaderboard.validation.history import history_problems
from leaderboard.validation.report import Problem, Report
from leaderboard.validation.reproduce import can_replay, replay_entry
from leaderboard.validation.run_rules import CheckedRun, read_runs


def validate(
    path: str | Path, base: str | None = None, replay: bool = True, reader: CurvesReader | None = None
) -> Report:
    """Check what was handed in. Nothing is written, and nothing that is read is executed.

    Args:
        path: an entry's folder, a suite's folder of entries, or the results: suites, and `figures` and `tuning`, whose
            records belong to no entry and are only held against the schema and their curves.
        base: a commit of the checkout that the folder lies in: what stands in the results there must stand here.
        replay: do the first steps of one seed of each entry again, if torch is installed.
        reader: what reads the curves; by default a process of its own.

    Raises:
        ValueError: one line, if the folder does not exist, or the commit cannot be found.
    """
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder; give an entry's folder or one above it")
    history = [] if base is None else list(history_problems(path, base))  # first: a wrong name is said at once
    # Nothing is read through a link, so that what is checked is what lies there.
    linked = [Problem(str(link), "file", LINK) for link in links_to(path)[0]]
    tree = Tree(problems=linked) if linked else scan(path)
    runs: dict[Path, CheckedRun] = {}
    problems = [*tree.problems]
    folders = [run for entry in _entries(tree) for cell in sorted(entry.cells) for run in _in_order(entry, cell)]
    for found in read_runs([*folders, *tree.others.values()], reader or CurvesReader()):
        if isinstance(found, CheckedRun):
            runs[found.folder.path] = found
            problems += found.problems
        else:
            problems += found
    if not (runs or problems):
        problems.append(Problem(str(path), "file", "holds no record"))
    notes = [*tree.notes]
    for entry in _entries(tree):
        references = _references(entry)
        of_entry = [
            runs[run.path] for cell in sorted(entry.cells) for run in _in_order(entry, cell) if run.path in runs
        ]
        problems += entry_problems(entry, of_entry, references)
        notes += unknown_cells(entry, references)
    problems += copies(runs[folder.path] for folder in folders if folder.path in runs)
    problems += [answer for answer in history if isinstance(answer, Problem)]
    notes += [answer for answer in history if isinstance(answer, str)]
    if replay:
        replayed = [*_replays(tree, problems)]
        problems += [answer for answer in replayed if isinstance(answer, Problem)]
        notes += [answer for answer in replayed if isinstance(answer, str)]
    elif tree.entries:
        notes.append("not replayed, as asked")
    names = tuple(f"{entry.suite}/{entry.name}" for entry in _entries(tree))
    return Report(tuple(sorted(problems, key=lambda problem: problem.file)), tuple(notes), names, len(runs))


def _entries(tree: Tree) -> list[EntryFolder]:
    return [tree.entries[key] for key in sorted(tree.entries)]


def _in_order(entry: EntryFolder, cell: str) -> list[RunFolder]:
    return [entry.cells[cell][seed] for seed in sorted(entry.cells[cell])]


def _references(entry: EntryFolder) -> list[Path]:
    """Folders in which the suite's reference entry may lie: beside the entry, and in this repository."""
    return [entry.path.absolute().parent / REFERENCE, RESULTS / entry.suite / REFERENCE]


def _replays(tree: Tree, problems: list[Problem]) -> Iterator[Problem | str]:
    """A problem or a note for each entry. One with problems is left out: its records cannot be relied on."""
    if tree.entries and not can_replay():
        yield "not replayed: torch is not installed"
        return
    wrong = [Path(problem.file) for problem in problems]
    for entry in _entries(tree):
        if any(file.is_relative_to(entry.path) for file in wrong):
            yield f"{entry.path}: not replayed: it has problems"
        else:
            yield replay_entry(entry)
