"""kill -9 of ``fit`` at random moments, each followed by a resume: see `campaign`."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.training.folder.layout import RECORD
from tests.attacks.campaign import N_ATTACKS, command, go_on, lived, moments, require_no_traceback, require_whole
from tests.benchmark.training.folder.test_kill import check_whole, ended
from tests.helpers.processes import in_process
from tests.helpers.runs import LM, run_folder

pytestmark = [pytest.mark.attack, pytest.mark.process]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The undisturbed run, and the seconds that it takes."""
    out = tmp_path_factory.mktemp("reference")
    assert lived(command(out, "warm-up"), out / "output") == 0
    started = time.monotonic()
    assert lived(command(out), out / "output") == 0
    return run_folder(out, LM, "a"), time.monotonic() - started


@pytest.mark.parametrize("attempt", range(N_ATTACKS))
def test_kill(attempt: int, reference: tuple[Path, float], tmp_path: Path, count: Callable[[str, str], None]) -> None:
    folder, output = run_folder(tmp_path, LM, "a"), tmp_path / "output"
    process = in_process(command(tmp_path), output)
    process.join(moments(attempt).random() * reference[1])
    process.kill()  # nothing happens to a process that has ended
    process.join()
    require_no_traceback(output.read_text() if output.exists() else "")
    check_whole(folder, reference[0])
    whole = (folder / RECORD).exists()
    end = "record whole" if whole else "no record, run folder" if folder.exists() else "nothing yet"
    count("kill -9", end if process.exitcode == -signal.SIGKILL else "had ended before")
    require_whole(folder if ended(folder) else go_on(tmp_path, output), reference[0])
