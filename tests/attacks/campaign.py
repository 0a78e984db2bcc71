"""How many attempts a campaign has, the run that each attempt attacks, and what must be true when it is over."""

import os
import random
import re
from pathlib import Path

from tests.helpers.processes import PATIENCE_S, Body, in_process, main_process
from tests.helpers.runs import LM, assert_same_run, fit_command, run_folder

N_ATTACKS = int(os.environ.get("ATTACKS", "20"))
"""Attempts of each campaign; the n-th is the same whenever it is made, in whatever process."""

STEPS = (60, 10)
FIT = "fit"


def command(out: Path, name: str = "a") -> list[str]:
    """The words of a run that takes about a second, with a checkpoint after every evaluation."""
    return [*fit_command(LM, out, name, *STEPS), "--checkpoint_interval_s=0"]


def moments(attempt: int) -> random.Random:
    """The random numbers of an attempt."""
    return random.Random(attempt)


def lived(words: list[str], output: Path, body: Body = main_process) -> int | None:
    """The exit code of a command that nobody disturbs."""
    process = in_process(words, output, body)
    process.join(PATIENCE_S)
    process.kill()  # nothing happens to a process that has ended
    process.join()
    return process.exitcode


def go_on(out: Path, output: Path) -> Path:
    """Bring the attacked run to its end, as a user would; the run folder."""
    folder = run_folder(out, LM, "a")
    words = ["resume", str(folder)] if folder.exists() else command(out)
    assert lived(words, output) == 0, output.read_text()
    return folder


def require_whole(folder: Path, reference: Path) -> None:
    """The run is the one that was never disturbed, and nothing lies around."""
    assert_same_run(folder, reference)
    left = [path for path in folder.parent.rglob(".*") if path.name != ".lock"]
    assert not left, left


def require_no_traceback(said: str) -> None:
    """No process has died of something that nobody had thought of."""
    assert not re.search(r"Traceback|Exception ignored|Fatal Python error", said), said
