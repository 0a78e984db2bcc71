"""The folder of a cluster that a sweep starts: private, and gone with it, or with the next one after a kill."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.sweeps.engines import ray_folder
from benchmark.sweeps.engines.ray_folder import private_folder, remove_orphaned_clusters
from benchmark.training.folder.lock import LOCK, take
from tests.helpers.processes import until


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ray_folder, "PLACE", tmp_path)
    monkeypatch.setattr(ray_folder, "PATIENCE_S", 1.0)
    return tmp_path


def helper(folder: Path) -> subprocess.Popen[bytes]:
    """A process like Ray's, which names its session's folder."""
    words = ["-c", "import time; time.sleep(600)", "/site-packages/ray/gcs_server", f"--dir={folder}/ray/session"]
    process = subprocess.Popen([sys.executable, *words])
    until(lambda: ray_folder.processes_in(folder))
    return process


@pytest.fixture
def left(place: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """Leftovers of a killed sweep."""
    folder = place / "emergence-ray-killed"
    (folder / "ray" / "session").mkdir(parents=True)
    folder.chmod(0o700)
    (folder / LOCK).touch()
    process = helper(folder)
    try:
        yield folder, process
    finally:
        process.kill()
        process.wait()


def test_nobody_else_gets_in(place: Path) -> None:
    before = os.umask(0)
    try:
        folder, remove = private_folder()
    finally:
        os.umask(before)
    assert folder.parent == place and folder.stat().st_mode & 0o777 == 0o700
    (folder / "ray").mkdir()
    remove()
    remove()
    assert list(place.iterdir()) == []


def test_the_longest_socket_fits() -> None:
    """A socket's path has 107 characters at most; a process id may have seven digits."""
    name = "ray/session_2026-11-27_03-01-00_123456_1234567/sockets/plasma_store.1"
    assert len(f"/tmp/{ray_folder.PREFIX}abcdefgh/{name}") <= 107


@pytest.mark.process
def test_processes_that_stay_are_ended(place: Path) -> None:
    folder, remove = private_folder()
    process = helper(folder)
    started = time.monotonic()
    remove()
    assert process.wait(5) != 0 and time.monotonic() - started < 10
    assert list(place.iterdir()) == []


@pytest.mark.process
def test_the_next_sweep_removes_what_a_killed_one_left(place: Path, left: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder, process = left
    living, remove = private_folder()  # which looks
    assert process.wait(5) != 0 and not folder.exists() and living.exists()
    remove_orphaned_clusters()
    assert living.exists()  # its sweep lives
    remove()


@pytest.mark.process
def test_what_is_not_ours_stays(place: Path, left: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder, process = left
    folder.chmod(0o755)  # not made by us
    link = place / "emergence-ray-link"
    link.symlink_to(folder)
    (place / "emergence-ray-without-a-lock").mkdir(mode=0o700)
    remove_orphaned_clusters()
    assert folder.exists() and link.is_symlink() and process.poll() is None
    folder.chmod(0o700)
    with take(folder / LOCK) or pytest.fail("nobody holds it"):
        remove_orphaned_clusters()
        assert folder.exists() and process.poll() is None
