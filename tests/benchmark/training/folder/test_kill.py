"""kill -9 at any moment: what lies in the run folder is whole, and the run goes on to the end it would have had.

The processes come from a fork server that has imported the harness, so that a life costs one second instead of six, and
the moments fall on what the harness does rather than on imports.
"""

import hashlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from benchmark.training.folder.checkpoint import CHECKPOINT, read_checkpoint
from benchmark.training.folder.layout import CONFIG, CURVES, RECORD
from tests.helpers.processes import Body, in_process, main_process
from tests.helpers.runs import LM, assert_same_run, fit_command, record_of, resume, run_folder, send_at

pytestmark = pytest.mark.process

N_FIRST_KILLS = 10  # each is followed by a second one on the resumed run: 20 in all
KILLED = -signal.SIGKILL


def command(out: Path, name: str) -> list[str]:
    return [*fit_command(LM, out, name, 60, 10), "--checkpoint_interval_s=0"]


Life = Callable[..., int]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Run a command in a process of its own, kill it after some seconds if asked to, return its exit code."""
    output = tmp_path_factory.mktemp("output") / "output"

    def life(words: list[str], kill_after_s: float | None = None, body: Body = main_process) -> int:
        output.write_text("")
        process = in_process(words, output, body)
        process.join(kill_after_s)
        process.kill()  # nothing happens to a process that has ended
        process.join()
        assert process.exitcode in {0, 128 + signal.SIGINT, KILLED}, output.read_text()
        return process.exitcode

    return life


@pytest.fixture(scope="module")
def whole(live: Life, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The undisturbed run, and the seconds that it takes once the fork server is up."""
    out = tmp_path_factory.mktemp("whole")
    assert live(command(out, "first")) == 0
    started = time.monotonic()
    assert live(command(out, "whole")) == 0
    return run_folder(out, LM, "whole"), time.monotonic() - started


def check_whole(folder: Path, reference: Path) -> None:
    """Whatever is there is complete and fits together."""
    if (folder / CONFIG).exists():
        ours, theirs = (yaml.safe_load((f / CONFIG).read_text()) for f in (folder, reference))
        assert ours == theirs | {"name": ours["name"], "out": ours["out"]}
    if (folder / CHECKPOINT).exists():
        assert (folder / CONFIG).exists()
        assert read_checkpoint(folder / CHECKPOINT)["global_step"] > 0
    if (folder / RECORD).exists():
        record = record_of(folder)
        if record.curves is None:  # a signal came before the first evaluation
            assert (record.status, record.first_loss_nats) == ("interrupted", None)
            assert not (folder / CURVES).exists()
        else:
            assert hashlib.sha256((folder / CURVES).read_bytes()).hexdigest() == record.curves.sha256


def next_command(folder: Path, out: Path) -> list[str]:
    """Go on as a user does after a crash, or start again if there is nothing to go on from."""
    return ["resume", str(folder)] if (folder / CONFIG).exists() else command(out, folder.name)


def ended(folder: Path) -> bool:
    return (folder / RECORD).exists() and record_of(folder).status == "censored"


@pytest.mark.long
@pytest.mark.slow
def test_killed_at_random_moments(whole: tuple[Path, float], live: Life, tmp_path: Path) -> None:
    reference, duration_s = whole
    moments = random.Random(0)
    kills = 0
    for i in range(N_FIRST_KILLS):
        folder = run_folder(tmp_path, LM, f"run{i}")
        for moment in ((i + moments.random()) / N_FIRST_KILLS, moments.random()):
            if not ended(folder):
                kills += live(next_command(folder, tmp_path), moment * duration_s) == KILLED
                check_whole(folder, reference)
        if not ended(folder):
            assert live(next_command(folder, tmp_path)) == 0
        assert_same_run(folder, reference)
    # Early moments cannot miss; how many of the late ones do depends on the machine's other work.
    assert kills >= N_FIRST_KILLS
    assert resume(folder) == 2, "there is nothing to resume"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_around_every_replacement(after: bool, whole: tuple[Path, float], live: Life, tmp_path: Path) -> None:
    """Just before, or just after, a finished file takes its place: configuration, checkpoints, record."""
    folder = run_folder(tmp_path, LM, "a")
    lives = 0
    while not ended(folder):
        body = die_after_replacement if after else die_before_replacement
        # One more replacement than the last life may pass, or a life that dies at its first would never get on.
        assert live([str(lives // 2), *next_command(folder, tmp_path)], body=body) in {0, KILLED}
        check_whole(folder, whole[0])
        lives += 1
        assert lives < 20
    assert lives > 3
    assert_same_run(folder, whole[0])


def die_before_replacement(words: list[str], output: Path) -> None:
    """A process that dies before replacing a file for the n-th time, n the first of the words."""
    _die_at_replacement(words, output, after=False)


def die_after_replacement(words: list[str], output: Path) -> None:
    """A process that dies after replacing a file for the n-th time, n the first of the words."""
    _die_at_replacement(words, output, after=True)


def _die_at_replacement(words: list[str], output: Path, after: bool) -> None:
    replace, left = os.replace, int(words[0])

    def deadly(source: Path, target: Path) -> None:
        nonlocal left
        if left == 0 and not after:
            die()
        replace(source, target)
        if left == 0:
            die()
        left -= 1

    os.replace = os.rename = deadly  # type: ignore[assignment]
    main_process(words[1:], output)


def test_killed_between_the_curves_and_the_record(whole: tuple[Path, float], live: Life, tmp_path: Path) -> None:
    """The record of an earlier interruption must not stay beside curves that it does not describe."""
    folder = run_folder(tmp_path, LM, "a")
    assert live(command(tmp_path, "a"), body=interrupt_at_step_30) == 128 + signal.SIGINT
    assert record_of(folder).status == "interrupted"
    check_whole(folder, whole[0])
    assert live(["resume", str(folder)], body=die_before_the_record) == KILLED
    check_whole(folder, whole[0])
    assert live(["resume", str(folder)]) == 0
    assert_same_run(folder, whole[0])


def interrupt_at_step_30(words: list[str], output: Path) -> None:
    """A process that gets a Ctrl-C."""
    send_at(pytest.MonkeyPatch(), 29)
    main_process(words, output)


def die_before_the_record(words: list[str], output: Path) -> None:
    """A process that dies when all is written but the record."""
    pytest.MonkeyPatch().setattr("benchmark.training.folder.recorder.write_record", lambda path, record: die())
    main_process(words, output)


def die() -> None:
    """End this process without any cleaning up."""
    os.kill(os.getpid(), signal.SIGKILL)
