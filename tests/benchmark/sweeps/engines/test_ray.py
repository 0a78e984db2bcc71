"""Real sweeps on a Ray cluster of this machine whose worker, node and driver are killed: the same records in the end.

The head has no CPU, so that what happens on a node is that node's work; every node has a folder for temporary files.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmark.sweeps.driver import Driver
from benchmark.sweeps.engines.local import LocalEngine
from benchmark.sweeps.engines.ray_node import remove_orphans
from benchmark.sweeps.plan import make_plan
from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.folder.lock import LOCK, is_taken
from tests.helpers.processes import PATIENCE_S, free_port, in_process, start
from tests.helpers.processes import until as waiting_until
from tests.helpers.sweep_helpers import LONG, SUITE, Quiet, decided, folders_of, records_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the nodes' processes in /proc"),
]
MARK = "EMERGENCE_TEST_NODE"


until = partial(waiting_until, interval_s=0.1)  # looking through /proc costs more than waiting


def processes(mark: str) -> dict[int, str]:
    """Command lines of the processes that have inherited a mark."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # ended meanwhile
                continue
    return found


def in_sessions(sessions: set[int]) -> list[int]:
    """Processes of sessions, but zombies: some of Ray's write over what they have inherited."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
            if int(session) in sessions and state != "Z":
                found.append(int(path.parent.name))
    return found


def kill(pids: Iterator[int] | list[int], signum: int = signal.SIGKILL) -> None:
    for pid in pids:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            continue


class Cluster:
    """A head, and nodes of one CPU.

    Args:
        folder: for everything that it writes; a short path, since there are sockets below.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, uuid.uuid4().hex
        self.started: list[subprocess.Popen[bytes]] = []
        self.address = f"127.0.0.1:{free_port()}"

    def begin(self) -> None:
        """Start the head."""
        self._ray_start(
            "head", "--head", "--num-cpus=0", f"--port={self.address.split(':')[1]}", f"--temp-dir={self.folder}/ray",
            "--include-dashboard=false", "--disable-usage-stats", f"--ray-client-server-port={free_port()}",
        )  # fmt: skip
        self._await_raylets(1)

    def add(self, name: str) -> None:
        """Let a node join; it is known to the cluster soon after."""
        before = len(self._raylets())
        self._ray_start(name, f"--address={self.address}", "--num-cpus=1")
        self._await_raylets(before + 1)  # nodes that start at the same moment take one another's sockets

    def _raylets(self) -> list[Path]:
        return list(self.folder.glob("ray/session_2*/sockets/raylet*"))

    def _await_raylets(self, n: int) -> None:
        until(lambda: len(self._raylets()) >= n or self.started[-1].poll() is not None)
        assert self.started[-1].poll() is None, [path.read_text() for path in self.folder.glob("*.log")]

    def stop(self) -> None:
        """Kill every process of it that is left: Ray's, in sessions of their own, and what they have started."""
        sessions = {process.pid for process in self.started}
        while left := [*in_sessions(sessions), *processes(self.mark)]:
            kill(left)
            time.sleep(0.02)
        for process in self.started:
            process.wait()

    def _ray_start(self, name: str, *words: str) -> None:
        self.temporary(name).mkdir()
        environment = {MARK: f"{self.mark}-{name}", "RAY_AUTH_MODE": "disabled", "TMPDIR": str(self.temporary(name))}
        ray = str(Path(sys.executable).with_name("ray"))
        options = ["--block", "--node-ip-address=127.0.0.1", f"--object-store-memory={80 * 2**20}"]
        with open(self.folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                [ray, "start", *options, *words], env=os.environ | environment, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)

    def temporary(self, name: str) -> Path:
        """A node's folder of temporary files."""
        return self.folder / name

    def processes(self, name: str, *words: str) -> list[int]:
        """A node's processes whose command line has one of the words."""
        return [pid for pid, line in processes(f"{self.mark}-{name}").items() if any(word in line for word in words)]

    def trainers(self, name: str) -> list[int]:
        """A node's processes that train: each leads a session of its own, its fork server does not."""
        return [pid for pid in self.processes(name, "forkserver") if os.path.exists(f"/proc/{pid}") and _leads(pid)]


def _leads(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="em-", dir="/tmp"))
    cluster = Cluster(folder)
    try:
        cluster.begin()
        cluster.add("a")
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def freeze_trainer(cluster: Cluster, name: str) -> int:
    """Wait until a node trains, and stop that process in mid-air: its unit cannot end before it goes on."""
    found: list[int] = []

    def look() -> bool:
        found[:] = cluster.trainers(name)
        return bool(found)

    until(look)
    kill(found, signal.SIGSTOP)
    return found[0]


def test_a_sweep_survives_its_driver_a_worker_and_a_node(cluster: Cluster, tmp_path: Path, started: list[Any]) -> None:
    suite, out = tmp_path / "tiny.yaml", tmp_path / "out"
    suite.write_text(SUITE)
    words = ["sweep", f"--suite={suite}", "--models=transformer", "--seeds=0-3", f"--out={out}"]
    words += ["--engine=ray", f"--address={cluster.address}"]

    driver = in_process(words, tmp_path / "first")
    started.append(driver)
    trainer = freeze_trainer(cluster, "a")
    driver.kill()
    kill([trainer], signal.SIGCONT)
    until(lambda: not cluster.trainers("a"))  # ended by itself: its driver is gone

    output = tmp_path / "second"
    driver = in_process(words, output)
    started.append(driver)
    cluster.add("b")  # it joins a sweep that has begun
    trainer = freeze_trainer(cluster, "a")
    kill(cluster.processes("a", "ray::run_unit"))
    kill([trainer], signal.SIGCONT)
    until(lambda: "its worker or node went away" in output.read_text())
    trainer = freeze_trainer(cluster, "b")
    kill(cluster.processes("b", "raylet", "ray::"))
    kill([trainer], signal.SIGCONT)
    until(lambda: not cluster.trainers("b"))
    driver.join(PATIENCE_S)
    text = output.read_text()
    assert driver.exitcode == 0, text
    assert text.count("its worker or node went away") == text.count("will be tried again") == 2, text

    plan = make_plan(range(4), suite=str(suite), models=["transformer"])
    records = records_of(out)
    assert records.keys() == folders_of(plan)
    assert all(record.hardware.threads == 1 for record in records.values())
    assert not [path for path in out.rglob(f"*{LOCK}") if is_taken(path)]
    assert not list(out.rglob("*.tmp"))
    assert not list(cluster.temporary("a").glob("emergence-benchmark-*/*")), "what killed runs have left is removed"
    here = tmp_path / "here"
    some = make_plan((0,), suite=str(suite), models=["transformer"])
    Driver(some, here, LocalEngine(here, 2), Quiet()).run()
    ours = {name: records[name] for name in folders_of(some)}
    assert decided(ours) == decided(records_of(here))
    # What is on the terminal is ours, not Ray's.
    ended = set(re.findall(r"^ *\d/8  (tiny/\S+): censored$", (tmp_path / "first").read_text() + text, re.MULTILINE))
    assert ended == folders_of(plan)
    assert not re.search(r"INFO|WARN|ray\.|\(pid|\bray start", text), text


@pytest.mark.long
def test_ctrl_c_ends_the_cluster_that_was_started_for_the_sweep(tmp_path: Path, repository: Path) -> None:
    """Without an address there is one for the time of the sweep; the whole process group gets the signal."""
    (tmp_path / "long.yaml").write_text(LONG)
    temporary = Path(tempfile.mkdtemp(dir="/tmp"))  # short, as the path of a socket must be
    mark, before = uuid.uuid4().hex, set(Path("/tmp").glob("emergence-ray-*"))
    words = ["sweep", f"--config={tmp_path / 'long.yaml'}", "--seeds=0", f"--out={tmp_path / 'out'}", "--engine=ray"]
    env = {MARK: mark, "HOME": str(tmp_path), "TMPDIR": str(temporary), "RAY_ADDRESS": ""}
    process = start(*words, cwd=repository, env=env, start_new_session=True)
    try:
        until(lambda: list(temporary.rglob(CHECKPOINT)) or process.poll() is not None)
        assert process.poll() is None, process.communicate()[0]
        new = set(Path("/tmp").glob("emergence-ray-*")) - before
        assert {folder.stat().st_mode & 0o777 for folder in new} == {0o700}
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130, output
        assert output.endswith("interrupted: the same command goes on where it stopped\n")
        assert not re.search(r"Traceback|INFO|WARN|ray\.|\(pid|\bray start", output), output
        assert not processes(mark), "nothing stays for a while"
        assert set(Path("/tmp").glob("emergence-ray-*")) <= before
        assert not (tmp_path / ".ray").exists(), "Ray keeps its token there"
        # Ray may kill a worker before it has tidied up; then the next one on the machine does.
        for folder in temporary.glob("emergence-benchmark-*"):
            remove_orphans(folder)
            assert not list(folder.iterdir())
        assert not list((tmp_path / "out").rglob("record.json"))
    finally:
        kill([*in_sessions({process.pid}), *processes(mark)])
        process.wait()
        shutil.rmtree(temporary, ignore_errors=True)
