"""Probe `dependency`: which tokens a prediction depends on, for any architecture.

    D[q, p] = mean over sequences of 1/2 sum_v |P(v | tokens) - P(v | tokens with token p replaced)| at query q

Later tokens stay as they are, so that what they say of the replaced one is not told anew. With two token values the
other one takes the place; with more, one sampled from the others, the same at every look.

Shape letters: B sequences, L positions as queries (first) and keys (last), V token values, K keys that a query needs, n
candidates. Query q reads tokens 0..q and predicts token q + 1.
"""

import math
from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from architectures import SequenceModel
from benchmark.probes.explanations import explanation, token_sums
from benchmark.probes.ranking import (
    Marks,
    Values,
    chance_average_precision,
    expected_average_precision,
    probability_exact,
)
from benchmark.probes.registry import Measured, Probe, register_probe
from datamodules import CellularAutomata, LinearMap, Task
from datamodules.stream import Stream

CHUNK_TOKENS = 2**13
"""Tokens that the model reads at once: a training step of the paper's sizes, without its gradients."""

MOST_EFFECTS = 2**24
"""Effects by sequence, query and key that are held at once."""

NOISE = 1e-6
"""Effects below it are rounding, and count as 0."""

COST = 0.1
"""Share of the time of training and evaluation that the probe may take."""

TOKEN_COST = 4.0
"""Time that a token takes in a training step, as a multiple of one in the forward pass without gradients."""

SCORES = ("average_precision", "chance", "exact", "mass", "size")


def replaced(tokens_BN: Tensor, vocab_size: int) -> Tensor:
    """Other tokens for these: (B, N) int64, each another value than the one in its place, always the same choice."""
    index_B = torch.arange(len(tokens_BN), device=tokens_BN.device)
    others = vocab_size - 1
    if others == 1:
        return 1 - tokens_BN
    # Random numbers by counters: nothing else draws from them, and they are the same on every device.
    offset_BN = 1 + Stream("dependency", 1, "probe", 0).digits(index_B, tokens_BN.shape[1], others)
    return (tokens_BN + offset_BN) % vocab_size


def effects(model: nn.Module, tokens_BL: Tensor, replaced_BL: Tensor, chunk_tokens: int = CHUNK_TOKENS) -> Tensor:
    """Total variation between the predictions at each query with a token as it is and with it replaced.

    Args:
        model: (B, L) tokens to next-token logits (B, L, V).
        tokens_BL: int64.
        replaced_BL: another token for each.
        chunk_tokens: that the model reads at once, at least one sequence.

    Returns:
        (B, L, L) float32 in 0..1, query by replaced token; 0 above the diagonal if the model is causal.
    """
    n_B, length = tokens_BL.shape
    p_BLV = model(tokens_BL).float().softmax(-1)
    effect_BLL = p_BLV.new_empty(n_B, length, length)
    at_once = max(1, chunk_tokens // (n_B * length))
    for start in range(0, length, at_once):
        places = torch.arange(start, min(start + at_once, length), device=tokens_BL.device)
        changed = tokens_BL.expand(len(places), -1, -1).clone()
        changed[torch.arange(len(places)), :, places] = replaced_BL.T[places]
        q_PBLV = model(changed.flatten(0, 1)).float().softmax(-1).unflatten(0, (len(places), n_B))
        effect_BLL[..., places] = 0.5 * (q_PBLV - p_BLV).abs().sum(-1).permute(1, 2, 0)
    return torch.where(effect_BLL < NOISE, 0.0, effect_BLL)


def scores(effect_n: Values, counts_n: Marks) -> tuple[float, ...]:
    """Of one query, in the order of `SCORES`: average precision against its keys and that of a random order, whether
    the keys come first, the share of all effects that is theirs, and the largest effect; NaN if an effect is.

    Args:
        effect_n: (n,) effects of the tokens that it reads, or some of them.
        counts_n: (n,) bool, which of them it needs, at least one.
    """
    if np.isnan(effect_n).any():
        return (math.nan,) * len(SCORES)
    whole = float(effect_n.sum())
    return (
        expected_average_precision(effect_n, counts_n),
        chance_average_precision(len(effect_n), int(counts_n.sum())),
        probability_exact(effect_n, counts_n),
        float(effect_n[counts_n].sum()) / whole if whole else math.nan,
        float(effect_n.max()),
    )


@register_probe("dependency")
class DependencyProbe(Probe):
    """Tokens that predictions depend on: replaces each earlier token, and measures how much the prediction changes.

    For any model, on a task whose keys are known:

    - `map` [query key]: the effect D, 0 to 1; NaN where key > query;
    - by query, NaN where it is not scored: `average_precision` of D against the ground-truth keys, `chance`, that of a
      random order, `exact`, 1 if all keys come before all other tokens (ties in expectation), `mass`, the share of
      the sum of D that is on the keys, and `size`, the largest D;
    - on `lm`, `explanation` [query]: what the model uses, 0 nothing that explains the token, 1 a mixture of
      explanations, 2 another valid one, 3 the ground truth (`benchmark.probes.explanations`);
    - on `ca`, the first three within the previous state alone, `average_precision_previous`, `chance_previous` and
      `exact_previous`, and `window_size`, the mean D on the keys.

    As curves, the means over scored queries: `dependency_average_precision`, `dependency_exact`, and on `ca` the same
    with `_previous`. Where every sequence has keys of its own, scores are means over sequences.

    A look reads L + 1 variants of 16 sequences (`ca` 32), B L^2 tokens. It comes at every k-th evaluation, the
    smallest k at which these take a tenth of the time at most that training takes in between, if a token of training
    costs four of them: k = B L^2 / (0.4 tokens between two evaluations), rounded up. At L <= 64 and the default
    batches of 8,192 tokens that is every evaluation.
    """

    def __init__(self, model: SequenceModel, task: Task) -> None:
        super().__init__(model, task)
        if task.keys is None and task.keys_in(task.rows(0, 1, "eval")) is None:
            raise ValueError(f"task {task.name} does not know the keys that its queries need")
        self.n_sequences = 32 if isinstance(task, CellularAutomata) else 16
        self.sums = token_sums(task) if isinstance(task, LinearMap) else []

    def every(self, tokens_between: int) -> int:
        """See `Probe.every`."""
        cost = self.n_sequences * self.task.seq_len**2 / TOKEN_COST
        return max(1, math.ceil(cost / (COST * tokens_between)))

    def __call__(self, model: SequenceModel, tokens_BN: Tensor) -> Iterator[Measured]:
        """See `Probe.__call__`."""
        others_BN = replaced(tokens_BN, self.task.vocab_size)
        own_keys = self.task.keys is None
        n_B, length = tokens_BN.shape[0], self.task.seq_len
        map_LL, by_sequence = torch.zeros(length, length), []
        at_once = max(1, MOST_EFFECTS // length**2)
        for here in (slice(start, start + at_once) for start in range(0, n_B, at_once)):
            effect_BLL = effects(model, tokens_BN[here, :-1], others_BN[here, :-1]).cpu()
            map_LL += effect_BLL.sum(0) / n_B
            if own_keys:
                keys_BLK = cast(Tensor, self.task.keys_in(tokens_BN[here]))
                by_sequence += [
                    self._by_query(*pair) for pair in zip(effect_BLL.numpy(), keys_BLK.cpu().numpy(), strict=True)
                ]
        future_LL = torch.ones(length, length, dtype=torch.bool).triu(1)
        yield Measured("map", map_LL.masked_fill(future_LL, torch.nan), "query key")
        if own_keys:
            found_XL = torch.tensor(np.stack(by_sequence)).nanmean(0)
        else:
            keys_LK = cast(Tensor, self.task.keys).numpy()
            found_XL = torch.tensor(self._by_query(map_LL.numpy(), keys_LK))
        for name, value_L in zip(self._names, found_XL, strict=True):
            yield Measured(name, value_L, "query")
            if name.startswith(("average_precision", "exact")):
                yield Measured(f"dependency_{name}", value_L.nanmean())

    @property
    def _names(self) -> tuple[str, ...]:
        if isinstance(self.task, CellularAutomata):
            return (*SCORES, "average_precision_previous", "chance_previous", "exact_previous", "window_size")
        return (*SCORES, "explanation") if self.sums else SCORES

    def _by_query(self, effect_LL: Values, keys_LK: Values) -> Values:
        """Quantities by query, (len(_names), L), of effects and keys (-1 where there is none)."""
        found = np.full((len(self._names), len(effect_LL)), math.nan)
        for q, (effect_L, keys_K) in enumerate(zip(effect_LL, keys_LK, strict=True)):
            keys = [int(key) for key in keys_K if key >= 0]
            if not keys:
                continue
            counts = np.zeros(q + 1, dtype=bool)
            counts[keys] = True
            effect_n = effect_L[: q + 1]
            values = scores(effect_n, counts)
            if self.sums:
                code = math.nan if math.isnan(values[0]) else explanation(effect_n.tolist(), keys, self.sums, q)
                values = (*values, code)
            elif isinstance(self.task, CellularAutomata):
                size = self.task.state_size
                start = ((q + 1) // size - 1) * size
                previous = slice(start, start + size)
                within = scores(effect_n[previous], counts[previous])
                values = (*values, *within[:3], float(effect_n[keys].mean()))
            found[:, q] = values
        return found
