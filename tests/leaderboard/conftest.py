"""Fixtures of the tests of validation."""

from pathlib import Path

import pytest

from leaderboard.validation import validator
from tests.helpers.leaderboard.entries import write_results


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with a reference and an entry; the repository's own results are out of the way."""
    monkeypatch.setattr(validator, "RESULTS", tmp_path / "elsewhere")
    return write_results(tmp_path)


@pytest.fixture
def seed0(results: Path) -> Path:
    return results / "tiny" / "my_model" / "lm-a" / "seed0"
