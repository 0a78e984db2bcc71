"""Dependency maps of every architecture: what its predictions rest on, before training and once rows are learned.

The paper looks at attention alone; here tokens are replaced, which works for any architecture (probe `dependency`).

Shape letters: K looks of the probe, L queries.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.figures import panels
from benchmark.figures.claims.mean_values import mean_within, share_against
from benchmark.figures.figure import Claim, Figure, Part, Scale, World
from benchmark.figures.figure_runs import DependencyCurve, FigureRun, Floats, Runs, where
from benchmark.figures.judging import Finding
from benchmark.figures.planting import cells_of
from benchmark.figures.registry import TITLES

EXPLANATIONS = (
    "nothing that explains it",
    "several explanations at once",
    "another explanation",
    "the keys of the task",
)
"""By the code of the probe."""

VALID = (2, 3)
EXACT = ("transformer", "mlp_mixer", "rwkv")
"""Architectures of which every learned row was exact in a prototype."""

ARCHITECTURES = (
    "transformer", "mlp_mixer", "mamba", "mamba2", "gated_deltanet", "rwkv", "xlstm", "lru", "hybrid",
)  # fmt: skip

MOST = 85.0
"""Percent of rows: a claim about "nearly all" of them."""

ACCURACY = 0.75
"""Of the second half of the states, at which `ca` cannot be solved without the window."""

PARTS = (Part(options={"probes": "dependency"}),)


def learned(run: FigureRun) -> list[int]:
    """The queries of the rows that a run of `lm` has learned, in the first state that is predicted."""
    first = int(run["state_size"]) - 1
    return [first + row for row, time in enumerate(run.part_times) if time < inf]


def last_values(run: FigureRun, quantity: str, queries: Iterable[int] | None = None) -> Floats:
    """Values at a run's last look, of some queries or of all that are scored."""
    return _values(_dependency(run).values[quantity][-1], queries)


def first_values(run: FigureRun, quantity: str) -> Floats:
    """Values at a run's first look, before training, of all queries that are scored."""
    return _values(_dependency(run).values[quantity][0], None)


def _values(value_L: Floats, queries: Iterable[int] | None) -> Floats:
    return value_L[np.isfinite(value_L)] if queries is None else value_L[list(queries)]


def _dependency(run: FigureRun) -> DependencyCurve:
    assert run.dependency is not None
    return run.dependency


def exact_share(run: FigureRun) -> float | None:
    """Percent of a run's learned rows whose keys all come before every other token in its last map; None without one.

    Only rows that no other set of at most s tokens explains.
    """
    rows = [query for query in learned(run) if _is_unique(run)[query]]
    return float(100 * last_values(run, "exact", rows).mean()) if rows else None


def _is_unique(run: FigureRun) -> tuple[bool, ...]:
    return _unique(int(run["state_size"]), int(run["n_nonzero"]), int(run["n_states"]), run.seeds[0])


@lru_cache(maxsize=128)
def _unique(size: int, n_nonzero: int, n_states: int, task_seed: int) -> tuple[bool, ...]:
    from benchmark.probes.explanations import unique_queries
    from datamodules import LinearMap

    task = LinearMap(state_size=size, n_nonzero=n_nonzero, n_states=n_states, task_seed=task_seed)
    return tuple(map(bool, unique_queries(task)))


def valid_share(run: FigureRun) -> float | None:
    """Percent of a run's learned rows that a set of tokens explains, and is used as a whole; None without one."""
    rows = learned(run)
    return float(100 * np.isin(last_values(run, "explanation", rows), VALID).mean()) if rows else None


def exact_window(run: FigureRun) -> float | None:
    """Percent of queries of a run of `ca` with an exact window, at the first look with `ACCURACY`; None without one."""
    found = _dependency(run)
    there = np.flatnonzero(found.accuracy_K >= ACCURACY)
    if not len(there):
        return None
    return float(100 * np.nanmean(found.values["exact_previous"][there[0]]))


def beyond_chance(run: FigureRun) -> float:
    """Average precision of a map before training, less that of a random order, the mean over queries."""
    return float(np.mean(first_values(run, "average_precision") - first_values(run, "chance")))


def _each(runs: Runs, value: Callable[[FigureRun], float | None]) -> list[float]:
    return [found for run in runs if (found := value(run)) is not None]


def _names(runs: Runs) -> list[str]:
    return list(dict.fromkeys(str(run["architecture"]) for run in runs))


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lm, ca = where(runs, task="lm"), where(runs, task="ca")
    shares = []
    for name in _names(lm):
        codes = np.concatenate([last_values(run, "explanation", learned(run)) for run in where(lm, architecture=name)])
        shares += [
            {"name": name, "series": word, "value": 100 * float(np.mean(codes == code))}
            for code, word in reversed([*enumerate(EXPLANATIONS)])
            if len(codes)
        ]
    before = [
        {"name": name, "value": f.effect, "low": f.low, "high": f.high}
        for name in _names(lm)
        if (f := _untrained(where(lm, architecture=name), signed=True)).effect is not None
    ]
    windows = [
        {
            "name": str(run["architecture"]),
            "y": float(last_values(run, "window_size").mean()),
            "what": panels.RUN if _dependency(run).accuracy_K[-1] >= ACCURACY else panels.UNSOLVED,
        }
        for run in ca
    ]
    return panels.beside(
        panels.bars(shares, x_title="rows learned (%)", title="lm: what explains the prediction of a learned row"),
        panels.intervals(
            before,
            x_title="average precision less chance (mean, 95 % interval)",
            null=0,
            title="lm: maps before training",
            domain=(-0.5, 0.5),
        ),
        panels.strip(
            windows,
            _names(ca),
            x_title="change of the prediction (total variation)",
            title="ca: dependence on the window at the end",
        ),
    )


def _untrained(runs: Runs, *, signed: bool = False) -> Finding:
    values = _each(runs, beyond_chance)
    return mean_within(values, 0.15, unit="of average precision from chance", signed=signed)


def _farthest(runs: Runs) -> Finding:
    """The finding of the architecture that is least surely at chance: if its test rejects, those of all others do."""
    return max(
        (_untrained(where(runs, architecture=name)) for name in ARCHITECTURES), key=lambda f: 1 if f.p is None else f.p
    )


def _by_seed(runs: Runs) -> dict[tuple[int, int, int], list[FigureRun]]:
    found: dict[tuple[int, int, int], list[FigureRun]] = {}
    for run in runs:
        found.setdefault(run.seeds, []).append(run)
    return found


def _exact_untrained(runs: Runs) -> list[float]:
    """Percent of exact maps before training, the mean over architectures, by seed."""
    return [
        float(np.mean([100 * first_values(run, "exact").mean() for run in group])) for group in _by_seed(runs).values()
    ]


def _table(runs: Runs) -> list[dict[str, str]]:
    """Counts and means over the maps of each architecture, one row per architecture."""
    lm, ca = where(runs, task="lm"), where(runs, task="ca")
    return [_row(name, where(lm, architecture=name), where(ca, architecture=name)) for name in _names(lm)]


def _row(name: str, lm: Runs, ca: Runs) -> dict[str, str]:
    codes = np.concatenate([last_values(run, "explanation", learned(run)) for run in lm])
    pairs = [(run, query) for run in lm for query in learned(run)]
    unique = [(run, query) for run, query in pairs if _is_unique(run)[query]]
    exact = sum(bool(last_values(run, "exact", [query])[0] == 1) for run, query in unique)
    size = sum(len(run.part_times) for run in lm)
    row = {
        "architecture": f"`{name}`",
        "rows learned": f"{len(pairs)}/{size}",
        "exact": f"{exact}/{len(unique)}",
        **{word: str(int(np.sum(codes == code))) for code, word in reversed([*enumerate(EXPLANATIONS)])},
        "mass on the keys": _mean([last_values(run, "mass", learned(run)) for run in lm]),
        "untrained, average precision (chance)": _mean([first_values(run, "average_precision") for run in lm])
        + f" ({_mean([first_values(run, 'chance') for run in lm])})",
    }
    if ca:
        reached = _each(ca, exact_window)
        row |= {
            "`ca`: accuracy at the end": _mean([_dependency(run).accuracy_K[-1:] for run in ca]),
            "average precision in the state before": _mean(
                [last_values(run, "average_precision_previous") for run in ca]
            ),
            "dependence on the window": _mean([last_values(run, "window_size") for run in ca]),
            f"exact windows at {ACCURACY:.2f}": f"{np.mean(reached):.0f} % ({len(reached)} of {len(ca)} runs)"
            if reached
            else f"– (0 of {len(ca)} runs)",
        }
    return row


def _mean(values: Sequence[Floats]) -> str:
    found = np.concatenate(values) if values else np.zeros(0)
    return f"{found.mean():.2f}" if len(found) else "–"


def _plant(world: World, n_seeds: int, random: np.random.Generator) -> list[FigureRun]:
    """Maps of learned rows are the keys or (in "none" and "reversed") something else too often; untrained ones lie at
    chance, or (in "none") just as far from it as is not allowed, or farther."""
    exact = {"none": 0.85, "published": 0.99, "reversed": 0.4}[world]
    away = {"none": 0.15, "published": 0.0, "reversed": 0.35}[world]
    by_chance = {"none": 0.05, "published": 0.0, "reversed": 0.3}[world]
    runs = []
    for cell in cells_of(FIGURE):
        size, length = int(cell["state_size"]), int(cell["state_size"]) * int(cell.get("n_states", 2))
        scored = slice(size - 1, length - 1)
        for seed in parse_clean(n_seeds):

            def looks(first: Any, last: Any, length: int = length, scored: slice = scored) -> Floats:
                values = np.full((2, length), np.nan)
                values[0, scored], values[1, scored] = first, last
                return values

            n = len(range(length)[scored])
            right = random.random(n) < exact
            chance = np.full(n, 0.35)
            values = {
                "exact": looks(random.random(n) < by_chance, right),
                "explanation": looks(0, np.where(right, 3, random.integers(0, 2, n))),
                "average_precision": looks(chance + away + 0.08 * random.standard_normal(n), np.where(right, 1.0, 0.6)),
                "chance": looks(chance, chance),
                "mass": looks(0.2, 0.9),
                "exact_previous": looks(0, right),
                "average_precision_previous": looks(0.4, np.where(right, 1.0, 0.7)),
                "window_size": looks(0.01, random.uniform(0.1, 0.3)),
            }
            curve = DependencyCurve(np.array([0.0, 500.0]), np.array([0.3, 0.86]), values)
            parts = (300.0,) * size if cell["task"] == "lm" else ()
            knobs = {"n_states": 2, **cell}
            runs.append(FigureRun(knobs, (seed, seed, seed), cell["budget"], {}, parts, dependency=curve))
    return runs


def parse_clean(n_seeds: int) -> list[int]:
    """So many of lite's seeds, again from the first if there are more."""
    clean = _clean()
    return [clean[i % len(clean)] for i in range(n_seeds)]


def _clean() -> tuple[int, ...]:
    from benchmark.config.seeds import parse_seeds

    return tuple(parse_seeds(FIGURE.scales["lite"].seeds))


def _nearly_all(
    name: str, sentence: str, unit: str, task: str, architecture: str, share: Callable[[FigureRun], float | None]
) -> Claim:
    """The claim that a share of every run of an architecture lies above `MOST` on average."""

    def test(runs: Runs) -> Finding:
        values = _each(where(runs, task=task, architecture=architecture), share)
        return share_against(values, MOST, claimed="more", unit=unit)

    return Claim(name, sentence, "not published", test)


def _exact_claim(name: str) -> Claim:
    sentence = f"In nearly all rows of lm that {name} has learned, the keys come before every other token in the map."
    return _nearly_all(f"lm exact, {name}", sentence, "% of the rows learned", "lm", name, exact_share)


def _valid_claim(name: str) -> Claim:
    sentence = f"At least {MOST:.0f} % of the rows that {name} has learned rest on tokens that explain them."
    return _nearly_all(f"lm explained, {name}", sentence, "% of the rows learned", "lm", name, valid_share)


CLAIMS = (
    *(_exact_claim(name) for name in EXACT),
    *(_valid_claim(name) for name in ARCHITECTURES),
    Claim(
        "untrained",
        "Before training the maps of lm lie at chance: of every architecture on average less than .15 from it.",
        "not published",
        lambda runs: _farthest(where(runs, task="lm")),
    ),
    Claim(
        "untrained, exact",
        "Before training less than 5 % of the maps of lm are exact.",
        "not published",
        lambda runs: share_against(
            _exact_untrained(where(runs, task="lm")),
            5.0,
            claimed="less",
            unit="% of the rows",
        ),
    ),
    _nearly_all(
        "ca window",
        f"Once the transformer's accuracy on ca is {ACCURACY:.2f} the window of nearly every cell is exact.",
        "% of the cells",
        "ca",
        "transformer",
        exact_window,
    ),
)

FIGURE = Figure(
    "dependency",
    TITLES["dependency"],
    Path(__file__).parent,
    {"lite": Scale("4,5,9,12,16,21-23", PARTS), "paper": Scale("1,5,11,12,16,24", PARTS)},
    _draw,
    CLAIMS,
    _plant,
    reads=("dependency",),
    table=_table,
)
