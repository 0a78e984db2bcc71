"""Sources of a sweep's cells, a suite or configuration files, and the options of architectures on them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architectures import ARCHITECTURES
from benchmark.config.errors import unknown
from benchmark.config.files.packaged import config_file
from benchmark.config.files.suite import Cell, Setup, load_suite, options_of
from benchmark.config.files.yaml_text import read_yaml
from benchmark.config.plugins import architecture
from benchmark.config.run_config import OF_ONE_RUN
from datamodules import TASKS
from leaderboard.paths import user_path

TRAINER = {"devices": 1, "enable_progress_bar": False, "logger": False}
"""Trainer options of a run in a sweep. No logger and no picture: the curves are kept beside the record anyway."""


@dataclass(frozen=True)
class Base:
    """An architecture on a cell, before the grid.

    Args:
        suite: name of the suite, or of the configuration file.
        of_suite: whether it is a suite's.
        cell: name of the cell.
        task: registered name.
        architecture: registered name.
        content: as in a YAML file for `fit`.
        source: what the user would look at to mend it.
        fixed: options of model and optimizer, by their whole keys, that the suite sets for every architecture.
    """

    suite: str
    of_suite: bool
    cell: str
    task: str
    architecture: str
    content: dict[str, Any]
    source: str
    fixed: frozenset[str] = frozenset()


def bases(suite: str | None, files: Sequence[str], models: Sequence[str], cells: Sequence[str]) -> list[Base]:
    """Every architecture on every cell that was asked for.

    Args:
        suite: name or path of a suite; without one, the files that have `data` make one cell each.
        files: YAML as for `fit`, found by `config_file`; one without `data` tells how the architecture that it names is
            set up.
        models: registered names; none for all that the suite, or else the files, set up.
        cells: names; none for all.

    Raises:
        ValueError: one line for a file that is not as it should be or a name that does not exist.
    """
    contents = {path: read_yaml(path) for path in (config_file(user_path(file, "--config")) for file in files)}
    setups = {}
    for path, content in contents.items():
        if suite is not None or "data" not in content:
            name, setup = _setup_of(path, content)
            if name in setups:
                raise ValueError(f"{path}: another --config file sets up {name} already")
            setups[name] = setup
    models = [architecture(name).__name__ for name in models]
    if suite is not None:
        found = _of_suite(suite, setups, models)
    else:
        whole = {path: content for path, content in contents.items() if "data" in content}
        if not whole:
            raise ValueError("what is to be run? Give --suite NAME, or --config FILE with data in it")
        found = [base for path, content in whole.items() for base in _of_file(path, content, setups, models)]
    if unused := [name for name in setups if name not in {base.architecture for base in found}]:
        raise ValueError(f"--config sets up {unused[0]}, which --models does not name: add it there")
    known = list(dict.fromkeys(base.cell for base in found))
    for name in cells:
        if name not in known:
            raise ValueError(f"--cells: {unknown('cell', name, known)}")
    chosen = [base for base in found if not cells or base.cell in cells]
    places = [(base.suite, base.cell, base.architecture) for base in chosen]
    if twice := [place for place in places if places.count(place) > 1]:
        raise ValueError(f"{'/'.join(twice[0])} is there twice: give the configuration files different names")
    return chosen


def _of_suite(suite: str, setups: Mapping[str, dict[str, Any]], models: Sequence[str]) -> list[Base]:
    name, content = load_suite(suite)
    listed = {ARCHITECTURES[model].__name__: setup for model, setup in content.architectures.items()}
    models = models or list(listed)
    if not models:
        raise ValueError(f"suite {name} lists no architectures: choose some with --models")
    found = []
    for cell_name, cell in content.cells.items():
        for model in models:
            merged = _merged(cell, model, listed.get(model, Setup()), setups.get(model, {}))
            source = f"suite {name}, cell {cell_name}, {model}"
            fixed = [*(f"model.{key}" for key in cell.model), *(f"optimizer.{key}" for key in cell.optimizer)]
            found.append(Base(name, True, cell_name, cell.data.name, model, merged, source, frozenset(fixed)))
    return found


def _merged(cell: Cell, model: str, listed: Setup, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a cell for an architecture: those given later are more particular, and win."""
    options = {**options_of(ARCHITECTURES[model], cell.model), **listed.model, **given.get("model", {})}
    lr = {"lr": listed.lr[cell.data.name]} if cell.data.name in listed.lr else {}
    return {
        "model": {"class_path": model, "init_args": options},
        "data": {"class_path": cell.data.name, "init_args": cell.data.init_args},
        "protocol": cell.protocol,
        "optimizer": {**cell.optimizer, **lr, **given.get("optimizer", {})},
        "trainer": TRAINER,
        "picture": False,
    }


def _of_file(
    path: Path, content: Mapping[str, Any], setups: Mapping[str, dict[str, Any]], models: Sequence[str]
) -> Iterable[Base]:
    content = {key: value for key, value in content.items() if key not in OF_ONE_RUN}
    own = None if content.get("model") is None else _choice(path, "model", content["model"])
    task, data = _choice(path, "data", content["data"])
    for model in models or ([] if own is None else [own[0]]) or list(setups):
        if own is not None and model != own[0] and model not in setups:
            raise ValueError(f"{path}: sets up {own[0]}: leave its model out, or set up {model} in another --config")
        given = setups.get(model, {})
        options = {**(own[1] if own is not None and own[0] == model else {}), **given.get("model", {})}
        merged = {
            **content,
            "model": {"class_path": model, "init_args": options},
            "data": {"class_path": task, "init_args": data},
            "optimizer": {**_mapping(path, "optimizer", content), **given.get("optimizer", {})},
            "trainer": {**TRAINER, **_mapping(path, "trainer", content), "enable_progress_bar": False},
            "picture": False,
        }
        yield Base(path.stem, False, task, task, model, merged, str(path))


def _setup_of(path: Path, content: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The architecture that a file sets up, its options and its optimizer's."""
    for key in content:
        if key in {"data", "protocol"}:
            raise ValueError(f"{path}: {key} is the suite's to decide: leave it out")
        if key not in {"model", "optimizer"}:
            raise ValueError(f"{path}: {unknown('key', key, ['model', 'optimizer'])}")
    if content.get("model") is None:
        raise ValueError(f"{path}: must name the architecture that it sets up, as model: {{class_path: NAME}}")
    name, options = _choice(path, "model", content["model"])
    return name, {"model": options, "optimizer": _mapping(path, "optimizer", content)}


def _choice(path: Path, key: str, value: Any) -> tuple[str, dict[str, Any]]:
    """The registered name and the options of a class in a configuration."""
    if isinstance(value, str):
        value = {"class_path": value}
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("class_path"), str)
        or value.keys() - {"class_path", "init_args"}
    ):
        raise ValueError(f"{path}: {key} must be a name, or class_path: NAME and init_args: OPTIONS")
    name = value["class_path"].rpartition(".")[2]
    kind, known = ("task", TASKS) if key == "data" else ("architecture", ARCHITECTURES)
    if name not in known:
        raise ValueError(f"{path}: {unknown(kind, name, sorted(known))}")
    return known[name].__name__, _mapping(path, "init_args", value)


def _mapping(path: Path, key: str, content: Mapping[str, Any]) -> dict[str, Any]:
    value = content.get(key)
    if not isinstance(value, dict | None):
        raise ValueError(f"{path}: {key} must be a mapping of options")
    return dict(value or {})
