"""Figure 4: the loss of each output bit of `lm` over training.

Shape letters: N evaluations, S bits.
"""

from collections.abc import Mapping, Sequence
from math import inf, log
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.middle_values import median_against
from benchmark.figures.figure import Claim, Figure, Scale, World
from benchmark.figures.figure_runs import FigureRun, Floats, LossCurve, Runs
from benchmark.figures.planting import cells_of
from benchmark.figures.registry import TITLES

CHANCE = log(2)
HIGH, HALF, LOW = 0.9 * CHANCE, 0.5 * CHANCE, 0.1 * CHANCE
SHOWN = 4
"""Runs that are drawn."""

FALL = {"none": 2 / 3, "published": 0.15, "reversed": 1.5}
"""Steps of a bit's whole fall as a multiple of those before it, in simulations; at 2/3 the claim is just not true."""


def bit_losses(run: FigureRun) -> Floats:
    """Loss of each output bit, the mean over predicted states: (N, S)."""
    assert run.losses is not None
    size = int(run["state_size"])
    scored = run.losses.loss_NL[:, size - 1 :]
    mean: Floats = scored.reshape(len(scored), -1, size).mean(1)
    return mean


def falls(run: FigureRun) -> list[tuple[float, float]]:
    """Last step at 90 % of chance or above, and first one below 10 %, of each bit that gets there."""
    assert run.losses is not None
    steps_N, loss_NS = run.losses.steps_N, bit_losses(run)
    found = []
    for loss_N in loss_NS.T:
        low = np.flatnonzero(loss_N < LOW)
        if len(low):
            high = np.flatnonzero(loss_N[: low[0]] >= HIGH)
            found.append((float(steps_N[high[-1]]) if len(high) else 0.0, float(steps_N[low[0]])))
    return found


def relative_fall(run: FigureRun) -> float:
    """Steps of the fall as a multiple of those before it, the median over bits; inf without a bit that fell."""
    values = [(end - begin) / begin if begin else inf for begin, end in falls(run)]
    return float(np.median(values)) if values else inf


def others_on_the_way(run: FigureRun) -> float:
    """Other bits between 90 and 10 % of chance when a bit passes one half, the mean over bits; inf without one."""
    loss_NS = bit_losses(run)
    moments = [(bit, int(np.argmax(loss_N < HALF))) for bit, loss_N in enumerate(loss_NS.T) if (loss_N < HALF).any()]
    between_NS = (loss_NS < HIGH) & (loss_NS > LOW)
    counts = [between_NS[at].sum() - between_NS[at, bit] for bit, at in moments]
    return float(np.mean(counts)) if counts else inf


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return panels.beside(*(staircase(run) for run in runs[:SHOWN]))


def staircase(run: FigureRun) -> dict[str, Any]:
    """The panel of one run: a line for each bit."""
    assert run.losses is not None
    rows = [
        {"step": float(step), "value": float(f"{loss:.4g}"), "series": f"bit {bit}"}
        for step, loss_S in zip(run.losses.steps_N, bit_losses(run), strict=True)
        for bit, loss in enumerate(loss_S)
    ]
    return panels.curves(
        rows, y_title="loss of a bit (nats)", title=f"seed {run.seeds[0]}", levels={"chance, ln 2": CHANCE}
    )


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    (cell,) = cells_of(FIGURE)
    size, steps_N = cell["state_size"], np.arange(0.0, cell["budget"] + 1, cell["every"])
    together = {"none": 0.5, "published": 1.0, "reversed": 0.05}[world]
    runs = []
    for seed in range(n_seeds):
        begin_S = 900 * np.exp(together * random.standard_normal(size))
        length_S = begin_S * FALL[world] * np.exp(0.3 * random.standard_normal(size))
        done_NS = np.clip((steps_N[:, None] - begin_S) / length_S, 0, 1)
        loss_NL = np.concatenate([np.full((len(steps_N), size - 1), CHANCE), CHANCE * (1 - done_NS)], 1)
        curve = LossCurve(steps_N, loss_NL.mean(1), loss_NL)
        times = tuple(float(t) if t < cell["budget"] else inf for t in begin_S + length_S)
        runs.append(FigureRun(cell, (seed, seed, seed), cell["budget"], {}, times, losses=curve))
    return runs


CLAIMS = (
    Claim(
        "sudden",
        "A bit falls from 90 to 10 % of chance in less than half of the steps that it stood at chance before.",
        "about 500 steps, after 450 (first bit) to 4,500 (last bit)",
        lambda runs: median_against(
            [relative_fall(run) for run in runs], 0.5, claimed="less", unit="times the steps before"
        ),
    ),
    Claim(
        "one at a time",
        "When a bit passes half of chance, on average less than one other bit is on its way down.",
        "one output bit at a time",
        lambda runs: median_against(
            [others_on_the_way(run) for run in runs], 1.0, claimed="less", unit="other bits on the way"
        ),
    ),
)

FIGURE = Figure(
    "4",
    TITLES["4"],
    Path(__file__).parent,
    {"lite": Scale("0-9"), "paper": Scale("0-7")},
    _draw,
    CLAIMS,
    _plant,
    reads=("curves",),
)
