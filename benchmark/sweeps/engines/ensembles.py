"""Runs units as ensembles: all seeds of an architecture on a cell in one process, one ensemble a GPU."""

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from benchmark.config.files.yaml_text import from_text, read_yaml, to_text
from benchmark.config.seeds import parse_seeds
from benchmark.sweeps.engines.engine import Ended, Engine
from benchmark.sweeps.engines.local import ended, last_line
from benchmark.sweeps.engines.server import start_process, start_server
from benchmark.sweeps.engines.worker import GRACE_S, LOG, work_on
from benchmark.sweeps.plan import Unit
from benchmark.sweeps.state import check_config
from benchmark.training.folder.checkpoint import CHECKPOINT, PREVIOUS
from benchmark.training.folder.layout import CONFIG, finished_record, seed_folder
from leaderboard.whole_files import write_whole

MOST_SEEDS = 128
"""In one ensemble."""

GATHER_S = 1.0
"""Time to wait for more units before an ensemble is begun with those that are there."""


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; without starting CUDA here."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = [str(i) for i in range(torch.cuda.device_count())]
    return named.split(",")[: len(numbers)] if named else numbers


@dataclass
class _Job:
    process: ForkServerProcess
    device: str
    units: list[Unit]


class EnsembleEngine(Engine):
    """Processes of this machine, one per GPU, each with many seeds.

    Units are gathered as they come, and an ensemble begins with all that are there of one architecture on one cell. Its
    run folder is the one that holds the folders of the seeds.

    Args:
        out: folder of the sweep.
        devices: what each process sees as its only GPU (CUDA_VISIBLE_DEVICES); empty for one on the CPU.
    """

    def __init__(self, out: Path, devices: Sequence[str]) -> None:
        self.out, self._free = out, list(devices)
        self._waiting: dict[Path, list[Unit]] = defaultdict(list)
        self._since = 0.0
        self._jobs: list[_Job] = []
        self._devices = len(devices)
        start_server()

    @property
    def slots(self) -> int:
        """Enough that every ensemble finds the seeds it can take, and the next ones are claimed already."""
        return 2 * MOST_SEEDS * self._devices

    def start(self, unit: Unit) -> None:
        """Put a unit with the others of its architecture and cell.

        Raises:
            ValueError: one line, if its run folder holds something else.
        """
        check_config(self.out / unit.folder, unit)
        self._waiting[unit.folder.parent].append(unit)
        self._since = time.monotonic()

    def wait(self, timeout_s: float) -> list[tuple[Unit, Ended, str]]:
        """The units that ended, see `Engine`."""
        if time.monotonic() - self._since >= GATHER_S:
            self._begin()
        sentinels = [job.process.sentinel for job in self._jobs]
        connection.wait(sentinels, timeout_s) if sentinels else time.sleep(timeout_s)
        results = []
        for job in list(self._jobs):
            over = not job.process.is_alive()
            results += self._results(job, over)
            if over:
                self._jobs.remove(job)
                self._free.append(job.device)
        return results

    def _begin(self) -> None:
        """Start ensembles on the free devices, the largest first."""
        while self._free and self._waiting:
            folder = max(self._waiting, key=lambda place: len(self._waiting[place]))
            units = self._waiting[folder][:MOST_SEEDS]
            units = self._write_config(self.out / folder, units)
            if left := [unit for unit in self._waiting.pop(folder) if unit not in units]:
                self._waiting[folder] = left
            device = self._free.pop()
            process = start_process(work_on, (self.out / folder).resolve(), device)
            self._jobs.append(_Job(process, device, units))

    def _write_config(self, folder: Path, units: list[Unit]) -> list[Unit]:
        """Make the run folder of an ensemble, or leave it if it is one to go on with; the units that it will run."""
        seeds = {unit.seed: unit for unit in units}
        path = folder / CONFIG
        if path.exists() and (folder / CHECKPOINT).exists():
            there = parse_seeds(str(read_yaml(path)["seeds"]))
            unfinished = [seed for seed in there if finished_record(seed_folder(folder, seed)) is None]
            if unfinished and set(unfinished) <= seeds.keys():
                return [seeds[seed] for seed in unfinished]
        for name in (CHECKPOINT, PREVIOUS):  # of other seeds
            (folder / name).unlink(missing_ok=True)
        config = from_text(units[0].config)
        config |= {"seed": 0, "seeds": ",".join(map(str, seeds))}
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, to_text(config).encode())
        return units

    def _results(self, job: _Job, over: bool) -> list[tuple[Unit, Ended, str]]:
        """Of the units of an ensemble that have a record, or, once its process is over, of all of them."""
        results = []
        for unit in list(job.units):
            folder = self.out / unit.folder
            try:
                record = finished_record(folder)
            except ValueError as error:
                results.append((unit, Ended.FAILED, str(error)))
            else:
                if record is not None:
                    results.append((unit, Ended.DONE, record.status))
                elif over:
                    job.process.join()
                    code = job.process.exitcode
                    assert code is not None
                    reason = last_line(folder.parent / LOG)
                    results.append((unit, *ended(code, reason)))
                else:
                    continue
            job.units.remove(unit)
        return results

    def close(self) -> None:
        """End what runs: in order; by force after a minute, or when interrupted here."""
        try:
            for job in self._jobs:
                job.process.terminate()
            deadline = time.monotonic() + GRACE_S
            for job in self._jobs:
                job.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for job in self._jobs:
                job.process.kill()
                job.process.join()
            self._jobs.clear()
