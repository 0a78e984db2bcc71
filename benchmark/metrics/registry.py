"""Names for metrics: one decorator, one dictionary."""

import re
from collections.abc import Callable

from torch import Tensor

Measure = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From logits (E, B, L, V), tokens (E, B, L + 1) and scored (E, B, L) to a value per sequence (E, B)."""

METRICS: dict[str, Measure] = {}
"""Every registered metric by its name, which is that of its column in the curves."""

BASIC = ("loss_nats", "loss_scored_nats", "accuracy", "exact_match")
"""Metrics that every run has."""

_TAKEN = {"step", "loss_by_position_nats", "parts_solved", *BASIC}


def register_metric(name: str) -> Callable[[Measure], Measure]:
    """Give a function the name by which ``--metrics`` turns it on; the unit, if it has one, ends the name.

    The function takes, of E seeds and B held-out sequences, ``logits_EBLV`` for the L predicted positions (V token
    values), ``tokens_EB`` (E, B, L + 1), of which the last L are predicted, and ``scored_EBL``, bool: the positions
    that can be predicted. It returns a value per sequence, (E, B); a run reports the mean over held-out sequences of
    each seed. It is called without gradients. In a notebook, where a cell is run again and again, a function takes the
    place of the one before it.

    Raises:
        ValueError: if the name is taken or is no lower-case word.
    """

    if not isinstance(name, str):
        raise ValueError(f'@register_metric takes a name, like @register_metric("certainty"); got {name!r}')

    def decorate(measure: Measure) -> Measure:
        if not callable(measure):
            raise ValueError(f"metric {name!r} must be a function, got {measure!r}")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _TAKEN:
            why = "every run has it" if name in _TAKEN else "a name is a lower-case word, like entropy_nats"
            raise ValueError(f"metric name {name!r} of {measure.__module__}: {why}")
        if name in METRICS and not measure.__module__ == METRICS[name].__module__ == "__main__":
            taken = METRICS[name].__module__
            raise ValueError(f"metric name {name!r} of {measure.__module__} is already taken by {taken}")
        METRICS[name] = measure
        return measure

    return decorate
