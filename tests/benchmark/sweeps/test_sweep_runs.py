"""Real sweeps on this machine, undisturbed, killed, shared and interrupted: the same records in the end.

Most drivers run in this process or in one from its fork server, so that little time goes into imports.
"""

import random
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmark.__main__ import main
from benchmark.sweeps.driver import Driver
from benchmark.sweeps.engines.local import LocalEngine
from benchmark.sweeps.engines.worker import LOG
from benchmark.sweeps.plan import Plan, make_plan
from benchmark.training.folder.lock import LOCK, is_taken
from tests.helpers.processes import PATIENCE_S, in_process, until
from tests.helpers.sweep_helpers import SUITE, Quiet, decided, folders_of, records_of

pytestmark = pytest.mark.process

SEEDS = tuple(range(4))


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "tiny.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def plan(suite: Path) -> Plan:
    return make_plan(SEEDS, suite=str(suite), models=["transformer"])


@pytest.fixture(scope="module")
def words(suite: Path) -> list[str]:
    return ["sweep", f"--suite={suite}", "--models=transformer", "--seeds=0-3", "--jobs=2"]


@pytest.fixture(scope="module")
def undisturbed(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    display = Quiet()
    Driver(plan, out, LocalEngine(out, 2), display).run()
    assert display.most_running == 2
    return out


def assert_whole(out: Path, plan: Plan, undisturbed: Path) -> None:
    """Every run has its one record, the one of the undisturbed sweep, and nobody works there any more."""
    records = records_of(out)
    assert records.keys() == folders_of(plan)
    assert decided(records) == decided(records_of(undisturbed))
    assert not [path for path in out.rglob(f"*{LOCK}") if is_taken(path)]
    assert not list(out.rglob("*.tmp"))


def test_records_name_suite_and_cell_and_logs_are_kept(undisturbed: Path, plan: Plan) -> None:
    records = records_of(undisturbed)
    assert records.keys() == folders_of(plan)
    for name, record in records.items():
        suite, cell, architecture, seed = name.split("/")
        assert (record.suite, record.cell, record.architecture.name) == (suite, cell, architecture)
        assert f"seed{record.seeds.init_seed}" == seed
        assert record.seeds.task_seed == record.seeds.data_seed == record.seeds.init_seed
        assert record.hardware.threads == 1
        assert record.status == "censored"
        assert "censored" in (undisturbed / name / LOG).read_text()


def test_one_at_a_time_is_the_same_and_a_restart_does_what_is_missing(
    undisturbed: Path, suite: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", f"--suite={suite}", "--models=transformer", "--jobs=1", f"--out={tmp_path}"]
    assert main([*command, "--seeds=0", "--cells=ca4"]) == 0
    first = tmp_path / "tiny" / "ca4" / "transformer" / "seed0" / "record.json"
    before = first.stat().st_mtime_ns
    capfd.readouterr()
    assert main([*command, "--seeds=0-1"]) == 0
    assert first.stat().st_mtime_ns == before
    out, err = capfd.readouterr()
    assert out == ""  # what runs say is in their logs
    assert "1 of 4 runs are done already" in err
    assert "4 of 4 runs done, 0 solved, 0 failed" in err
    ended = re.findall(r"^\d/4  (\S+): censored$", err, re.MULTILINE)
    assert ended == [f"tiny/{cell}/transformer/seed{s}" for cell, s in [("lm4", 0), ("lm4", 1), ("ca4", 1)]]
    reference = records_of(undisturbed)
    ours = records_of(tmp_path)
    assert len(ours) == 4
    assert decided(ours) == decided({name: reference[name] for name in ours})


@pytest.mark.long
def test_workers_killed_at_random_moments(plan: Plan, undisturbed: Path, tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path, 2)
    moments, kills = random.Random(0), 0
    over = threading.Event()

    def kill_now_and_then() -> None:
        nonlocal kills
        while kills < 5 and not over.wait(0.2 + moments.random()):
            if running := list(engine._running):
                moments.choice(running).kill()
                kills += 1

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    display = Quiet()
    driver = Driver(plan, tmp_path, engine, display)
    try:
        driver.run()
    finally:
        over.set()
        killer.join()
    assert kills >= 2
    assert any("killed by SIGKILL: will be tried again" in line for line in display.lines)
    assert driver.progress.failures == []
    assert_whole(tmp_path, plan, undisturbed)


@pytest.mark.long
def test_the_driver_killed_at_random_moments(
    plan: Plan, words: list[str], undisturbed: Path, tmp_path: Path, started: list[Any]
) -> None:
    out, moments, kills = tmp_path / "out", random.Random(1), 0
    for _ in range(3):
        process = in_process([*words, f"--out={out}"], tmp_path / "output")
        started.append(process)
        seen = len(list(out.rglob("record.json")))
        until(lambda: len(list(out.rglob("record.json"))) > seen or not process.is_alive())  # noqa: B023
        process.join(moments.random())
        kills += process.is_alive()
        process.kill()
        process.join()
    assert kills >= 2
    # At once, while the last workers may still be ending.
    assert main([*words, f"--out={out}"]) == 0
    assert_whole(out, plan, undisturbed)


def test_two_drivers_share_the_work(
    plan: Plan, words: list[str], undisturbed: Path, tmp_path: Path, started: list[Any]
) -> None:
    out = tmp_path / "out"
    processes = [in_process([*words, f"--out={out}"], tmp_path / f"output{i}") for i in range(2)]
    started += processes
    for process in processes:
        process.join(PATIENCE_S)
    texts = [(tmp_path / f"output{i}").read_text() for i in range(2)]
    assert [process.exitcode for process in processes] == [0, 0], texts
    assert all("8 of 8 runs done" in text for text in texts)
    shares = [set(re.findall(r"^\d/8  (\S+): censored$", text, re.MULTILINE)) for text in texts]
    assert all(shares), texts
    assert shares[0].isdisjoint(shares[1])
    assert shares[0] | shares[1] == folders_of(plan)
    assert_whole(out, plan, undisturbed)


def test_dry_run(
    undisturbed: Path,
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "nothing"
    assert main([*words, f"--out={out}", "--dry_run"]) == 0
    text = capsys.readouterr().out
    assert not out.exists()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert [row[:4] for row in rows] == [["lm4", "transformer", "4", "0"], ["ca4", "transformer", "4", "0"]]
    one, four = (float(cell.removeprefix("≤ ").removesuffix(" s")) for cell in rows[0][4:])
    assert 0 < one < 60
    assert four == pytest.approx(4 * one, abs=4 * 0.05 + 0.5)
    assert re.search(r"8 of 8 runs to do: at most .* of one core, at most .* with 2 at once", text)
    more = [word.replace("0-3", "0-5") for word in words]
    assert main([*more, f"--out={undisturbed}", "--dry_run"]) == 0
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert [row[:4] for row in rows] == [["lm4", "transformer", "2", "4"], ["ca4", "transformer", "2", "4"]]
    walls = [r.wall_train_s + r.wall_eval_s for name, r in records_of(undisturbed).items() if "/lm4/" in name]
    [mean] = re.findall(r"~ ([0-9.]+) s", rows[0][4])
    assert float(mean) == pytest.approx(sum(walls) / 4, abs=0.5)
    assert "4 of 12 runs to do: about" in text


def test_max_steps_takes_the_place_of_the_cells_budget(words: list[str], tmp_path: Path) -> None:
    """The command line's number, which is of a restricted type, gets into the runs as a plain one."""
    fewer = [word.replace("0-3", "0") for word in words]
    assert main([*fewer, f"--out={tmp_path / 'out'}", "--max_steps=20"]) == 0
    records = records_of(tmp_path / "out")
    assert len(records) == 2
    assert {(record.protocol.max_steps, record.steps, record.suite) for record in records.values()} == {(20, 20, None)}
