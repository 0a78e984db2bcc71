"""Suites: which cells there are, and how each architecture is set up for them.

A suite is a YAML file whose first line is a comment that says what it is::

    cells:
      NAME:
        data: {class_path: lm, init_args: {state_size: 8, n_nonzero: 3}}
        protocol: {max_steps: 5000, eval_every: 25}
        model: {d_model: 32, n_layers: 1}    # for every architecture that has these options
        optimizer: {warmup_steps: 100}       # optional, as protocol and model
    architectures:
      transformer: {model: {n_heads: 8}, lr: {lm: 1.0e-3}}    # its own options, and its learning rate on each task
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from architectures import ARCHITECTURES
from benchmark.config.errors import unknown
from benchmark.config.files.packaged import SUITES, YAML, config_file
from benchmark.config.files.yaml_text import read_yaml
from datamodules import TASKS
from leaderboard.paths import user_path

Options = dict[str, Any]
CellName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskChoice(_Part):
    """A class by its registered name, or by its import path, and its options."""

    class_path: str
    init_args: Options = {}

    @property
    def name(self) -> str:
        """The registered name."""
        return self.class_path.rpartition(".")[2]


class Cell(_Part):
    """A task, its difficulty and the protocol."""

    data: TaskChoice
    protocol: Options = {}
    model: Options = {}
    optimizer: Options = {}


class Setup(_Part):
    """Options that an architecture adds to a cell."""

    model: Options = {}
    lr: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}


class Suite(_Part):
    """Content of a suite's file."""

    cells: Annotated[dict[CellName, Cell], Field(min_length=1)]
    architectures: dict[str, Setup] = {}


def load_suite(suite: str) -> tuple[str, Suite]:
    """The name and the content of a suite.

    Args:
        suite: name of a file in ``configs/suites``, or the path of a YAML file, see `config_file`.

    Raises:
        ValueError: one line, if there is none of this name, or it is not as described above.
    """
    path = config_file(user_path(suite, "--suite"))
    if path.suffix not in YAML:
        path = SUITES / f"{suite}.yaml"
        if not path.is_file():
            raise ValueError(unknown("suite", suite, sorted(file.stem for file in SUITES.glob("*.yaml"))))
    content = read_yaml(path)
    try:
        found = Suite.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{path}: {_problem(error)}") from error
    _check_names(path, found)
    return path.stem, found


def options_of(cls: type, options: Mapping[str, Any]) -> Options:
    """Those of the options that a class has."""
    parameters = inspect.signature(cls).parameters
    return {name: value for name, value in options.items() if name in parameters}


def _check_names(path: Path, suite: Suite) -> None:
    for name, cell in suite.cells.items():
        if cell.data.name not in TASKS:
            raise ValueError(f"{path}: cells.{name}.data: {unknown('task', cell.data.name, sorted(TASKS))}")
        # Any architecture may leave out an option that it does not have; one that none has is a slip.
        for option in cell.model:
            if not any(options_of(cls, {option: None}) for cls in ARCHITECTURES.values()):
                every = {p for cls in ARCHITECTURES.values() for p in inspect.signature(cls).parameters}
                raise ValueError(f"{path}: cells.{name}.model: {unknown('option', option, sorted(every))}")
    for name, setup in suite.architectures.items():
        if name not in ARCHITECTURES:
            raise ValueError(f"{path}: {unknown('architecture', name, sorted(ARCHITECTURES))}")
        for task in setup.lr:
            if task not in TASKS:
                raise ValueError(f"{path}: architectures.{name}.lr: {unknown('task', task, sorted(TASKS))}")


def _problem(error: ValidationError) -> str:
    """The first problem: where it is and what is wrong, with the nearest key for one that does not exist."""
    problem = error.errors(include_url=False, include_input=False)[0]
    *parents, key = map(str, problem["loc"])
    where = ".".join([*parents, key])
    if problem["type"] != "extra_forbidden":
        return f"{where}: {problem['msg']}"
    place: type[_Part] = Suite
    if parents:
        place = Setup if parents[0] == "architectures" else TaskChoice if parents[-1] == "data" else Cell
    return f"{'.'.join(parents) or 'top level'}: {unknown('key', key, place.model_fields)}"
