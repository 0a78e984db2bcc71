"""Settings that every test shares: one thread a process, the same examples every time."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch or a BLAS is loaded: the tests run in several processes that share the cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A shared core can stall for longer than Hypothesis's deadline; and the same commit must always draw the same examples.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root folder, whatever folder pytest was started in."""
    return ROOT


@pytest.fixture(autouse=True)
def no_pytest_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide pytest's own command line: LightningCLI warns when it is given arguments while `sys.argv` holds others."""
    monkeypatch.setattr(sys, "argv", ["emergence-benchmark"])
