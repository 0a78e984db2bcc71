"""Fixtures of the tests of runs in other processes."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def started() -> Iterator[list[Any]]:
    """Processes that a test starts; what is left of them at its end is killed."""
    processes: list[Any] = []
    yield processes
    for process in processes:
        process.kill()
