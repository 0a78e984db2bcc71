"""How far predictors get that do without the ground-truth pattern of a cellular automaton.

An accuracy shows that a model attends to the whole window only if nothing less reaches it. Three kinds of predictors do
with less, and each is given all that it could know otherwise:

- one that misses a cell of the window, but knows the sequence's rule, and may read the last one or two tokens of the
  state that it predicts, whose windows overlap with this one (one that also reads cells outside of the window, to find
  out the missing one, does with more than the pattern and not with less);
- one that copies a cell of an earlier state;
- one that knows the window, but not which rule of the pool the sequence follows.

The first and the last are tables from what they know to the most frequent colour, filled from the very sequences that
they are measured on, so that they are a little too good.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

COPIED_TOKENS = 1 << 18


def shortcut_accuracies(
    states_BTS: Tensor, rule_B: Tensor, reach: int, n_rules: int, n_colors: int
) -> dict[str, float]:
    """Accuracy over the second half of the states of the best predictor of every kind, by its name.

    Args:
        states_BTS: sequences, int64.
        rule_B: which rule of the pool each follows, int64.
        reach: cells to either side that decide a cell, together with the cell itself.
        n_rules: N, at least 1.
        n_colors: C.
    """
    first = -(-states_BTS.shape[1] // 2)
    before_BTS, after_BTS = states_BTS[:, first - 1 : -1], states_BTS[:, first:]
    offsets = range(-reach, reach + 1)[: states_BTS.shape[2]]  # a wide window is the whole ring
    window = [before_BTS.roll(-offset, dims=-1).flatten() for offset in offsets]
    rule_N = rule_B[:, None, None].expand(after_BTS.shape).flatten()
    target_N = after_BTS.flatten()
    found = {"rule not inferred": _table(window, [n_colors] * len(window), target_N, n_colors)}
    emitted = _emitted(after_BTS, n_colors)
    best = 0.0
    for missed in range(len(window)):
        seen = window[:missed] + window[missed + 1 :]
        for n_emitted in range(len(emitted) + 1):
            columns = [rule_N, *seen, *emitted[:n_emitted]]
            sizes = [n_rules, *[n_colors] * len(seen), *[n_colors + 1] * n_emitted]
            best = max(best, _table(columns, sizes, target_N, n_colors))
    found["a cell missed"] = best
    found["earlier state copied"] = max(_copies(states_BTS, first))
    return found


def _emitted(after_BTS: Tensor, n_colors: int) -> list[Tensor]:
    """The token before each one within its state, and the one before that; the colour C where there is none."""
    found = []
    for back in (1, 2):
        column = torch.full_like(after_BTS, n_colors)
        column[..., back:] = after_BTS[..., :-back]
        found.append(column.flatten())
    return found


def _table(columns: list[Tensor], sizes: list[int], target_N: Tensor, n_colors: int) -> float:
    """Accuracy of the most frequent colour for every value of these columns together."""
    key_N = torch.zeros_like(target_N)
    for column, size in zip(columns, sizes, strict=True):
        key_N = key_N * size + column
    counts = (key_N * n_colors + target_N).bincount(minlength=math.prod(sizes) * n_colors)
    return counts.view(-1, n_colors).amax(1).sum().item() / len(target_N)


def _copies(states_BTS: Tensor, first: int) -> Iterator[float]:
    """Accuracy of copying a cell at each offset from the state so many steps before, over states `first` and later.

    A part of the sequences is enough: none of these predictors has a table to fill, and there are nearly as many of
    them as a sequence has tokens.
    """
    n_states, state_size = states_BTS.shape[1:]
    states_BTS = states_BTS[: -(-COPIED_TOKENS // (n_states * state_size))]
    for back in range(1, first + 1):
        source = states_BTS[:, first - back : n_states - back]
        for offset in range(state_size):
            yield (source.roll(offset, dims=-1) == states_BTS[:, first:]).double().mean().item()
