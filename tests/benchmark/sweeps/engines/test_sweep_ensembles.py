"""Sweeps by ensembles: one process for all seeds of an architecture on a cell, here on the CPU, not a GPU."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmark.sweeps.driver import Driver
from benchmark.sweeps.engines.ensembles import EnsembleEngine, visible_gpus
from benchmark.sweeps.engines.local import LocalEngine
from benchmark.sweeps.plan import Plan, make_plan
from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.folder.layout import CONFIG
from tests.helpers.sweep_helpers import LONG, SUITE, Quiet, folders_of, records_of

SEEDS = (0, 1, 2)


def planned(folder: Path, suite: str, seeds: tuple[int, ...] = SEEDS) -> Plan:
    path = folder / "tiny.yaml"
    path.write_text(suite)
    return make_plan(seeds, suite=str(path), models=["transformer"])


def swept(plan: Plan, out: Path) -> EnsembleEngine:
    engine = EnsembleEngine(out, [""])
    driver = Driver(plan, out, engine, Quiet())
    driver.run()
    assert not driver.progress.failures
    return engine


@pytest.mark.process
def test_the_same_records_as_one_by_one(tmp_path: Path) -> None:
    plan = planned(tmp_path, SUITE)
    one_by_one, together = tmp_path / "one", tmp_path / "many"
    Driver(plan, one_by_one, LocalEngine(one_by_one, 1), Quiet()).run()
    swept(plan, together)
    theirs, ours = records_of(one_by_one), records_of(together)
    assert ours.keys() == theirs.keys() == folders_of(plan)
    for place, record in ours.items():
        assert (record.ensemble_size, theirs[place].ensemble_size) == (len(SEEDS), 1)
        for name in ("status", "suite", "cell", "seeds", "protocol_hash", "optimizer", "architecture", "steps"):
            assert getattr(record, name) == getattr(theirs[place], name), name
        np.testing.assert_allclose(record.first_losses_nats, theirs[place].first_losses_nats, rtol=2e-5)
    before = {place: record.started_at for place, record in ours.items()}
    swept(planned(tmp_path, SUITE, (*SEEDS, 3)), together)  # three seeds have ended, one is missing
    after = records_of(together)
    assert {place: after[place].started_at for place in before} == before
    assert {record.ensemble_size for place, record in after.items() if place not in before} == {1}


@pytest.mark.process
def test_a_killed_ensemble_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(LONG.replace("1000000", "600"))
    plan = make_plan(SEEDS, files=[str(path)])
    out = tmp_path / "out"
    engine = EnsembleEngine(out, [""])
    pids = list[int]()

    def kill() -> None:
        deadline = time.monotonic() + 120
        while not list(out.rglob(CHECKPOINT)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for job in engine._jobs:
            assert job.process.pid is not None
            pids.append(job.process.pid)
            os.kill(job.process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    driver = Driver(plan, out, engine, Quiet())
    driver.run()
    killer.join()
    assert len(pids) == 1 and not driver.progress.failures
    records = records_of(out)
    assert records.keys() == folders_of(plan)
    assert {record.ensemble_size for record in records.values()} == {len(SEEDS)}
    folder = (out / min(records)).parent
    assert yaml.safe_load((folder / CONFIG).read_text())["seeds"] == "0,1,2"


@pytest.mark.parametrize(("named", "found"), [("", []), ("3,1", ["3", "1"]), (None, ["0", "1"])])
def test_visible_gpus(named: str | None, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0 if named == "" else 2)
    assert visible_gpus() == found
