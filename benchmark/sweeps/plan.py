"""What a sweep consists of: one unit for every (cell, architecture, seed)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import yaml

from benchmark.config.identity import RunIdentity
from benchmark.config.run_config import SEEDS


@dataclass(frozen=True)
class Unit:
    """One run of a sweep.

    Args:
        suite: name of the suite, as in the run folder.
        cell: name of the cell; that of a grid point is ``CELL,key=value,...``.
        architecture: registered name.
        seed: sets all three seeds of the run.
        config: YAML text of a complete `fit` configuration: model, data, protocol, optimizer, trainer, seed, suite and
            cell, but no out and no name.
    """

    suite: str
    cell: str
    architecture: str
    seed: int
    config: str

    @property
    def folder(self) -> Path:
        """The run folder, relative to the sweep's."""
        return Path(self.suite, self.cell, self.architecture, f"seed{self.seed}")


@dataclass(frozen=True, eq=False)
class PlanEntry:
    """An architecture on a cell: all seeds of it.

    Args:
        suite: name of the suite, as in the run folder.
        cell: name of the cell or grid point.
        architecture: registered name.
        config: YAML text of the configuration of `Unit`, without the seed.
        identity: what the run of one of its seeds is.
    """

    suite: str
    cell: str
    architecture: str
    config: str
    identity: RunIdentity

    @cached_property
    def _fixed(self) -> dict[str, int]:
        """The seeds that the configuration sets apart from ``seed``."""
        return {name: seed for name, seed in yaml.safe_load(self.config).items() if name in SEEDS and seed is not None}

    def unit(self, seed: int) -> Unit:
        """The run of a seed."""
        return Unit(self.suite, self.cell, self.architecture, seed, f"seed: {seed}\n{self.config}")

    def identity_of(self, seed: int) -> RunIdentity:
        """What the run of a seed is."""
        seeds = {name: self._fixed.get(name, seed) for name in SEEDS}
        return replace(self.identity, seeds=self.identity.seeds.model_copy(update=seeds))


@dataclass(frozen=True)
class Plan:
    """A whole sweep.

    Args:
        entries: every architecture on every cell.
        seeds: of each of them.
    """

    entries: tuple[PlanEntry, ...]
    seeds: tuple[int, ...]

    def runs(self) -> Iterator[tuple[PlanEntry, int]]:
        """Every run: seed after seed, so that all cells fill evenly."""
        for seed in self.seeds:
            for entry in self.entries:
                yield entry, seed
