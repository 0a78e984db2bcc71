"""The exact Bayes predictor of a cellular automaton's next token: the lowest expected loss any model can reach."""

import itertools
import math

import torch
from torch import Tensor

from datamodules.automata.rules import apply_rules, ring_cells, window_index

CHUNK_ELEMENTS = 1 << 22
MAX_ENUMERATED_RULES = 4096


def enumerable_rules(n_colors: int, n_entries: int) -> Tensor | None:
    """All C^(C^W) rule tables, (number, C^W) int64, or None if there are more than 4,096."""
    if n_entries * math.log(n_colors) > math.log(MAX_ENUMERATED_RULES) + 1e-9:
        return None
    return torch.tensor(list(itertools.product(range(n_colors), repeat=n_entries)))


def fresh_rule_loss(states_BTS: Tensor, n_colors: int, window: int) -> Tensor:
    """Loss in nats, (B, S*T - 1) float64, when each sequence has a uniform random table of its own, applied once.

    Entries are independent, so a token is certain if its entry was seen before in the sequence and uniform if not.
    """
    n_sequences, _, state_size = states_BTS.shape
    ring = ring_cells(state_size, window, states_BTS.device)
    entry_BP = window_index(states_BTS[:, :-1], 0, ring, n_colors).flatten(1)
    n_positions = entry_BP.shape[1]
    position_BP = torch.arange(n_positions).expand_as(entry_BP)
    first_seen = torch.full((n_sequences, n_colors**window), n_positions)
    first_seen.scatter_reduce_(1, entry_BP, position_BP, "amin")
    is_new_BP = first_seen.gather(1, entry_BP) == position_BP
    return _with_first_state(is_new_BP.double() * math.log(n_colors), state_size, n_colors)


def pool_loss(states_BTS: Tensor, rules: Tensor, n_colors: int, window: int, steps: int) -> Tensor:
    """Loss in nats, (B, S*T - 1) float64, when each sequence follows one rule of a known pool, uniformly drawn.

    The posterior is uniform over the rules that agree with every token so far, so a token's probability is the fraction
    of them that predict it: (rules still agreeing after the token) / (before it).

    Args:
        states_BTS: int64.
        rules: (N, C^W) int64 tables, each applied `steps` times between two states.

    Raises:
        ValueError: if a sequence follows no rule of the pool.
    """
    state_size = states_BTS.shape[2]
    chunk = max(1, CHUNK_ELEMENTS // (len(rules) * state_size))
    agreeing_BP = torch.cat(
        [_agreeing_rules(part_BTS, rules, n_colors, window, steps) for part_BTS in states_BTS.split(chunk)]
    )
    if not bool(agreeing_BP[:, -1].all()):
        row = int(agreeing_BP[:, -1].argmin())
        raise ValueError(f"bayes_loss: sequence {row} follows no rule of the pool")
    log_agreeing = agreeing_BP.double().log()
    return _with_first_state(log_agreeing[:, :-1] - log_agreeing[:, 1:], state_size, n_colors)


def _agreeing_rules(states_BTS: Tensor, rules: Tensor, n_colors: int, window: int, steps: int) -> Tensor:
    """(B, P + 1) int64: how many rules agree with the first p of the P tokens after the first state."""
    n_sequences, n_states, state_size = states_BTS.shape
    ring = ring_cells(state_size, window, states_BTS.device)
    refuted = torch.zeros(n_sequences, (n_states - 1) * state_size + 1, dtype=torch.int64)
    refuted[:, 0] = -len(rules)
    # pairs (sequence, rule) that agree so far: after one state few are left, so later states cost next to nothing
    sequence, rule = torch.cartesian_prod(torch.arange(n_sequences), torch.arange(len(rules))).unbind(1)
    for t in range(1, n_states):
        states = states_BTS[:, t - 1]
        predicted = apply_rules(rules, rule[:, None], states[sequence], ring, n_colors, steps)
        wrong = predicted != states_BTS[sequence, t]
        agrees = ~wrong.any(-1)
        first_wrong = (t - 1) * state_size + 1 + wrong.byte().argmax(-1)
        gone = ~agrees
        refuted.index_put_((sequence[gone], first_wrong[gone]), torch.ones(()).long(), accumulate=True)
        sequence, rule = sequence[agrees], rule[agrees]
    return -refuted.cumsum(1)


def _with_first_state(loss_BP: Tensor, state_size: int, n_colors: int) -> Tensor:
    """Prepend the S - 1 unpredictable positions of the first state."""
    first = loss_BP.new_full((len(loss_BP), state_size - 1), math.log(n_colors))
    return torch.cat((first, loss_BP), dim=1)
