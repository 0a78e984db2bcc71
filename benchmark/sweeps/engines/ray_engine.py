"""Runs units on the nodes of a Ray cluster.

Every unit is a Ray task of one CPU (`ray_node.py`) that sends back the files of its run; this process writes them into
the run folder, the record last. So the nodes need the package, but no file system in common.

A task that goes away with its worker or node is not tried again by Ray, but reported as lost: the driver of the sweep
counts retries, and shows them.
"""

import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.config.errors import InUse
from benchmark.config.limits import usable_cores
from benchmark.sweeps.engines.engine import Ended, Engine
from benchmark.sweeps.engines.local import last_line
from benchmark.sweeps.engines.ray_cluster import connect
from benchmark.sweeps.engines.ray_node import GRACE_S, UnitResult, run_unit
from benchmark.sweeps.engines.worker import LOG
from benchmark.sweeps.plan import Unit
from benchmark.sweeps.state import make_folder
from benchmark.training.folder.checkpoint import CHECKPOINT, PREVIOUS
from benchmark.training.folder.layout import RECORD, finished_record
from benchmark.training.folder.lock import training_in
from benchmark.training.machine import environment
from leaderboard.records.record import FINAL_STATUSES, Record, read_record, write_record
from leaderboard.whole_files import write_whole

PACKAGE = "emergence-benchmark"
LOOK_S = 1.0
"""Time after which the size of the cluster is asked for again."""


class RayEngine(Engine):
    """The nodes of a Ray cluster.

    Args:
        out: folder of the sweep; only this process writes in it.
        address: see `connect`.

    Raises:
        ValueError: in one line, if Ray is not installed or no cluster answers.
    """

    def __init__(self, out: Path, address: str | None) -> None:
        self.out = out
        self._disconnect = connect(address, usable_cores())
        import ray

        self._ray = ray
        self._task = ray.remote(num_cpus=1, max_retries=0)(run_unit)
        self._running: dict[Any, Unit] = {}  # by the reference to the task's result
        self._slots, self._looked_at = 1, float("-inf")

    @property
    def slots(self) -> int:
        """CPUs of all nodes; one where there are none, so that a cluster that grows on demand gets to know of it."""
        if time.monotonic() - self._looked_at >= LOOK_S:
            self._slots = max(1, int(self._ray.cluster_resources().get("CPU", 0)))
            self._looked_at = time.monotonic()
        return self._slots

    def start(self, unit: Unit) -> None:
        """Hand a unit to the cluster; it begins from the start, whatever checkpoint there may be.

        Raises:
            ValueError: one line, if its run folder holds something else.
            OSError: if its run folder cannot be made.
        """
        make_folder(self.out / unit.folder, unit)
        self._running[self._task.remote(unit.config)] = unit

    def wait(self, timeout_s: float) -> list[tuple[Unit, Ended, str]]:
        """The units that ended, see `Engine`."""
        if not self._running:
            return []
        ended, _ = self._ray.wait(list(self._running), timeout=timeout_s)
        if ended:
            ended, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [(unit := self._running.pop(task), *self._result(task, unit)) for task in ended]

    def _result(self, task: Any, unit: Unit) -> tuple[Ended, str]:
        """The end of a task, and of its unit with it."""
        try:
            result: UnitResult = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:  # raised by our code, on the node
            return Ended.FAILED, " ".join(f"on a node: {error.cause!r}".split())
        except self._ray.exceptions.RayError as error:  # raised by Ray: worker, node or result is gone
            return Ended.LOST, f"its worker or node went away ({type(error).__name__})"
        return self._kept(result, unit)

    def _kept(self, result: UnitResult, unit: Unit) -> tuple[Ended, str]:
        """Put what a run left where it belongs, and see how it ended."""
        try:
            status = deliver(result, self.out / unit.folder)
        except InUse:
            return Ended.BUSY, "is in use by another process"
        except (ValueError, OSError) as error:
            return Ended.FAILED, str(error)
        self._compare(result)
        if status in FINAL_STATUSES:
            return Ended.DONE, status
        # Killed, ended in order by a signal, or (255) left by its fork server: nothing that the run itself did.
        if result.exit_code < 0 or result.exit_code >= 128:
            return Ended.LOST, f"killed on {result.node}"
        reason = last_line(self.out / unit.folder / LOG) or f"exit code {result.exit_code}"
        return Ended.FAILED, f"{reason} (on {result.node})"

    def _compare(self, result: UnitResult) -> None:
        """Warn where other code ran than this process's; once a node, since Python leaves out a repeated warning."""
        content = result.files.get(RECORD)
        if content is None:
            return
        record = Record.model_validate_json(content)
        there = (record.versions.get(PACKAGE), record.git.commit)
        if there != (here := _code()):
            warnings.warn(
                f"node {result.node} runs {_named(*there)}, but this machine has {_named(*here)}:"
                " their records will say so",
                stacklevel=2,
            )

    def close(self) -> None:
        """Cancel what runs or waits, and leave the cluster, or end it if it was started here. No checkpoint remains."""
        try:
            for task in self._running:
                self._ray.cancel(task)
            if self._running:
                self._ray.wait(list(self._running), num_returns=len(self._running), timeout=2 * GRACE_S)
        finally:
            self._running.clear()
            self._disconnect()


def deliver(result: UnitResult, folder: Path) -> str | None:
    """Put the files of a run into its folder, the record last; a kill at any moment leaves no half of a file.

    Args:
        result: what a node sent.
        folder: run folder, which is there.

    Returns:
        The status of the record that is there now, None if there is none. An outcome that was there before stays.

    Raises:
        InUse: if another process trains in the folder.
        ValueError: if a record is not valid.
        OSError: if a file cannot be written.
    """
    with training_in(folder):
        if (finished := finished_record(folder)) is not None:
            return finished.status
        with open(folder / LOG, "ab") as log:  # that of earlier attempts stays
            log.write(result.files.get(LOG, b""))
        content = result.files.get(RECORD)
        if content is None:
            return None
        record = Record.model_validate_json(content)
        (folder / RECORD).unlink(missing_ok=True)  # of an earlier attempt, like the curves that are replaced now
        for name in result.files.keys() - {RECORD, LOG}:
            write_whole(folder / name, result.files[name])
        # An earlier attempt on this machine may have left a checkpoint: this run has overtaken it.
        for name in (CHECKPOINT, PREVIOUS):
            (folder / name).unlink(missing_ok=True)
        write_record(folder / RECORD, record)
        return read_record(folder / RECORD).status


@cache
def _code() -> tuple[str | None, str | None]:
    """Version and commit of the package in this process."""
    return environment.versions().get(PACKAGE), environment.git_state().commit


def _named(version: str | None, commit: str | None) -> str:
    return f"{PACKAGE} {version or 'of no version'}" + ("" if commit is None else f" at commit {commit[:10]}")
