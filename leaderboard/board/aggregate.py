"""Makes the board from entries: statistics of every cell, the headline, and ranks that are bands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from leaderboard.board import others
from leaderboard.board.standings import REFERENCE, Board, BoardCell, Result, Standing, SuiteBoard
from leaderboard.entries.reading import Entry, Results, RunRecord
from leaderboard.records.record import Record
from leaderboard.statistics.comparison import Outcomes, one_sided, outcomes
from leaderboard.statistics.survival import earliest_per_seed
from leaderboard.statistics.time_ratio import Ratio, time_ratios
from leaderboard.statistics.verdict import MIN_SEEDS, MIN_SEEDS_ONE_CELL, claim

Arm = Mapping[str, Outcomes]  # outcomes of one entry, by cell


def build_board(results: Results) -> Board:
    """The board of a tree of results. Equal results give an equal board, in whatever order they were read.

    Raises:
        ValueError: the results hold broken files; one line each.
    """
    if results.problems:
        raise ValueError("\n".join(results.problems))
    suites = sorted({entry.suite for entry in results.entries})
    return Board(
        suites=tuple(_suite(name, [entry for entry in results.entries if entry.suite == name]) for name in suites),
        others=tuple(others.summarise(run.record for run in results.others)),
    )


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
        name: {cell: arm for cell, kept in by_cell.items() if (arm := outcomes(run.record for run in kept)) is not None}
        for name, by_cell in runs.items()
    }
    base: Arm = {} if reference is None else arms[reference.name]
    names = [cell.name for cell in cells]
    complete = [name for name in arms if len(arms[name]) == len(cells)]
    ratios = _ratios(
        base,
        arms,
        [*((name, (cell,)) for name in arms for cell in names), *((name, tuple(names)) for name in complete)],
    )
    results: dict[str, dict[str, Result]] = {
        name: {cell: result_of(cell, kept, ratios.get((name, (cell,)))) for cell, kept in by_cell.items()}
        for name, by_cell in runs.items()
    }
    for cell in cells:
        for name, rank in _cell_ranks(cell.name, results, arms).items():
            results[name][cell.name] = replace(results[name][cell.name], rank=rank)
    headline = {name: ratios.get((name, tuple(names))) for name in complete if name != REFERENCE}
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
            ratio=headline.get(entry.name),
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


def _suite_ranks(
    ranked: Sequence[str],
    headline: Mapping[str, Ratio | None],
    results: Mapping[str, Mapping[str, Result]],
    arms: Mapping[str, Arm],
) -> dict[str, int]:
    """Bands over all cells, in the order of the headline; where there is none, of the restricted means."""

    def key(name: str) -> tuple[float, float, str]:
        means = [result.restricted_mean_step for result in results[name].values()]
        budgets = [arm.budget for arm in arms[name].values()]
        share = fmean((mean or 0.0) / budget for mean, budget in zip(means, budgets, strict=True))
        ratio = headline.get(name)
        if name == REFERENCE or not any(headline.values()):
            return 1.0, share, name
        bounds = () if ratio is None else (ratio.estimate, ratio.low, ratio.high)
        return next((bound for bound in bounds if bound is not None), float("inf")), share, name

    return bands(sorted(ranked, key=key), lambda first, second: beats_reliably(arms[first], arms[second], MIN_SEEDS))


def _cell_ranks(cell: str, results: Mapping[str, Mapping[str, Result]], arms: Mapping[str, Arm]) -> dict[str, int]:
    order = [
        (result.restricted_mean_step, name)
        for name, by_cell in results.items()
        if (result := by_cell.get(cell)) is not None
        and result.restricted_mean_step is not None
        and result.n >= MIN_SEEDS_ONE_CELL
    ]

    def beats(first: str, second: str) -> bool:
        return beats_reliably({cell: arms[first][cell]}, {cell: arms[second][cell]}, MIN_SEEDS_ONE_CELL)

    return bands([name for _, name in sorted(order)], beats)


def beats_reliably(first: Arm, second: Arm, min_seeds: int) -> bool:
    """Whether `verdict.decide` says of the first arm that it is better than the second, in the cells of the first.

    One permutation test, where `decide` takes three to tell apart what else it may say.
    """
    if min(len(arm[cell]) for arm in (first, second) for cell in first) < min_seeds:
        return False
    slower, faster = one_sided([(second[cell], first[cell]) for cell in sorted(first)], None)
    return claim(min(1.0, 2 * min(slower, faster)), slower, faster, p_same=1.0) == "better"


def _ratios(
    base: Arm, arms: Mapping[str, Arm], wanted: Iterable[tuple[str, tuple[str, ...]]]
) -> dict[tuple[str, tuple[str, ...]], Ratio]:
    """Ratios by entry and cells, where the entry is not the reference and both have outcomes in all of these cells."""
    pairs = {
        (name, cells): [(base[cell], arms[name][cell]) for cell in sorted(cells)]
        for name, cells in wanted
        if name != REFERENCE and cells and all(cell in base and cell in arms[name] for cell in cells)
    }
    return dict(zip(pairs, time_ratios(list(pairs.values())), strict=True))


def result_of(cell: str, runs: Sequence[RunRecord], ratio: Ratio | None) -> Result:
    """Statistics of one entry's runs in a cell, one per seed; the rank, which takes all entries, is left open."""
    records = tuple(run.record for run in runs)
    return Result(
        cell=cell,
        records=records,
        folders=tuple(run.folder for run in runs),
        ratio=ratio,
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
