"""Display of a sweep for people: a live table in a terminal, plain lines anywhere else."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmark.config.errors import optional
from benchmark.sweeps.engines.worker import LOG
from benchmark.sweeps.naming import CellNames
from benchmark.sweeps.plan import Unit
from benchmark.sweeps.progress import CellProgress, Progress, duration
from benchmark.training.display.terminal import is_live
from leaderboard.streams import say

REFRESH_S = 0.4
OTHER_LINES = 8
"""Lines of the terminal that are not rows of the table."""


_UNSEEN = "the progress of the sweep is not shown"


class Display(Protocol):
    """Events that the driver reports."""

    def show(self, progress: Progress, slots: int) -> None:
        """The state now; called a few times per second."""

    def ended(self, progress: Progress, unit: Unit, what: str) -> None:
        """A unit ended."""

    def note(self, line: str) -> None:
        """Something that a person should know."""


class Screen:
    """The live table of a terminal, or a line for every unit that ends.

    Args:
        console: where; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._shown_at = 0.0

    def __enter__(self) -> "Screen":
        with optional(_UNSEEN):
            if is_live(self.console):
                self._live.start()
        return self

    def __exit__(self, *args: object) -> None:
        with optional(_UNSEEN):
            self._live.stop()

    def show(self, progress: Progress, slots: int) -> None:
        """Draw the table again, if it is time."""
        now = time.monotonic()
        if self._live.is_started and now - self._shown_at >= REFRESH_S:
            self._shown_at = now
            with optional(_UNSEEN):
                table = table_of(progress, self.console.height - OTHER_LINES)
                self._live.update(Group(table, Text(_footer(progress, slots))), refresh=True)

    def ended(self, progress: Progress, unit: Unit, what: str) -> None:
        """A line, where there is no table."""
        if not self._live.is_started:
            say(f"{progress.ended}/{progress.n}  {unit.folder}: {what}")

    def note(self, line: str) -> None:
        """A line above the table."""
        with optional(_UNSEEN):
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class Silent:
    """Says nothing."""

    def show(self, progress: Progress, slots: int) -> None:
        """Show nothing."""

    def ended(self, progress: Progress, unit: Unit, what: str) -> None:
        """Show nothing."""

    def note(self, line: str) -> None:
        """Show nothing."""


@contextmanager
def live_or_silent(wanted: bool) -> Iterator[Display]:
    """The live table where it is wanted and there is a terminal or a notebook to show it in; elsewhere nothing."""
    screen = Screen()
    if not (wanted and is_live(screen.console)):
        yield Silent()
        return
    with screen:
        yield screen


def table_of(progress: Progress, most_rows: int | None = None) -> Table:
    """A row for every architecture on every cell; without room for all, first those in which things happen."""
    table = Table(title_justify="left")
    for column in ("cell", "architecture"):
        table.add_column(column)
    for column in ("done", "solved", "running", "failed"):
        table.add_column(column, justify="right")
    rows = list(progress.rows.items())
    if most_rows is not None and len(rows) > (room := max(1, most_rows)):
        chosen = sorted(rows, key=lambda item: _interest(item[1]))[:room]
        rows = [item for item in rows if item in chosen]
        table.caption = f"and {len(progress.rows) - len(rows)} more rows"
    name = CellNames([entry.cell for entry, _ in rows])
    for entry, row in rows:
        counts = (f"{row.done}/{row.n}", row.solved, row.running or "", row.failed or "")
        table.add_row(name(entry.cell), entry.architecture, *map(str, counts))
    return table


def _interest(row: CellProgress) -> int:
    return 0 if row.running else 1 if row.left else 2


def _footer(progress: Progress, slots: int) -> str:
    left_s = progress.left_s(slots)
    known = all(row.run_s or not row.left for row in progress.rows.values())
    left = "" if left_s is None else f", {'about' if known else 'at most about'} {duration(left_s)} left"
    return f"{progress.ended} of {progress.n} runs ended, {duration(progress.elapsed_s)} so far{left}"


def print_summary(progress: Progress, out: Path, console: Console | None = None) -> None:
    """The table of a sweep that has ended, and a line for every failure with the file to look at."""
    console = console or Console(stderr=True)
    console.print(table_of(progress))
    solved = sum(row.solved for row in progress.rows.values())
    done = sum(row.done for row in progress.rows.values())
    line = f"{done} of {progress.n} runs done, {solved} solved, {len(progress.failures)} failed"
    console.print(f"{line}, in {duration(progress.elapsed_s)}; records in {out}", highlight=False, soft_wrap=True)
    for failure in progress.failures:
        folder = out / failure.unit.folder
        log = f" (log: {folder / LOG})" if (folder / LOG).exists() else ""
        console.print(
            f"failed: {failure.unit.folder}: {failure.reason}{log}", highlight=False, markup=False, soft_wrap=True
        )
