"""Ctrl-C and SIGTERM, up to three of them, at random moments of ``fit`` and of a sweep of two workers."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmark.training.folder.layout import RECORD
from benchmark.training.folder.lock import is_taken
from tests.attacks.campaign import N_ATTACKS, command, go_on, lived, moments, require_no_traceback, require_whole
from tests.benchmark.training.folder.test_kill import check_whole, ended
from tests.helpers.processes import PATIENCE_S, in_process, start, until
from tests.helpers.runs import LM, record_of, run_folder
from tests.helpers.sweep_helpers import SUITE, decided, records_of

pytestmark = [pytest.mark.attack, pytest.mark.process]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Count = Callable[[str, str], None]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The undisturbed run, and the seconds that it takes."""
    out = tmp_path_factory.mktemp("reference")
    assert lived(command(out, "warm-up"), out / "output") == 0
    started = time.monotonic()
    assert lived(command(out), out / "output") == 0
    return run_folder(out, LM, "a"), time.monotonic() - started


def attack(pid: int, attempt: int, duration_s: float) -> list[int]:
    """Send a process one to three signals at moments of its life; those that it got."""
    draw, sent = moments(attempt), list[int]()
    delays = sorted(draw.random() * duration_s for _ in range(draw.choice((1, 1, 2, 3))))
    began = time.monotonic()
    for delay in delays:
        time.sleep(max(0.0, began + delay - time.monotonic()))
        signum = draw.choice(SIGNALS)
        with suppress(ProcessLookupError):
            os.kill(pid, signum)
            sent.append(signum)
    return sent


@pytest.mark.parametrize("attempt", range(N_ATTACKS))
def test_signals_of_fit(attempt: int, reference: tuple[Path, float], tmp_path: Path, count: Count) -> None:
    """Every fourth process is a real one, so that its imports are attacked too."""
    folder, output = run_folder(tmp_path, LM, "a"), tmp_path / "output"
    if attempt % 4:
        process = in_process(command(tmp_path), output)
        assert process.pid is not None
        sent = attack(process.pid, attempt, reference[1])
        process.join(PATIENCE_S)
        code, said = process.exitcode, output.read_text()
    else:
        with start(*command(tmp_path), cwd=tmp_path) as real:
            time.sleep(0.3)  # what comes before our first line is Python's own to answer
            sent = attack(real.pid, attempt, 6.0)
            said, code = real.communicate(timeout=PATIENCE_S)[0], real.returncode
    require_no_traceback(said)
    check_whole(folder, reference[0])
    assert code in {0, *(128 + signum for signum in sent)}, said
    if code:
        assert "interrupted" in said, said
    if (folder / RECORD).exists():
        assert record_of(folder).status == ("interrupted" if code else "censored")
    status = record_of(folder).status if (folder / RECORD).exists() else "nothing yet"
    count("signals of fit", f"exit code {code}, {status}")
    require_whole(folder if ended(folder) else go_on(tmp_path, output), reference[0])


@pytest.fixture(scope="module")
def sweep_words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("suite") / "tiny.yaml"
    path.write_text(SUITE)
    return ["sweep", f"--suite={path}", "--cells=lm4", "--seeds=0-1", "--jobs=2"]


@pytest.fixture(scope="module")
def whole_sweep(sweep_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[object, float]]:
    """Contents of the records of the undisturbed sweep, and the seconds that it takes."""
    out = tmp_path_factory.mktemp("whole")
    started = time.monotonic()
    assert lived([*sweep_words, f"--out={out / 'runs'}"], out / "output") == 0
    yield decided(records_of(out / "runs")), time.monotonic() - started


@pytest.mark.parametrize("attempt", range(max(1, N_ATTACKS // 2)))
def test_signals_of_a_sweep(
    attempt: int, sweep_words: list[str], whole_sweep: tuple[object, float], tmp_path: Path, count: Count
) -> None:
    out, output = tmp_path / "runs", tmp_path / "output"
    words = [*sweep_words, f"--out={out}"]
    process = in_process(words, output)
    assert process.pid is not None
    sent = attack(process.pid, attempt, whole_sweep[1])
    process.join(PATIENCE_S)
    assert process.exitcode in {0, *(128 + signum for signum in sent)}, output.read_text()
    count("signals of a sweep", f"exit code {process.exitcode}")
    require_end(words, out, output, whole_sweep[0])


@pytest.mark.parametrize("attempt", range(max(1, N_ATTACKS // 10)))
def test_kill_of_the_fork_server(
    attempt: int, sweep_words: list[str], whole_sweep: tuple[object, float], tmp_path: Path, count: Count
) -> None:
    """The sweep starts another one, and waits for the runs of the old one."""
    out, output = tmp_path / "runs", tmp_path / "output"
    words = [*sweep_words, f"--out={out}"]
    with start(*words, cwd=tmp_path) as driver:
        server = 0
        while not server and driver.poll() is None:
            server = next(iter(servers_of(driver.pid)), 0)
        time.sleep(moments(attempt).random() * 12)
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)
        said, code = driver.communicate(timeout=PATIENCE_S)[0], driver.returncode
    require_no_traceback(said)
    assert code == 0, said
    count("kill -9 of a fork server", f"exit code {code}")
    require_end(words, out, output, whole_sweep[0])


def servers_of(pid: int) -> list[int]:
    """The fork servers that a process has started."""
    found = subprocess.run(["pgrep", "-P", str(pid), "-f", "forkserver"], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def require_end(words: list[str], out: Path, output: Path, whole: object) -> None:
    """The same command brings the sweep to the end that it would have had, and nothing lies around."""
    until(lambda: not any(is_taken(path) for path in out.rglob(".lock")))
    assert lived(words, output) == 0, output.read_text()
    require_no_traceback(output.read_text() + "".join(path.read_text() for path in out.rglob("log.txt")))
    assert decided(records_of(out)) == whole
    assert not [path for path in out.rglob(".*") if path.suffix != ".lock" and path.name != ".lock"]
