"""Signals while no run listens: before it begins, and after it has ended; and what becomes of a sweep's processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.config import signals
from benchmark.training.folder.recorder import Recorder
from tests.helpers.runs import LM, fit, record_of

pytestmark = pytest.mark.process

WAITING = """
import os, sys
from benchmark.config import signals
signals.listen()
{then}
print("ready", flush=True)
try:
    sys.stdin.read()
except BaseException as error:
    print("swallowed", error)
print("went on", flush=True)
"""


def answer(then: str, *signums: int) -> tuple[int, str]:
    """The exit code of a process that gets signals, and all that it says."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [sys.executable, "-c", WAITING.format(then=then)]
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "ready\n"
        for signum in signums:
            process.send_signal(signum)
        said, _ = process.communicate("")
    return process.returncode, said


@pytest.mark.parametrize("signum", signals.SIGNALS)
def test_before_anything_began_a_signal_ends_the_process_with_one_line(signum: signal.Signals) -> None:
    code, said = answer("", signum, signum)
    assert code == 128 + signum
    (line,) = said.splitlines()
    assert signum.name in line and "interrupted" in line


def test_after_the_end_a_signal_changes_nothing_and_is_told_so() -> None:
    code, said = answer("signals.begin('the run has ended')", signal.SIGTERM)
    assert code == 0
    assert [line for line in said.splitlines() if "SIGTERM" in line and "the run has ended" in line]
    assert said.endswith("went on\n") and "swallowed" not in said


@pytest.mark.parametrize("signum", signals.SIGNALS)
def test_a_signal_in_the_last_moments_of_a_run_is_told_so(
    signum: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write = Recorder.write

    def interrupted(*args: object) -> object:
        os.kill(os.getpid(), signum)
        return write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Recorder, "write", interrupted)
    code, folder = fit(LM, tmp_path, "a", 5, 5)
    (line,) = capfd.readouterr().err.splitlines()
    assert (code, record_of(folder).status) == (0, "censored")
    assert signum.name in line and "the run has ended" in line


SERVER = """
import os, signal, sys, time
from multiprocessing import forkserver
from benchmark.sweeps.engines import server
server.PRELOAD = {preload!r}
server.start_server()
pid = forkserver._forkserver._forkserver_pid
if {kill}:
    os.kill(pid, signal.SIGKILL)
else:
    os.kill(pid, signal.SIGTERM), os.kill(pid, signal.SIGINT)
try:
    process = server.start_process(time.sleep, 0.0)
except OSError as error:
    print("error:", error)
    sys.exit(1)
process.join()
print(process.exitcode, forkserver._forkserver._forkserver_pid == pid)
"""


@pytest.mark.parametrize("kill", [True, False])
def test_a_fork_server_that_is_killed_is_started_again(kill: bool) -> None:
    """Other signals leave it alone: its runs are to end in order."""
    command = [sys.executable, "-c", SERVER.format(preload=["json"], kill=kill)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (f"0 {not kill}\n", "", 0)


def test_a_fork_server_that_always_dies_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text("import os\nos._exit(9)\n")
    command = [sys.executable, "-c", SERVER.format(preload=["deadly"], kill=False)]
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 1 and done.stdout.startswith("error: ") and done.stdout.count("\n") == 1
    assert done.stderr == ""


STREAMS = """
from leaderboard.streams import flushed, say, secure_streams
secure_streams()
with open("file", "w") as file:
    print("printed to standard output")
    say("said on standard error")
    file.write("content")
flushed()
"""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_streams_that_the_shell_has_closed_are_no_files(closed: str, tmp_path: Path, repository: Path) -> None:
    """The next file that is opened would get their number, and what is printed."""
    environment = os.environ | {"PYTHONPATH": str(repository), "PYTHONUNBUFFERED": ""}
    command = f"'{sys.executable}' -c '{STREAMS}' {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr
    assert (tmp_path / "file").read_text() == "content"
