"""The first steps of a run, done again: `python -m benchmark replay RECORD` in a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from leaderboard.interruption import run_child
from leaderboard.records.plain_text import shown
from leaderboard.validation.entry_folder import RECORD, EntryFolder
from leaderboard.validation.report import MAX_SHOWN, Problem

TIME_LIMIT_S = 600
ROOT = Path(__file__).resolve().parents[2]  # where `benchmark` is found: beside this package, not beside the record

_UNKNOWN = "not registered here: "  # how the harness begins what it says of a name or version that it does not know


def can_replay() -> bool:
    """Whether torch is installed and the harness is there."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "benchmark"))


def replay_entry(entry: EntryFolder) -> Problem | str:
    """Replay one seed of an entry, the lowest of its alphabetically first cell; a note if losses agree.

    Only architectures that are installed here are built, by their registered names: nothing in a record is executed.
    """
    cell = min(entry.cells)
    file = str(entry.cells[cell][min(entry.cells[cell])].path / RECORD)
    path = str(Path(file).absolute())
    command = [sys.executable, "-m", "benchmark", "replay", path]
    try:
        done = run_child(command, timeout=TIME_LIMIT_S, cwd=ROOT, stderr=subprocess.PIPE)
    except subprocess.TimeoutExpired:
        return Problem(file, "first_losses_nats", f"could not be replayed within {TIME_LIMIT_S} seconds")
    lines = [line for text in (done.stdout, done.stderr) for line in text.decode(errors="replace").splitlines()]
    said = next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {done.returncode}")
    message = said.removeprefix(f"{path}: ")
    if done.returncode == 0:
        return f"{file}: replayed: {shown(message, MAX_SHOWN)}"
    if done.returncode == 1 and said.startswith(f"{path}: {_UNKNOWN}"):
        # A new architecture, or a new version: the code that could run it is not part of this checkout.
        return f"{file}: not replayed: {shown(message, MAX_SHOWN)}"
    how = "does not replay" if done.returncode == 1 else f"could not be replayed (exit code {done.returncode})"
    return Problem(file, "first_losses_nats", f"{how}: {message}")
