"""Which head learned which row, and when: the jumps of a row's loss, of a head's mass and of its entropy.

The paper's observation (arXiv 2606.25010, figures 4 and 8) is that each jump of the loss coincides with a drop of the
entropy of one or two heads, which then look where that output bit comes from. Here it is looked for, not assumed.

Shape letters: M evaluations, N looks of a probe, H heads of all layers, R rows of the grid, C columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.report.jumps import change_point
from benchmark.report.run_folder import Floats

SERVES = 0.5
"""Share of a head's attention that lies on the keys of a row, from which on the head is said to serve it."""

LEAST_LOSS, LEAST_MASS, LEAST_ENTROPY = 0.25, 0.2, 0.2
"""Least jumps: of a loss as a share of chance, of a share of attention, of an entropy in nats."""


@dataclass(frozen=True)
class LearnedRow:
    """One row of the pattern over training.

    Attributes:
        loss_step: of the evaluation after the jump of its loss; None if the loss never jumped.
        heads: that serve it at the end, the one with most mass first.
        best: the head with most mass at the end; None where the mass is not known.
        mass_before, mass_after, mass_end: of `best`: the level before its jump, and at the first look after it and at
            the last one; before and after are None if it has not jumped.
        mass_step, entropy_step: of the looks after the jumps of its mass and its entropy.
        together: all three within one look of each other; None where one of them is missing.
    """

    loss_step: int | None
    heads: tuple[int, ...]
    best: int | None
    mass_before: float | None = None
    mass_after: float | None = None
    mass_end: float | None = None
    mass_step: int | None = None
    entropy_step: int | None = None
    together: bool | None = None


def loss_jump(losses_M: Floats, chance: float) -> int | None:
    """Index of the evaluation after the jump of a row's loss; None if it never fell by much.

    Above chance a loss counts as chance.
    """
    jump = change_point(np.minimum(losses_M, chance))
    return None if jump is None or -jump.rise < LEAST_LOSS * chance else jump.place


def learned_rows(
    steps: Sequence[int],
    losses_MR: Floats,
    chance: float,
    looks: Sequence[int],
    masses_NHR: Floats,
    entropies_NHR: Floats,
) -> list[LearnedRow]:
    """Every row of the pattern over training.

    Args:
        steps: of the M evaluations.
        losses_MR: loss of each row in nats.
        chance: loss of a uniform guess in nats.
        looks: steps of the N looks.
        masses_NHR: attention of a head on the keys of a row, 0..1, NaN where the keys are unknown.
        entropies_NHR: of the attention of a head for a row, in nats.
    """
    return [
        _learned(steps, losses_MR[:, row], chance, looks, masses_NHR[..., row], entropies_NHR[..., row])
        for row in range(losses_MR.shape[1])
    ]


def _learned(
    steps: Sequence[int], losses_M: Floats, chance: float, looks: Sequence[int], masses_NH: Floats, entropies_NH: Floats
) -> LearnedRow:
    at = loss_jump(losses_M, chance)
    loss_step = None if at is None else steps[at]
    if not len(looks) or np.isnan(masses_NH[-1]).all():
        return LearnedRow(loss_step, (), None)
    order = np.argsort(-np.nan_to_num(masses_NH[-1], nan=-1), kind="stable")
    best = int(order[0])
    mass, entropy = change_point(masses_NH[:, best]), change_point(entropies_NH[:, best])
    mass_at = mass.place if mass is not None and mass.rise >= LEAST_MASS else None
    entropy_at = entropy.place if entropy is not None and -entropy.rise >= LEAST_ENTROPY else None
    # A probe may look less often than the run is evaluated: what happens between two looks is seen at the second.
    loss_at = None if loss_step is None else int(np.searchsorted(looks, loss_step))
    found = [index for index in (loss_at, mass_at, entropy_at) if index is not None]
    return LearnedRow(
        loss_step,
        tuple(int(head) for head in order if masses_NH[-1, head] >= SERVES),
        best,
        mass.before if mass is not None and mass_at is not None else None,
        float(masses_NH[mass_at, best]) if mass_at is not None else None,
        float(masses_NH[-1, best]),
        looks[mass_at] if mass_at is not None else None,
        looks[entropy_at] if entropy_at is not None else None,
        max(found) - min(found) <= 1 if len(found) == 3 else None,
    )


def serving(rows: Sequence[LearnedRow]) -> list[int]:
    """The heads that serve a row, those of the rows learned first before others."""
    by_time = sorted(rows, key=lambda row: (row.loss_step is None, row.loss_step or 0))
    return list(dict.fromkeys(row.best for row in by_time if row.heads and row.best is not None))


def share_text(value: float) -> str:
    """A share with two digits, as in .31; 1.00 and more digits are no different."""
    return f"{value:.2f}".removeprefix("0")


def in_words(rows: Sequence[LearnedRow], noun: str, names: Sequence[int]) -> list[str]:
    """Sentences that say what was found in the table of rows, and what was there where it was not.

    Args:
        rows: as `learned_rows` finds them.
        noun: of a row.
        names: of the rows.
    """
    known = [row for row in rows if row.best is not None]
    if not known:
        return ["What each query needs is not known for this task, or differs between sequences: no head can be named."]
    of = f"of {len(known)} {noun}s" if len(known) > 1 else f"{noun}"
    jumped = [row for row in known if row.loss_step is not None]
    served = [row for row in jumped if row.heads]
    if not jumped:
        most = max(row.mass_end or 0 for row in known)
        return [
            f"The loss jumped in 0 {of}.",
            f"No head has more than {share_text(most)} of its attention on the needed tokens of any {noun}.",
        ]
    said = [
        f"The loss jumped in {len(jumped)} {of}; at the end a head has at least {share_text(SERVES)} of its attention"
        f" on the needed tokens in {len(served)} of these."
    ]
    if served:
        together = sum(row.together is True for row in served)
        said.append(
            f"Loss, mass and entropy of that head jumped within one look of each other in {together} of these"
            f" {len(served)}."
        )
    if apart := [(name, row) for name, row in zip(names, rows, strict=True) if row in jumped and not row.heads]:
        most = max(row.mass_end or 0 for _, row in apart)
        which = ", ".join(str(name) for name, _ in apart[:8]) + (", ..." if len(apart) > 8 else "")
        said.append(
            f"Learned without such a head: {noun} {which}; there no head has more than {share_text(most)} of its"
            " attention on the needed tokens."
        )
    return said
