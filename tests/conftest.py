"""Settings that every test shares: one thread per process, the same examples every time, and marks that are true.

A test that starts processes or trains, and bears none of the marks that keep it out of `make quick`, fails.
"""

import multiprocessing.process
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Before torch or a BLAS is loaded: the tests run in several processes that share the cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, here and in every process that is started

# A shared core can stall for longer than Hypothesis's deadline; and the same commit must always draw the same examples.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root folder, whatever folder pytest was started in."""
    return ROOT


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--snapshot-update", action="store_true", help="write tests/snapshots anew")


@pytest.fixture
def snapshot(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """A function that compares a text with tests/snapshots/NAME.txt, or writes it there with --snapshot-update."""

    def compare(name: str, text: str) -> None:
        path = ROOT / "tests" / "snapshots" / f"{name}.txt"
        if request.config.getoption("--snapshot-update"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), f"differs from {path}: if it should, make snapshots, and read the diff"

    return compare


@pytest.fixture(autouse=True, scope="session")
def no_pytest_arguments() -> Iterator[None]:
    """Hide pytest's own command line: LightningCLI warns when it is given arguments while `sys.argv` holds others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["emergence-benchmark"])
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what bears a mark of `APART`, unless ``-m`` names the mark."""
    apart = [mark for mark in APART if mark not in config.option.markexpr]
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in apart)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


APART = ("attack", "long")
"""Marks of tests that are run by a command of their own: they take as long as one lets them, or minutes together."""

MARKS = ("process", "train", "browser", "slow")
FEW_STEPS = 10
QUESTIONS = {"cat", "git", "lscpu", "ninja", "uname"}
"""Programs that a unit may run: they only say something of the machine or the checkout."""


class Deeds:
    """Deeds of the running test beyond a unit's business."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.steps = 0
        self.watches_optimizers = False
        for owner, name in ((subprocess.Popen, "__init__"), (multiprocessing.process.BaseProcess, "start")):
            self._watch(owner, name)

    def forget(self) -> None:
        """Begin another test; PyTorch is watched from the first one before which it has been imported."""
        self.started.clear()
        self.steps = 0
        if not self.watches_optimizers and "torch.optim.optimizer" in sys.modules:
            sys.modules["torch.optim.optimizer"].register_optimizer_step_post_hook(self._step)
            self.watches_optimizers = True

    def complaints(self) -> list[str]:
        """One line for each deed that is none of a unit's."""
        said = [f"starts a process ({program}): mark it process" for program in dict.fromkeys(self.started)]
        return said + [f"takes {self.steps} training steps: mark it train"] * (self.steps > FEW_STEPS)

    def _step(self, *_: Any) -> None:
        self.steps += 1

    def _watch(self, owner: Any, name: str) -> None:
        method = getattr(owner, name)

        def watched(this: Any, *args: Any, **kwargs: Any) -> Any:
            command = (
                (args[0] if args else kwargs.get("args", "")) if owner is subprocess.Popen else type(this).__name__
            )
            program = command if isinstance(command, str | Path) else command[0]
            if Path(os.fsdecode(program)).name not in QUESTIONS:
                self.started.append(str(program))
            return method(this, *args, **kwargs)

        setattr(owner, name, watched)


DEEDS = Deeds()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    DEEDS.forget()  # a shared fixture's deeds are not those of the test that happens to come first
    result = yield
    if not any(map(item.get_closest_marker, MARKS)) and (complaints := DEEDS.complaints()):
        pytest.fail("; ".join(complaints), pytrace=False)
    return result
