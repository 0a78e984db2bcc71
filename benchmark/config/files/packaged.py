"""Configuration files that come with the package: found by name, wherever a command is started."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The folder in which `benchmark` lies: the checkout, or that of installed packages."""

_INSTALLED = ROOT / "benchmark" / "_configs"  # setup.py puts configs/ there: outside of a package nothing can lie

CONFIGS = _INSTALLED if _INSTALLED.is_dir() else ROOT / "configs"
SUITES = CONFIGS / "suites"
YAML = (".yaml", ".yml")
CONFIG_OPTIONS = ("--config", "-c")


def config_file(name: str | Path) -> Path:
    """The configuration file at a path or, if there is none, the one of this name that comes with the package.

    ``configs/task/lm.yaml``, ``task/lm.yaml`` and ``task/lm`` name the same file of the package. A name that leads
    nowhere is returned as it is.
    """
    path = Path(name)
    parts = path.parts[path.parts[:1] == ("configs",) :]
    if not parts or path.is_absolute() or ".." in parts or os.path.exists(path):
        return path
    found = CONFIGS.joinpath(*parts)
    if found.suffix not in YAML:
        found = found.with_name(f"{found.name}.yaml")
    return found if os.path.isfile(found) else path


def say_which(names: Iterable[str]) -> None:
    """Print a line on standard error for each file of the package that is taken by its name."""
    for name in names:
        if (path := config_file(name)) != Path(name):
            print(f"note: {name} is not in this folder: taken from the package, {path}", file=sys.stderr)


def with_config_files(words: Sequence[str]) -> list[str]:
    """The words of a command line with the package's files where `--config` names one of them, each said once."""
    found = list(words)
    for i, word in enumerate(words):
        option, equals, _ = word.partition("=")
        at, before = (i, f"{option}=") if equals else (i + 1, "")
        if option in CONFIG_OPTIONS and at < len(words):
            name = words[at].removeprefix(before)
            say_which([name])
            found[at] = before + (name if config_file(name) == Path(name) else str(config_file(name)))
    return found
