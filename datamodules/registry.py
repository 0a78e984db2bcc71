"""Short names for tasks: `--data lm` on the command line, `data: lm` in YAML.

A task is a generator, and a trainer takes a data module. `register_task` makes the second from the first, so that an
option, its default and its line of help are written once: a task's in its class, a batch's in `TaskDataModule`.
"""

import inspect
import sys
from collections.abc import Callable, Iterable
from types import new_class
from typing import Any, TypeVar

from docstring_parser import DocstringStyle, parse

from datamodules.data_module import TaskDataModule
from datamodules.task import SEEDS, Task

TASKS: dict[str, type[TaskDataModule]] = {}
"""The data module of every registered task by its short name; its `task_class` is the task."""

TaskType = TypeVar("TaskType", bound=type[Task])


def register_task(name: str) -> Callable[[TaskType], TaskType]:
    """Class decorator: make a task known under a short name, which it takes as its `name`, and make its data module.

    The data module is called by the short name, because the command line resolves an undotted name among imported
    subclasses by `__name__`; the task's module gets it as an attribute, so that it can be pickled and imported.

    Raises:
        TypeError: if what is decorated is not a subclass of `Task`, or lacks something that a task must have.
        ValueError: if the name is taken, which names both modules, or is the name of the class itself.
    """

    def decorate(cls: TaskType) -> TaskType:
        if not (isinstance(cls, type) and issubclass(cls, Task)):
            raise TypeError(f"@register_task({name!r}) decorates {cls!r}, which is not a subclass of Task")
        if missing := sorted(cls.__abstractmethods__):
            raise TypeError(f"@register_task({name!r}) decorates {cls.__name__}, which lacks {', '.join(missing)}")
        if name in TASKS:
            raise ValueError(f"task {name!r} is defined twice: in {TASKS[name].__module__} and in {cls.__module__}")
        if name == cls.__name__:
            raise ValueError(f"task {name!r}: its data module takes this name, so the class needs another one")
        cls.name = name
        TASKS[name] = _data_module_of(cls)
        setattr(sys.modules[cls.__module__], name, TASKS[name])
        return cls

    return decorate


def _data_module_of(task_class: type[Task]) -> type[TaskDataModule]:
    """A data module whose constructor takes the task's options, then those of `TaskDataModule`, then the seeds."""
    own = inspect.signature(task_class, eval_str=True).parameters.values()
    of_batch = [p for p in inspect.signature(TaskDataModule).parameters.values() if p.name != "task"]
    seeds = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own if p.name in SEEDS]
    parameters = [*(p for p in own if p.name not in SEEDS), *of_batch, *seeds]

    def __init__(self: TaskDataModule, *args: Any, **options: Any) -> None:
        batch = {p.name: options.pop(p.name) for p in of_batch if p.name in options}
        TaskDataModule.__init__(self, task_class(*args, **options), **batch)

    # what jsonargparse, and anyone who asks, sees in place of `*args, **options`
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    __init__.__signature__ = inspect.Signature([this, *parameters], return_annotation=None)  # type: ignore[attr-defined]
    __init__.__annotations__ = {p.name: p.annotation for p in parameters}
    content = {
        "__init__": __init__,
        "__doc__": _docstring(task_class, [p.name for p in parameters]),
        "__module__": task_class.__module__,
        "task_class": task_class,
        "model_defaults": task_class.model_defaults,
    }
    return new_class(task_class.name, (TaskDataModule,), exec_body=lambda namespace: namespace.update(content))


def _docstring(task_class: type[Task], options: Iterable[str]) -> str:
    """The first line of the task's docstring, and what it, its bases and `TaskDataModule` say of each option."""
    bases = [cls for cls in reversed(task_class.__mro__) if issubclass(cls, Task)]
    documented = [parse(cls.__doc__ or "", DocstringStyle.GOOGLE) for cls in (TaskDataModule, *bases)]
    texts = {param.arg_name: " ".join((param.description or "").split()) for doc in documented for param in doc.params}
    lines = [f"    {name}: {texts[name]}" for name in options if name in texts]
    return "\n".join([documented[-1].short_description or "", "", "Args:", *lines])
