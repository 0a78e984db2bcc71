"""Error rates of claims, simulated as the gate's are: their verdicts on planted runs whose truth is known.

Hitting times are log-normal, as pilots of both tasks look (sigma of the logarithm about 0.5 on `lm`, 0.3 on `ca`),
censored at the budget and seen through the evaluation grid. What is simulated are the claims themselves, at lite's
cells and with its number of seeds.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmark.config.files.yaml_text import read_yaml, to_text
from benchmark.config.seeds import parse_seeds
from benchmark.figures.figure import Figure, World
from benchmark.figures.figure_runs import FigureRun, Floats
from benchmark.figures.judging import Kind

WORLDS: tuple[World, ...] = get_args(World)
SIGMA = {"lm": 0.5, "ca": 0.3}
Expected = Callable[[World, Mapping[str, Any]], float]
"""The median hitting time of a cell in a world, in steps; inf where it is beyond any budget."""


def cells_of(figure: Figure, scale: str = "lite") -> list[dict[str, Any]]:
    """The knobs of every cell and architecture as the suite file writes them, with `budget` and `every`."""
    return _cells(figure.suite(scale))


@lru_cache(maxsize=32)
def _cells(suite: Path) -> list[dict[str, Any]]:
    content = read_yaml(suite)
    found = []
    for cell in content["cells"].values():
        for name, setup in content["architectures"].items():
            task = cell["data"]["class_path"]
            options = cell["data"]["init_args"]
            protocol = cell["protocol"]
            found.append(
                {
                    **cell.get("model", {}), **(setup or {}).get("model", {}), **options,
                    "task": task, "architecture": name, "bias": 0.0,
                    "budget": protocol["max_steps"], "every": protocol["eval_every"],
                }
            )  # fmt: skip
    return found


def planted(
    cells: Iterable[Mapping[str, Any]],
    expected: Expected,
    targets: Sequence[str],
    world: World,
    n_seeds: int,
    random: np.random.Generator,
) -> list[FigureRun]:
    """Runs of cells whose times scatter about what is expected; all targets are hit at once.

    Args:
        cells: as of `cells_of`.
        expected: medians.
        targets: names.
        world: which of them holds.
        n_seeds: of every cell.
        random: draws the times.
    """
    runs = []
    for cell in cells:
        median = expected(world, cell)
        times_N = seen(median * np.exp(SIGMA[cell["task"]] * random.standard_normal(n_seeds)), cell)
        for seed, time in enumerate(times_N.tolist()):
            solved = time < inf
            loss = 0.0 if solved else 1.0
            runs.append(
                FigureRun(cell, (seed, seed, seed), cell["budget"], dict.fromkeys(targets, time), (), loss, 1.0, 0.0)
            )
    return runs


def seen(times_N: Floats, cell: Mapping[str, Any]) -> Floats:
    """Times as records have them: the middle of the evaluation interval, inf beyond the budget."""
    middles: Floats = (np.ceil(times_N / cell["every"]) - 0.5) * cell["every"]
    return np.where(times_N > cell["budget"] - cell["every"], inf, middles)


def simulate(
    figure: Figure, n: int = 200, n_seeds: int | None = None, worlds: Sequence[World] = WORLDS, seed: int = 0
) -> dict[str, dict[str, dict[Kind, float]]]:
    """Share of `n` simulated figures that ends in each verdict, by claim and world.

    Args:
        figure: whose claims are simulated.
        n: figures in each world.
        n_seeds: of every cell; those that count at lite scale by default.
        worlds: which.
        seed: of the random numbers.
    """
    if n_seeds is None:
        n_seeds = len(parse_seeds(figure.scales["lite"].seeds))
    found: dict[str, dict[str, dict[Kind, float]]] = {claim.name: {} for claim in figure.claims}
    for place, world in enumerate(worlds):
        random = np.random.Generator(np.random.Philox(key=[seed, place]))
        counts: dict[str, Counter[Kind]] = {claim.name: Counter() for claim in figure.claims}
        for _ in range(n):
            runs = figure.plant(world, n_seeds, random)
            for claim in figure.claims:
                counts[claim.name][claim.test(runs).kind] += 1
        for name, count in counts.items():
            found[name][world] = {kind: count[kind] / n for kind in get_args(Kind)}
    return found


def write_error_rates(figure: Figure, n: int) -> Path:
    """Simulate, and leave the rates in the figure's folder, where the report takes them from; returns the file."""
    from leaderboard.whole_files import write_whole

    n_seeds = len(parse_seeds(figure.scales["lite"].seeds))
    head = "# Shares of simulated figures that end in each verdict, written by"
    head += f" python -m benchmark figure {figure.name} --simulate {n}\n"
    rates: dict[str, Any] = {}
    for name, worlds in simulate(figure, n).items():
        rates[name] = {
            str(world): {str(kind): share for kind, share in kinds.items()} for world, kinds in worlds.items()
        }
    path = figure.folder / "error_rates.yaml"
    write_whole(path, (head + to_text({"n": n, "seeds": n_seeds, "claims": rates})).encode())
    return path
