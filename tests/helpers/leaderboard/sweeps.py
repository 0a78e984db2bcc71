"""Folders of runs as a sweep leaves them, to make entries of."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leaderboard.commands.submit import Submission, submit
from leaderboard.records.record import write_record
from tests.helpers.leaderboard.records import run_of

ABOUT: dict[str, Any] = {"title": "My model", "authors": ["A", "Ö. B"], "licence": "MIT", "tuning_trials": 0}


def write_run(out: Path, cell: str = "lm-easy", seed: int = 0, status: str = "solved", /, **changes: Any) -> Path:
    """A run's folder as a sweep leaves it; the bytes of its curves say which run it is."""
    suite = changes.pop("suite", "lite")
    name = changes.pop("architecture.name", "my_model")
    curves = f"{cell} {seed} {status} {sorted(changes.items())}".encode()
    record = run_of(
        status,
        seed,
        **{
            "suite": suite,
            "cell": cell,
            "architecture.name": name,
            "curves": {"file": "curves.parquet", "sha256": hashlib.sha256(curves).hexdigest()},
            **changes,
        },
    )
    folder = out / suite / cell.replace("../", "up_") / name / f"seed{seed}"
    write_record(folder / "record.json", record)
    (folder / "curves.parquet").write_bytes(curves)
    for other in ("config.yaml", "last.ckpt", "log.txt", ".lock"):
        (folder / other).write_text("not to be handed in")
    return folder


def two_cells(out: Path) -> Path:
    """Two cells with two seeds each."""
    for cell in ("lm-easy", "lm-hard"):
        for seed in (0, 1):
            write_run(out, cell, seed)
    return out


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def files(folder: Path) -> set[str]:
    return {name for name, content in contents(folder).items() if content is not None}


def entry(runs: Path, **options: Any) -> Submission:
    return submit(runs, **{"name": "mine", **ABOUT, "out": runs.parent / "results", **options})


def refusal(do: Callable[[], object], root: Path) -> str:
    """The one line with which something is refused that then has changed nothing."""
    before = contents(root)
    with pytest.raises(ValueError) as caught:
        do()
    assert contents(root) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)
