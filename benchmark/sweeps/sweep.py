"""A sweep from its settings to its records: the command line and Python both come through here."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.config.grid import Axis
from benchmark.sweeps.engines.server import start_server
from leaderboard.paths import user_path

if TYPE_CHECKING:
    from benchmark.sweeps.display import Display
    from benchmark.sweeps.driver import Driver
    from benchmark.sweeps.engines.engine import Engine
    from benchmark.sweeps.plan import Plan


@dataclass(frozen=True)
class SweepConfig:
    """The settings of a sweep.

    Args:
        seeds: of every architecture on every cell.
        suite: name of a suite, or the path of its file; None for the cells of `files`.
        files: YAML as for `fit`: how an architecture is set up, or, without a suite, a cell.
        models: architectures; none for the suite's.
        cells: names; none for all.
        grid: options that take several values.
        max_steps: budget in the place of the cells' own.
        options: of every run, see `make_plan`.
        out: folder of all runs.
        engine: where the runs go.
        jobs: processes at once; None for one per core, or per GPU.
        address: of the Ray cluster.

    Raises:
        ValueError: if two settings exclude each other.
    """

    seeds: tuple[int, ...]
    suite: str | None = None
    files: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    grid: tuple[Axis, ...] = ()
    max_steps: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    out: Path = Path("runs")
    engine: Literal["local", "ray"] = "local"
    jobs: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", user_path(self.out, "--out"))
        if self.engine not in ("local", "ray"):
            raise ValueError(f"--engine must be local or ray, got {self.engine!r}")
        if self.engine == "ray" and self.jobs is not None:
            raise ValueError("--jobs is for --engine local: a cluster says itself how many runs it can take")
        if self.engine == "local" and self.address is not None:
            raise ValueError("--address is for --engine ray")
        for name in ("jobs", "max_steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}")

    @property
    def slots(self) -> int | None:
        """Number of runs at once; None where only the cluster knows."""
        from benchmark.config.limits import usable_cores

        return None if self.engine == "ray" else self.jobs or usable_cores()

    def plan(self) -> "Plan":
        """Every run of the sweep.

        Raises:
            ValueError: one line for whatever could not be run.
        """
        from benchmark.sweeps.naming import named
        from benchmark.sweeps.plan import make_plan

        plan = make_plan(
            self.seeds,
            suite=self.suite,
            files=self.files,
            models=self.models,
            cells=self.cells,
            grid=self.grid,
            max_steps=self.max_steps,
            options=self.options,
        )
        return named(plan, self.out)


def begin(config: SweepConfig) -> None:
    """Let the processes of a sweep import what a run needs, which takes seconds; a second call does nothing."""
    if config.engine == "local":
        start_server()


def carry_out(config: SweepConfig, display: "Display") -> "Driver":
    """Run what is missing; the driver knows the records, the failures, and the signal that ended it early.

    Args:
        config: of the sweep.
        display: tells how far it is.

    Raises:
        ValueError: one line, for a mistake in the settings or a file; nothing is begun then.
    """
    begin(config)
    return carry_out_plan(config.plan(), config, display)


def carry_out_plan(plan: "Plan", config: SweepConfig, display: "Display") -> "Driver":
    """As `carry_out`, of a plan that is made already; of the settings only the engine and the folder count.

    Raises:
        ValueError: one line, if the folder cannot be made.
    """
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {config.out}: cannot be made: {error.strerror}") from error
    from benchmark.sweeps.driver import Driver

    driver = Driver(plan, config.out, _engine(config), display)
    try:
        driver.run()
    except KeyboardInterrupt:
        driver.signum = driver.signum or signal.SIGINT
    return driver


def _engine(config: SweepConfig) -> "Engine":
    if config.engine == "ray":
        from benchmark.sweeps.engines.ray_engine import RayEngine

        return RayEngine(config.out, config.address)
    from benchmark.sweeps.engines.ensembles import EnsembleEngine, visible_gpus
    from benchmark.sweeps.engines.local import LocalEngine

    if gpus := visible_gpus():
        return EnsembleEngine(config.out, gpus[: config.jobs])
    assert config.slots is not None
    return LocalEngine(config.out, config.slots)
