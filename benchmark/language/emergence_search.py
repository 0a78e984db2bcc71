"""Which checkpoint to look at next, and what follows from those looked at: a bisection, or a scan of all.

Both are pure functions of what is known, so that a search that was cut short, or that has lost a checkpoint, goes on by
being asked again.

A bisection looks at the first checkpoint and the last, and halves the stretch between one without the capability and
one with it; then at the one after, for a capability that is gone again at once may have been noise. It finds *a* step
at which the capability comes; the first one only where it comes once and stays (repetition, pattern). `ioi` comes
gradually and not monotonically: there a scan of all checkpoints says when it came first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Method = Literal["bisection", "every"]
Outcome = Literal["emerged", "left_censored", "right_censored", "unfinished"]


@dataclass(frozen=True)
class Emergence:
    """Result of a search.

    Attributes:
        status: `emerged`; `left_censored` if the capability was there at the first checkpoint, so that it emerged there
            or before; `right_censored` if it was not at the last one; `unfinished` if there are checkpoints to look at.
        step: the emergence step: first checkpoint with the capability of a bisection's last stretch, or (every) the
            first of two in a row; None unless it emerged.
        previous: the checkpoint before it, which was without; None unless it emerged.
        holds_next: whether the checkpoint after it has the capability too; None where there is none after it.
    """

    status: Outcome
    step: int | None = None
    previous: int | None = None
    holds_next: bool | None = None


def next_look(steps: Sequence[int], known: Mapping[int, bool], method: Method) -> int | None:
    """The step to look at next; None if nothing is left to look at.

    Args:
        steps: of the checkpoints that there are, ascending.
        known: by step, whether the capability was there.
        method: of the search.
    """
    path = [steps[i] for i in _path(steps, known)] if method == "bisection" else steps
    return next((step for step in path if step not in known), None)


def emergence(steps: Sequence[int], known: Mapping[int, bool], method: Method) -> Emergence:
    """The conclusion from what is known; arguments as of `next_look`.

    A scan wants the capability twice in a row, as targets of the tasks do; at the last checkpoint once is enough.
    """
    if not steps or next_look(steps, known, method) is not None:
        return Emergence("unfinished")
    if method == "bisection":
        if known[steps[0]]:
            return Emergence("left_censored")
        if not known[steps[-1]]:
            return Emergence("right_censored")
        at = _crossing(steps, known)[1]
    else:
        holds = [known[step] for step in steps]
        found = next((i for i in range(len(steps)) if all(holds[i : i + 2])), None)
        if found is None:
            return Emergence("right_censored")
        if found == 0:
            return Emergence("left_censored")
        at = found
    after = known[steps[at + 1]] if at + 1 < len(steps) else None
    return Emergence("emerged", steps[at], steps[at - 1], after)


def _path(steps: Sequence[int], known: Mapping[int, bool]) -> list[int]:
    """Places of the checkpoints that a bisection looks at, as far as it is known where it leads."""
    if not steps:
        return []
    path = [0, len(steps) - 1]
    if any(steps[i] not in known for i in path) or known[steps[0]] or not known[steps[-1]]:
        return path
    low, high = _crossing(steps, known)
    path += [] if high - low == 1 else [(low + high) // 2]
    return [*path, high + 1] if high - low == 1 and high + 1 < len(steps) else path


def _crossing(steps: Sequence[int], known: Mapping[int, bool]) -> tuple[int, int]:
    """The ends of the stretch that halving has come to: places without and with the capability."""
    low, high = 0, len(steps) - 1
    while high - low > 1 and steps[middle := (low + high) // 2] in known:
        low, high = (low, middle) if known[steps[middle]] else (middle, high)
    return low, high
