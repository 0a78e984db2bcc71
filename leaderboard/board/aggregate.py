"""Makes the board from entries: statistics of every cell, the headline, and ranks that are bands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from leaderboard.board import others
from leaderboard.board.standings import REFERENCE, Board, BoardCell, Result, Standing, SuiteBoard
from leaderboard.entries.reading import Entry, Results, RunRecord
from leaderboard.records.record import FINAL_STATUSES, Record
from leaderboard.statistics.head_to_head import ComparedCell, HeadToHead, head_to_head, is_ahead, is_ahead_in
from leaderboard.statistics.survival import earliest_per_seed
from leaderboard.statistics.tried_rates import tried_rates
from leaderboard.statistics.win_rate import MIN_SEEDS_ONE_CELL
from leaderboard.statistics.win_rate_verdict import MIN_SEEDS

FIGURE = "figure_"  # the suite of a figure's records begins so: they have a page of their own
TUNING = "_tuning"  # a suite's tuning is a suite of this name: lite_tuning
Arm = Mapping[str, Sequence[Record]]  # runs of one entry that have an outcome, by cell


def build_board(results: Results) -> Board:
    """The board of a tree of results. Equal results give an equal board, in whatever order they were read.

    Raises:
        ValueError: the results hold broken files; one line each.
    """
    if results.problems:
        raise ValueError("\n".join(results.problems))
    suites = sorted({entry.suite for entry in results.entries})
    loose = [run.record for run in results.others if run.record.intervention is None and not of_figure(run.record)]
    return Board(
        suites=tuple(_suite(name, [entry for entry in results.entries if entry.suite == name]) for name in suites),
        others=tuple(others.summarise(loose)),
        tuning={
            suite: tried_rates(record for record in loose if record.suite == f"{suite}{TUNING}") for suite in suites
        },
    )


def of_figure(record: Record) -> bool:
    """Whether a record was made for a figure, whose page sums it up."""
    return (record.suite or "").startswith(FIGURE)


def bands(order: Sequence[str], beats: Callable[[str, str], bool]) -> dict[str, int]:
    """Ranks of names in the order given: a band ends before the first one that its leader beats."""
    ranks: dict[str, int] = {}
    leader = None
    for place, name in enumerate(order, start=1):
        if leader is None or beats(leader, name):
            leader = name
            ranks[name] = place
        else:
            ranks[name] = ranks[leader]
    return ranks


def _suite(suite: str, entries: Sequence[Entry]) -> SuiteBoard:
    reference = next((entry for entry in entries if entry.name == REFERENCE), None)
    cells = _cells(entries, reference)
    runs: dict[str, dict[str, tuple[RunRecord, ...]]] = {
        entry.name: {cell.name: kept for cell in cells if (kept := _of_protocol(entry, cell))} for entry in entries
    }
    arms: dict[str, Arm] = {
        name: {
            cell: records
            for cell, its_runs in by_cell.items()
            if (records := [run.record for run in its_runs if run.record.status in FINAL_STATUSES])
        }
        for name, by_cell in runs.items()
    }
    base: Arm = {} if reference is None else arms[reference.name]
    against = {name: compared(base, arm) for name, arm in arms.items() if name != REFERENCE}
    in_cell = {(name, cell.cell): cell for name, found in against.items() if found is not None for cell in found.cells}
    results: dict[str, dict[str, Result]] = {
        name: {cell: result_of(cell, kept, in_cell.get((name, cell))) for cell, kept in by_cell.items()}
        for name, by_cell in runs.items()
    }
    for cell in cells:
        for name, rank in _cell_ranks(cell.name, results, arms).items():
            results[name][cell.name] = replace(results[name][cell.name], rank=rank)
    names = [cell.name for cell in cells]
    complete = [name for name in arms if len(arms[name]) == len(cells)]
    headline = {
        name: found for name in complete if (found := against.get(name)) is not None and len(found.cells) == len(cells)
    }
    ranked = [name for name in complete if min(map(len, arms[name].values())) >= MIN_SEEDS]
    ranks = _suite_ranks(ranked, headline, results, arms)
    standings = [
        Standing(
            suite=suite,
            name=entry.name,
            title=entry.name if entry.file is None else entry.file.title,
            entry=entry.file,
            verified=entry.verified,
            verified_seeds=entry.verified_seeds,
            is_reference=entry is reference,
            results={cell: results[entry.name].get(cell) for cell in names},
            missing=tuple(cell for cell in names if cell not in runs[entry.name]),
            against=headline.get(entry.name),
            rank=ranks.get(entry.name),
            min_seeds=min((len(arm) for arm in arms[entry.name].values()), default=0),
            first_date=min((result.first_date for result in results[entry.name].values()), default=""),
            last_date=max((result.last_date for result in results[entry.name].values()), default=""),
        )
        for entry in entries
    ]
    place = {name: place for place, name in enumerate(ranks)}
    standings.sort(key=lambda standing: (place.get(standing.name, len(place)), bool(standing.missing), standing.name))
    return SuiteBoard(suite, cells, tuple(standings))


def compared(base: Arm, arm: Arm) -> HeadToHead | None:
    """The comparison with the reference in the cells that both have runs in; None without one."""
    common = [cell for cell in arm if cell in base]
    return head_to_head({cell: arm[cell] for cell in common}, {cell: base[cell] for cell in common}) if common else None


def _suite_ranks(
    ranked: Sequence[str],
    headline: Mapping[str, HeadToHead],
    results: Mapping[str, Mapping[str, Result]],
    arms: Mapping[str, Arm],
) -> dict[str, int]:
    """Bands over all cells, in the order of the mean of the tasks' win rates; without any, of the restricted means."""

    def key(name: str) -> tuple[float, float, str]:
        means = [(result.restricted_mean_step or 0.0) / result.budget for result in results[name].values()]
        rate = headline[name].overall if name in headline else 0.5  # the reference against itself
        return -rate, fmean(means), name

    return bands(sorted(ranked, key=key), lambda first, second: is_ahead(arms[first], arms[second]))


def _cell_ranks(cell: str, results: Mapping[str, Mapping[str, Result]], arms: Mapping[str, Arm]) -> dict[str, int]:
    """Bands in a cell, in the order of the win rates against the reference; without any, of the restricted means."""
    order = [
        (-(result.against.verdict.win_rate.estimate if result.against else 0.5), result.restricted_mean_step, name)
        for name, by_cell in results.items()
        if (result := by_cell.get(cell)) is not None
        and result.restricted_mean_step is not None
        and result.n >= MIN_SEEDS_ONE_CELL
    ]
    return bands(
        [name for *_, name in sorted(order)], lambda first, second: is_ahead_in(cell, arms[first], arms[second])
    )


def result_of(cell: str, runs: Sequence[RunRecord], against: ComparedCell | None) -> Result:
    """Statistics of one entry's runs in a cell, one per seed; the rank, which takes all entries, is left open."""
    records = tuple(run.record for run in runs)
    return Result(
        cell=cell,
        records=records,
        folders=tuple(run.folder for run in runs),
        against=against,
        rank=None,
        **vars(others.statistics_of(records)),
    )


def cell_of(name: str, record: Record) -> BoardCell:
    """The cell that a record belongs to."""
    return BoardCell(
        name=name,
        task=record.task.name,
        label=others.task_label(record),
        knobs=dict(record.task.config),
        budget=record.protocol.max_steps,
        eval_every=record.protocol.eval_every,
        tokens_per_step=record.protocol.tokens_per_step,
        primary=record.protocol.primary,
        protocol_hash=record.protocol_hash,
        chance_loss_nats=record.chance_loss_nats,
        floor_loss_nats=record.floor_loss_nats,
    )


def _cells(entries: Sequence[Entry], reference: Entry | None) -> tuple[BoardCell, ...]:
    """The suite's cells: the reference's, with its protocols; without a reference everybody's, the first one's."""
    cells: dict[str, BoardCell] = {}
    for entry in [reference] if reference is not None else entries:
        for name, runs in entry.cells.items():
            cells.setdefault(name, cell_of(name, runs[0].record))
    return tuple(sorted(cells.values(), key=lambda cell: (cell.task != "lm", others.natural(cell.label), cell.name)))


def _of_protocol(entry: Entry, cell: BoardCell) -> tuple[RunRecord, ...]:
    """The entry's runs in a cell, one per seed; none if they followed another protocol."""
    runs = entry.cells.get(cell.name, ())
    kept = {id(record) for record in earliest_per_seed([run.record for run in runs])}
    return tuple(run for run in runs if id(run.record) in kept and run.record.protocol_hash == cell.protocol_hash)
