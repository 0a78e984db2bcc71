"""Places of what is committed, and of what commands write."""

from __future__ import annotations

from pathlib import Path

ROOM = Path(__file__).parents[1]
RESULTS = ROOM / "results"
VERIFIED_FILE = ROOM / "verified.yaml"

IN_CHECKOUT = (ROOM.parent / "configs" / "suites").is_dir() and (ROOM.parent / "pyproject.toml").is_file()
"""Whether commands renew the files beside this package; those of an installed one stay as they were installed."""

_INSTALLED = ROOM.parent / "benchmark" / "_configs"  # setup.py puts configs/ there
SUITES = (_INSTALLED if _INSTALLED.is_dir() else ROOM.parent / "configs") / "suites"

WRITTEN = ROOM if IN_CHECKOUT else Path("leaderboard")
"""The folder that commands write to: this one, or `leaderboard` in the working directory."""
