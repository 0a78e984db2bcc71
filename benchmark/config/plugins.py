"""Architectures, tasks, metrics and probes from elsewhere: other installed packages, and single files."""

import importlib.util
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import _typehints

from benchmark.config.errors import said, unknown

if TYPE_CHECKING:
    from architectures import SequenceModel

GROUPS = tuple(f"emergence_benchmark.{kind}" for kind in ("architectures", "tasks", "metrics", "probes"))


FAMILIAR = {"architectures", "benchmark", "datamodules", "lightning", "pytorch_lightning", "torch"}
"""Packages whose classes a configuration may name without a warning."""


NOT_IMPORTED = (
    "names {}, which is neither registered nor torch's or Lightning's: it is imported with --trust (trust=True) only"
)


def plugins() -> list[EntryPoint]:
    """Everything that installed packages declare under the entry-point groups; nothing is imported."""
    return [entry for group in GROUPS for entry in entry_points(group=group)]


def load_plugins() -> None:
    """Import what installed packages declare, so that it registers itself.

    A plugin that fails to load warns with its reason and leaves the others as they are.
    """
    for entry in plugins():
        try:
            entry.load()
        except Exception as error:  # whatever an outside package raises must not stop the suite
            warnings.warn(f"plugin {entry.name} ({entry.value}) did not load: {said(error)}", stacklevel=2)


TEXTS = {"dir", "default_root_dir", "name", "prefix", "project", "root_dir", "save_dir", "sub_dir", "version"}
"""Options of loggers, profilers and the trainer that are texts and never classes, though one may look like a path."""


def foreign_names(content: Any) -> Iterator[str]:
    """Import paths in a configuration, or a part of one as it was parsed, that lead out of the suite, torch and
    Lightning: whatever follows `class_path`, and texts that look like one where a class may stand."""
    if isinstance(content, str):
        if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", content) and content.partition(".")[0] not in FAMILIAR:
            yield content
    elif isinstance(content, Mapping):
        for name, value in content.items():
            if not (name in TEXTS and isinstance(value, str)):
                yield from foreign_names(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from foreign_names(value)


def registered_only(content: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that a stranger may have written, with architecture and task by registered name alone.

    Raises:
        ValueError: one line, if anything else in it may be imported that is not the suite's, torch's or Lightning's.
    """
    whole = dict(content)
    for key in ("model", "data"):
        choice = whole.get(key)
        if isinstance(choice, str):
            choice = {"class_path": choice}
        if not isinstance(choice, Mapping):
            continue
        whole[key] = {**choice, "class_path": str(choice.get("class_path")).rpartition(".")[2]}
        _refuse_classes(choice.get("init_args"))
        if extra := choice.keys() - {"class_path", "init_args"}:
            raise ValueError(f"{key}: {unknown('key', str(min(extra)), ['class_path', 'init_args'])}")
    for name in foreign_names(whole.get("trainer") or {}):
        raise ValueError(NOT_IMPORTED.format(name))
    return whole


def _refuse_classes(options: Any) -> None:
    """Raise a ValueError for an option of an architecture or a task that is a class from elsewhere."""
    parts = options.values() if isinstance(options, Mapping) else options if isinstance(options, list) else ()
    if isinstance(options, Mapping) and "class_path" in options:
        for name in foreign_names(options["class_path"]):
            raise ValueError(NOT_IMPORTED.format(name))
    for part in parts:
        _refuse_classes(part)


def architecture(name: str) -> "type[SequenceModel]":
    """A registered architecture.

    Raises:
        ValueError: one line with the nearest name and all of them, if there is none of this name.
    """
    from architectures import ARCHITECTURES

    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    raise ValueError(unknown("architecture", name, sorted(ARCHITECTURES)))


def families_in_parsers() -> None:
    """Let every parser of jsonargparse know the architectures of families, which are made when they are asked for."""
    from architectures import ARCHITECTURES, SequenceModel

    by_name = _typehints.resolve_class_path_by_name

    def resolved(cls: Any, name: str) -> str:
        if cls is SequenceModel and name not in list(ARCHITECTURES) and name in ARCHITECTURES:
            made = ARCHITECTURES[name]
            return f"{made.__module__}.{made.__qualname__}"
        return by_name(cls, name)

    _typehints.resolve_class_path_by_name = resolved


def architectures_of_file(path: Path) -> "list[type[SequenceModel]]":
    """The architectures that a Python file registers; it is imported unless it is already.

    Raises:
        ValueError: one line, if the file is not there, cannot be imported or registers nothing.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if not _registered_by(path):
        # A name of its own, so that a file called random.py hides no module; in sys.modules, so that pickle finds it.
        name = f"_file_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path.resolve())
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.resolve().parent))  # as for a script: it may import what lies beside it
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever an outside file raises
            del sys.modules[name]
            raise ValueError(f"{path}: cannot be imported: {said(error)}") from error
        finally:
            sys.path.pop(0)
    if not (found := _registered_by(path)):
        raise ValueError(f'{path}: registers no architecture: put @register("name") above its class')
    return found


def _registered_by(path: Path) -> "list[type[SequenceModel]]":
    from architectures import ARCHITECTURES

    files = {cls: source_file(cls) for cls in ARCHITECTURES.values()}
    return [cls for cls, file in files.items() if file is not None and file.exists() and path.samefile(file)]


def source_file(cls: type) -> Path | None:
    """The file of the module that defines a class."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return None if file is None else Path(file)
