"""Makes the plan of a sweep: every configuration has gone through the parser of `fit` and has been built once."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import yaml
from jsonargparse import Namespace

from architectures import ARCHITECTURES
from benchmark.config import errors as messages
from benchmark.protocol import OptimizerConfig, Protocol
from benchmark.sweeps.grid import Axis, Value, name_of, points, value_text
from benchmark.sweeps.plan import SEEDS, Entry, Plan
from benchmark.sweeps.reading import Reader
from benchmark.sweeps.sources import Base, bases
from benchmark.sweeps.table import tracked
from datamodules import TASKS

_NOT_OPTIONS = {"vocab_size", "seq_len", *SEEDS}


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
    planner = _Planner(Reader(), seeds[0])
    entries = [entry for base in tracked(found, "reading") for entry in planner.entries(base, axes, altered)]
    return Plan(tuple(entries), tuple(seeds))


def _check_key(axis: Axis, base: Base) -> None:
    match axis.section:
        case "model":
            known, owner = list(inspect.signature(ARCHITECTURES[base.architecture]).parameters), base.architecture
        case "data":
            known, owner = list(inspect.signature(TASKS[base.task]).parameters), f"{base.task}, cell {base.cell}"
        case _:
            config = OptimizerConfig if axis.section == "optimizer" else Protocol
            known, owner = [field.name for field in fields(config)], axis.section
    known = [name for name in known if name not in _NOT_OPTIONS]
    if axis.option not in known:
        line = messages.unknown_option(axis.key, [f"{axis.section}.{name}" for name in known])
        raise ValueError(f"--grid: {line} (options of {owner}: {', '.join(known)})")


class _Planner:
    """Parses each configuration and each value of an option once."""

    def __init__(self, reader: Reader, seed: int) -> None:
        self.reader, self.seed = reader, seed
        self._values: dict[tuple[str, ...], Any] = {}

    def entries(self, base: Base, axes: Sequence[Axis], altered: bool) -> list[Entry]:
        """An architecture on a cell, at every point of the grid."""
        config = self.reader.read(base.content, base.source)
        content = self.reader.plain(config)
        return [self._entry(base, config, content, point, altered) for point in points(axes)]

    def _entry(
        self, base: Base, config: Namespace, content: Mapping[str, Any], point: Mapping[str, Value], altered: bool
    ) -> Entry:
        name = name_of(base.cell, point)
        config = config.clone()
        for key, value in point.items():
            config[_path(key)] = self._parsed(base, key, value)
        source = base.source if not point else f"{base.source}, {name.partition(',')[2]}"
        identity = self.reader.build(config, self.seed, source).identity
        whole = {**(self.reader.plain(config) if point else content), "cell": name}
        if base.of_suite and not altered:
            whole["suite"] = base.suite
        return Entry(base.suite, name, base.architecture, yaml.safe_dump(whole, sort_keys=False), identity)

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
            content = {**base.content, section: own}
            config = self.reader.read(content, f"--grid {written}", [f"--{written}"])
            self._values[owner, written] = config[_path(key)]
        return self._values[owner, written]


def _path(key: str) -> str:
    """Where an option of the command line lies in a configuration."""
    section, _, option = key.partition(".")
    return f"{section}.init_args.{option}" if section in {"model", "data"} else key
