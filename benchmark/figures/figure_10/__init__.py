"""Figure 10: the knobs of `ca` one at a time: state size S, states T, rules N, rule steps k, colours C, window W."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import log2
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.rank_correlations import RankCorrelations, explains_more, rank_correlations
from benchmark.figures.claims.slopes import growth
from benchmark.figures.figure import Claim, Figure, Scale, World
from benchmark.figures.figure_runs import FigureRun, Runs, by
from benchmark.figures.judging import Finding
from benchmark.figures.planting import cells_of, planted
from benchmark.figures.registry import TITLES

KNOBS = {
    "S": "state_size", "T": "n_states", "N": "n_rules", "k": "rule_steps", "C": "n_colors", "W": "window"
}  # fmt: skip
WORDS = {
    "S": "cells of a state", "T": "states", "N": "rules", "k": "applications per state", "C": "colours",
    "W": "window (cells)",
}  # fmt: skip
LEADING = ("S", "T")
N_RESAMPLES = 500

FACTORS = {
    "none": dict.fromkeys(KNOBS, 1.0),
    "published": {"S": 2.0, "T": 2.0, "N": 1.15, "k": 1.2, "C": 1.1, "W": 1.1},
    "reversed": {"S": 0.8, "T": 0.8, "N": 1.6, "k": 1.6, "C": 1.6, "W": 1.6},
}
"""By which a doubling of each knob multiplies the plateau in simulations."""


def _knob(run: FigureRun, letter: str) -> float:
    return log2(run[KNOBS[letter]])


def _correlations(runs: Runs) -> RankCorrelations:
    return _computed(tuple(runs))


@lru_cache(maxsize=4)
def _computed(runs: tuple[FigureRun, ...]) -> RankCorrelations:
    knobs = {letter: (lambda run, letter=letter: _knob(run, letter)) for letter in KNOBS}
    return rank_correlations(runs, knobs, "plateau", N_RESAMPLES)


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    base = _base(runs)
    found = _correlations(runs)
    rows = [
        {"name": letter, "value": found.estimate[letter], "low": found.low[letter], "high": found.high[letter]}
        for letter in KNOBS
    ]
    varied = [
        panels.dots(
            panels.hits(_varying(runs, base, letter), "plateau", itemgetter(knob), lambda run: "transformer"),
            [],
            x_title=f"{letter}, {WORDS[letter]}",
            y_title="steps to the end of the plateau",
            x_log=True,
        )
        for letter, knob in KNOBS.items()
    ]
    correlations = panels.intervals(rows, x_title="partial rank correlation with the plateau", null=0, domain=(-1, 1))
    return panels.beside(*varied, correlations)


def _base(runs: Runs) -> dict[str, Any]:
    """The cell that the others differ from in one knob each: of every knob the most common value."""
    cells = list(by(runs, *KNOBS.values()))
    return {
        letter: max((cell[i] for cell in cells), key=[cell[i] for cell in cells].count)
        for i, letter in enumerate(KNOBS)
    }


def _varying(runs: Runs, base: Mapping[str, Any], *letters: str) -> list[FigureRun]:
    """The runs that differ from the base cell in these knobs only."""
    rest = [letter for letter in KNOBS if letter not in letters]
    return [run for run in runs if all(run[KNOBS[letter]] == base[letter] for letter in rest)]


def _expected(world: World, knobs: Mapping[str, Any]) -> float:
    base = {"S": 8, "T": 4, "N": 4, "k": 1, "C": 4, "W": 3}
    factors = FACTORS[world]
    return 400.0 * float(
        np.prod([factors[letter] ** log2(knobs[knob] / base[letter]) for letter, knob in KNOBS.items()])
    )


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    return planted(cells_of(FIGURE), _expected, ["plateau"], world, n_seeds, random)


def _dominate(runs: Runs) -> Finding:
    cells = by(runs, *KNOBS.values())
    if len(cells) < 2:
        return explains_more(RankCorrelations({}, {}, {}, np.empty((0, 0))), LEADING, n=0)
    return explains_more(_correlations(runs), LEADING, n=min(map(len, cells.values())))


def _context(runs: Runs) -> Finding:
    return growth(
        _varying(runs, _base(runs), *LEADING) if runs else [],
        lambda run: log2(run["state_size"] * run["n_states"]),
        "plateau",
        claimed="more",
        matters=1.1,
        unit="times the steps per doubling of the context",
    )


CLAIMS = (
    Claim(
        "S and T dominate",
        "State size S and number of states T go more closely with the plateau's length than N, k, C and W.",
        "S and T dominate, without a number",
        _dominate,
    ),
    Claim(
        "context",
        "The plateau grows with the length of the context, S times T.",
        "from figure 5b: 2.3 times the steps for each doubling of S",
        _context,
    ),
)

FIGURE = Figure(
    "10",
    TITLES["10"],
    Path(__file__).parent,
    {"lite": Scale("0-5"), "paper": Scale("0-4")},
    _draw,
    CLAIMS,
    _plant,
)
