"""Memory of a figure whose runs are all there: a second call need not plan it again, which imports torch for seconds.

Beside the runs lies what they were made of, in one check sum: suite file, parts, seeds, and every module of this suite;
and a check sum of each record. Where anything has changed the figure is planned, and its records are compared with what
they should be.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from benchmark.figures.figure import Figure, parts_of
from benchmark.figures.figure_runs import RECORD
from leaderboard.whole_files import write_whole

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("architectures", "benchmark", "datamodules", "leaderboard")


def remember(figure: Figure, scale: str, seeds: Sequence[int], out: Path, folders: Sequence[Path]) -> None:
    """Note that these folders hold all runs of a figure; nothing where one has no record."""
    if all((folder / RECORD).exists() for folder in folders):
        records = {folder.relative_to(out).as_posix(): _digest(folder / RECORD) for folder in folders}
        content = {"made_of": _made_of(figure, scale, seeds), "records": records}
        write_whole(_place(figure, scale, out), (json.dumps(content, indent=1) + "\n").encode())


def remembered(figure: Figure, scale: str, seeds: Sequence[int], out: Path) -> list[Path] | None:
    """The folders of a figure's runs, in the order of its plan; None where it has to be planned."""
    try:
        content = json.loads(_place(figure, scale, out).read_text(encoding="utf-8"))
        records = {out / folder: digest for folder, digest in content["records"].items()}
        if content["made_of"] != _made_of(figure, scale, seeds):
            return None
        return list(records) if all(_digest(folder / RECORD) == digest for folder, digest in records.items()) else None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):  # none, or one that somebody has touched
        return None


def _place(figure: Figure, scale: str, out: Path) -> Path:
    return out / f".{figure.suite(scale).stem}.json"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _made_of(figure: Figure, scale: str, seeds: Sequence[int]) -> str:
    """The check sum of everything that decides the runs."""
    total = hashlib.sha256(figure.suite(scale).read_bytes())
    total.update(repr((parts_of(figure, scale, seeds), tuple(seeds))).encode())
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            total.update(f"{path.relative_to(ROOT).as_posix()} {_digest(path)}\n".encode())
    return total.hexdigest()
