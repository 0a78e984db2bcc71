"""Everything that is checked of a folder of results, in order: files, runs, entries, history, replay."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from random import Random

from leaderboard.board.standings import REFERENCE
from leaderboard.entries.places import RESULTS
from leaderboard.validation.checkout import links_to
from leaderboard.validation.curves import CurvesReader
from leaderboard.validation.entry_folder import LINK, EntryFolder, RunFolder, Tree, scan
from leaderboard.validation.entry_rules import copies, entry_problems, unknown_cells
from leaderboard.validation.forgery.copied_values import copied
from leaderboard.validation.forgery.known_records import accepted, commit_problems
from leaderboard.validation.forgery.reruns import reruns
from leaderboard.validation.history import history_problems
from leaderboard.validation.report import Problem, Report
from leaderboard.validation.reproduce import Request, can_replay, replays, requests_of
from leaderboard.validation.run_rules import CheckedRun, read_runs


def validate(
    path: str | Path,
    base: str | None = None,
    replay: bool = True,
    reader: CurvesReader | None = None,
    *,
    rerun: int = 0,
    draw: int | None = None,
) -> Report:
    """Check what was handed in. Nothing is written, and nothing that is read is executed.

    Args:
        path: an entry's folder, a suite's folder of entries, or the results: suites, and `figures` and `tuning`, whose
            records belong to no entry and are only held against the schema and their curves.
        base: a commit of the checkout that the folder lies in: what stands in the results there must stand here.
        replay: do the first steps of runs again, if torch is installed.
        reader: what reads the curves; by default a process of its own.
        rerun: whole runs to do again, drawn from all entries and cells.
        draw: seed of the draws; by default one from the operating system.

    Raises:
        ValueError: one line, if the folder does not exist, or the commit cannot be found.
    """
    path, reader = Path(path), reader or CurvesReader()
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder; give an entry's folder or one above it")
    history = [] if base is None else list(history_problems(path, base))  # first: a wrong name is said at once
    # Nothing is read through a link, so that what is checked is what lies there.
    linked = [Problem(str(link), "file", LINK) for link in links_to(path)[0]]
    tree = Tree(problems=linked) if linked else scan(path)
    runs: dict[Path, CheckedRun] = {}
    problems = [*tree.problems]
    folders = [run for entry in _entries(tree) for cell in sorted(entry.cells) for run in _in_order(entry, cell)]
    for found in read_runs([*folders, *tree.others.values()], reader):
        if isinstance(found, CheckedRun):
            runs[found.folder.path] = found
            problems += found.problems
        else:
            problems += found
    if not (runs or problems):
        problems.append(Problem(str(path), "file", "holds no record"))
    notes = [*tree.notes]
    of_entries = {
        entry.path: [
            runs[run.path] for cell in sorted(entry.cells) for run in _in_order(entry, cell) if run.path in runs
        ]
        for entry in _entries(tree)
    }
    of_all = [run for of_entry in of_entries.values() for run in of_entry]
    known = accepted(of_all, path, base, RESULTS)
    new = [run for run in of_all if run.file not in known]
    for entry in _entries(tree):
        problems += entry_problems(entry, of_entries[entry.path], _references(entry), known)
        notes += unknown_cells(entry, _references(entry))
    elsewhere = [run for run in runs.values() if run.folder.path in tree.others]
    theirs = [*elsewhere, *(_committed(of_all, reader) if new else [])]
    problems += copies(of_all, theirs)
    problems += copied(of_all, theirs)
    for found_of_commit in commit_problems(new, path, base is not None):
        (problems if isinstance(found_of_commit, Problem) else notes).append(found_of_commit)  # type: ignore[arg-type]
    problems += [answer for answer in history if isinstance(answer, Problem)]
    notes += [answer for answer in history if isinstance(answer, str)]
    if replay or rerun:
        draw = secrets.randbelow(2**32) if draw is None else draw
        replayed = [*_replays(tree, of_entries, known, problems, rerun, draw)]
        problems += [answer for answer in replayed if isinstance(answer, Problem)]
        notes += [answer for answer in replayed if isinstance(answer, str)]
    elif tree.entries:
        notes.append("not replayed, as asked")
    names = tuple(f"{entry.suite}/{entry.name}" for entry in _entries(tree))
    return Report(tuple(sorted(problems, key=lambda problem: problem.file)), tuple(notes), names, len(runs))


def _committed(runs: list[CheckedRun], reader: CurvesReader) -> list[CheckedRun]:
    """The runs of this repository's results, without those that are checked: they have the same place and bytes."""
    if not RESULTS.is_dir():
        return []
    tree = scan(RESULTS)
    ours = {run.folder.path.parts[-4:]: run for run in runs}
    folders = [run for entry in _entries(tree) for cell in entry.cells for run in _in_order(entry, cell)]
    return [
        run
        for run in read_runs([*folders, *tree.others.values()], reader)
        if isinstance(run, CheckedRun) and not _is_same(run, ours.get(run.folder.path.parts[-4:]))
    ]


def _is_same(run: CheckedRun, other: CheckedRun | None) -> bool:
    return other is not None and Path(run.file).read_bytes() == Path(other.file).read_bytes()


def _entries(tree: Tree) -> list[EntryFolder]:
    return [tree.entries[key] for key in sorted(tree.entries)]


def _in_order(entry: EntryFolder, cell: str) -> list[RunFolder]:
    return [entry.cells[cell][seed] for seed in sorted(entry.cells[cell])]


def _references(entry: EntryFolder) -> list[Path]:
    """Folders in which the suite's reference entry may lie: beside the entry, and in this repository."""
    return [entry.path.absolute().parent / REFERENCE, RESULTS / entry.suite / REFERENCE]


def _replays(
    tree: Tree,
    runs: dict[Path, list[CheckedRun]],
    known: set[str],
    problems: list[Problem],
    rerun: int,
    draw: int,
) -> Iterator[Problem | str]:
    """Problems and notes. An entry with problems is left out: its records cannot be relied on."""
    if tree.entries and not can_replay():
        yield "not replayed: torch is not installed"
        return
    wrong, random = [Path(problem.file) for problem in problems], Random(draw)
    requests: list[Request] = []
    good: list[CheckedRun] = []
    for entry in _entries(tree):
        if any(file.is_relative_to(entry.path) for file in wrong):
            yield f"{entry.path}: not replayed: it has problems"
        elif rerun:
            good += runs[entry.path]
        else:
            requests += requests_of(str(entry.path), runs[entry.path], known, random)
    if rerun and good:
        yield from reruns(random.sample(good, min(rerun, len(good))), draw)
    elif requests:
        yield from replays(requests)
        yield f"runs to replay were drawn with --draw {draw}"
