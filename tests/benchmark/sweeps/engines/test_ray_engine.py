"""The Ray engine, given results as they come back from a cluster. No cluster runs here."""

import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from benchmark.config.errors import InUse
from benchmark.sweeps.engines import ray_engine, ray_node
from benchmark.sweeps.engines.engine import Ended
from benchmark.sweeps.engines.ray_engine import RayEngine, deliver
from benchmark.sweeps.engines.ray_node import UnitResult
from benchmark.sweeps.engines.worker import LOG
from benchmark.sweeps.plan import Unit
from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.folder.lock import training_in
from benchmark.training.machine import environment
from leaderboard.records.record import Git, Record, read_record, write_record
from tests.helpers.leaderboard.records import run_of

COMMIT = "a" * 40


def result_of(record: Record | None, exit_code: int = 0, log: str = "said\n", node: str = "there") -> UnitResult:
    """A result as a node sends it: the log, and the record with its curves if the run got as far as that."""
    files = {LOG: log.encode()}
    if record is not None:
        files |= {"curves.parquet": b"curves", "record.json": record.model_dump_json().encode()}
    return UnitResult(exit_code, files, node)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_ray_is_imported_only_where_it_is_used(repository: Path) -> None:
    for path in (repository / "benchmark").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:  # not inside functions
            match node:
                case ast.Import(names=names):
                    modules = [alias.name for alias in names]
                case ast.ImportFrom(module=str(module)):
                    modules = [module]
                case _:
                    continue
            assert not {"ray", "grpc"} & {module.partition(".")[0] for module in modules}, path


@pytest.mark.process
def test_a_node_imports_nothing_heavy(repository: Path) -> None:
    code = (
        "import sys, benchmark.sweeps.engines.ray_node\n"
        "print(sorted({'torch', 'lightning', 'pydantic'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_what_a_node_sends_is_put_into_the_run_folder(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"of an earlier attempt")
    (tmp_path / LOG).write_text("before\n")
    write_record(tmp_path / "record.json", run_of("interrupted", 0, 300))
    record = run_of("solved", 3)
    assert deliver(result_of(record), tmp_path) == "solved"
    assert read_record(tmp_path / "record.json") == record
    assert (tmp_path / "curves.parquet").read_bytes() == b"curves"
    assert (tmp_path / LOG).read_text() == "before\nsaid\n"
    assert names(tmp_path) == {"record.json", "curves.parquet", LOG, ".lock"}


def test_an_outcome_that_is_there_stays(tmp_path: Path) -> None:
    write_record(tmp_path / "record.json", before := run_of("censored"))
    assert deliver(result_of(run_of("solved")), tmp_path) == "censored"
    assert read_record(tmp_path / "record.json") == before
    assert names(tmp_path) == {"record.json", ".lock"}


def test_the_record_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(tmp_path / "record.json", run_of("interrupted", 0, 300))

    def fail(source: Path, target: Path) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        deliver(result_of(run_of("solved")), tmp_path)
    assert not (tmp_path / "record.json").exists(), "it would speak of other curves"
    assert not (tmp_path / "curves.parquet").exists()


def test_a_run_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    with training_in(tmp_path), pytest.raises(InUse):
        deliver(result_of(run_of("solved")), tmp_path)
    assert names(tmp_path) == {".lock"}


UNIT = Unit("suite", "cell", "mamba", 3, "seed: 3\nmodel: {class_path: mamba}\n")


class FakeRay:
    """Tasks end at once with what a test says; raises it if it is an exception."""

    def __init__(self, outcome: Any) -> None:
        import ray

        self.exceptions, self.outcome, self.cpus = ray.exceptions, outcome, 4.0
        self.cancelled: list[Any] = []

    def wait(self, tasks: list[Any], *, num_returns: int = 1, timeout: float) -> tuple[list[Any], list[Any]]:
        return tasks[:num_returns], tasks[num_returns:]

    def get(self, task: Any) -> Any:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    def cancel(self, task: Any) -> None:
        self.cancelled.append(task)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self.cpus} if self.cpus else {}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RayEngine:
    monkeypatch.setattr(ray_engine, "connect", lambda address, n_cpus: lambda: None)
    monkeypatch.setattr(ray_engine, "_code", lambda: ("1.0", COMMIT))
    return RayEngine(tmp_path, None)


def end(engine: RayEngine, outcome: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Ended, str]:
    """How a unit ends whose task ends like this."""
    monkeypatch.setattr(engine, "_ray", FakeRay(outcome))
    monkeypatch.setattr(engine, "_task", type("Task", (), {"remote": staticmethod(lambda config: object())}))
    engine.start(UNIT)
    [(unit, ended, reason)] = engine.wait(1.0)
    assert unit is UNIT
    assert engine.wait(1.0) == []
    return ended, reason


@pytest.mark.parametrize(
    ("outcome", "ended", "reason"),
    [
        (result_of(run_of("solved")), Ended.DONE, "solved"),
        (result_of(run_of("diverged"), 3), Ended.DONE, "diverged"),
        (result_of(run_of("error"), 1, "Traceback\nerror: no\n\n"), Ended.FAILED, "no (on there)"),
        (result_of(None, 2, "error: no such option\n"), Ended.FAILED, "no such option (on there)"),
        (result_of(None, 7, ""), Ended.FAILED, "exit code 7 (on there)"),
        (result_of(None, -9), Ended.LOST, "killed on there"),
        (result_of(None, 255), Ended.LOST, "killed on there"),
        (result_of(run_of("interrupted", 0, 300), 143), Ended.LOST, "killed on there"),
    ],
)
def test_how_a_run_on_a_node_ended(
    outcome: UnitResult, ended: Ended, reason: str, engine: RayEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_compare", lambda result: None)
    assert end(engine, outcome, monkeypatch) == (ended, reason)
    assert (engine.out / UNIT.folder / "config.yaml").read_text() == UNIT.config


def test_how_a_task_ended_that_sent_nothing(engine: RayEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray import exceptions

    for error in (exceptions.WorkerCrashedError(), exceptions.ObjectLostError("0" * 56, None, "")):
        ended, reason = end(engine, error, monkeypatch)
        assert (ended, reason) == (Ended.LOST, f"its worker or node went away ({type(error).__name__})")
    raised = exceptions.RayTaskError("run_unit", "Traceback\n...", OSError(28, "No space left"))
    assert end(engine, raised, monkeypatch) == (Ended.FAILED, "on a node: OSError(28, 'No space left')")
    with training_in(engine.out / UNIT.folder):
        assert end(engine, result_of(run_of("solved")), monkeypatch)[0] == Ended.BUSY


@pytest.mark.parametrize(
    ("version", "commit", "named"),
    [
        ("1.0", "b" * 40, "emergence-benchmark 1.0 at commit bbbbbbbbbb"),
        ("2.0", COMMIT, "emergence-benchmark 2.0 at commit aaaaaaaaaa"),
        ("2.0", None, "emergence-benchmark 2.0,"),
    ],
)
def test_a_warning_once_a_node_where_other_code_runs(
    version: str, commit: str | None, named: str, engine: RayEngine, recwarn: pytest.WarningsRecorder
) -> None:
    def record(version: str, commit: str | None) -> Record:
        git = Git(commit=commit, dirty=None if commit is None else False)
        return run_of("solved", versions={"emergence-benchmark": version}, git=git)

    engine._compare(result_of(record("1.0", COMMIT)))
    assert not recwarn.list
    for node in ("there", "there", "yonder"):
        engine._compare(result_of(record(version, commit), node=node))
    texts = [str(warning.message) for warning in recwarn.list]
    assert len(texts) == 2
    assert texts[0].startswith(f"node there runs {named}")
    assert texts[1] == texts[0].replace("node there", "node yonder")
    assert "this machine has emergence-benchmark 1.0 at commit aaaaaaaaaa" in texts[0]


def test_the_code_of_this_process() -> None:
    ray_engine._code.cache_clear()
    assert ray_engine._code() == (environment.versions().get("emergence-benchmark"), environment.git_state().commit)


def test_slots_follow_the_cluster(engine: RayEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_ray", cluster := FakeRay(None))
    monkeypatch.setattr(ray_engine, "LOOK_S", 0.0)
    assert engine.slots == 4
    cluster.cpus = 6.5
    assert engine.slots == 6
    cluster.cpus = 0
    assert engine.slots == 1  # else nothing would ever wait there, and nothing would make it grow


def test_close_cancels_what_runs(engine: RayEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_ray", cluster := FakeRay(None))
    disconnected = []
    engine._running, engine._disconnect = {"a": UNIT, "b": UNIT}, lambda: disconnected.append(True)
    engine.close()
    assert cluster.cancelled == ["a", "b"]
    assert disconnected == [True]
    assert engine._running == {}


def test_a_node_s_folder_that_somebody_else_has_made_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    theirs = tmp_path / f"emergence-benchmark-{os.getuid()}"
    theirs.mkdir()
    theirs.chmod(0o777)
    (theirs / "mine.lock").touch()
    with ray_node._temporary_folder() as folder:
        assert folder.parent != theirs and folder.parent.stat().st_mode & 0o777 == 0o700
    assert names(theirs) == {"mine.lock"}


def test_temporary_folders_of_dead_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    with ray_node._temporary_folder() as living:
        [root] = tmp_path.iterdir()
        dead, ending = root / "dead", root / "ending"
        for folder in (dead, ending):
            folder.mkdir()
            folder.with_suffix(".lock").touch()
        with training_in(ending), ray_node._temporary_folder() as mine:
            assert mine != living and mine.parent == root
            assert living.exists() and ending.exists() and not dead.exists()
        assert not mine.exists()
    assert names(root) == {"ending", "ending.lock"}
    with ray_node._temporary_folder():
        assert not ending.exists()
    assert names(root) == set()
