"""The Python API: the same names, defaults and messages as on the command line, and the same runs.

The only output is a progress bar in a terminal or a notebook. Torch's random state and the signal handlers are restored
afterwards.
"""

import inspect
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from architectures import ARCHITECTURES, SequenceModel
from architectures.registry import is_registered
from benchmark.config import errors
from benchmark.config.errors import BenchmarkError
from benchmark.config.parser import parse
from benchmark.config.plugins import load_plugins
from benchmark.config.run_config import RunConfig, seeds_text
from benchmark.sweeps.progress import Failure
from benchmark.training import loading
from benchmark.training.folder.outcome import Outcome
from benchmark.training.run import Run
from benchmark.training.run import build as build_run
from leaderboard.paths import user_path
from leaderboard.records.record import Record
from leaderboard.whole_files import CannotWrite

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BenchmarkError", "Failure", "Record", "Run", "RunConfig", "SweepResult", "build", "configure", "fit", "load",
    "records_frame", "resume", "sweep",
]  # fmt: skip


@contextmanager
def _one_line() -> Iterator[None]:
    """Mistakes as `BenchmarkError`, with the line that the command line would print."""
    try:
        yield
    except BenchmarkError:
        raise
    except (ValueError, OSError) as error:
        raise BenchmarkError(errors.reason(error)) from error
    except (TypeError, AttributeError, KeyError, OverflowError) as error:  # an argument of another kind
        raise BenchmarkError(errors.said(error)) from error


def configure(
    model: str | type[SequenceModel] | None = None,
    data: str | None = None,
    *,
    config: str | Path | Mapping[str, Any] | None = None,
    model_options: Mapping[str, Any] | None = None,
    data_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> RunConfig:
    """The configuration of a run.

    Args:
        model: registered name of the architecture, or its class.
        data: registered name of the task.
        config: YAML file as for ``fit --config``, also one of the package's by its name, or its content; what is given
            beside it wins.
        model_options: of the architecture, like ``{"d_model": 64}``: ``--model.d_model 64``.
        data_options: of the task.
        settings: the other parts, `optimizer`, `protocol` and `trainer`, as mappings of their options; and the options
            of `RunConfig`, like ``seed=3``, ``seeds=range(8)``, ``out="runs"``.

    Raises:
        BenchmarkError: one line that says what is wrong.
    """
    with _one_line():
        load_plugins()
        content = _content(config)
        for key, choice, options in (("model", model, model_options), ("data", data, data_options)):
            if choice is not None or options is not None:
                content[key] = _choice(key, content.get(key), choice, options)
        for key in ("optimizer", "protocol", "trainer"):
            content[key] = {**_mapping(key, content.get(key)), **_mapping(key, settings.pop(key, None))}
        content["trainer"].setdefault("devices", 1)  # with more, Lightning would start the caller's script again
        if settings.get("seeds") is not None:
            settings["seeds"] = seeds_text(settings["seeds"])
        if isinstance(settings.get("out"), os.PathLike):
            settings["out"] = os.fspath(settings["out"])
        return parse(content | settings)


def _content(config: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    from benchmark.config.files.packaged import config_file
    from benchmark.config.files.yaml_text import read_yaml

    if config is None or isinstance(config, Mapping):
        return dict(config or {})
    if not isinstance(config, str | Path):
        raise ValueError(f"config must be a YAML file or a mapping, got {config!r}")
    return read_yaml(config_file(user_path(config, "config")))


def _mapping(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping | None):
        raise ValueError(f"--{key}: must be a mapping of options, got {value!r}")
    return dict(value or {})


def _registered_name(cls: type) -> str:
    if not is_registered(cls):
        raise ValueError(f'{cls.__name__} is not registered: put @register("name") above its class')
    return cls.__name__


def _choice(key: str, before: Any, choice: Any, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """A class and its options: those of a file stay where the class is the same."""
    before = {"class_path": before} if isinstance(before, str) else _mapping(key, before)
    if isinstance(choice, type):
        choice = _registered_name(choice)
    if not isinstance(choice, str | None):
        raise ValueError(f"--{key}: must be a registered name or a class, got {choice!r}")
    name = before.get("class_path") if choice is None else choice
    if name is None:
        raise ValueError(f"{key}_options are given, but no {key}")
    same = str(name).rpartition(".")[2] == str(before.get("class_path")).rpartition(".")[2]
    own = _mapping(key, before.get("init_args")) if same else {}
    return {"class_path": name, "init_args": {**own, **_mapping(f"{key}_options", options)}}


def build(config: RunConfig) -> Run:
    """A run of a configuration, not started: see `benchmark.training.run.build`.

    Raises:
        BenchmarkError: one line, if options do not go together.
    """
    if not isinstance(config, RunConfig):
        raise BenchmarkError(f"build takes a RunConfig, which configure makes; got {config!r}")
    with _one_line():
        return build_run(config)


def fit(
    model: str | type[SequenceModel] | RunConfig | None = None,
    data: str | None = None,
    *,
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Train a model, and write record, curves, picture and checkpoint to a new folder ``out/task/architecture/name``.

    Args:
        model: registered name of the architecture, or its class; or a complete `RunConfig` from `configure`.
        data: registered name of the task.
        progress: show a bar, in a terminal or a notebook.
        settings: as for `configure`.

    Returns:
        The run that was trained; its `record`, or `records` for many `seeds`, say how it ended. A loss that became NaN
        is such an end (status "diverged").

    Raises:
        BenchmarkError: one line, for a mistake in the arguments; nothing is left behind then.
        KeyboardInterrupt: after Ctrl-C, once the record is written: `resume` goes on from it.
        Exception: whatever the model raised, once the record is written.
    """
    if isinstance(model, RunConfig):
        if data is not None or settings:
            raise BenchmarkError("a RunConfig holds everything: give no other arguments beside it")
        run = build(model)
    else:
        run = build(configure(model, data, **settings))
    with _one_line():
        outcome = run.fit(progress=progress, plain_progress=False)
    return _ended(run, outcome)


def resume(folder: str | Path, *, progress: bool = True, trust: bool = False) -> Run:
    """Go on with a run that was cut short, from its checkpoint, bit for bit on a CPU.

    Args:
        folder: run folder.
        progress: show a bar, in a terminal or a notebook.
        trust: as for `load`.

    Raises:
        BenchmarkError, KeyboardInterrupt, Exception: as `fit`.
    """
    with _one_line():
        load_plugins()
        run = loading.resume(user_path(folder, "folder"), progress=progress, plain_progress=False, trust=trust)
    assert run.outcome is not None
    return _ended(run, run.outcome)


def _ended(run: Run, outcome: Outcome) -> Run:
    if isinstance(outcome.error, CannotWrite):
        raise BenchmarkError(str(outcome.error)) from outcome.error
    if outcome.error is not None:
        raise outcome.error
    if outcome.exit_code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if outcome.exit_code > 128:
        raise SystemExit(outcome.exit_code)
    return run


def load(folder: str | Path, *, step: int | None = None, weights: bool = True, trust: bool = False) -> Run:
    """The run in a folder, with its weights at the end or those kept after a step.

    Args:
        folder: run folder, also that of one of many seeds.
        step: one of `Run.kept_steps` (option `keep_every`); None for the end.
        weights: whether to load the trained weights; if False, the model keeps its initial ones.
        trust: import whatever classes its configuration names; otherwise registered ones, torch's and Lightning's only.

    Raises:
        BenchmarkError: one line, if the folder is not a run folder, or the weights are not there or damaged.
    """
    with _one_line():
        load_plugins()
        return loading.load(user_path(folder, "folder"), step=step, weights=weights, trust=trust)


@dataclass(frozen=True)
class SweepResult:
    """The outcome of a sweep.

    Args:
        out: folder of all runs.
        records: of all runs that are done, in the order of the plan.
        failures: runs that failed, each with its reason.
    """

    out: Path
    records: list[Record]
    failures: list[Failure]

    def frame(self) -> "pd.DataFrame":
        """One row per record: see `records_frame`."""
        return records_frame(self.records)


def sweep(
    suite: str | None = None,
    *,
    models: str | type[SequenceModel] | Sequence[str | type[SequenceModel]] = (),
    seeds: str | int | Iterable[int] = range(5),
    config: str | Path | Sequence[str | Path] = (),
    cells: Sequence[str] = (),
    grid: Mapping[str, Any] | None = None,
    max_steps: int | None = None,
    out: str | Path = "runs",
    engine: Literal["local", "ray"] = "local",
    jobs: int | None = None,
    address: str | None = None,
    progress: bool = True,
    model_options: Mapping[str, Any] | None = None,
    data_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> SweepResult:
    """Run every architecture on every cell with every seed, except what is done already; each run leaves one record.

    Runs are processes of their own, so an architecture must be importable there: from this package or an installed one,
    not from the script or the notebook that calls.

    Args:
        suite: name of a suite, or the path of its file.
        models: names or classes of architectures; by default the suite's.
        seeds: a range, a list, or as on the command line.
        config: YAML files as for ``sweep --config``.
        cells: some of the suite's; by default all.
        grid: values by option, like ``{"data.n_nonzero": [1, 2, 3]}``; several make the product.
        max_steps: budget in the place of the cells' own.
        out: folder of all runs.
        engine: processes of this machine (or ensembles on its GPUs), or a Ray cluster.
        jobs: processes at once; by default one per core, or per GPU.
        address: of the Ray cluster.
        progress: show a live table, in a terminal or a notebook.
        model_options, data_options: of every run, as for `configure`.
        settings: `optimizer`, `protocol` and `trainer`, as mappings of their options, `metrics`, `probes`,
            `attention_bias`, `attention_bias_steps`, `init_from`, `init_parts` and `init_permuted`, for every run.

    Raises:
        BenchmarkError: one line, for a mistake in the arguments or a file; nothing is begun then.
        KeyboardInterrupt: after Ctrl-C, once the runs have ended in order: the same call goes on.
    """
    from benchmark.config.grid import parse_grid
    from benchmark.config.seeds import parse_seeds
    from benchmark.sweeps.display import live_or_silent
    from benchmark.sweeps.sweep import SweepConfig, carry_out

    with _one_line():
        load_plugins()
        files = [config] if isinstance(config, str | Path) else config
        order = SweepConfig(
            seeds=parse_seeds(seeds_text(seeds)),
            suite=suite,
            files=tuple(map(str, files)),
            models=tuple(map(_importable, [models] if isinstance(models, str | type) else models)),
            cells=(cells,) if isinstance(cells, str) else tuple(cells),
            grid=parse_grid(f"{key}={_written(values)}" for key, values in (grid or {}).items()),
            max_steps=max_steps,
            options=_options_of_all({"model": model_options, "data": data_options, **settings}),
            out=user_path(out, "--out"),
            engine=engine,
            jobs=jobs,
            address=address,
        )
        with live_or_silent(progress) as display:
            driver = carry_out(order, display)
    if driver.signum == signal.SIGINT:
        raise KeyboardInterrupt
    if driver.signum is not None:
        raise SystemExit(128 + driver.signum)
    return SweepResult(order.out, driver.records, driver.progress.failures)


def _options_of_all(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of every run of a sweep; a name that is none of theirs is a ValueError of one line."""
    alone = ("metrics", "probes", "attention_bias", "attention_bias_steps", "init_from", "init_parts", "init_permuted")
    known = ("optimizer", "protocol", "trainer", *alone)
    for name in given.keys() - {"model", "data", *known}:
        arguments = [*inspect.signature(sweep).parameters, *known]
        raise ValueError(errors.unknown("argument", name, [each for each in arguments if each != "settings"]))
    parts = {name: _mapping(name, value) for name, value in given.items() if name not in alone}
    return {name: own for name, own in parts.items() if own} | {
        name: value for name, value in given.items() if name in alone and value is not None
    }


def _importable(model: str | type[SequenceModel]) -> str:
    """The name of an architecture that other processes can import."""
    name = model if isinstance(model, str) else _registered_name(model)
    if name in ARCHITECTURES and ARCHITECTURES[name].__module__ == "__main__":
        raise ValueError(
            f"{name} is defined in a script or a notebook, which the processes of a sweep do not run:"
            " put it into a package (python -m benchmark new NAME --out FOLDER writes one), or train it by fit"
        )
    return name


def _written(values: Any) -> str:
    """The values of an option as on the command line."""
    from benchmark.config.grid import value_text

    return ",".join(map(value_text, values if isinstance(values, list | tuple | range) else [values]))


def records_frame(records: Iterable[Record]) -> "pd.DataFrame":
    """One row per record, one column per field with dots in its name, like ``task.config.state_size``; and
    `primary_step`, the step at which the primary target was reached, missing where it never was."""
    import pandas as pd

    with _one_line():
        records = list(records)
        frame = pd.json_normalize([record.model_dump(mode="json") for record in records])
        frame["primary_step"] = pd.Series([record.primary_step for record in records], dtype="Int64")
    return frame
