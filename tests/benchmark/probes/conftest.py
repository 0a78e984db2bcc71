"""Shared by the tests of probes: a registry that is put back, and a tiny run."""

from collections.abc import Iterator
from typing import Any

import pytest

from benchmark.probes import PROBES

TINY: dict[str, Any] = {
    "model": {"class_path": "transformer", "init_args": {"d_model": 16, "n_heads": 2, "n_layers": 2}},
    "data": {"class_path": "lm", "init_args": {"state_size": 4, "n_nonzero": 2, "batch_size": 4, "eval_sequences": 10}},
    "protocol": {"max_steps": 4, "eval_every": 2},
    "trainer": {"accelerator": "cpu", "logger": False},
    "picture": False,
}


@pytest.fixture
def tiny() -> dict[str, Any]:
    """The configuration of a run of four steps, evaluated at 0, 2 and 4."""
    return TINY


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """The registered probes, put back afterwards."""
    before = dict(PROBES)
    yield
    PROBES.clear()
    PROBES.update(before)
