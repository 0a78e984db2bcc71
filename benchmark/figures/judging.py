"""Verdict on a claim: `reproduced`, `not reproduced` or `not enough seeds`, by one rule for every kind of test.

A claim says on which side of a null value an effect lies, and how far beyond it the effect would begin to matter.

- `not reproduced`: the 95 % interval excludes every effect that would matter. So it is where the opposite is
  significant, and where the effect is too small, however surely it is not zero.
- `reproduced`: otherwise, if the null value is rejected at 5 %, one-sided, in the claimed direction.
- `not enough seeds`: otherwise, and wherever a cell has fewer seeds than the claim asks for.

Without an effect a claim is called reproduced in at most 5 % of cases, and with an effect that just matters it is
called not reproduced in at most 2.5 %; the error rates of each claim are simulated (`planting.py`).
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["reproduced", "not reproduced", "not enough seeds"]
LEVEL = 0.05
"""Of the test of the null value, one-sided. Intervals are two-sided, of the level 95 %."""


@dataclass(frozen=True)
class Finding:
    """An effect as the runs show it, and the test of a claim about it.

    Attributes:
        effect: None where the data do not place it, inf where most runs never got there.
        low, high: ends of its 95 % interval; None where the data do not bound it on that side.
        p: one-sided p value of the null value against the claimed side; None without a test.
        null: the effect that is tested.
        matters: the nearest effect on the claimed side that would matter; at the null value or beyond it.
        unit: of the effect, as it is written behind a number.
        n: runs in the smallest of the cells that were compared.
        needs: runs that it must have at least.

    Raises:
        ValueError: if the effect that would matter lies on neither side of the null value without being the null.
    """

    effect: float | None
    low: float | None
    high: float | None
    p: float | None
    null: float
    matters: float
    claimed: Literal["more", "less"]
    unit: str
    n: int
    needs: int

    def __post_init__(self) -> None:
        if (self.matters - self.null) * self.sign < 0:
            raise ValueError(f"an effect of {self.matters} lies on the other side of {self.null} than is claimed")

    @property
    def sign(self) -> int:
        """1 where the claim is that the effect is larger than the null value, -1 where smaller."""
        return 1 if self.claimed == "more" else -1

    @property
    def kind(self) -> Kind:
        """The verdict, see above."""
        if self.n < self.needs or self.p is None:
            return "not enough seeds"
        far = self.high if self.sign > 0 else self.low
        if far is not None and (far - self.matters) * self.sign < 0:
            return "not reproduced"
        return "reproduced" if self.p < LEVEL else "not enough seeds"


def nothing(claimed: Literal["more", "less"], null: float, matters: float, unit: str, needs: int) -> Finding:
    """The finding where there are no runs to compare."""
    return Finding(None, None, None, None, null, matters, claimed, unit, 0, needs)
