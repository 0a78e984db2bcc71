"""One step of many cellular automata at once."""

import torch
from torch import Tensor


def ring_cells(state_size: int, window: int, device: torch.device) -> Tensor:
    """(S + W - 1,) int64: the cells of a ring in order, from half a window before the first to half after the last."""
    reach = window // 2
    return torch.arange(-reach, state_size + reach, device=device) % state_size


def window_index(states: Tensor, leading: Tensor | int, ring: Tensor, n_colors: int) -> Tensor:
    """The window around each cell, read as a number in base C after a leading digit.

    With the number of a rule as the leading digit this is an index into the rules' tables laid end to end.

    Args:
        states: (..., S) int64 colours.
        leading: int64, broadcastable against states.
        ring: `ring_cells`, which sets the window's width.
        n_colors: C.

    Returns:
        int64 in the broadcast shape of states and leading.
    """
    index = torch.as_tensor(leading)
    # slice w of the unfolded ring holds cell w of every window, the leftmost first
    for digit in states.index_select(-1, ring).unfold(-1, states.shape[-1], 1).unbind(-2):
        index = torch.add(digit, index, alpha=n_colors)
    return index


def apply_rules(tables: Tensor, rule: Tensor, states: Tensor, ring: Tensor, n_colors: int, steps: int) -> Tensor:
    """Apply to each state its rule `steps` times.

    Args:
        tables: (N, C^W) int64, indexed by the window as in `window_index`.
        rule: int64 numbers of rules, broadcastable against states.
        states: (..., S) int64.
        ring: `ring_cells` for S and W.

    Returns:
        (..., S) int64 in the broadcast shape of states and rule.
    """
    for _ in range(steps):
        states = tables.take(window_index(states, rule, ring, n_colors))
    return states
