"""Runs units as processes of this machine, each with one thread.

The processes come from a fork server that has imported everything, so that one costs a second instead of six; each unit
has a fresh one, so that a crash, a leak or a kill takes nothing else along.
"""

import signal
import time
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from benchmark.config.errors import IN_USE
from benchmark.sweeps.engines.engine import Ended, Engine
from benchmark.sweeps.engines.server import start_process, start_server
from benchmark.sweeps.engines.worker import GRACE_S, LOG, work
from benchmark.sweeps.plan import Unit
from benchmark.sweeps.state import make_folder
from benchmark.training.folder.layout import finished_record

_LOST = 255
"""Exit code of a process whose fork server was killed."""


class LocalEngine(Engine):
    """Processes of this machine.

    Args:
        out: folder of the sweep.
        jobs: how many units run at once.
    """

    def __init__(self, out: Path, jobs: int) -> None:
        self.out, self.jobs = out, jobs
        self._running: dict[ForkServerProcess, Unit] = {}
        start_server()

    @property
    def slots(self) -> int:
        """As many as asked for."""
        return self.jobs

    def start(self, unit: Unit) -> None:
        """Begin a unit, or go on with it from its checkpoint.

        Raises:
            ValueError: one line, if its run folder holds something else.
            OSError: if its run folder cannot be made.
        """
        folder = self.out / unit.folder
        make_folder(folder, unit)
        self._running[start_process(work, folder.resolve())] = unit

    def wait(self, timeout_s: float) -> list[tuple[Unit, Ended, str]]:
        """The units that ended, see `Engine`."""
        sentinels = {process.sentinel: process for process in self._running}
        over = [sentinels[sentinel] for sentinel in connection.wait(list(sentinels), timeout_s)]  # type: ignore[index]
        return [
            (unit := self._running.pop(process), *self._result(process, self.out / unit.folder)) for process in over
        ]

    def _result(self, process: ForkServerProcess, folder: Path) -> tuple[Ended, str]:
        process.join()
        code = process.exitcode
        assert code is not None
        try:
            record = finished_record(folder)
        except ValueError as error:
            return Ended.FAILED, str(error)
        if not folder.is_dir():
            return Ended.FAILED, f"{folder}: the folder is gone"
        if record is not None:  # whatever happened to the process after it was written
            return Ended.DONE, record.status
        return ended(code, last_line(folder / LOG))

    def close(self) -> None:
        """End what runs: in order; at once after a minute; by force after another, or when interrupted here."""
        try:
            for _ in range(2):
                for process in self._running:
                    process.terminate()
                deadline = time.monotonic() + GRACE_S
                for process in self._running:
                    process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for process in self._running:
                process.kill()
                process.join()
            self._running.clear()


def ended(code: int, said: str) -> tuple[Ended, str]:
    """The end of a process that left no outcome.

    Args:
        code: its exit code.
        said: the last line of its log.
    """
    if code == IN_USE:
        return Ended.BUSY, "is in use by another process"
    if code < 0:
        known = {signum.value: signum.name for signum in signal.Signals}
        return Ended.LOST, f"killed by {known.get(-code, f'signal {-code}')}"
    if code in {_LOST, 128 + signal.SIGTERM, 128 + signal.SIGINT}:
        return Ended.LOST, "ended from outside"
    return Ended.FAILED, said or f"exit code {code}"


def last_line(path: Path) -> str:
    """The last line of a log that says something."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip().removeprefix("error: ") for line in reversed(lines) if line.strip()), "")
