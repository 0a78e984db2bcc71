"""Carries out a plan: what is missing is started, what is lost is started again, what fails stops nothing else."""

import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from benchmark.config.signals import SIGNALS, begin
from benchmark.sweeps.display import Display
from benchmark.sweeps.engines.engine import Ended, Engine
from benchmark.sweeps.plan import Plan, PlanEntry, Unit
from benchmark.sweeps.progress import Progress
from benchmark.sweeps.state import outcome
from benchmark.training.folder.layout import CONFIG
from benchmark.training.folder.lock import LOCK, clear_leftovers, is_taken, take
from leaderboard.records.record import Record
from leaderboard.whole_files import CannotWrite, require_room, writing

MOST_RETRIES = 3
POLL_S = 0.25
LOOK_AGAIN_S = 1.0
"""Time after which a unit that another process works on is looked at again."""


class Driver:
    """Runs every unit of a plan that has no outcome yet.

    Several drivers may work on one folder, on one machine or on many that share a file system with locks: a unit is
    claimed by a lock while it runs, and what another one has claimed is looked at again later.

    Args:
        plan: the sweep.
        out: its folder.
        engine: runs the units.
        display: tells how far it is.

    Attributes:
        progress: what has ended.
        signum: the signal that ended it early, None so far.
    """

    def __init__(self, plan: Plan, out: Path, engine: Engine, display: Display) -> None:
        self.out, self.engine, self.display = out, engine, display
        self.progress = Progress(plan)
        self.signum: int | None = None
        runs = [(entry, entry.unit(seed)) for entry, seed in plan.runs()]
        self._entries = {unit: entry for entry, unit in runs}
        self._pending = deque(unit for _, unit in runs)
        self._elsewhere: dict[Unit, float] = {}
        self._running: dict[Unit, BinaryIO] = {}
        self._lost: Counter[Unit] = Counter()
        self._told_of_others = False
        self._records: dict[Unit, Record] = {}

    @property
    def records(self) -> list[Record]:
        """Of the units that are done, in the order of the plan."""
        return [self._records[unit] for unit in self._entries if unit in self._records]

    def run(self) -> None:
        """Work until every unit has ended, or a signal comes.

        Raises:
            OSError: one line, if the disk is full, or the folder of the sweep is gone: the same sweep goes on later.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with self._signals():
            try:
                self._look()
                while self.signum is None and (self._pending or self._elsewhere or self._running):
                    self._fill()
                    self._show()
                    if self._running:
                        for unit, ended, reason in self.engine.wait(POLL_S):
                            self._end(unit, ended, reason)
                    elif self._elsewhere:
                        time.sleep(POLL_S)
                if self.signum is not None and self._running:
                    self.display.note(f"ending {len(self._running)} runs in order (again: at once)")
            finally:
                self.engine.close()
                for unit in list(self._running):
                    self._left(unit)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Note the first Ctrl-C or SIGTERM; the second interrupts whatever is going on, further ones do nothing."""
        n_signals = 0

        def note(signum: int, frame: FrameType | None) -> None:
            nonlocal n_signals
            n_signals += 1
            self.signum = self.signum or signum
            if n_signals == 2:
                raise KeyboardInterrupt

        if threading.current_thread() is not threading.main_thread():  # Python allows it nowhere else
            yield
            return
        before = {signum: signal.signal(signum, note) for signum in SIGNALS}
        begin("the sweep has ended")
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _show(self) -> None:
        self.display.show(self.progress, self.engine.slots)

    def _look(self) -> None:
        """Count what has ended before."""
        for unit in list(self._pending):
            entry, folder = self._entries[unit], self.out / unit.folder
            try:
                if folder.is_dir() and not (is_taken(self._claim_of(folder)) or is_taken(folder / LOCK)):
                    clear_leftovers(folder)
                record = outcome(folder, unit, entry.identity_of(unit.seed))
            except (ValueError, OSError) as error:
                self._pending.remove(unit)
                self._failed(entry, unit, str(error))
            else:
                if record is not None:
                    self._pending.remove(unit)
                    self._add(entry, unit, record)
        if done := self.progress.ended - len(self.progress.failures):
            self.display.note(f"{done} of {self.progress.n} runs are done already")

    def _left(self, unit: Unit) -> None:
        """The engine has been closed: a unit may have come to its end all the same."""
        entry = self._entries[unit]
        self._running.pop(unit).close()
        self.progress.rows[entry].running -= 1
        with suppress(ValueError, OSError):
            if (record := outcome(self.out / unit.folder, unit, entry.identity_of(unit.seed))) is not None:
                self._done(entry, unit, record)

    def _fill(self) -> None:
        """Start units until every slot has one."""
        now = time.monotonic()
        for unit in [unit for unit, since in self._elsewhere.items() if now - since >= LOOK_AGAIN_S]:
            del self._elsewhere[unit]
            self._pending.append(unit)
        while self._pending and len(self._running) < self.engine.slots and self.signum is None:
            self._begin(self._pending.popleft())
            self._show()
        if self._elsewhere and not self._pending and not self._running and not self._told_of_others:
            self._told_of_others = True
            self.display.note(f"waiting for {len(self._elsewhere)} runs that another process works on")

    def _begin(self, unit: Unit) -> None:
        """Claim a unit and start it, unless it has ended already or is not ours to run."""
        entry, folder = self._entries[unit], self.out / unit.folder
        claim = None
        try:
            if (record := outcome(folder, unit, entry.identity_of(unit.seed))) is None:
                with writing(folder / CONFIG):
                    self.out.stat()  # once removed, it must not come back half
                    folder.parent.mkdir(parents=True, exist_ok=True)
                claim = take(self._claim_of(folder))
                if claim is None or is_taken(folder / LOCK):
                    self._elsewhere[unit] = time.monotonic()
                    return
                # It may have ended between the look and the claim.
                if (record := outcome(folder, unit, entry.identity_of(unit.seed))) is None:
                    self.engine.start(unit)
                    self._running[unit], claim = claim, None
                    self.progress.rows[entry].running += 1
        except (ValueError, OSError) as error:
            self._failed(entry, unit, str(error))
        else:
            if record is not None:  # another driver's work
                self._add(entry, unit, record)
        finally:
            if claim is not None:
                claim.close()

    @staticmethod
    def _claim_of(folder: Path) -> Path:
        """The file that is locked by the driver that runs a unit."""
        return folder.parent / f".{folder.name}{LOCK}"

    def _end(self, unit: Unit, ended: Ended, reason: str) -> None:
        """A unit is no longer running."""
        entry = self._entries[unit]
        self._running.pop(unit).close()
        self.progress.rows[entry].running -= 1
        match ended:
            case Ended.DONE:
                try:
                    record = outcome(self.out / unit.folder, unit, entry.identity_of(unit.seed))
                except ValueError as error:
                    self._failed(entry, unit, str(error))
                else:
                    assert record is not None
                    self._done(entry, unit, record)
            case Ended.BUSY:
                self._elsewhere[unit] = time.monotonic()
            case Ended.LOST if self._lost[unit] < MOST_RETRIES:
                self._lost[unit] += 1
                self._pending.append(unit)
                self.display.note(f"{unit.folder}: {reason}: will be tried again")
            case Ended.LOST:
                self._failed(entry, unit, f"{reason}, {1 + MOST_RETRIES} times")
            case Ended.FAILED:
                self._failed(entry, unit, reason)

    def _add(self, entry: PlanEntry, unit: Unit, record: Record) -> None:
        self._records[unit] = record
        self.progress.add(entry, record)

    def _done(self, entry: PlanEntry, unit: Unit, record: Record) -> None:
        self._add(entry, unit, record)
        step = record.primary_step
        self.display.ended(self.progress, unit, record.status + ("" if step is None else f" at step {step}"))

    def _failed(self, entry: PlanEntry, unit: Unit, reason: str) -> None:
        reason = " ".join(reason.split())
        try:
            require_room(self.out)
        except CannotWrite as error:  # so all the others would fail like this one
            raise OSError(reason if "cannot be written" in reason else str(error)) from error
        self.progress.fail(entry, unit, reason)
        self.display.ended(self.progress, unit, f"failed: {reason}")
