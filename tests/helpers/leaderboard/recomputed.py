"""The leaderboard's numbers worked out again from the records: plainly, and with none of its code.

A number that the page finds with random permutations is found here with others, so the two differ by Monte Carlo
errors: such a p value is a range of what the page may show, and a verdict or a rank that hangs on it the set of those
that it may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import exp, floor, inf, log, sqrt
from statistics import mean, median

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tests.helpers.leaderboard.both_ends import REFERENCE, STATUSES, Facts, Run, Suite, ended, hit

Arm = Mapping[str, Sequence[Run]]  # runs by cell
Finish = tuple[float, float, float]  # sorts the runs of a cell, the best first
Range = tuple[float, float]

BEST, WORST = (0.0, 0.0, 0.0), (2.0, 0.0, 0.0)  # the two additional runs of an arm, of weight 1/4 each
ERRORS = 4  # Monte Carlo standard errors that the page may be off
DRAWS, PAGE_DRAWS = 29_999, 9_999  # permutations of a p value
DRAWS_RATIO, PAGE_DRAWS_RATIO = 3_999, 1_999  # of each ratio that an interval tries
NORMAL = float(stats.norm.ppf(0.975))
SLACK_RATIO = 0.03  # of the logarithm of a ratio, worth another standard error or more: with it one less is allowed
HAIR = 1e-9


def solved(run: Run) -> bool:
    """Whether a run solved its task: one that diverged never did."""
    return run["status"] != "diverged" and hit(run)["step"] is not None


def middle(found: Mapping[str, int | None]) -> float:
    """Middle of the two evaluations that a hit lies between; infinite without a hit."""
    return inf if found["step"] is None else ((found["previous_step"] or 0) + found["step"]) / 2


def finish(run: Run, by_parts: bool = True) -> Finish:
    """(1, time, -progress) of a run with an outcome: without a time it is infinite, and only then progress counts."""
    parts = run.get("part_hits") if by_parts else None
    if run["status"] == "diverged":
        return 1.0, inf, inf
    if parts is None:
        return 1.0, middle(hit(run)), 0.0 if solved(run) else -progress(run)
    times = [min(middle(part), float(run["protocol"]["max_steps"])) for part in parts]
    return 1.0, inf if all(part["step"] is None for part in parts) else sum(times) / len(times), 0.0


def progress(run: Run) -> float:
    """Share of rows solved of a linear map; of other tasks whole steps of 0.05 of accuracy above chance."""
    if run["final"] is None or run["status"] == "diverged":
        return 0.0
    name = {"lm": "rows_solved", "ca": "accuracy_second_half"}.get(run["task"]["name"])
    value = float(run["final"]["task_metrics"].get(name, run["final"]["accuracy"]))
    above_chance = (value - exp(-run["chance_loss_nats"])) / 0.05
    return value if name == "rows_solved" else float(max(0, floor(above_chance + HAIR)))


def curve(runs: Sequence[Run]) -> list[tuple[int, Fraction, float | None, float | None, int]]:
    """Rows (step, share unsolved from then on, ends of its 95 % band, runs watched no longer) by Kaplan and Meier."""
    budget = runs[0]["protocol"]["max_steps"]
    ends = [
        (hit(r)["step"] if solved(r) else budget if r["status"] == "diverged" else r["steps"], solved(r)) for r in runs
    ]
    share, greenwood = Fraction(1), 0.0
    rows: list[tuple[int, Fraction, float | None, float | None, int]] = []
    for step in sorted({step for step, _ in ends}):
        at_risk, hits = sum(end >= step for end, _ in ends), ends.count((step, True))
        share *= Fraction(at_risk - hits, at_risk)
        low, high = (1.0, 1.0) if share else (None, None)
        if 0 < share < 1:  # Greenwood's variance, on the scale of log(-log)
            greenwood += hits / (at_risk * (at_risk - hits))
            spread = NORMAL * sqrt(greenwood) / abs(log(share))
            low, high = (float(share) ** exp(sign * spread) for sign in (1, -1))
        rows.append((step, share, low, high, ends.count((step, False))))
    return rows


def measured(runs: Sequence[Run], cell: Run) -> Facts:
    """One entry's runs in a cell, of which the run of another entry says what they have in common."""
    protocol, kept = cell["protocol"], [run for run in runs if ended(run)]
    facts = {"budget_steps": protocol["max_steps"], "eval_every_steps": protocol["eval_every"]}
    facts |= {"tokens_per_step": protocol["tokens_per_step"], "target": protocol["primary"]}
    facts |= {"protocol_hash": cell["protocol_hash"]}
    facts["status"] = "measured" if kept else "no outcome" if runs else "missing"
    speeds: dict[str, list[float]] = {}
    for run in runs:
        if run["tokens_per_s"] is not None and run.get("ensemble_size", 1) == 1:  # else the speed is that of all seeds
            speeds.setdefault(f"tokens_per_s_{run['hardware']['device']}", []).append(run["tokens_per_s"])
    facts |= {device: median(values) for device, values in speeds.items()}
    if runs:
        facts |= {f"runs_{status}": [run["status"] for run in runs].count(status) for status in STATUSES}
        facts |= {"n": len(kept), "n_solved": sum(map(solved, kept)), "learning_rate": runs[0]["optimizer"].get("lr")}
        facts |= {name: runs[0][name] for name in ("parameters", "flops_per_token", "state_bytes")}
        dates = sorted(run["ended_at"][:10] for run in runs)
        facts |= {"first_date": dates[0], "last_date": dates[-1]}
    if kept:
        share = facts["n_solved"] / facts["n"]
        facts["solved_low_95"], facts["solved_high_95"] = edges(share, facts["n"], NORMAL)
        rows, names = curve(kept), ("median_step", "median_low_95_step", "median_high_95_step")
        for place, name in enumerate(names, start=1):
            reached = (row[0] for row in rows if (edge := row[place]) is not None and edge <= 0.5 + 1e-12)
            facts[name] = next(reached, None)
        if facts["median_low_95_step"] is None:  # all solved at one step: the band is not defined
            facts["median_low_95_step"] = facts["median_step"]
        steps, shares = [0, *(row[0] for row in rows), protocol["max_steps"]], [1.0, *(float(row[1]) for row in rows)]
        facts["restricted_mean_step"] = sum(s * (b - a) for s, a, b in zip(shares, steps, steps[1:], strict=False))
    return facts


# Win rates.
def edges(share: float, tosses: float, quantile: float) -> Range:
    """The coins that a share of heads does not reject, which is Wilson's interval; by bisection."""

    def edge(rejected: float, kept: float) -> float:
        for _ in range(50):
            null = (rejected + kept) / 2
            if abs(share - null) * sqrt(tosses) > quantile * sqrt(null * (1 - null)):
                rejected = null
            else:
                kept = null
        return kept

    return (0.0, 1.0) if quantile == inf else (edge(0.0, share), edge(1.0, share))


def around(p: float, own: int = DRAWS, others: int = PAGE_DRAWS, errors: int = ERRORS) -> Range:
    """Bounds of another Monte Carlo p value: some standard errors off, and as many draws, where it rests on few."""
    slack = errors * (sqrt(p * (1 - p) * (1 / own + 1 / others)) + 1 / others)
    return max(p - slack, 1 / (1 + others)), min(p + slack, 1.0)


def win(first: Finish, second: Finish) -> float:
    """1 if the first is ahead, 1/2 if the two tie."""
    return 1.0 if first < second else 0.5 if first == second else 0.0


def placements(mine: Sequence[Finish], others: Sequence[Finish]) -> Range:
    """Mean share of the other arm that a run is ahead of, and its variance; either arm with its additional runs."""
    (ours, weight), (theirs, other) = (
        ([(0.25, BEST), *((1.0, run) for run in arm), (0.25, WORST)], len(arm) + 0.5) for arm in (mine, others)
    )
    shares = [(w, sum(v * win(run, rival) for v, rival in theirs) / other) for w, run in ours]
    centre = sum(w * share for w, share in shares) / weight
    variance = sum(w * (share - centre) ** 2 for w, share in shares) / weight / (weight - 1)
    return centre, max(variance, 1 / (4 * len(mine) * (len(mine) + 1)))  # the least that is believed, if most tie


@lru_cache(maxsize=64)
def labels(runs: int, chosen: int, draws: int) -> NDArray[np.float32]:
    """Random choices of some of the runs: 1 where chosen. Shape (K, R)."""
    random = np.random.default_rng([20_261_128, runs, chosen])
    return random.permuted(np.tile(np.arange(runs) < chosen, (draws, 1)), axis=1).astype(np.float32)


@lru_cache(maxsize=4096)
def null_distances(places: tuple[float, ...], m: int) -> NDArray[np.float64]:
    """Distances from 1/2, in standard errors, of m runs, chosen at random, from the others; sorted. Shape (K,)."""
    n, mine_KR = len(places) - m, labels(len(places), m, DRAWS)
    wins_RR = np.array([[win((0, a, 0), (0, b, 0)) for b in places] for a in places], dtype=np.float32)
    ahead_KR = ((1 - mine_KR) @ wins_RR.T) * mine_KR  # of how many of the others each chosen run is ahead
    behind_KR = (mine_KR @ wins_RR) * (1 - mine_KR)  # how many of those chosen are ahead of each other run
    variance_K = np.zeros(len(mine_KR))
    for margin_KR, size, other in ((behind_KR, n, m), (ahead_KR, m, n)):
        # Placements are (margin + 1/4) / (other + 1/2); the additional runs have margins of -1/8 and other + 1/8.
        sum_K, squares_K = margin_KR.sum(axis=1), np.einsum("kr,kr->k", margin_KR, margin_KR)
        total_K = sum_K + size / 4 + (0.125 + other + 0.375) / 4
        total_squares_K = squares_K + sum_K / 2 + size / 16 + (0.125**2 + (other + 0.375) ** 2) / 4
        centre_K = total_K.astype(np.float64) / (size + 0.5) / (other + 0.5)
        spread_K = total_squares_K.astype(np.float64) / (size + 0.5) / (other + 0.5) ** 2 - centre_K**2
        variance_K += np.maximum(spread_K / (size - 0.5), 1 / (4 * size * (size + 1)))
    distance_K = np.abs(ahead_KR.sum(axis=1) / (m * n) - 0.5) * np.sqrt(4 * centre_K * (1 - centre_K) / variance_K)
    return np.sort(distance_K)


def of_cell(ours: Sequence[Run], theirs: Sequence[Run]) -> Facts:
    """Our runs against theirs in one cell by itself, and what the task needs to know of it."""
    # The time of parts only where every run has it: the two kinds of time must not be compared.
    by_parts = all(run.get("part_hits") is not None for run in (*ours, *theirs))
    first, second = ([finish(run, by_parts) for run in runs] for runs in (ours, theirs))
    pairs = [win(one, other) for one in first for other in second]
    rate, (centre, variance), (_, other_variance) = mean(pairs), placements(first, second), placements(second, first)
    tosses = centre * (1 - centre) / (variance + other_variance)
    everyone = sorted({*first, *second})
    tied = tuple(sorted(float(everyone.index(run)) for run in (*first, *second)))
    untied = tuple(map(float, range(len(tied))))
    # Exchanged arms have the same distances. Runs that tie may not decide more than as many runs that do not.
    nulls = [null_distances(places, min(len(ours), len(theirs))) for places in (tied, untied)]
    distance = abs(rate - 0.5) * sqrt(4 * tosses) - HAIR
    p = max((1 + np.count_nonzero(null_K >= distance)) / (1 + DRAWS) for null_K in nulls)
    quantile = max(float(null_K[-round(0.05 * (1 + DRAWS)) + 1]) for null_K in nulls)
    low, high = edges(rate, tosses, quantile)
    facts: Facts = {"win_rate": rate, "win_rate_p": around(p), "decided": mean(pair != 0.5 for pair in pairs)}
    facts |= {"win_rate_low_95": (low - 0.02, low + 0.02), "win_rate_high_95": (high - 0.02, high + 0.02)}
    facts |= {"centre": centre, "variances": [(variance, len(ours) - 1), (other_variance, len(theirs) - 1)]}
    return facts | {"fewest": min(len(ours), len(theirs))} | of_times(ours, theirs)


def compared(first: Arm, second: Arm) -> tuple[dict[str, Facts], dict[str, Facts]]:
    """The first arm against the second in the cells that both have runs in: by task, and by cell."""
    cells = {cell: of_cell(runs, second[cell]) for cell, runs in first.items() if cell in second}
    tasks = {}
    for task in sorted({first[cell][0]["task"]["name"] for cell in cells}):
        mine = [facts for cell, facts in cells.items() if first[cell][0]["task"]["name"] == task]
        lows, highs = (holm([facts["win_rate_p"][end] for facts in mine]) for end in (0, 1))
        for facts, low, high in zip(mine, lows, highs, strict=True):
            told = {end < 0.01 and facts["fewest"] >= 10 for end in (low, high)}
            facts |= {"p_holm": (low, high), "task": task}
            facts["win_rate_verdict"] = {side(facts["win_rate"]) if is_told else "needs-seeds" for is_told in told}
        rate, centre, decided = (mean(facts[name] for facts in mine) for name in ("win_rate", "centre", "decided"))
        variances = [part for facts in mine for part in facts["variances"]]
        total = sum(variance for variance, _ in variances)
        known = all(df for _, df in variances)  # one run alone says nothing of the spread
        df = total**2 / sum(variance**2 / df for variance, df in variances) if known else 0.0
        tosses = centre * (1 - centre) * len(mine) ** 2 / total
        p = 2 * float(stats.t.sf(abs(rate - 0.5) * sqrt(4 * tosses), df)) if df else 1.0
        wide, narrow = (edges(rate, tosses, float(stats.t.ppf(level, df)) if df else inf) for level in (0.975, 0.95))
        tasks[task] = {"task_win_rate": rate, "task_win_rate_low_95": wide[0], "task_win_rate_high_95": wide[1]}
        tasks[task] |= {"task_win_rate_p": p, "narrow": narrow}
        tasks[task]["task_win_rate_verdict"] = judged(rate, p, narrow, decided, mine)
    return tasks, cells


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's p values as the closed test has them: the largest of Bonferroni's over all sets that one is in."""
    places = range(len(p_values))
    sets = [[at for at in places if chosen[at]] for chosen in product((0, 1), repeat=len(places))]
    return [max(min(1.0, len(each) * min(p_values[at] for at in each)) for each in sets if at in each) for at in places]


def side(rate: float) -> str:
    """The word for the side of one half that a win rate is on."""
    return "better" if rate > 0.5 else "worse"


def judged(rate: float, p: float, narrow: Range, decided: float, cells: Sequence[Facts]) -> set[str]:
    """The verdict on a task, or those that it may be."""
    fewest, words = min(cell["fewest"] for cell in cells), set()
    for told in product(*({end < 0.05 and cell["fewest"] >= 10 for end in cell["p_holm"]} for cell in cells)):
        against = {side(cell["win_rate"]) for cell, is_told in zip(cells, told, strict=True) if is_told}
        if fewest < 5:
            words.add("needs-seeds")
        elif p < 0.01:
            words.add(side(rate))
        elif len(against) == 2:
            words.add("mixed")
        elif narrow[0] < 0.3 or narrow[1] > 0.7 or decided < 0.5 or fewest < 10:
            words.add("needs-seeds")
        else:
            words.add("mixed" if against else "same")
    return words


# Ratios of times.
def of_times(ours: Sequence[Run], theirs: Sequence[Run]) -> Facts:
    """The ratio of times with its interval and p value; none unless both solved at least half of their runs."""
    if any(2 * sum(map(solved, runs)) < len(runs) for runs in (ours, theirs)):
        return dict.fromkeys(("ratio", "ratio_low_95", "ratio_high_95", "ratio_p"))
    first, second = (tuple(sorted(middle(hit(run)) if solved(run) else inf for run in runs)) for runs in (ours, theirs))
    return time_ratio(first, second, ours[0]["protocol"]["max_steps"])


@lru_cache(maxsize=4096)
def time_ratio(ours: tuple[float, ...], theirs: tuple[float, ...], budget: float) -> Facts:
    """How many times their steps we take, by a rank test of every ratio from 1/64 to 64, 2 % apart."""
    place_G = np.arange(-207, 208) * 0.02
    time_GR = np.array([[*theirs, *(time / exp(place) for time in ours)] for place in place_G])
    # What either arm could not have shown within its budget is unsolved in both.
    time_GR[time_GR > budget * np.minimum(1, np.exp(-place_G))[:, None]] = inf
    rank_GR = stats.rankdata(time_GR, axis=1) - (len(ours) + len(theirs) + 1) / 2
    sum_G = rank_GR[:, len(theirs) :].sum(axis=1)
    drawn_GK = rank_GR @ labels(len(ours) + len(theirs), len(ours), DRAWS_RATIO).T
    count_G, tied_GK = (drawn_GK > sum_G[:, None] + HAIR).sum(axis=1), np.abs(drawn_GK - sum_G[:, None]) <= HAIR
    more_G = (1 + count_G + tied_GK.sum(axis=1)) / (1 + DRAWS_RATIO)  # small where the ratio is too small
    less_G = (1 + DRAWS_RATIO - count_G) / (1 + DRAWS_RATIO)

    def walk(holds_G: NDArray[np.bool_], start: int, step: int) -> int | None:
        return next((at for at in range(start, len(place_G) if step > 0 else -1, step) if holds_G[at]), None)

    # The middle of where the sum changes sign: both solved something, so it is positive far down and negative far up.
    one = len(place_G) // 2
    if sum_G[one] > HAIR:
        high = walk(sum_G < -HAIR, one, 1)
        low = walk(sum_G > HAIR, high or one, -1)
    else:
        low = walk(sum_G > HAIR, one, -1)
        high = walk(sum_G < -HAIR, low or one, 1)
    assert low is not None and high is not None, "a ratio beyond 64, which the page does not look for"
    centre = (place_G[low] + place_G[high]) / 2
    facts: Facts = {"ratio": (exp(centre - SLACK_RATIO), exp(centre + SLACK_RATIO))}
    start = int(np.abs(place_G - centre).argmin())
    for end, p_G, step in (("low", more_G, -1), ("high", less_G, 1)):
        # Outwards from the estimate, the end lies between where a ratio is perhaps rejected and where it surely is.
        surely, perhaps = (walk(p_G < p, start, step) for p in around(0.025, DRAWS_RATIO, PAGE_DRAWS_RATIO, ERRORS - 1))
        far, near = (step * inf if at is None else place_G[at] for at in (surely, perhaps))
        found = sorted((exp(far + step * SLACK_RATIO), exp(near - step * SLACK_RATIO)))
        facts[f"ratio_{end}_95"] = {(found[0], found[1]), *([None] if surely is None else [])}
    tail = around(min(more_G[one], less_G[one]), DRAWS_RATIO)
    return facts | {"ratio_p": (2 * tail[0], min(1.0, 2 * tail[1]))}


# Ranks.
def ranks(order: Sequence[str], beats: Callable[[str, str], set[bool]]) -> dict[str, set[int]]:
    """Ranks of those in an order: a band ends before the first one that its leader beats. All that each may have."""
    found: set[tuple[tuple[int, ...], str]] = {((), "")}
    for place, name in enumerate(order, start=1):
        found = {
            ((*before, place), name) if is_ahead else ((*before, before[-1]), leader)
            for before, leader in found
            for is_ahead in (beats(leader, name) if leader else {True})
        }
    return {name: {each[place] for each, _ in found} for place, name in enumerate(order)}


def results(suite: Suite) -> dict[tuple[str, str], Facts]:
    """Every entry in every cell; `place` orders the entries of the suite."""
    arms, found = suite.arms, {}
    heads: dict[str, tuple[float, float, str]] = {}  # of entries with an outcome in every cell, the best first
    for entry, runs in suite.entries.items():
        tasks, cells = compared(arms[entry], {} if entry == REFERENCE else arms[REFERENCE])
        whole = len(arms[entry]) == len(arms[REFERENCE]) == len(suite.cells)
        for cell, example in suite.cells.items():
            found[entry, cell] = measured(runs.get(cell, ()), example) | cells.get(cell, {})
            found[entry, cell] |= tasks.get(example["task"]["name"], {}) if whole else {}
            found[entry, cell] |= {"suite": suite.name, "entry": entry, "cell": cell, "rank": None, "suite_rank": None}
        if whole:
            rate = mean([task["task_win_rate"] for task in tasks.values()] or [0.5])
            mine = [found[entry, cell] for cell in suite.cells]
            heads[entry] = -rate, mean(each["restricted_mean_step"] / each["budget_steps"] for each in mine), entry

    def beats(first: str, second: str) -> set[bool]:
        told = [task for task in compared(arms[first], arms[second])[0].values() if task["task_win_rate_p"] < 0.01]
        return {bool(told) and all(task["task_win_rate"] > 0.5 for task in told)}

    able = sorted((e for e in heads if min(map(len, arms[e].values())) >= 5), key=heads.__getitem__)
    suite_ranks = ranks(able, beats)
    for (entry, _), facts in found.items():
        lacks_cells = len(suite.entries[entry]) < len(suite.cells)
        facts["place"] = able.index(entry) if entry in able else len(able) + lacks_cells
        facts |= {"mean_win_rate": -heads[entry][0] if entry in heads else None, "suite_rank": suite_ranks.get(entry)}
    for cell in suite.cells:
        here = {entry: found[entry, cell] for entry in arms if found[entry, cell].get("n", 0) >= 10}

        def beats_here(first: str, second: str, cell: str = cell) -> set[bool]:
            facts = of_cell(arms[first][cell], arms[second][cell])
            return {end < 0.01 and facts["win_rate"] > 0.5 for end in facts["win_rate_p"]}

        def key(entry: str, here: Mapping[str, Facts] = here) -> tuple[float, float, str]:
            return -here[entry].get("win_rate", 0.5), here[entry]["restricted_mean_step"], entry

        for entry, places in ranks(sorted(here, key=key), beats_here).items():
            here[entry]["rank"] = places
    return found


def tried(suite: Suite, entry: str) -> list[Facts]:
    """The learning rates of an entry's tuning, by task: the best takes the least time, then gets furthest."""
    runs: dict[str, dict[float, list[Run]]] = {}
    for run in suite.tuning:
        if ended(run) and run["architecture"]["name"] == suite.about[entry]["architecture"]:
            runs.setdefault(run["task"]["name"], {}).setdefault(float(run["optimizer"]["lr"]), []).append(run)
    found = []
    for task, by_rate in sorted(runs.items()):
        merits = {}
        for rate, each in by_rate.items():
            times = {id(run): finish(run)[1] / run["protocol"]["max_steps"] for run in each}
            left = [progress(run) for run in each if times[id(run)] == inf]
            merits[rate] = mean(min(time, 1.0) for time in times.values()), -mean(left or [0.0]), rate
        best = min(merits.values())[2]
        for rate, each in sorted(by_rate.items()):
            where = ", at an end of the rates tried" if rate in (min(merits), max(merits)) else ""
            says = f"best{where}" if rate == best else ""
            facts = {"task": task, "rate": rate, "n_solved": sum(map(solved, each)), "n": len(each)}
            found.append(facts | {"time": merits[rate][0], "best": says})
    return found
