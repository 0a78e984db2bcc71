"""The board: everything the pages show, computed once from entries and records. Plain data, in the order it is shown.

Every suite is ranked by itself. A cell is one task at one difficulty under one protocol; a standing is one entry in a
suite; a result is one entry in a cell. The reference is the suite's `transformer` entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leaderboard.entries.entry_file import EntryFile
from leaderboard.records.record import FINAL_STATUSES, Record
from leaderboard.statistics.head_to_head import ComparedCell, HeadToHead
from leaderboard.statistics.survival import Median, SurvivalCurve
from leaderboard.statistics.tried_rates import TriedRate
from leaderboard.statistics.win_rate_verdict import WinRateVerdict

REFERENCE = "transformer"


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Runs of one architecture in one cell under one protocol, summed up.

    Attributes:
        n: runs with an outcome; `n_solved` of them hit the primary target. `solved_low`, `solved_high`: Wilson, 95 %.
        median: Kaplan-Meier median step; None inside it means beyond the budget.
        restricted_mean_step: mean of min(step, budget); None without a run that has an outcome.
        curve: Kaplan-Meier curve with its 95 % band; None without a run that has an outcome.
        learning_rate: None if the optimizer has none.
        tokens_per_s: median over the runs that were trained alone, by device.
        statuses: how many runs ended in which status, broken ones included.
    """

    budget: int
    n: int
    n_solved: int
    solved_low: float | None
    solved_high: float | None
    median: Median
    restricted_mean_step: float | None
    curve: SurvivalCurve | None
    learning_rate: float | None
    parameters: int
    flops_per_token: float | None
    state_bytes: int | None
    tokens_per_s: dict[str, float]
    statuses: dict[str, int]
    first_date: str
    last_date: str

    @property
    def unusual(self) -> str:
        """Runs that need a second look: diverged ones count as unsolved; the others named here are not in n."""
        rest = {status: count for status, count in self.statuses.items() if status not in {"solved", "censored"}}
        return ", ".join(f"{count} {status}" for status, count in rest.items() if count)


@dataclass(frozen=True, kw_only=True)
class SummaryRow(Statistics):
    """Runs that share task, protocol, architecture, optimizer and precision, whether or not an entry holds them."""

    task: str
    architecture: str
    protocol_hash: str
    repeated_seeds: int

    @property
    def runs(self) -> Statistics:
        """The row itself: its only statistics."""
        return self

    @property
    def measured(self) -> tuple[Statistics, ...]:
        """The statistics that the row sums up."""
        return (self,)


@dataclass(frozen=True, kw_only=True)
class Result(Statistics):
    """One entry in one cell.

    Attributes:
        records: one per seed, in the order of the seeds; a repetition of a seed that has an outcome is left out.
        folders: where each record lies, with its curves beside it.
        against: the cell compared with the reference's; None for the reference itself and where one of the two has no
            outcome.
        rank: of the entry in this cell: 1 is the fastest; who cannot be told apart shares one. None below ten seeds.
    """

    cell: str
    records: tuple[Record, ...]
    folders: tuple[Path, ...]
    against: ComparedCell | None
    rank: int | None


@dataclass(frozen=True)
class BoardCell:
    """A cell of a suite: `label` reads `lm S=16 s=2 T=2`; `knobs` are the task's options, e.g. {"state_size": 16}."""

    name: str
    task: str
    label: str
    knobs: dict[str, object]
    budget: int
    eval_every: int
    tokens_per_step: int
    primary: str
    protocol_hash: str
    chance_loss_nats: float
    floor_loss_nats: float | None


@dataclass(frozen=True)
class Standing:
    """One entry in a suite.

    Attributes:
        results: by cell; a cell that the entry has no record of (or only of another protocol) is None: missing.
        missing: names of those cells; an entry with one has no headline and no rank.
        against: the headline: the comparison with the reference, task by task; None for the reference itself and for an
            incomplete entry.
        rank: as in `Result`, over all cells; None for an incomplete entry and below five seeds in a cell.
        min_seeds: runs with an outcome in the cell that has the fewest, missing cells not counted.
        verified: maintainers ran whole seeds themselves, `verified_seeds` of them; else the records are self-reported.
    """

    suite: str
    name: str
    title: str
    entry: EntryFile | None
    verified: bool
    is_reference: bool
    results: dict[str, Result | None]
    missing: tuple[str, ...]
    against: HeadToHead | None
    rank: int | None
    min_seeds: int
    first_date: str
    last_date: str
    verified_seeds: int = 0

    def task(self, name: str) -> WinRateVerdict | None:
        """The verdict on a task against the reference; None where there is none."""
        return None if self.against is None else self.against.tasks.get(name)

    @property
    def outcomes(self) -> dict[str, list[Record]]:
        """The runs that have an outcome, by cell; cells without one are left out."""
        kept = {
            result.cell: [record for record in result.records if record.status in FINAL_STATUSES]
            for result in self.measured
        }
        return {cell: records for cell, records in kept.items() if records}

    @property
    def overall(self) -> float | None:
        """Mean of the tasks' win rates, by which entries are ordered; 0.5 for the reference itself."""
        if self.against is not None:
            return self.against.overall
        return 0.5 if self.is_reference and not self.missing else None

    @property
    def standing(self) -> Standing:
        """The standing itself, so that a row of any table has one."""
        return self

    @property
    def measured(self) -> tuple[Result, ...]:
        """The results of the cells that are not missing."""
        return tuple(result for result in self.results.values() if result is not None)


@dataclass(frozen=True)
class CellRow:
    """One entry in one cell, missing or not: a row of a cell's table, of an entry's page, and of the CSV file."""

    standing: Standing
    cell: BoardCell

    @property
    def runs(self) -> Result | None:
        """The statistics; None where the cell is missing."""
        return self.standing.results.get(self.cell.name)

    @property
    def measured(self) -> tuple[Result, ...]:
        """The result in a tuple, which is empty where the cell is missing."""
        return () if self.runs is None else (self.runs,)


@dataclass(frozen=True)
class SuiteBoard:
    """A suite: its cells, and its standings in the order of rank, incomplete ones last."""

    name: str
    cells: tuple[BoardCell, ...]
    standings: tuple[Standing, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the cells."""
        return tuple(dict.fromkeys(cell.task for cell in self.cells))

    @property
    def has_curves(self) -> bool:
        """Whether there is anything to draw: some entry has an outcome in some cell."""
        return any(result.curve is not None for standing in self.standings for result in standing.measured)

    def rows(self, cell: BoardCell) -> list[CellRow]:
        """Every entry in a cell: in the order of rank, then of the mean step; missing ones last."""

        def order(row: CellRow) -> tuple[bool, bool, int, float, str]:
            result = row.runs
            rank, mean = (None, None) if result is None else (result.rank, result.restricted_mean_step)
            mean = float("inf") if mean is None else mean
            return result is None, rank is None, rank or 0, mean, row.standing.name

        return sorted((CellRow(standing, cell) for standing in self.standings), key=order)


@dataclass(frozen=True)
class Board:
    """All suites. `others` are rows of records that belong to no entry (figures, tuning): shown, never ranked.

    `tuning` holds the learning rates that were tried, by the name of the suite that they were tried for.
    """

    suites: tuple[SuiteBoard, ...]
    others: tuple[SummaryRow, ...]
    tuning: Mapping[str, Sequence[TriedRate]] = field(default_factory=dict)
