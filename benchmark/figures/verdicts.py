"""Verdicts of a figure, one per claim, as a table in the terminal and as a file beside the picture."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from benchmark.figures.figure import Claim, Figure, committed
from benchmark.figures.figure_runs import Runs
from benchmark.figures.judging import Finding
from leaderboard.whole_files import write_whole


@dataclass(frozen=True)
class Judged:
    """A claim and what the runs say about it."""

    claim: Claim
    finding: Finding


def judged(figure: Figure, runs: Runs) -> list[Judged]:
    """Every claim of a figure with its finding."""
    return [Judged(claim, claim.test(runs)) for claim in figure.claims]


def number(value: float | None) -> str:
    """Three digits; what is not there is a dash, what was never reached says so."""
    if value is None:
        return "–"
    return f"{value:.3g}" if isfinite(value) else "beyond the budget"


def effect_text(finding: Finding) -> str:
    """The effect with its interval and its unit."""
    if finding.effect is None and finding.low is None and finding.high is None:
        return "–"
    return f"{number(finding.effect)} [{number(finding.low)}, {number(finding.high)}] {finding.unit}"


def p_text(finding: Finding) -> str:
    """The p value of the claim's test."""
    if finding.p is None:
        return "–"
    return "< 0.001" if finding.p < 0.001 else f"{finding.p:.3f}"


def print_verdicts(figure: Figure, found: Sequence[Judged]) -> None:
    """Print the table, the commit of the claims, and what was changed after it."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=f"figure {figure.name}: {figure.title}", title_justify="left")
    for column in ("claim", "verdict", "measured, 95 % interval", "p", "published"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(
            one.claim.sentence, one.finding.kind, effect_text(one.finding), p_text(one.finding), one.claim.published
        )
    console.print(table)
    console.print(f"claims and sizes: commit {committed(figure.folder)}", highlight=False, soft_wrap=True)
    for deviation in figure.deviations:
        line = f"deviation of {deviation.date}: {deviation.change} ({deviation.reason})"
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def write_verdicts(path: Path, figure: Figure, scale: str, found: Sequence[Judged]) -> None:
    """Write the verdicts as JSON."""
    content: dict[str, Any] = {
        "figure": figure.name,
        "scale": scale,
        "commit": committed(figure.folder),
        "deviations": [vars(deviation) for deviation in figure.deviations],
        "claims": [
            {
                "name": one.claim.name,
                "sentence": one.claim.sentence,
                "verdict": one.finding.kind,
                **{key: _plain(getattr(one.finding, key)) for key in ("effect", "low", "high", "p", "null", "matters")},
                "claimed": one.finding.claimed,
                "unit": one.finding.unit,
                "seeds": one.finding.n,
                "published": one.claim.published,
            }
            for one in found
        ],
    }
    write_whole(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _plain(value: float | None) -> float | str | None:
    return value if value is None or isfinite(value) else "beyond the budget"
