"""The end of a run."""

from dataclasses import dataclass

from leaderboard.records.record import Record

DIVERGED = 3
"""Exit code."""


@dataclass
class Outcome:
    """The end of a run of one seed or many.

    Args:
        records: those that were written, one per seed.
        exit_code: 0 solved or censored, 1 error, 3 diverged, 128 + signal number when interrupted.
        error: the exception of a run that ended in an error.
    """

    records: list[Record]
    exit_code: int
    error: BaseException | None = None
