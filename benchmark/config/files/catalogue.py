"""The names there are to choose from, read from the source: a list of names is not worth an import of torch."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config.files.packaged import ROOT, SUITES
from benchmark.config.plugins import load_plugins, plugins

ROOMS = {
    "architecture": ("architectures", "register"),
    "family": ("architectures", "family"),
    "task": ("datamodules", "register_task"),
    "metric": ("benchmark/metrics", "register_metric"),
    "probe": ("benchmark/probes", "register_probe"),
}
"""Kinds of what is registered: the folder of ours, and the decorator that registers one."""


@dataclass(frozen=True)
class CatalogueItem:
    """Something with a name.

    Attributes:
        kind: architecture, family of architectures, task, metric, probe or suite.
        name: as it is typed.
        summary: one line.
        origin: the module of a plugin that it comes from; empty if it is ours.
    """

    kind: str
    name: str
    summary: str
    origin: str = ""


def catalogue() -> list[CatalogueItem]:
    """Architectures, metrics, probes, tasks and suites; with those of installed plugins, which are imported for it."""
    classes = [
        CatalogueItem(kind, *found) for kind, room in ROOMS.items() for found in registered(ROOT / room[0], room[1])
    ]
    if plugins():
        ours = {(choice.kind, choice.name) for choice in classes}
        classes += [choice for choice in _in_registries() if (choice.kind, choice.name) not in ours]
    return sorted(classes, key=lambda choice: (choice.kind, choice.name)) + [
        CatalogueItem("suite", path.stem, path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip())
        for path in sorted(SUITES.glob("*.yaml"))
    ]


def registered(folder: Path, decorator: str) -> Iterator[tuple[str, str]]:
    """Yield name and first docstring line of everything below a folder that has ``@decorator("name")`` above it."""
    for path in folder.rglob("*.py"):
        source = path.read_text(encoding="utf-8", errors="replace")
        if f"@{decorator}(" not in source:
            continue
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            raise ValueError(f"{path}: cannot be read: {error}") from error
        for cls in [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)]:
            for call in cls.decorator_list:
                match call:
                    case ast.Call(func=ast.Name(id=used), args=[ast.Constant(value=str(name))]) if used == decorator:
                        yield name, (ast.get_docstring(cls) or "").partition("\n")[0]


def _in_registries() -> Iterator[CatalogueItem]:
    """Everything that is registered once the plugins are loaded."""
    load_plugins()
    from architectures import ARCHITECTURES
    from benchmark.metrics import METRICS
    from benchmark.probes import PROBES
    from datamodules import TASKS

    registries: dict[str, dict[str, Any]] = {
        "architecture": ARCHITECTURES, "metric": METRICS, "probe": PROBES, "task": TASKS
    }  # fmt: skip
    for kind, classes in registries.items():
        for name, cls in classes.items():
            yield CatalogueItem(kind, name, inspect.cleandoc(cls.__doc__ or "").partition("\n")[0], cls.__module__)
