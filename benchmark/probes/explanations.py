"""Which sets of tokens explain a token of `lm`: sums over GF(2), no model needed.

Every token of a sequence is the sum mod 2 of some bits of the first state. A set of earlier tokens is a *valid
explanation* of a token if their sum equals it in every sequence. The ground truth, the ones of a row of A in the state
before, is not the only one: outputs that were emitted and earlier states are redundant, and models use them.

A token is written as an integer whose bit i says whether it contains bit i of the first state, so that a sum is an
exclusive or.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import combinations
from operator import xor
from typing import cast

import torch
from torch import Tensor

from datamodules import LinearMap

NONE, MIXTURE, OTHER, TRUTH = 0, 1, 2, 3
"""Codes of `explanation`."""

USED, TOUCHED = 0.5, 0.25
"""A model uses a token if replacing it changes the prediction by more than `USED` (total variation); at more than
`TOUCHED`, half of that, it may use it as a part of a mixture."""


def token_sums(task: LinearMap) -> list[int]:
    """Every token of a sequence, in order, as a sum of bits of the first state: N integers of S bits."""
    size = task.state_size
    rows = [[int(cell) for cell in cells] for cells in task.key_cells]
    sums = [1 << cell for cell in range(size)]
    for _ in range(1, task.n_states):
        before = sums[-size:]
        sums += [total(before[cell] for cell in cells) for cells in rows]
    return sums


def total(sums: Iterable[int]) -> int:
    """The sum of tokens."""
    return reduce(xor, sums, 0)


def explanation(effects: Sequence[float], keys: Iterable[int], sums: Sequence[int], query: int) -> int:
    """The explanation that a model uses for a token, from how much its prediction depends on each earlier one.

    - `TRUTH`: it uses exactly the ground-truth keys, those and no other tokens have effects above `USED`;
    - `OTHER`: the tokens that it uses are another valid explanation;
    - `MIXTURE`: they are none, but every token that it touches is part of a valid explanation among those that it
      touches, of which there are several: a mean of two shows as effects of about 1/2 on what only one of them needs;
    - `NONE`: none of these.

    Args:
        effects: of the tokens 0..query, total variation in 0..1.
        keys: the ground-truth keys of the query.
        sums: of all tokens, from `token_sums`.
        query: index q of the last token that is read; token q + 1 is predicted.
    """
    used = {p for p in range(query + 1) if effects[p] > USED}
    if used == set(keys):
        return TRUTH
    if total(sums[p] for p in used) == sums[query + 1]:
        return OTHER
    touched = [p for p in range(query + 1) if effects[p] > TOUCHED]
    return MIXTURE if _each_in_an_explanation([sums[p] for p in touched], sums[query + 1]) else NONE


def _each_in_an_explanation(sums: Sequence[int], target: int) -> bool:
    """Whether there are several subsets with the sum `target`, and each element is in one of them.

    Subsets are solutions of linear equations: one of them plus any with the sum 0.
    """
    basis: dict[int, tuple[int, int]] = {}  # by leading bit: a sum, and the subset that makes it
    zero_sums = []
    for i, value in enumerate(sums):
        left, subset = _reduced(value, 1 << i, basis)
        if left:
            basis[left.bit_length()] = (left, subset)
        else:
            zero_sums.append(subset)
    left, subset = _reduced(target, 0, basis)
    covered = reduce(int.__or__, zero_sums, subset)
    return not left and bool(zero_sums) and covered == (1 << len(sums)) - 1


def _reduced(value: int, subset: int, basis: dict[int, tuple[int, int]]) -> tuple[int, int]:
    while value and value.bit_length() in basis:
        other, its_subset = basis[value.bit_length()]
        value, subset = value ^ other, subset ^ its_subset
    return value, subset


def unique_queries(task: LinearMap) -> Tensor:
    """(L,) bool: the scored queries for which no other set of at most s earlier tokens gives the same bit.

    Looks at all sets of fewer than s tokens, and for each at the one token that would complete it.
    """
    sums, most = token_sums(task), task.n_nonzero
    found = torch.zeros(task.seq_len, dtype=torch.bool)
    for query in range(task.state_size - 1, task.seq_len):
        keys = frozenset(cast("list[int]", task.keys[query].tolist()))
        found[query] = not _has_another(sums[: query + 1], sums[query + 1], keys, most)
    return found


def _has_another(sums: Sequence[int], target: int, keys: frozenset[int], most: int) -> bool:
    """Whether a set of at most so many tokens other than the keys has the sum `target`."""
    places: dict[int, list[int]] = {}
    for p, value in enumerate(sums):
        places.setdefault(value, []).append(p)
    if target == 0 and keys:
        return True  # no token at all
    for size in range(most):
        for subset in combinations(range(len(sums)), size):
            for last in places.get(target ^ total(sums[p] for p in subset), ()):
                if last not in subset and keys != {*subset, last}:
                    return True
    return False
