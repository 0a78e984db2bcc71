"""The wheel holds what the commands need, puts nothing else beside other packages, and is never written into."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_rooms import ROOMS

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder with the package's files, as installing a wheel leaves them."""
    folder = tmp_path_factory.mktemp("site-packages")
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(folder)]
    subprocess.run(command, cwd=repository, check=True, capture_output=True, timeout=120)
    return folder


def run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def files(folder: Path, *patterns: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for pattern in patterns for path in folder.rglob(pattern)}


def test_everything_that_is_found_by_name_is_in_it(installed: Path, repository: Path) -> None:
    assert {path.name for path in installed.iterdir()} == set(ROOMS)
    assert files(installed / "benchmark" / "_configs", "*") - {
        "arch",
        "figures",
        "language",
        "pretraining",
        "suites",
        "task",
        "tuning",
    } == files(repository / "configs", "*.yaml")
    results = ("record.json", "curves.parquet", "entry.yaml")
    assert files(installed / "leaderboard" / "results", *results) == files(
        repository / "leaderboard" / "results", *results
    )
    for room in ROOMS:
        parts = ("*.py", "*.html", "*.css", "*.js")  # of pages, too
        assert files(installed / room, *parts) == files(repository / room, *parts)


def test_commands_find_it_and_write_elsewhere(installed: Path, tmp_path: Path) -> None:
    before = files(installed, "*")
    listed = run(installed, tmp_path, "-m", "benchmark", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert {"lite", "paper"} <= {line.split()[1] for line in listed.stdout.splitlines()}
    refused = run(installed, tmp_path, "-m", "leaderboard", "schema", "--write")
    assert refused.returncode == 2 and "--write" in refused.stderr
    places = "from leaderboard.commands import build, submit; print(build.WRITTEN, submit.OUT, build.RESULTS)"
    written, out, results = run(installed, tmp_path, "-c", places).stdout.split()
    assert (written, out) == ("leaderboard", "leaderboard/results")
    assert Path(results) == installed / "leaderboard" / "results"
    assert files(installed, "*") == before and list(tmp_path.iterdir()) == []
