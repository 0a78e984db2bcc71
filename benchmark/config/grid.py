"""The grid of a sweep: options that take several values, and the product of them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

Value = bool | int | float | str | None
LIMIT = 10_000
"""More values than this are a slip of the finger."""

SECTIONS = ("model", "data", "optimizer", "protocol")


@dataclass(frozen=True)
class Axis:
    """One option and the values that it takes.

    Args:
        key: as on the command line of `fit`, like ``data.n_nonzero``.
        values: in the order in which they were written.
    """

    key: str
    values: tuple[Value, ...]

    @property
    def section(self) -> str:
        """One of `SECTIONS`."""
        return self.key.partition(".")[0]

    @property
    def option(self) -> str:
        """The option's name within its section."""
        return self.key.partition(".")[2]


def parse_grid(texts: Iterable[str]) -> tuple[Axis, ...]:
    """The axes of ``KEY=VALUES`` words: values have commas between them, ``A..B`` are the whole numbers from A to B.

    Raises:
        ValueError: one line, if a word is not of this form, or names a key or a value twice.
    """
    axes: dict[str, Axis] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals or not values or key.partition(".")[0] not in SECTIONS or not key.partition(".")[2]:
            raise ValueError(f"--grid {text}: write KEY=VALUES, like data.n_nonzero=1..4 or model.n_heads=1,2,4")
        if key in axes:
            raise ValueError(f"--grid {text}: {key} is given twice")
        found = [value for item in values.split(",") for value in _values(item.strip(), text)]
        for i, value in enumerate(found):
            if value in found[:i]:
                raise ValueError(f"--grid {text}: {value_text(value)} is there twice")
        axes[key] = Axis(key, tuple(found))
    return tuple(axes.values())


def points(axes: Iterable[Axis]) -> list[dict[str, Value]]:
    """Every combination of values, by key; one empty combination if there are no axes."""
    axes = tuple(axes)
    return [
        dict(zip((axis.key for axis in axes), values, strict=True)) for values in product(*(a.values for a in axes))
    ]


def name_of(cell: str, point: Mapping[str, Value]) -> str:
    """The name of a cell at a point of the grid, ``CELL,key=value,...``: a plain folder name."""
    return ",".join([cell, *(f"{key}={value_text(value)}" for key, value in point.items())])


def short_keys(axes: Iterable[Axis]) -> dict[str, str]:
    """Short names of the keys that vary: the last part of each, or the whole key where two end alike."""
    varying = [axis for axis in axes if len(axis.values) > 1]
    alike = Counter(axis.option for axis in varying)
    return {axis.key: axis.option if alike[axis.option] == 1 else axis.key for axis in varying}


def value_text(value: Value) -> str:
    """A value as YAML writes it."""
    return (
        {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else str(value)
    )


def _values(item: str, text: str) -> list[Value]:
    if match := re.fullmatch(r"(-?[0-9]+)\.\.(-?[0-9]+)", item):
        first, last = int(match[1]), int(match[2])
        if last < first:
            raise ValueError(f"--grid {text}: {item} runs backwards: write {last}..{first}")
        if last - first >= LIMIT:
            raise ValueError(f"--grid {text}: {item} has more than {LIMIT:,} values")
        return list(range(first, last + 1))
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+", item):
        raise ValueError(f"--grid {text}: {item!r} is no value: letters, digits, '.', '_', '-' and '+' make one")
    if item in (words := {"true": True, "false": False, "null": None}):
        return [words[item]]
    for kind in (int, float):
        try:
            return [kind(item)]
        except ValueError:
            continue
    return [item]
