"""Figure 8: entropy of the heads over training, and the attention on what each bit needs.

Shape letters: K looks of the probe, H heads, L queries.
"""

from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.middle_values import median_against
from benchmark.figures.figure import Claim, Figure, Part, Scale, World
from benchmark.figures.figure_4 import staircase
from benchmark.figures.figure_runs import FigureRun, HeadCurve, Runs
from benchmark.figures.planting import cells_of
from benchmark.figures.registry import TITLES

SPAN = 4
"""Looks from the beginning of a window to its end; a jump lies in the middle of one."""

SHOWN = 2
PARTS = (Part(options={"probes": "attention"}),)


def _windows(run: FigureRun) -> tuple[list[tuple[int, int]], list[int]]:
    """(bit, first look) of the window around each jump, and the first looks of the windows without a jump."""
    assert run.heads is not None
    steps_K = run.heads.steps_K
    last = len(steps_K) - 1 - SPAN
    jumps = [(bit, time) for bit, time in enumerate(run.part_times) if time < inf]
    around = [
        (bit, min(max(int(np.searchsorted(steps_K, time)) - SPAN // 2, 0), last)) for bit, time in jumps if last >= 0
    ]
    without = [k for k in range(last + 1) if not any(steps_K[k] <= time <= steps_K[k + SPAN] for _, time in jumps)]
    return around, without


def drop_at_jumps(run: FigureRun) -> float:
    """How often the largest entropy drop of any head is larger in a window with a jump than in one without, in percent.

    It is 50 where drops have nothing to do with jumps, and where there are none to compare.
    """
    assert run.heads is not None
    entropy_KH = run.heads.entropy_KH
    around, without = _windows(run)
    if not around or not without:
        return 50.0

    def drops(firsts: Sequence[int]) -> np.ndarray:
        at = np.array(firsts)
        largest: np.ndarray = (entropy_KH[at] - entropy_KH[at + SPAN]).max(1)
        return largest

    with_jump, quiet = drops([k for _, k in around])[:, None], drops(without)[None]
    return float(100 * ((with_jump > quiet) + 0.5 * (with_jump == quiet)).mean())


def mass_gained(run: FigureRun) -> float:
    """Attention that the best head has on the keys of a bit after its jump, less that before; the median over bits, 0
    without a jump."""
    assert run.heads is not None
    size = int(run["state_size"])
    best_KL = np.nanmax(run.heads.mass_KHL[:, :, size - 1 :], axis=1)
    best_KS = best_KL.reshape(len(best_KL), -1, size).mean(1)
    gained = [best_KS[k + SPAN, bit] - best_KS[k, bit] for bit, k in _windows(run)[0]]
    return float(np.median(gained)) if gained else 0.0


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    drawn = []
    for run in runs[:SHOWN]:
        assert run.heads is not None
        rows = [
            {"step": float(step), "value": float(f"{entropy:.4g}"), "series": f"head {head}"}
            for step, entropy_H in zip(run.heads.steps_K, run.heads.entropy_KH, strict=True)
            for head, entropy in enumerate(entropy_H)
        ]
        jumps = [time for time in run.part_times if time < inf]
        title = f"seed {run.seeds[0]}: heads; a line down marks a bit that is learned"
        drawn += [staircase(run), panels.curves(rows, y_title="entropy of a head (nats)", title=title, marks=jumps)]
    return panels.beside(*drawn)


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    """Each bit has a head, whose entropy drops at the jump, at another time, or rises there."""
    (cell,) = cells_of(FIGURE)
    size, n_heads = cell["state_size"], cell["n_heads"]
    steps_K = np.arange(0.0, cell["budget"] + 1, cell["every"])
    runs = []
    for seed in range(n_seeds):
        times_S = 900 * np.exp(0.5 * random.standard_normal(size))
        moved_S = random.uniform(0, cell["budget"], size) if world == "none" else times_S
        after_KS = steps_K[:, None] >= moved_S
        change = 0.25 if world != "reversed" else -0.25
        entropy_KH = 1.8 - change * after_KS[:, np.arange(n_heads) % size]
        entropy_KH = entropy_KH + 0.02 * random.standard_normal(entropy_KH.shape)
        mass_KHL = np.full((len(steps_K), n_heads, 2 * size - 1), np.nan)
        mass_KHL[:, :, size - 1 :] = 0.3 + 0.02 * random.standard_normal((len(steps_K), n_heads, size))
        for bit in range(size):
            mass_KHL[:, bit % n_heads, size - 1 + bit] += (0.5 if world == "published" else -0.2) * after_KS[:, bit]
        times = tuple(float(t) if t < cell["budget"] else inf for t in times_S)
        heads = HeadCurve(steps_K, entropy_KH, mass_KHL)
        runs.append(FigureRun(cell, (seed, seed, seed), cell["budget"], {}, times, heads=heads))
    return runs


CLAIMS = (
    Claim(
        "entropy drops",
        "Where a bit is learned the entropy of some head drops, more than where none is.",
        "each jump coincides with an entropy drop in one or two heads",
        lambda runs: median_against(
            [drop_at_jumps(run) for run in runs], 50.0, claimed="more", matters=60.0, unit="% of pairs of windows"
        ),
    ),
    Claim(
        "pattern is found",
        "With the jump a head comes to attend to what the bit needs: its row of the matrix.",
        "the heads now match that row of A",
        lambda runs: median_against(
            [mass_gained(run) for run in runs], 0.0, claimed="more", matters=0.1, unit="of the attention gained"
        ),
    ),
)

FIGURE = Figure(
    "8",
    TITLES["8"],
    Path(__file__).parent,
    {"lite": Scale("0-9", PARTS), "paper": Scale("0-7", PARTS)},
    _draw,
    CLAIMS,
    _plant,
    reads=("curves", "attention"),
)
