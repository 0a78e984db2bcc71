"""The verdict of a comparison of two arms: `better`, `regressed`, `same`, `needs-seeds` or `not-comparable`.

A pure function of records. Over all cells together: `better` and `regressed` where equal speed is rejected at 1 %, two
sided; `same` where both twice and half the steps are rejected at 5 %; `needs-seeds` where neither can be said. A claim
on one cell alone needs ten seeds, and its p values are Holm's over the cells. `simulation.py` measures how
often each is said when it is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log
from statistics import NormalDist
from typing import Literal

from leaderboard.records.record import Record
from leaderboard.statistics.comparison import Outcomes, Pair, holm, one_sided, outcomes
from leaderboard.statistics.survival import earliest_per_seed
from leaderboard.statistics.time_ratio import Ratio, time_ratio

Kind = Literal["not-comparable", "needs-seeds", "same", "better", "regressed"]

LEVEL = 0.01  # of "better" and "regressed", two-sided
LEVEL_SAME = 0.05  # of each of the two tests behind "same"
MARGIN = 2.0  # "same": takes neither this many times the steps nor this fraction of them
MIN_SEEDS = 5  # in every cell, of either arm, for a claim over all cells
MIN_SEEDS_ONE_CELL = 10
MAX_SEEDS = 100  # beyond it a number of seeds is not worth asking for
POWER = 0.8  # which the seeds that are asked for would give


@dataclass(frozen=True)
class CellVerdict:
    """The verdict on one cell alone.

    Attributes:
        n_reference, n_new: runs with an outcome; `solved_*` of them hit the target.
        p_holm: p value adjusted for the number of cells compared.
        reason: what the verdict rests on, or what is in the way.
    """

    cell: str
    kind: Kind
    ratio: Ratio | None
    p_holm: float | None
    n_reference: int
    n_new: int
    solved_reference: int
    solved_new: int
    reason: str


@dataclass(frozen=True)
class Verdict:
    """A new arm against a reference, over all cells of a suite.

    Attributes:
        missing: cells that only the reference has.
        seeds_needed: seeds per cell that would probably decide; None where nothing is needed or no number would do.
        reason: what the verdict rests on, or what is in the way.
    """

    kind: Kind
    ratio: Ratio | None
    cells: tuple[CellVerdict, ...]
    missing: tuple[str, ...]
    seeds_needed: int | None
    reason: str


def decide(pairs: Sequence[Pair], p: float, min_seeds: int = MIN_SEEDS) -> Kind:
    """The claim that the cells together allow, given the p value of equal speed (one cell among several: Holm's)."""
    if min(len(arm) for pair in pairs for arm in pair) < min_seeds:
        return "needs-seeds"
    slower, faster = one_sided(pairs, None) if p < LEVEL else (1.0, 1.0)
    return claim(p, slower, faster, 1.0 if p < LEVEL else p_same(pairs))


def claim(p: float, slower: float, faster: float, p_same: float) -> Kind:
    """The claim that p values allow: of equal speed, two-sided and against either side, and of a factor of two."""
    if p < LEVEL:
        return "regressed" if slower < faster else "better"
    return "same" if p_same < LEVEL_SAME else "needs-seeds"


def p_same(pairs: Sequence[Pair]) -> float:
    """The larger p value of "takes twice the steps" against less and "takes half of them" against more."""
    return max(one_sided(pairs, MARGIN)[1], one_sided(pairs, 1 / MARGIN)[0])


def compare(reference: Mapping[str, Sequence[Record]], new: Mapping[str, Sequence[Record]]) -> Verdict:
    """The verdict on a new arm. Both give for every cell the records of one arm; repetitions of a seed are left out."""
    missing = tuple(cell for cell in reference if cell not in new)
    common = [cell for cell in reference if cell in new]
    if not common:
        return Verdict("not-comparable", None, (), missing, None, "no cell in common")
    differing = {cell: reason for cell in common if (reason := difference(reference[cell], new[cell]))}
    arms = {cell: (_arm(reference[cell]), _arm(new[cell])) for cell in common}
    pairs = {
        cell: (first, second)
        for cell, (first, second) in arms.items()
        if cell not in differing and first is not None and second is not None
    }
    ratios = {cell: time_ratio([pair]) for cell, pair in pairs.items()}
    adjusted = dict(zip(ratios, holm([ratio.p for ratio in ratios.values()]), strict=True))
    cells = tuple(
        _cell_verdict(cell, arms[cell], differing.get(cell), ratios.get(cell), adjusted.get(cell)) for cell in common
    )
    if differing:
        reason = "; ".join(f"{cell}: {why}" for cell, why in differing.items())
        return Verdict("not-comparable", None, cells, missing, None, reason)
    if not pairs:
        return Verdict(
            "needs-seeds", None, cells, missing, MIN_SEEDS, "no cell in which both have runs with an outcome"
        )
    together = [pairs[cell] for cell in sorted(pairs)]
    ratio = time_ratio(together)
    kind = decide(together, ratio.p)
    unfinished = [*missing, *(cell for cell in common if cell not in pairs)]
    if unfinished and kind in {"same", "better"}:
        reason = f"would be {kind}, but has no outcome in {', '.join(unfinished)}"
        return Verdict("needs-seeds", ratio, cells, missing, MIN_SEEDS, reason)
    needed = _seeds_needed(together, ratio) if kind == "needs-seeds" else None
    return Verdict(kind, ratio, cells, missing, needed, _reason(kind, together, ratio, MIN_SEEDS, ratio.p))


def difference(reference: Iterable[Record], new: Iterable[Record]) -> str | None:
    """The reason why the records of two arms in one cell cannot be compared; None if they can."""
    hashes = {}
    for whose, records in (("the reference", reference), ("the new records", new)):
        found = {record.protocol_hash: record for record in records}
        if len(found) > 1:
            return f"{whose} mixes {len(found)} protocols"
        hashes[whose] = next(iter(found.values()))
    first, second = hashes.values()
    if first.protocol_hash == second.protocol_hash:
        return None
    if first.task.name != second.task.name:
        return f"task {second.task.name}, the reference has {first.task.name}"
    if first.task.version != second.task.version:
        return f"version {second.task.version} of task {first.task.name}, the reference has {first.task.version}"
    sides = [{**record.task.config, **record.protocol.model_dump(mode="json")} for record in (first, second)]
    differing = [key for key in {**sides[0], **sides[1]} if sides[0].get(key) != sides[1].get(key)]
    key = differing[0]
    if key == "targets":
        return "the targets differ"
    return f"{key} is {sides[1].get(key)}, the reference has {sides[0].get(key)}"


def _arm(records: Sequence[Record]) -> Outcomes | None:
    return outcomes(earliest_per_seed(records))


def _cell_verdict(
    cell: str,
    arms: tuple[Outcomes | None, Outcomes | None],
    differing: str | None,
    ratio: Ratio | None,
    p_holm: float | None,
) -> CellVerdict:
    counts = [0 if arm is None else len(arm) for arm in arms]
    solved = [0 if arm is None else arm.n_solved for arm in arms]
    reference, new = arms
    kind: Kind
    if differing is not None:
        kind, reason = "not-comparable", differing
    elif reference is None or new is None or ratio is None or p_holm is None:
        kind, reason = "needs-seeds", "no run with an outcome"
    else:
        pairs = [(reference, new)]
        kind = decide(pairs, p_holm, MIN_SEEDS_ONE_CELL)
        reason = _reason(kind, pairs, ratio, MIN_SEEDS_ONE_CELL, p_holm)
    return CellVerdict(cell, kind, ratio, p_holm, counts[0], counts[1], solved[0], solved[1], reason)


def _reason(kind: Kind, pairs: Sequence[Pair], ratio: Ratio, min_seeds: int, p: float) -> str:
    fewest = min(len(arm) for pair in pairs for arm in pair)
    if kind == "needs-seeds" and fewest < min_seeds:
        return f"{fewest} seeds in a cell, {min_seeds} are needed"
    if kind in {"better", "regressed"}:
        return f"equal speed is rejected, p = {p:.2g}"
    if kind == "same":
        return "twice and half the steps are both rejected at 5 %"
    return f"neither equal speed (p = {p:.2g}) nor a factor of two (p = {p_same(pairs):.2g}) can be rejected"


def _seeds_needed(pairs: Sequence[Pair], ratio: Ratio) -> int | None:
    """Seeds per cell with which one of the tests would probably decide, the reference's staying as they are.

    Normal approximation on the log scale: the interval's width gives the spread of one run, which is taken to be the
    same in both arms; the estimate is taken for the truth.
    """
    fewest = min(len(new) for _, new in pairs)
    if fewest < MIN_SEEDS:
        return MIN_SEEDS
    if ratio.estimate is None or ratio.low is None or ratio.high is None:
        return None
    normal = NormalDist()
    n_reference = min(len(reference) for reference, _ in pairs)
    error = log(ratio.high / ratio.low) / (2 * normal.inv_cdf(0.975))
    spread = error**2 / (1 / fewest + 1 / n_reference)
    distance, power = abs(log(ratio.estimate)), normal.inv_cdf(POWER)
    wanted = []
    for gap, level in ((distance, LEVEL / 2), (log(MARGIN) - distance, LEVEL_SAME)):
        if gap > 0:
            # gap = (z_level + z_power) * sqrt(spread * (1 / n + 1 / n_reference)), solved for n
            room = (gap / (normal.inv_cdf(1 - level) + power)) ** 2 / spread - 1 / n_reference
            if room > 1 / MAX_SEEDS:
                wanted.append(max(fewest + 1, ceil(1 / room)))
    return min(wanted, default=None)
