"""The contract of what carries out the units of a sweep: processes of this machine, or a cluster."""

from abc import ABC, abstractmethod
from enum import StrEnum

from benchmark.sweeps.plan import Unit


class Ended(StrEnum):
    """The end of a unit."""

    DONE = "done"
    """It has a record with a final status."""
    FAILED = "failed"
    """Through its own fault, an error or a mistake in its configuration: it is not tried again in this sweep."""
    LOST = "lost"
    """Its process, machine or node went away: to be tried again."""
    BUSY = "busy"
    """Another process works in its run folder."""


class Engine(ABC):
    """Runs units beside one another. An engine's constructor gets ``(out: Path, ...)``, the folder of the sweep."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """Number of units that may run at once, now: a cluster may grow."""

    @abstractmethod
    def start(self, unit: Unit) -> None:
        """Begin a unit; returns at once."""

    @abstractmethod
    def wait(self, timeout_s: float) -> list[tuple[Unit, Ended, str]]:
        """The units that ended since the last call, each with one line of reason.

        Waits at most `timeout_s` seconds for the first. Where it says DONE, ``out/unit.folder/record.json`` is there
        and whole.
        """

    @abstractmethod
    def close(self) -> None:
        """End everything that still runs, orderly: with a checkpoint where that is possible."""
