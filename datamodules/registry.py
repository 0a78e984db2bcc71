"""Short names for tasks: `--data lm` on the command line, `data: lm` in YAML."""

import sys
from collections.abc import Callable
from typing import TypeVar

from datamodules.data_module import TaskDataModule

TASKS: dict[str, type[TaskDataModule]] = {}

DataModuleType = TypeVar("DataModuleType", bound=type[TaskDataModule])


def register_task(name: str) -> Callable[[DataModuleType], DataModuleType]:
    """Class decorator: make a data module known under a short name.

    The class takes the name as its own, because the command line resolves an undotted name among imported subclasses by
    `__name__`; its module also gets an attribute of that name, so the class can be pickled and imported by it.

    Raises:
        ValueError: if the name is taken; the line names both modules.
    """

    def decorate(cls: DataModuleType) -> DataModuleType:
        if name in TASKS:
            raise ValueError(f"task {name!r} is defined twice: in {TASKS[name].__module__} and in {cls.__module__}")
        cls.__name__ = cls.__qualname__ = name
        setattr(sys.modules[cls.__module__], name, cls)
        TASKS[name] = cls
        return cls

    return decorate
