"""Fixtures of the tests of validation."""

import shutil
from pathlib import Path

import pytest

from leaderboard.validation import validator
from tests.helpers.leaderboard.entries import write_results


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with a reference and an entry, to be copied and never changed."""
    return write_results(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def results(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with a reference and an entry; the repository's own results are out of the way."""
    monkeypatch.setattr(validator, "RESULTS", tmp_path / "elsewhere")
    shutil.copytree(pristine, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def seed0(results: Path) -> Path:
    return results / "tiny" / "my_model" / "lm-a" / "seed0"
