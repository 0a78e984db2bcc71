"""The plan of a sweep: one unit for every (cell, architecture, seed), parsed as `fit` would and built once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from architectures import ARCHITECTURES
from benchmark.config import errors
from benchmark.config.errors import said
from benchmark.config.files.yaml_text import from_text, to_text
from benchmark.config.grid import SECTIONS, Axis, Value, name_of, points, short_keys, value_text
from benchmark.config.identity import RunIdentity
from benchmark.config.parser import parse, parse_value, to_yaml
from benchmark.config.protocol import OptimizerConfig, Protocol
from benchmark.config.run_config import OF_ONE_RUN, PARTS, SEEDS, RunConfig, data_options, model_options
from benchmark.sweeps.sources import Base, bases
from benchmark.training.display.terminal import tracked
from benchmark.training.first_stage import Source
from benchmark.training.run import build
from datamodules import TASKS


@dataclass(frozen=True)
class Unit:
    """One run of a sweep.

    Args:
        suite: name of the suite, as in the run folder.
        cell: name of the cell; that of a grid point is ``CELL,option=value,...``.
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
        cell: name of the cell or grid point: what varies in the grid stands in it.
        architecture: registered name.
        config: YAML text of the configuration of `Unit`, without the seed.
        identity: what the run of one of its seeds is.
        base: name of the cell before the grid.
        full: name in which all that was asked for stands, whether it varies or not.
    """

    suite: str
    cell: str
    architecture: str
    config: str
    identity: RunIdentity
    base: str = ""
    full: str = ""

    @cached_property
    def _fixed(self) -> dict[str, int]:
        """The seeds that the configuration sets apart from ``seed``."""
        return {name: seed for name, seed in from_text(self.config).items() if name in SEEDS and seed is not None}

    def unit(self, seed: int) -> Unit:
        """The run of a seed."""
        return Unit(self.suite, self.cell, self.architecture, seed, f"seed: {seed}\n{self.config}")

    def identity_of(self, seed: int) -> RunIdentity:
        """The identity of the run of a seed.

        Raises:
            ValueError: one line, if it begins with the weights of another run, and that is not there.
        """
        seeds = {name: self._fixed.get(name, seed) for name in SEEDS}
        changed = self.identity.intervention
        if changed is not None and (stage := changed.first_stage) is not None:  # each seed has its own
            source = Source.find(from_text(self.config)["init_from"], seed)
            changed = changed.model_copy(update={"first_stage": source.recorded(stage.parts, stage.permuted)})
        return replace(self.identity, seeds=self.identity.seeds.model_copy(update=seeds), intervention=changed)


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
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of a sweep.

    Args:
        seeds: of every architecture on every cell.
        suite, files, models, cells: as `sources.bases`.
        grid: options that take several values.
        max_steps: budget in steps in the place of every cell's own.
        options: further ones for every run, as in a YAML file for `fit`, like ``{"optimizer": {"lr": 1e-3}}``; those of
            model and data without a class. Records do not name the suite where they alter what it fixes: data,
            protocol, and what its cells say of every architecture's model and optimizer. The same holds for the grid.

    Raises:
        ValueError: one line for whatever could not be run.
    """
    given = _given(options or {}, max_steps)
    if twice := [axis.key for axis in grid if axis.key in given]:
        name = "max_steps" if max_steps is not None and twice[0] == "protocol.max_steps" else twice[0]
        raise ValueError(f"--{name} and --grid {twice[0]} exclude each other")
    found = bases(suite, files, models, cells)
    for base in found:
        for axis in grid:
            _check_key("--grid: ", axis, base)
        for key in given:
            if key.partition(".")[0] in SECTIONS:
                _check_key("", Axis(key, ()), base)
    found = [replace(base, content=_with(base.content, given)) for base in found]
    planner = _Planner(seeds[0], given)
    entries = [entry for base in tracked(found, "reading") for entry in planner.entries(base, grid)]
    return Plan(tuple(entries), tuple(seeds))


def _given(options: Mapping[str, Any], max_steps: int | None) -> dict[str, Any]:
    """The options of every run by their whole keys."""
    given: dict[str, Any] = {}
    for part, own in options.items():
        if part in PARTS:
            given |= {f"{part}.{name}": value for name, value in own.items()}
        else:
            given[part] = own
    for name in ("devices", "num_nodes"):
        if given.get(f"trainer.{name}", 1) != 1:
            raise ValueError(f"--trainer.{name}: each run of a sweep has one device: leave it out")
    if max_steps is not None:
        if "protocol.max_steps" in given:
            raise ValueError("--max_steps and --protocol.max_steps exclude each other")
        given["protocol.max_steps"] = max_steps
    return given


def _with(content: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with other values for some options."""
    changed = dict(content)
    for key, value in given.items():
        part, _, option = key.partition(".")
        before = dict(changed.get(part) or {}) if option else {}
        if part in {"model", "data"}:
            changed[part] = before | {"init_args": {**(before.get("init_args") or {}), option: value}}
        else:
            changed[part] = before | {option: value} if option else value
    return changed


def _check_key(where: str, axis: Axis, base: Base) -> None:
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
        raise ValueError(f"{where}{line} (options of {owner}: {', '.join(known)})")


class _Planner:
    """Parses each configuration and each value of an option once."""

    def __init__(self, seed: int, given: Mapping[str, Any]) -> None:
        self.seed = seed
        self.words = [f"--{key}={value}" for key, value in given.items()]
        self.given = {key: value for key, value in given.items() if key.partition(".")[0] in SECTIONS}
        self._values: dict[tuple[str, ...], Any] = {}

    def entries(self, base: Base, axes: Sequence[Axis]) -> list[PlanEntry]:
        """An architecture on a cell, at every point of the grid."""
        config = read(base.content, base.source, self.words)
        keys = short_keys(axes)
        asked = {*self.given, *(axis.key for axis in axes)}
        altered = any(key.partition(".")[0] in {"data", "protocol"} or key in base.fixed for key in asked)
        return [self._entry(base, config, point, keys, altered) for point in points(axes)]

    def _entry(
        self, base: Base, config: RunConfig, point: Mapping[str, Value], keys: Mapping[str, str], altered: bool
    ) -> PlanEntry:
        name = name_of(base.cell, {keys[key]: value for key, value in point.items() if key in keys})
        full = name_of(base.cell, {**point, **{key: str(value) for key, value in self.given.items()}})
        source = base.source if not point else f"{base.source}, {name_of('', point)[1:]}"
        try:
            config = config.with_options({key: self._parsed(base, key, value) for key, value in point.items()})
            identity = build(config.of_seed(self.seed)).members[0].identity
        except Exception as error:  # an outside architecture may raise anything
            line = errors.reason(error) if isinstance(error, ValueError) else said(error)
            raise ValueError(line if line.startswith("--grid") else f"{source}: {line}") from error
        whole = {**without_run(config), "cell": name}
        if base.of_suite and not altered:
            whole["suite"] = base.suite
        return PlanEntry(base.suite, name, base.architecture, to_text(whole), identity, base.cell, full)

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


def read(content: Mapping[str, Any], source: str, words: Sequence[str] = ()) -> RunConfig:
    """The configuration that a mapping describes, as in a YAML file for `fit`.

    Args:
        content: of the file.
        source: what the user would look at to mend it.
        words: options that were given beside it, as on a command line.

    Raises:
        ValueError: one line that says what is wrong with it, and where.
    """
    try:
        return parse(content, words)
    except ValueError as error:
        raise ValueError(f"{source}: {errors.reason(error)}") from error


def without_run(config: RunConfig) -> dict[str, Any]:
    """A configuration as YAML holds it, without what belongs to one run."""
    return {name: value for name, value in from_text(to_yaml(config)).items() if name not in OF_ONE_RUN}
