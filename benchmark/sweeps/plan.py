"""The plan of a sweep: one unit for every (cell, architecture, seed), parsed as `fit` would and built once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from architectures import ARCHITECTURES
from benchmark.config import errors
from benchmark.config.errors import said
from benchmark.config.grid import Axis, Value, name_of, points, value_text
from benchmark.config.identity import RunIdentity
from benchmark.config.parser import parse, parse_value, to_yaml
from benchmark.config.protocol import OptimizerConfig, Protocol
from benchmark.config.run_config import OF_ONE_RUN, SEEDS, RunConfig, data_options, model_options
from benchmark.config.yaml_text import from_text, to_text
from benchmark.sweeps.sources import Base, bases
from benchmark.training.display.terminal import tracked
from benchmark.training.run import build
from datamodules import TASKS


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
        return {name: seed for name, seed in from_text(self.config).items() if name in SEEDS and seed is not None}

    def unit(self, seed: int) -> Unit:
        """The run of a seed."""
        return Unit(self.suite, self.cell, self.architecture, seed, f"seed: {seed}\n{self.config}")

    def identity_of(self, seed: int) -> RunIdentity:
        """The identity of the run of a seed."""
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


def make_plan(
    seeds: Sequence[int],
    *,
    suite: str | None = None,
    files: Sequence[str] = (),
    models: Sequence[str] = (),
    cells: Sequence[str] = (),
    grid: Sequence[Axis] = (),
    max_steps: int | None = None,
) -> Plan:
    """The plan of a sweep.

    Args:
        seeds: of every architecture on every cell.
        suite, files, models, cells: as `sources.bases`.
        grid: options that take several values.
        max_steps: budget in steps in the place of every cell's own.

    Raises:
        ValueError: one line for whatever could not be run.
    """
    axes = list(grid)
    if max_steps is not None:
        if any(axis.key == "protocol.max_steps" for axis in axes):
            raise ValueError("--max_steps and --grid protocol.max_steps exclude each other")
        axes.append(Axis("protocol.max_steps", (max_steps,)))
    altered = any(axis.section in {"data", "protocol"} for axis in axes)
    found = bases(suite, files, models, cells)
    for base in found:
        for axis in axes:
            _check_key(axis, base)
    planner = _Planner(seeds[0])
    entries = [entry for base in tracked(found, "reading") for entry in planner.entries(base, axes, altered)]
    return Plan(tuple(entries), tuple(seeds))


def _check_key(axis: Axis, base: Base) -> None:
    match axis.section:
        case "model":
            known, owner = model_options(ARCHITECTURES[base.architecture]), base.architecture
        case "data":
            known, owner = data_options(TASKS[base.task]), f"{base.task}, cell {base.cell}"
        case _:
            config = OptimizerConfig if axis.section == "optimizer" else Protocol
            known, owner = [field.name for field in fields(config)], axis.section
    if axis.option not in known:
        line = errors.unknown_option(axis.key, [f"{axis.section}.{name}" for name in known])
        raise ValueError(f"--grid: {line} (options of {owner}: {', '.join(known)})")


class _Planner:
    """Parses each configuration and each value of an option once."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._values: dict[tuple[str, ...], Any] = {}

    def entries(self, base: Base, axes: Sequence[Axis], altered: bool) -> list[PlanEntry]:
        """An architecture on a cell, at every point of the grid."""
        config = read(base.content, base.source)
        return [self._entry(base, config, point, altered) for point in points(axes)]

    def _entry(self, base: Base, config: RunConfig, point: Mapping[str, Value], altered: bool) -> PlanEntry:
        name = name_of(base.cell, point)
        source = base.source if not point else f"{base.source}, {name.partition(',')[2]}"
        try:
            config = config.with_options({key: self._parsed(base, key, value) for key, value in point.items()})
            identity = build(config.of_seed(self.seed)).members[0].identity
        except Exception as error:  # an outside architecture may raise anything
            line = errors.reason(error) if isinstance(error, ValueError) else said(error)
            raise ValueError(line if line.startswith("--grid") else f"{source}: {line}") from error
        whole = {**without_run(config), "cell": name}
        if base.of_suite and not altered:
            whole["suite"] = base.suite
        return PlanEntry(base.suite, name, base.architecture, to_text(whole), identity)

    def _parsed(self, base: Base, key: str, value: Value) -> Any:
        """A value as the parser understands it."""
        section, _, option = key.partition(".")
        owner = {"model": base.architecture, "optimizer": ""}.get(section, f"{base.suite}/{base.cell}")
        written = f"{key}={value_text(value)}"
        if (owner, written) not in self._values:
            own: dict[str, Any] = dict(base.content.get(section) or {})
            if section in {"model", "data"}:
                own["init_args"] = {**(own.get("init_args") or {}), option: value}
            else:
                own[option] = value
            try:
                parsed = parse_value({**base.content, section: own}, key, [f"--{written}"])
            except ValueError as error:
                raise ValueError(f"--grid {written}: {errors.reason(error)}") from error
            self._values[owner, written] = parsed
        return self._values[owner, written]


def read(content: Mapping[str, Any], source: str) -> RunConfig:
    """The configuration that a mapping describes, as in a YAML file for `fit`.

    Args:
        content: of the file.
        source: what the user would look at to mend it.

    Raises:
        ValueError: one line that says what is wrong with it, and where.
    """
    try:
        return parse(content)
    except ValueError as error:
        raise ValueError(f"{source}: {errors.reason(error)}") from error


def without_run(config: RunConfig) -> dict[str, Any]:
    """A configuration as YAML holds it, without what belongs to one run."""
    return {name: value for name, value in from_text(to_yaml(config)).items() if name not in OF_ONE_RUN}
