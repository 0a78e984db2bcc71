"""Names of a sweep's cells: in folders, where they must last, and in tables, where they must fit."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

from benchmark.config.files.yaml_text import from_text, text_of, to_text
from benchmark.sweeps.plan import Plan, PlanEntry
from benchmark.sweeps.state import flat
from benchmark.training.folder.layout import CONFIG
from leaderboard.records.file_names import name_problem

MOST_CHARACTERS = 160
"""Of a folder's name: file systems hold 255 bytes, and others see the path of a run below folders of their own."""

LEAST_SHOWN = 24
"""Characters of a name that a table shows, however narrow it is."""

_OF_PLACE = ("seed", "cell")
"""Parts of a configuration that say which of the runs of an entry it is, and what the folder is called."""


def named(plan: Plan, out: Path) -> Plan:
    """The plan with names that are good on any file system, and are those of the runs that lie in its folder already.

    A name tells what varies. So it depends on the grid, and runs made before the grid got another value or key, or by
    an older rule, have other ones. They are found by what their configuration says.

    Args:
        plan: the sweep.
        out: its folder.
    """
    entries = [_renamed(entry, plain(entry.cell)) for entry in plan.entries]
    folded = Counter((entry.suite, entry.architecture, entry.cell.casefold()) for entry in entries)
    for i, entry in enumerate(entries):
        if folded[entry.suite, entry.architecture, entry.cell.casefold()] > 1:  # one folder, where case is ignored
            entries[i] = _renamed(entry, f"{entry.cell}~{_digest(plan.entries[i].cell)}")
    folders = _Folders(out)
    return replace(plan, entries=tuple(_renamed(entry, folders.name_of(entry)) for entry in entries))


def plain(name: str) -> str:
    """The name if any file system holds it as a folder's, else one like it, cut in the middle, with a check sum."""
    safe = name.rstrip(". ")
    if name_problem(safe):
        safe = "_" + re.sub(r"[^\w.+,=-]", "_", safe)
    if safe != name or len(name) > MOST_CHARACTERS:
        return f"{cut_in_the_middle(safe, MOST_CHARACTERS - 9, '~')}~{_digest(name)}"
    return name


def cut_in_the_middle(text: str, most: int, mark: str = "…") -> str:
    """A text of at most so many characters; ends are what names of a grid differ in."""
    if len(text) <= most:
        return text
    kept = max(0, most - len(mark))
    return text[: kept // 3] + mark + text[len(text) - (kept - kept // 3) :]


class CellNames:
    """Names in a column of a table: cut in the middle where room is short, and on several lines where cut ones would be
    alike.

    Args:
        names: all of the column.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = set(names)

    def __call__(self, name: str) -> "CellName":
        """The text that a table shows for one of the names."""
        return CellName(name, self.names)


class CellName:
    """One name, as rich renders it."""

    def __init__(self, name: str, names: set[str]) -> None:
        self.name, self.names = name, names

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(len(self.name), LEAST_SHOWN), len(self.name))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        mark = "…" if "utf" in options.encoding else "~"
        width = options.max_width
        if len({cut_in_the_middle(name, width, mark) for name in self.names}) < len(self.names):
            yield Text(self.name, overflow="fold")
        else:
            yield Text(cut_in_the_middle(self.name, width, mark), no_wrap=True, overflow="crop")


class _Folders:
    """The folders of cells that are there already."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._cells: dict[str, list[str]] = {}
        self._contents: dict[Path, dict[str, Any] | None] = {}

    def name_of(self, entry: PlanEntry) -> str:
        """The name of the folder that holds runs of an entry; that of the entry if there is none."""
        base = plain(entry.base or entry.cell)
        there = [name for name in self._in(entry.suite) if name == base or name.startswith(f"{base},")]
        if not there:
            return entry.cell
        wanted = _decided(from_text(entry.config))
        for name in [entry.cell, *there]:
            if self._content(entry, name) == wanted:
                return name
        # Without what it has in common with the other cells of its own grid, it would be called like another sweep's.
        return entry.cell if self._content(entry, entry.cell) is None else plain(entry.full or entry.cell)

    def _in(self, suite: str) -> list[str]:
        if suite not in self._cells:
            try:
                self._cells[suite] = sorted(os.listdir(self.out / suite))
            except OSError:
                self._cells[suite] = []
        return self._cells[suite]

    def _content(self, entry: PlanEntry, name: str) -> dict[str, Any] | None:
        """Everything that the configuration in a folder decides; None if there is none that can be read."""
        folder = self.out / entry.suite / name / entry.architecture
        if folder not in self._contents:
            files = [*sorted(folder.glob(f"seed*/{CONFIG}"))[:1], folder / CONFIG]
            try:
                content = from_text(text_of(files[0]))
            except (OSError, ValueError, yaml.YAMLError):
                content = None
            self._contents[folder] = _decided(content) if isinstance(content, dict) else None
        return self._contents[folder]


def _decided(content: Mapping[str, Any]) -> dict[str, Any]:
    return flat({key: value for key, value in content.items() if key not in _OF_PLACE})


def _renamed(entry: PlanEntry, name: str) -> PlanEntry:
    if name == entry.cell:
        return entry
    content = from_text(entry.config) | {"cell": name}
    return replace(entry, cell=name, config=to_text(content))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
