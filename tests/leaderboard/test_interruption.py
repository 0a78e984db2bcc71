"""Signals at chosen moments: the exit code, an orderly end, and no child that stays."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leaderboard import interruption
from leaderboard.interruption import Stopped, guarded, held, run_child
from leaderboard.writing import write_whole

RESULTS = Path(interruption.__file__).with_name("results")


@pytest.fixture(autouse=True)
def signals_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(interruption, "_STATE", interruption._State())
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    signums = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = {signum: signal.getsignal(signum) for signum in signums}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def send(signum: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_exit_codes(signum: int, code: int) -> None:
    def work() -> int:
        try:
            send(signum)
            time.sleep(5)
        except Exception:
            pytest.fail("took the signal for an error")
        return 0

    assert guarded(work) == code


def test_a_commands_own_exit_code() -> None:
    assert guarded(lambda: 7) == 7


def test_the_first_signal_counts_and_later_ones_disturb_nothing() -> None:
    done = []

    def work() -> int:
        try:
            send(signal.SIGTERM)
        finally:
            for _ in range(3):
                send()
            done.append("tidied up")
        return 0

    assert guarded(work) == 143
    assert done == ["tidied up"]


def test_held_until_the_block_has_ended(tmp_path: Path) -> None:
    done = []

    def work() -> int:
        with held():
            with held():
                send()
            done.append("inner")
            write_whole(tmp_path / "file", b"whole")
            done.append("outer")
        done.append("after")
        return 0

    assert guarded(work) == 130
    assert done == ["inner", "outer"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_ignored_where_the_caller_ignores_it() -> None:
    """As a shell does for what it starts with &."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def work() -> int:
        send()
        return 3

    assert guarded(work) == 3


def test_not_lost_in_a_callback(capsys: pytest.CaptureFixture[str]) -> None:
    """Python prints what is raised in a callback of the garbage collector, and goes on."""

    class Thing:
        pass

    def work() -> int:
        thing = Thing()
        keep = weakref.ref(thing, lambda _: send())
        del thing
        gc.collect()
        for _ in range(500):
            time.sleep(0.01)
        return 0 if keep else 1

    assert guarded(work) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.process
def test_a_child_is_gone(tmp_path: Path) -> None:
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    def work() -> int:
        threading.Timer(0.5, send).start()
        run_child([sys.executable, "-c", code])
        return 0

    assert guarded(work) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.process
def test_a_signal_while_a_child_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised when the child is known, which is then gone."""
    started: list[Any] = []
    popen = subprocess.Popen

    def start(*args: Any, **kwargs: Any) -> Any:
        started.append(popen(*args, **kwargs))
        send(signal.SIGTERM)
        return started[0]

    def work() -> int:
        run_child([sys.executable, "-c", "import time; time.sleep(60)"])
        return 0

    monkeypatch.setattr(subprocess, "Popen", start)
    assert guarded(work) == 143
    assert started[0].poll() is not None


@pytest.mark.process
def test_a_childs_answer_and_its_time() -> None:
    code = "import sys, time; print(sys.stdin.read() * 2, flush=True); time.sleep(float(sys.argv[1]))"
    done = run_child([sys.executable, "-c", code, "0"], b"ab")
    assert (done.returncode, done.stdout) == (0, b"abab\n")
    with pytest.raises(subprocess.TimeoutExpired) as late:
        run_child([sys.executable, "-c", code, "60"], b"ab", timeout=2)
    assert late.value.stdout in (b"abab\n", b"")  # a slow machine has not started it yet


def test_interrupted_is_no_exception() -> None:
    assert not issubclass(Stopped, Exception)


def descendants(pid: int) -> dict[int, str]:
    """Command lines of the processes that a process has started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat, line = (path / "stat").read_text(), (path / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(path.name)] = (int(stat.rpartition(")")[2].split()[1]), line.replace(b"\0", b" ").decode())
    return {child: line for child, (parent, line) in parents.items() if parent == pid}


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="a kernel without /proc")
@pytest.mark.parametrize(
    ("words", "child", "signum"),
    [
        (["build", str(RESULTS), "--out", "out"], "vega_worker", signal.SIGINT),
        (["validate", str(RESULTS / "lite" / "mamba"), "--no_replay"], "curves_reader", signal.SIGTERM),
        (["validate", str(RESULTS / "lite" / "mamba")], " replay ", signal.SIGINT),
    ],
)
def test_commands_with_children(words: list[str], child: str, signum: int, repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "leaderboard", *words]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-1, stderr=-1) as process:
        until(lambda: any(child in line for line in descendants(process.pid).values()))
        children = descendants(process.pid)
        process.send_signal(signum)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + signum, b"")
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    assert list(tmp_path.iterdir()) == []


IMPORTING = """
import os, runpy, signal, sys
name, *words = sys.argv[1:]
class Finder:
    @staticmethod
    def find_spec(module, path, target=None):
        if module == name:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
sys.argv = ["leaderboard", *words]
runpy.run_module("leaderboard", run_name="__main__", alter_sys=True)
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("leaderboard.interruption", ["show"]),
        ("leaderboard.mistakes", ["show"]),
        ("pydantic", ["show", str(RESULTS)]),
        ("numpy", ["check", str(RESULTS)]),
        ("leaderboard.validation", ["validate", str(RESULTS)]),
        ("leaderboard.render.markdown", ["build"]),
        ("yaml", ["submit", str(RESULTS), "--name", "x"]),
        ("leaderboard.entries.places", ["schema"]),
    ],
)
def test_while_importing(name: str, words: list[str], repository: Path) -> None:
    command = [sys.executable, "-c", IMPORTING, name, *words]
    done = subprocess.run(command, cwd=repository, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (f"show {RESULTS}/lite/mamba > /dev/full", "error: standard output: No space left on device\n"),
        ("schema > /dev/full", "error: standard output: No space left on device\n"),
        (f"show {RESULTS}/lite/mamba >&-", ""),
        ("schema | true", ""),
        (f"check {RESULTS}/lite/mamba --reference transformer | true", ""),
        (f"validate {RESULTS}/lite/mamba/lm_s10_n3 --no_replay | true", ""),
        ("show gone 2>&-", ""),
        ("--help | true", ""),
    ],
)
def test_output_that_nobody_takes(words: str, line: str, repository: Path) -> None:
    command = f"{sys.executable} -m leaderboard {words}"
    done = subprocess.run(["bash", "-c", command], cwd=repository, capture_output=True, text=True, check=False)
    assert done.stderr == line
