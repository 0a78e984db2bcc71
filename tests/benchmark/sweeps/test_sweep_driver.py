"""The driver alone, with an engine that needs no processes: what is started, what again, what counts as done."""

import errno
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.sweeps.driver import MOST_RETRIES, Driver
from benchmark.sweeps.engines.engine import Ended, Engine
from benchmark.sweeps.engines.local import ended
from benchmark.sweeps.plan import Plan, Unit, make_plan
from benchmark.sweeps.state import make_folder
from benchmark.training.folder.layout import CONFIG
from benchmark.training.folder.lock import LOCK, is_taken, take
from leaderboard.records.record import read_record, write_record
from leaderboard.whole_files import CannotWrite
from tests.helpers.runs import resume
from tests.helpers.sweep_helpers import SUITE, Quiet, records_of

Ends = Callable[[Unit, int], Ended]
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = tmp_path_factory.mktemp("suite") / "tiny.yaml"
    path.write_text(SUITE)
    return make_plan(SEEDS, suite=str(path), models=["transformer"])


@pytest.fixture(scope="module")
def finished(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep's folder after each of its runs, made one after another in this process."""
    out = tmp_path_factory.mktemp("finished")
    for entry, seed in plan.runs():
        unit = entry.unit(seed)
        make_folder(out / unit.folder, unit)
        assert resume(out / unit.folder) == 0
    return out


class CopyingEngine(Engine):
    """Ends a unit when it is asked, with the finished run of another folder where that is DONE."""

    def __init__(self, out: Path, finished: Path, slots: int, ends: Ends = lambda unit, attempt: Ended.DONE) -> None:
        self.out, self.finished, self._slots, self.ends = out, finished, slots, ends
        self.started: list[Unit] = []
        self.running: list[Unit] = []
        self.closed = False

    @property
    def slots(self) -> int:
        return self._slots

    def start(self, unit: Unit) -> None:
        assert len(self.running) < self._slots
        assert unit not in self.running
        make_folder(self.out / unit.folder, unit)
        self.started.append(unit)
        self.running.append(unit)

    def wait(self, timeout_s: float) -> list[tuple[Unit, Ended, str]]:
        unit = self.running.pop(0)
        how = self.ends(unit, self.started.count(unit))
        if how is Ended.DONE:
            shutil.copytree(self.finished / unit.folder, self.out / unit.folder, dirs_exist_ok=True)
        return [(unit, how, f"it was {how}")]

    def close(self) -> None:
        self.closed = True


def drive(plan: Plan, out: Path, engine: Engine) -> tuple[Driver, Quiet]:
    display = Quiet()
    driver = Driver(plan, out, engine, display)
    driver.run()
    return driver, display


def counts(driver: Driver) -> tuple[int, int, int]:
    """Done, failed, running."""
    rows = driver.progress.rows.values()
    return sum(row.done for row in rows), sum(row.failed for row in rows), sum(row.running for row in rows)


def locks(out: Path) -> list[Path]:
    return [path for path in out.rglob(".*lock") if is_taken(path)]


@pytest.mark.process
def test_every_unit_once_seed_after_seed_and_then_nothing(plan: Plan, finished: Path, tmp_path: Path) -> None:
    engine = CopyingEngine(tmp_path, finished, slots=2)
    driver, display = drive(plan, tmp_path, engine)
    assert [(unit.seed, unit.cell) for unit in engine.started] == [(s, c) for s in SEEDS for c in ("lm4", "ca4")]
    assert counts(driver) == (6, 0, 0)
    assert display.most_running == 2
    assert records_of(tmp_path).keys() == records_of(finished).keys()
    assert engine.closed
    assert locks(tmp_path) == []
    again = CopyingEngine(tmp_path, finished, slots=2)
    driver, display = drive(plan, tmp_path, again)
    assert again.started == []
    assert (counts(driver), display.lines) == ((6, 0, 0), ["6 of 6 runs are done already"])


@pytest.mark.slow
def test_what_was_cut_short_or_ended_in_an_error_runs_again(plan: Plan, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    units = [plan.entries[0].unit(seed) for seed in SEEDS]
    for unit, changes in zip(
        units,
        [
            {"status": "interrupted", "error": "SIGTERM"},
            {"status": "error", "error": "a"},
            {"status": "diverged", "error": "b"},
        ],
        strict=True,
    ):
        path = tmp_path / unit.folder / "record.json"
        record = read_record(path)
        path.unlink()
        write_record(path, record.model_copy(update=changes))
    (tmp_path / plan.entries[1].unit(0).folder / "record.json").unlink()
    engine = CopyingEngine(tmp_path, finished, slots=1)
    drive(plan, tmp_path, engine)
    assert {(unit.cell, unit.seed) for unit in engine.started} == {("lm4", 0), ("lm4", 1), ("ca4", 0)}


@pytest.mark.slow
def test_lost_units_are_tried_again_three_times(plan: Plan, finished: Path, tmp_path: Path) -> None:
    doomed, unlucky = plan.entries[0].unit(0), plan.entries[1].unit(1)

    def ends(unit: Unit, attempt: int) -> Ended:
        return Ended.LOST if unit == doomed or (unit == unlucky and attempt <= MOST_RETRIES) else Ended.DONE

    engine = CopyingEngine(tmp_path, finished, 2, ends)
    driver, _ = drive(plan, tmp_path, engine)
    assert MOST_RETRIES == 3
    assert engine.started.count(doomed) == engine.started.count(unlucky) == 4
    assert counts(driver) == (5, 1, 0)
    assert [(failure.unit, failure.reason) for failure in driver.progress.failures] == [
        (doomed, "it was lost, 4 times")
    ]


def test_what_fails_stops_nothing_else_and_is_not_tried_again(plan: Plan, finished: Path, tmp_path: Path) -> None:
    engine = CopyingEngine(tmp_path, finished, 1, lambda unit, _: Ended.FAILED if unit.seed == 1 else Ended.DONE)
    driver, display = drive(plan, tmp_path, engine)
    assert counts(driver) == (4, 2, 0)
    assert len(engine.started) == 6
    assert "tiny/lm4/transformer/seed1: failed: it was failed" in display.lines


def test_a_busy_unit_is_looked_at_again(
    plan: Plan, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.sweeps.driver.LOOK_AGAIN_S", 0.0)
    engine = CopyingEngine(tmp_path, finished, 2, lambda unit, attempt: Ended.BUSY if attempt < 3 else Ended.DONE)
    driver, _ = drive(plan, tmp_path, engine)
    assert counts(driver) == (6, 0, 0)
    assert len(engine.started) == 18


def test_what_others_work_on_is_left_to_them(
    plan: Plan, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One unit is claimed by another driver, one is trained by hand; both come to their end while ours goes on."""
    monkeypatch.setattr("benchmark.sweeps.driver.LOOK_AGAIN_S", 0.0)
    claimed, by_hand = plan.entries[0].unit(0), plan.entries[1].unit(0)
    make_folder(tmp_path / by_hand.folder, by_hand)
    (tmp_path / claimed.folder).parent.mkdir(parents=True)
    held = {
        claimed: take((tmp_path / claimed.folder).parent / ".seed0.lock"),
        by_hand: take(tmp_path / by_hand.folder / LOCK),
    }
    engine = CopyingEngine(tmp_path, finished, 2)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        """By now all of ours have ended; the others end one after another."""
        assert len(engine.started) == 4
        slept.append(seconds)
        if held:
            unit, lock = held.popitem()
            shutil.copytree(finished / unit.folder, tmp_path / unit.folder, dirs_exist_ok=True)
            assert lock is not None
            lock.close()

    monkeypatch.setattr("benchmark.sweeps.driver.time.sleep", sleep)
    driver, display = drive(plan, tmp_path, engine)
    assert counts(driver) == (6, 0, 0)
    assert {claimed, by_hand}.isdisjoint(engine.started)
    assert len(slept) >= 2
    assert display.lines.count("waiting for 2 runs that another process works on") == 1


def test_what_the_other_leaves_unfinished_is_taken_over(
    plan: Plan, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.sweeps.driver.LOOK_AGAIN_S", 0.0)
    claimed = plan.entries[0].unit(0)
    (tmp_path / claimed.folder).parent.mkdir(parents=True)
    lock = take((tmp_path / claimed.folder).parent / ".seed0.lock")
    assert lock is not None
    monkeypatch.setattr("benchmark.sweeps.driver.time.sleep", lambda seconds: lock.close())
    engine = CopyingEngine(tmp_path, finished, 2)
    driver, _ = drive(plan, tmp_path, engine)
    assert counts(driver) == (6, 0, 0)
    assert engine.started[-1] == claimed


def test_another_runs_folder_is_left_alone(plan: Plan, finished: Path, tmp_path: Path) -> None:
    """One folder was made for another budget and not finished, one holds the record of another learning rate."""
    unfinished, recorded, broken = (plan.entries[0].unit(seed) for seed in SEEDS)
    make_folder(tmp_path / unfinished.folder, unfinished)
    config = tmp_path / unfinished.folder / CONFIG
    config.write_text(config.read_text().replace("max_steps: 40", "max_steps: 60"))
    shutil.copytree(finished / recorded.folder, tmp_path / recorded.folder)
    path = tmp_path / recorded.folder / "record.json"
    path.write_text(path.read_text().replace('"lr": 0.001', '"lr": 0.005'))
    (tmp_path / broken.folder).mkdir()
    (tmp_path / broken.folder / "record.json").write_text("{")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    engine = CopyingEngine(tmp_path, finished, 2)
    driver, _ = drive(plan, tmp_path, engine)
    assert {unit.cell for unit in engine.started} == {"ca4"}
    assert counts(driver) == (3, 3, 0)
    reasons = {failure.unit: failure.reason for failure in driver.progress.failures}
    assert "protocol.max_steps = 60 there, 40 here" in reasons[unfinished]
    assert "holds the record of another run (optimizer.lr = 0.005 there, 0.001 here)" in reasons[recorded]
    assert "record.json" in reasons[broken]
    assert {path: path.read_bytes() for path in before} == before


def test_a_change_that_decides_nothing_does_not_matter(plan: Plan, finished: Path, tmp_path: Path) -> None:
    unit = plan.entries[0].unit(0)
    make_folder(tmp_path / unit.folder, unit)
    config = tmp_path / unit.folder / CONFIG
    config.write_text(config.read_text().replace("devices: 1", "devices: auto") + "name: a\nout: elsewhere\n")
    driver, _ = drive(plan, tmp_path, CopyingEngine(tmp_path, finished, 2))
    assert counts(driver) == (6, 0, 0)


def test_a_signal_ends_the_sweep_and_counts_what_came_to_its_end(plan: Plan, finished: Path, tmp_path: Path) -> None:
    class Signalled(CopyingEngine):
        def wait(self, timeout_s: float) -> list[tuple[Unit, Ended, str]]:
            signal.raise_signal(signal.SIGINT)
            return super().wait(timeout_s)

        def close(self) -> None:
            """The run that is left has just ended."""
            super().close()
            for unit in self.running:
                shutil.copytree(finished / unit.folder, tmp_path / unit.folder, dirs_exist_ok=True)

    handler = signal.getsignal(signal.SIGINT)
    engine = Signalled(tmp_path, finished, 2)
    driver, _ = drive(plan, tmp_path, engine)
    assert driver.signum == signal.SIGINT
    assert engine.closed
    assert counts(driver) == (2, 0, 0)
    assert len(engine.started) == 2
    assert signal.getsignal(signal.SIGINT) is handler
    assert locks(tmp_path) == []


def test_slots_may_grow(plan: Plan, finished: Path, tmp_path: Path) -> None:
    class Growing(CopyingEngine):
        @property
        def slots(self) -> int:
            self._slots = 1 if len(self.started) < 3 else 3
            return self._slots

    engine = Growing(tmp_path, finished, 1)
    driver, display = drive(plan, tmp_path, engine)
    assert counts(driver) == (6, 0, 0)
    assert display.most_running == 3


@pytest.mark.parametrize(
    ("code", "how", "reason"),
    [
        (1, Ended.FAILED, "said"),
        (2, Ended.FAILED, "said"),
        (4, Ended.BUSY, "is in use by another process"),
        (-signal.SIGKILL, Ended.LOST, "killed by SIGKILL"),
        (-signal.SIGSEGV, Ended.LOST, "killed by SIGSEGV"),
        (128 + signal.SIGTERM, Ended.LOST, "ended from outside"),
        (255, Ended.LOST, "ended from outside"),
    ],
)
def test_what_an_exit_code_says(code: int, how: Ended, reason: str) -> None:
    assert ended(code, "said") == (how, reason)


@pytest.mark.slow
def test_a_full_disk_ends_the_sweep_and_not_each_run_by_itself(
    plan: Plan, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path) -> None:
        raise CannotWrite(folder / ".room", OSError(errno.ENOSPC, "No space left on device"))

    with monkeypatch.context() as patch:
        patch.setattr("benchmark.sweeps.driver.require_room", full)
        engine = CopyingEngine(tmp_path, finished, slots=1, ends=lambda unit, attempt: Ended.FAILED)
        with pytest.raises(OSError, match="No space left on device"):
            drive(plan, tmp_path, engine)
    assert len(engine.started) == 1 and engine.closed and locks(tmp_path) == []
    driver, _ = drive(plan, tmp_path, CopyingEngine(tmp_path, finished, slots=2))
    assert counts(driver) == (6, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("how", [Ended.FAILED, Ended.LOST])
def test_a_folder_that_is_removed_does_not_come_back(how: Ended, plan: Plan, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def ends(unit: Unit, attempt: int) -> Ended:
        shutil.rmtree(out)
        return how

    engine = CopyingEngine(out, finished, slots=1, ends=ends)
    with pytest.raises(OSError, match=f"the folder {out} is gone"):
        drive(plan, out, engine)
    assert len(engine.started) == 1 and not out.exists()


@pytest.mark.slow
def test_leftovers_of_killed_runs_are_cleared_but_not_those_of_others(
    plan: Plan, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    mine, claimed, trained = (tmp_path / plan.entries[0].unit(seed).folder for seed in SEEDS)
    for folder in (mine, claimed, trained):
        (folder / ".record.json.tmp").touch()
    held = [take(claimed.parent / f".{claimed.name}{LOCK}"), take(trained / LOCK)]
    drive(plan, tmp_path, CopyingEngine(tmp_path, finished, slots=1))
    assert [(folder / ".record.json.tmp").exists() for folder in (mine, claimed, trained)] == [False, True, True]
    for file in held:
        assert file is not None
        file.close()
