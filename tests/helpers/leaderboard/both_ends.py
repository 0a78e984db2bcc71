"""Both ends of the leaderboard, read with none of its code: records, and the pages of the site that is made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from html import unescape
from html.parser import HTMLParser
from itertools import product
from math import isclose
from pathlib import Path
from typing import Any

import pandas as pd

Run = dict[str, Any]  # a record, and the folder that it lies in as "folder"
Facts = dict[str, Any]
"""Values by the names that the downloads have for them: a number, a text, None where nothing may stand, a pair (low,
high) that a number may lie between, or a set of alternatives."""

REFERENCE = "transformer"
STATUSES = ("solved", "censored", "diverged", "error", "interrupted")
CHARTED = 11  # entries in a chart: the reference and the best of the others
ANSWERS = {
    "better": "Faster than",
    "worse": "Slower than",
    "same": "The same as",
    "mixed": "Faster in some cells and slower in others than",
    "needs-seeds": "Not told apart from",
}
RATE = r"([\w-]+) (\d+ % \(.*?\))"  # of an entry, or on a task
NUMBER = r"\d+(?:\.\d+)?(?:e-\d+)?"


@dataclass(frozen=True)
class Suite:
    """Runs by entry and cell, one a seed, under the reference's protocol; what entry.yaml says; runs of the tuning."""

    name: str
    entries: Mapping[str, Mapping[str, Sequence[Run]]]
    about: Mapping[str, Mapping[str, str]]
    tuning: Sequence[Run]

    @property
    def cells(self) -> dict[str, Run]:
        """A run of each cell, for its task and its protocol."""
        return {cell: runs[0] for cell, runs in self.entries[REFERENCE].items()}

    @property
    def arms(self) -> dict[str, dict[str, list[Run]]]:
        """The runs that have an outcome, by entry and cell."""
        kept = {e: {c: list(filter(ended, runs)) for c, runs in cells.items()} for e, cells in self.entries.items()}
        return {entry: {cell: runs for cell, runs in cells.items() if runs} for entry, cells in kept.items()}

    @property
    def runs(self) -> list[tuple[str, str, Run]]:
        """Every run, with the names of its entry and of its cell."""
        return [(entry, cell, run) for entry, cells in self.entries.items() for cell in cells for run in cells[cell]]

    def with_run(self, run: Run, other: Run) -> Suite:
        """The suite with another run in place of one."""
        entries = {
            entry: {cell: [other if each is run else each for each in runs] for cell, runs in cells.items()}
            for entry, cells in self.entries.items()
        }
        return replace(self, entries=entries)


def read_suites(root: Path) -> dict[str, Suite]:
    """The suites that have entries, from a folder of results."""
    texts = {path.parent: path.read_text() for path in root.rglob("entry.yaml")}
    homes = {folder: dict(re.findall(r"(?m)^(\w+): '?(.*?)'?$", text)) for folder, text in texts.items()}
    runs: dict[str, dict[str, dict[str, list[Run]]]] = {}
    others: list[Run] = []
    for path in root.rglob("record.json"):
        run = {**json.loads(path.read_text()), "folder": path.parent}
        home = next((homes[folder] for folder in path.parents if folder in homes), None)
        if home is None:
            others.append(run)
        else:
            runs.setdefault(home["suite"], {}).setdefault(home["name"], {}).setdefault(run["cell"], []).append(run)
    suites = {}
    for name, entries in sorted(runs.items()):
        protocols = {cell: min(found, key=seeds)["protocol_hash"] for cell, found in sorted(entries[REFERENCE].items())}
        kept: dict[str, dict[str, list[Run]]] = {entry: {} for entry in sorted(entries)}
        for entry, (cell, protocol) in product(kept, protocols.items()):
            if found := [r for r in one_per_seed(entries[entry].get(cell, [])) if r["protocol_hash"] == protocol]:
                kept[entry][cell] = found
        about = {home["name"]: home for home in homes.values() if home["suite"] == name}
        suites[name] = Suite(name, kept, about, [run for run in others if run["suite"] == f"{name}_tuning"])
    return suites


def seeds(run: Run) -> tuple[int, ...]:
    """Seeds of a run, which runs are sorted by."""
    return tuple(run["seeds"][name] for name in ("task_seed", "init_seed", "data_seed"))


def ended(run: Run) -> bool:
    """Whether a run has an outcome; one that diverged has one, too."""
    return run["status"] in STATUSES[:3]


def one_per_seed(runs: Iterable[Run]) -> list[Run]:
    """Runs in the order of their seeds: of those of one seed that have an outcome, the one that started first."""
    kept: list[Run] = []
    for run in sorted(runs, key=lambda run: datetime.fromisoformat(run["started_at"])):
        if not (ended(run) and any(ended(other) and seeds(other) == seeds(run) for other in kept)):
            kept.append(run)
    return sorted(kept, key=seeds)


def hit(run: Run) -> dict[str, Any]:
    """When a run hit its primary target, even if it diverged thereafter: `step` and `previous_step`, or None."""
    return run["hits"][run["protocol"]["primary"]]


def points_of(run: Run, column: str) -> list[tuple[int, float]]:
    """Steps and values of a run's learning curve."""
    found = pd.read_parquet(run["folder"] / run["curves"]["file"], columns=["step", column]).dropna()
    return list(zip(found["step"].tolist(), found[column].tolist(), strict=True))


class Page(HTMLParser):
    """A page.

    Attributes:
        tables: rows by heading, by the table's id; under "" stands the entry that a row links to.
        data: what its scripts read.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.data = json.loads(re.findall(r'id="page-data">(.*?)</script>', source)[0])
        self.tables: dict[str, list[dict[str, str]]] = {}
        self._rows: list[dict[str, str]] = []
        self._heads: list[str] = []
        self._cells: list[str] = []
        self._entry = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a table, a row or a cell."""
        given = {name: value or "" for name, value in attrs}
        if tag == "table":
            self._rows, self._heads = self.tables.setdefault(given["id"], []), []
        elif tag == "tr":
            self._cells = []
        elif tag in {"td", "th"}:
            self._cells.append("")
        elif tag == "a" and self._cells and (found := re.fullmatch(r"entries/.*?--(.*)\.html", given["href"])):
            self._entry = found[1]

    def handle_data(self, data: str) -> None:
        """Add to the text of a cell."""
        if self._cells:
            self._cells[-1] += data

    def handle_endtag(self, tag: str) -> None:
        """Close a row; a table's first one has its headings."""
        if tag == "tr" and self._heads:
            self._rows.append({"": self._entry, **dict(zip(self._heads, self._cells, strict=True))})
        if tag == "tr":
            self._heads, self._cells, self._entry = self._heads or self._cells, [], ""


def answers_of(part: str) -> dict[str, tuple[str, dict[str, tuple[str, str]]]]:
    """For each task its size, and of each entry the win rate and the verdict that the answers of a suite give."""
    found = {}
    section = r'<section aria-label="(.*?)">.*?"muted">(.*?)</span>(.*?)</section>'
    for task, size, lines in re.findall(section, part, re.S):
        told: dict[str, tuple[str, str]] = {}
        for head, line in re.findall(r"<strong>(.*?):</strong> <bdi>(.*?)</bdi>", lines):
            (word,) = (word for word, text in ANSWERS.items() if head == f"{text} the {REFERENCE}")
            told |= {entry: (rate, word) for entry, rate in re.findall(RATE, line)}
        found[task] = (size, told)
    return found


class Shown:
    """The site, and what was found of a suite, by entry and cell."""

    def __init__(self, files: Mapping[str, bytes], suite: Suite, facts: Mapping[tuple[str, str], Facts]) -> None:
        self.files, self.suite, self.facts = files, suite, facts
        self.pages = {path: Page(source.decode()) for path, source in files.items() if path.endswith(".html")}
        self.order = sorted(suite.entries, key=lambda entry: (self.of(entry)[0]["place"], entry))
        others = [entry for entry in self.order if entry != REFERENCE][: CHARTED - 1]
        self.charted = [entry for entry in self.order if entry in (REFERENCE, *others)]
        sources = {cell: self.pages[f"cell--{suite.name}--{cell}.html"].source for cell in suite.cells}
        self.labels = {cell: unescape(re.findall(r"<h1><bdi>(.*?)</bdi>", page)[0]) for cell, page in sources.items()}
        self.cells = {label: cell for cell, label in self.labels.items()}
        assert len(self.cells) == len(self.labels), "two cells of one label"

    def of(self, entry: str) -> list[Facts]:
        """Everything found of an entry, cell by cell."""
        return [self.facts[entry, cell] for cell in self.suite.cells]

    def ran(self, entry: str) -> list[Facts]:
        """The same, without the cells that the entry has no runs in."""
        return [facts for facts in self.of(entry) if "n" in facts]

    def on(self, task: str, entry: str) -> Facts:
        """Everything found of an entry in the first cell of a task."""
        return next(facts for facts in self.of(entry) if self.suite.cells[facts["cell"]]["task"]["name"] == task)

    def runs(self, entry: str, cell: str) -> list[Run]:
        """All runs of an entry in a cell."""
        return list(self.suite.entries[entry].get(cell, []))


def plain(text: str) -> str:
    """A text as it was before it was typeset, its numbers without commas."""
    return re.sub(r"(?<=\d),(?=\d{3})", "", text.replace("–", "-").replace("×", "x")).strip()


def agrees(shown: Any, expected: Any, within: float) -> bool:
    """Whether a value is the one expected, or one of those that it may be (see `Facts`)."""
    if isinstance(expected, set):
        return any(agrees(shown, each, within) for each in expected)
    if expected is None or shown is None or isinstance(expected, str) or isinstance(shown, str):
        return bool(shown == expected)
    if isinstance(expected, tuple):
        return bool(expected[0] - within <= shown <= expected[1] + within)
    return isclose(shown, expected, rel_tol=1e-9, abs_tol=within)


def half_a_digit(number: str) -> float:
    """How far a number may be from what it is the rounded text of."""
    return 0.5001 * 10.0 ** -len(number.partition(".")[2])


class Ledger:
    """Compares what is shown with what was found; `wrong` has a line wherever they differ, `seen` counts."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.seen = 0

    def value(self, where: str, shown: Any, expected: Any, within: float = 1e-9) -> None:
        """Compare a value."""
        self.seen += 1
        if not agrees(shown, expected, within):
            self.wrong.append(f"{where}: shows {shown!r}, found {expected!r}")

    def rows(self, where: str, shown: Sequence[Facts], expected: Sequence[Facts], within: float) -> None:
        """Compare the rows of a chart, as far as something is expected of them."""
        self.value(f"{where}: rows", len(shown), len(expected))
        for row, wanted in zip(shown, expected, strict=False):
            for name, value in wanted.items():
                self.value(f"{where}: {name} of {row}", row[name], value, within)

    def text(self, where: str, shown: str, expected: str | set[str]) -> None:
        """Compare a text, numbers included."""
        self.value(where, plain(shown), expected)

    def number(self, where: str, shown: str, *expected: Any, form: str = "#") -> None:
        """Compare a text of a form, in which # stands for a number that is rounded to the digits it is shown with."""
        numbers = re.findall(NUMBER, plain(shown))
        self.text(where, re.sub(NUMBER, "#", plain(shown)), form)
        for number, wanted in zip(numbers, expected, strict=False):
            self.value(f"{where} ({shown})", float(number), wanted, half_a_digit(number))

    def rate(self, where: str, shown: str, facts: Facts, name: str = "win_rate", word: str | None = None) -> None:
        """Compare a win rate with its interval, and the verdict, which stands behind it or is given as a word."""
        if name not in facts:
            self.text(where, shown, "50 % (reference)" if facts.get("entry") == REFERENCE else "-")
            return
        numbers, _, behind = plain(shown).partition(")")
        expected = [facts[key] for key in (name, f"{name}_low_95", f"{name}_high_95")]
        self.number(where, numbers, *map(percent, expected), form="# % (#-# %")
        self.value(f"{where}, verdict", word or behind.strip(", ") or "needs-seeds", facts[f"{name}_verdict"])

    def p(self, where: str, shown: str, expected: Any) -> None:
        """Compare a p value of three decimals."""
        text = plain(shown)
        number = None if text == "-" else 0.0005 if text == "< 0.001" else float(text)
        self.value(where, number, expected, half_a_digit("0.001"))

    def ratio(self, where: str, shown: str, facts: Facts) -> None:
        """Compare a ratio of times with its interval."""
        number = r"([\d.]+)"
        found = re.fullmatch(rf"{number}x \((?:{number}-{number}|{number}\+|up to {number}|no bound)\)", plain(shown))
        middle, low, high, alone, top = found.groups() if found else [None] * 5
        self.value(where, found is None, plain(shown) == "-")
        for end, text in (("", middle), ("_low_95", low or alone), ("_high_95", high or top)):
            self.value(f"{where}{end}", text and float(text), facts[f"ratio{end}"], half_a_digit(text or ""))

    def cell(self, where: str, row: dict[str, str], facts: Facts) -> None:
        """Compare a row of a table: one entry in one cell."""
        if not facts.get("n"):
            self.text(where, row["Solved"], "-" if "n" in facts else "missing")
            return
        interval = percent((facts["solved_low_95"], facts["solved_high_95"]))
        self.number(f"{where}, solved", row["Solved"], facts["n_solved"], facts["n"], *interval, form="#/# (#-# %)")
        self.text(f"{where}, median", row["Median step"], median_text(facts))
        self.number(f"{where}, mean", row["Mean step"], facts["restricted_mean_step"])
        self.text(f"{where}, rank", row["Rank"], rank_texts(facts["rank"]))
        self.rate(f"{where}, win rate", row["Win rate"], facts)
        self.p(f"{where}, p", row["P (Holm)"], facts.get("p_holm"))
        ratio = row[f"Times the {REFERENCE}'s steps"]
        if facts["entry"] == REFERENCE:
            self.text(f"{where}, ratio", ratio, "1 (reference)")
        else:
            self.ratio(f"{where}, ratio", ratio, facts)
        if "Seeds" in row:
            self.text(f"{where}, seeds", row["Seeds"], str(facts["n"]))
            self.text(f"{where}, learning rate", row["Learning rate"], f"{facts['learning_rate']:g}")
        else:
            counts = [f"{n} {status}" for status in sorted(STATUSES) if (n := facts[f"runs_{status}"])]
            self.text(f"{where}, statuses", row["Runs by status"], ", ".join(counts))

    def run(self, where: str, row: dict[str, str], run: Run) -> None:
        """Compare a row of a table: one run."""
        step, budget, loss = hit(run)["step"], run["protocol"]["max_steps"], (run["final"] or {}).get("loss_nats")
        if len(set(seeds(run))) == 1:
            self.text(f"{where}, seed", row["Seed"], str(seeds(run)[0]))
        self.value(f"{where}, status", row["Status"].startswith(run["status"]), True)
        if ended(run):
            self.text(f"{where}, hit", row["Hitting step"], f"> {budget}" if step is None else str(step))
        self.text(f"{where}, steps", row["Steps"], str(run["steps"]))
        self.text(f"{where}, date", row["Date"], run["started_at"][:10])
        for heading, value in (("Tokens/s", run["tokens_per_s"]), ("Final loss (nats)", loss)):
            if value is not None:
                self.number(f"{where}, {heading}", row[heading], value)


def rank_texts(found: set[int] | None) -> set[str]:
    """The texts that a rank may have."""
    return {"-"} if found is None else set(map(str, found))


def median_text(facts: Facts) -> str:
    """The median step with its interval."""
    step, low, high = (facts[name] for name in ("median_step", "median_low_95_step", "median_high_95_step"))
    interval = "" if low is None else f" ({low}+)" if high is None else f" ({low}-{high})"
    return (f"> {facts['budget_steps']}" if step is None else f"{step}") + interval


def span(values: Sequence[float]) -> str:
    """The smallest and the largest of some numbers."""
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low}-{high}"


def speed(facts: Sequence[Facts]) -> str:
    """Tokens per second, by device."""
    names = sorted({name for each in facts for name in each if name.startswith("tokens_per_s_")})
    spans = {name: span([each[name] for each in facts if name in each]) for name in names}
    return ", ".join(f"{text} {name.removeprefix('tokens_per_s_')}" for name, text in spans.items()) or "-"


def percent(value: Any) -> Any:
    """A share, or a pair of them, in percent."""
    return tuple(100 * end for end in value) if isinstance(value, tuple) else 100 * value
