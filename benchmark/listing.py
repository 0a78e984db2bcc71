"""``python -m benchmark list``: what there is to choose from."""

import inspect
from pathlib import Path

from architectures import ARCHITECTURES
from datamodules import TASKS

SUITES = Path(__file__).resolve().parents[1] / "configs" / "suites"


def print_list() -> None:
    """Print architectures, tasks and suites, a line each."""
    lines = []
    for kind, classes in (("architecture", ARCHITECTURES), ("task", TASKS)):
        for name, cls in sorted(classes.items()):
            lines.append((kind, name, _first_line(cls)))
    for path in sorted(SUITES.glob("*.yaml")):
        lines.append(("suite", path.stem, path.read_text().partition("\n")[0].removeprefix("#").strip()))
    width = max(len(name) for _, name, _ in lines)
    for kind, name, what in lines:
        print(f"{kind:12}  {name:{width}}  {what}")


def _first_line(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]
