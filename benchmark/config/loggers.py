"""Lightning's loggers: where one asks for a folder and none is given, it gets the folder of the run."""

import inspect
from pathlib import Path
from pydoc import locate
from typing import Any

from jsonargparse import Namespace

from benchmark.config.trainer_objects import listed

RUN_FOLDER = "{run_folder}"
"""Stands for the folder of the run, which is not known yet where options are parsed."""

_ASKING = ("save_dir", "root_dir")
"""Names of the folder among the arguments of loggers."""


def fill_in_folders(parsed: Namespace) -> None:
    """Name the run's folder in the options of every logger that asks for one, unless another one is given.

    Args:
        parsed: of a command or of the trainer's options alone; changed in place.
    """
    for part in (parsed, *(value for value in vars(parsed).values() if isinstance(value, Namespace))):
        if isinstance(trainer := part.get("trainer"), Namespace):
            for logger in listed(trainer.get("logger")):
                if isinstance(logger, Namespace) and isinstance(logger.get("class_path"), str):
                    _fill_in(logger)


def _fill_in(logger: Namespace) -> None:
    try:
        asked = inspect.signature(locate(logger.class_path)).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):  # no class: the parser says so
        return
    given = logger.get("init_args") or Namespace()
    for name in _ASKING:
        # A default of the class is no answer: some would write where the command happens to be started.
        if name in asked and given.get(name) in (None, asked[name].default):
            logger["init_args"] = given
            given[name] = RUN_FOLDER


def with_folder(options: Any, folder: Path) -> Any:
    """The options of loggers with a folder in the place of `RUN_FOLDER`; objects stay as they are."""
    if isinstance(options, str):
        return options.replace(RUN_FOLDER, str(folder))
    if isinstance(options, Namespace):
        return Namespace(**{name: with_folder(value, folder) for name, value in vars(options).items()})
    return [with_folder(value, folder) for value in options] if isinstance(options, list) else options
