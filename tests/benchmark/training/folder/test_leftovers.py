"""Leftovers of killed processes are cleared by the next one in the same place; files of living ones stay."""

import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from benchmark.sweeps.engines import server
from benchmark.training.folder.layout import CONFIG, _fresh, create_run_folder
from benchmark.training.folder.lock import LOCK, is_alive, take, training_in

LEFT = (".record.json.tmp", ".record.json.4711.tmp", ".last.ckpt.tmp", "checkpoints/.step00000010.ckpt.tmp")
KEPT = ("record.json", "last.ckpt", ".notes", "a.tmp", "checkpoints/step00000010.ckpt")


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["cat", "/dev/null"])
    process.wait()
    return process.pid


def fill(folder: Path) -> None:
    for name in (*LEFT, *KEPT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def left_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {LOCK}


def test_whoever_goes_on_with_a_run_clears_its_folder(tmp_path: Path) -> None:
    fill(tmp_path)
    fill(tmp_path / "seed3")
    with training_in(tmp_path):
        assert left_in(tmp_path) == {*KEPT, *(f"seed3/{name}" for name in KEPT)}


def test_a_new_run_clears_what_lies_beside_it(tmp_path: Path, dead: int) -> None:
    """Unfinished folders of dead processes, and the files that they left in other runs' folders."""
    parent = tmp_path / "lm" / "transformer"
    for name in (f"{_fresh()}{dead}", f"{_fresh()}{os.getppid()}", f".new.elsewhere.{dead}", ".hidden"):
        (parent / name).mkdir(parents=True)
        (parent / name / CONFIG).touch()
    half = parent / f"{_fresh()}{os.getppid()}" / f".{CONFIG}.{os.getppid()}.tmp"  # being written at this moment
    half.touch()
    fill(parent / "ended")
    fill(parent / "training")
    lock = take(parent / "training" / LOCK)
    assert lock is not None
    with lock:
        folder = create_run_folder(tmp_path, "lm", "transformer", "a", "text")
    assert (folder / CONFIG).read_text() == "text"
    assert half.exists()
    assert left_in(parent / "ended") == set(KEPT)
    assert left_in(parent / "training") == {*KEPT, *LEFT}
    kept = {f"{_fresh()}{os.getppid()}", f".new.elsewhere.{dead}", ".hidden", "a", "ended", "training"}
    assert {path.name for path in parent.iterdir()} == kept


def test_alive_or_dead(dead: int) -> None:
    assert is_alive(os.getpid()) and is_alive(1) and not is_alive(dead)


def test_folders_of_sockets(tmp_path: Path, dead: int) -> None:
    names = {f"{server._SOCKETS}{dead}-a": False, f"{server._SOCKETS}{os.getppid()}-b": True, "pymp-c": True}
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "listener-x").touch()
    held = take_in(tmp_path / f"{server._SOCKETS}{dead}-d")
    for folder in tmp_path.iterdir():
        server._remove_if_left(folder)
    kept = {name for name, stays in names.items() if stays} | {f"{server._SOCKETS}{dead}-d"}
    assert {path.name for path in tmp_path.iterdir()} == kept, "one that is locked is another machine's or container's"
    held.close()


def take_in(folder: Path) -> BinaryIO:
    folder.mkdir()
    held = take(folder / LOCK)
    assert held is not None
    return held


USE = """
import sys
from benchmark.sweeps.engines.server import start_server
start_server()
from multiprocessing import current_process
print(current_process()._config["tempdir"], flush=True)
sys.stdin.read()
"""


@pytest.mark.process
@pytest.mark.parametrize("temporary", ["long", "missing"])
def test_a_server_needs_no_particular_temporary_folder(temporary: str, tmp_path: Path, repository: Path) -> None:
    """The path of its socket must be short, that of TMPDIR need not; nothing stays when it ends or is killed."""
    place = tmp_path / ("x" * 90)
    if temporary == "long":
        place.mkdir()
    for killed in (True, False):
        command = [sys.executable, "-c", USE]
        environment = os.environ | {"TMPDIR": str(place), "PYTHONPATH": str(repository)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:  # type: ignore[call-overload]
            folder = Path(process.stdout.readline().strip())
            assert folder.is_dir() and len(str(folder)) < 80
            if killed:
                process.kill()
                first = folder
    assert not folder.exists() and not first.exists()
