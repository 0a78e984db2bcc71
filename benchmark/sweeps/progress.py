"""Progress of a sweep."""

import time
from dataclasses import dataclass, field

from benchmark.sweeps.plan import Plan, PlanEntry, Unit
from leaderboard.records.record import Record


@dataclass
class CellProgress:
    """All seeds of an architecture on a cell.

    Attributes:
        n: units in the sweep.
        solved, done, failed, running: units; solved ones are done too.
        run_s: seconds of training and evaluation of every one that is done.
        steps: optimizer steps of all that are done.
    """

    n: int
    solved: int = 0
    done: int = 0
    failed: int = 0
    running: int = 0
    run_s: list[float] = field(default_factory=list)
    steps: int = 0

    @property
    def left(self) -> int:
        """Units that have not ended."""
        return self.n - self.done - self.failed


@dataclass(frozen=True)
class Failure:
    """A unit that failed, and why, in one line."""

    unit: Unit
    reason: str


class Progress:
    """Counts what has ended, and guesses how long the rest takes."""

    def __init__(self, plan: Plan) -> None:
        self.rows = {entry: CellProgress(len(plan.seeds)) for entry in plan.entries}
        self.failures: list[Failure] = []
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def n(self) -> int:
        """Units in the sweep."""
        return sum(row.n for row in self.rows.values())

    @property
    def ended(self) -> int:
        """Units that are done or have failed."""
        return self.n - sum(row.left for row in self.rows.values())

    def add(self, entry: PlanEntry, record: Record) -> None:
        """Count a unit that is done."""
        row = self.rows[entry]
        row.done += 1
        row.solved += record.status == "solved"
        row.run_s.append(run_seconds(record))
        row.steps += record.steps

    def fail(self, entry: PlanEntry, unit: Unit, reason: str) -> None:
        """Count a unit that failed."""
        self.rows[entry].failed += 1
        self.failures.append(Failure(unit, reason))

    def left_s(self, slots: int) -> float | None:
        """Seconds that the rest takes, None before the first run is done.

        What is known of an architecture on a cell is the mean of its finished runs. One that has none is taken to need
        its whole budget, at the pace of the others.
        """
        pace = [sum(row.run_s) / row.steps for row in self.rows.values() if row.steps]
        if not pace:
            return None
        total = 0.0
        for entry, row in self.rows.items():
            budget_s = entry.identity.protocol.max_steps * sum(pace) / len(pace)
            each = sum(row.run_s) / len(row.run_s) if row.run_s else budget_s
            total += (row.left - row.running / 2) * each  # those that run now are half done, more or less
        return total / max(1, slots)


def run_seconds(record: Record) -> float:
    """Wall seconds of a run, or of its share where many seeds were trained at once."""
    return (record.wall_train_s + record.wall_eval_s + record.wall_compile_s) / record.ensemble_size


def duration(seconds: float) -> str:
    """Seconds as people say them: 4.2 s, 42 s, 3 min 20 s, 38 min, 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 10:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
