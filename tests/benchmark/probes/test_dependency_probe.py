"""The probe `dependency`: models whose maps one can write down, brute force, and figures that were measured before."""

import math
from collections.abc import Callable
from functools import reduce
from itertools import combinations
from operator import xor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from architectures import ARCHITECTURES, SequenceModel
from benchmark.probes import PROBES, array, dependency, look
from benchmark.probes.dependency import effects, replaced
from benchmark.probes.explanations import MIXTURE, NONE, OTHER, TRUTH, explanation, token_sums, unique_queries
from datamodules import CellularAutomata, Copying, LinearMap, Task

SURE = 20.0
"""Logit of a prediction without doubt: its probability is 1 - 2e-9."""


class Rule(SequenceModel):
    """Predicts by a fixed function of the tokens: (B, L) to probabilities (B, L, V)."""

    def __init__(self, task: Task, probabilities: Callable[[Tensor], Tensor]) -> None:
        super().__init__(task.vocab_size, task.seq_len, d_model=1, blocks=[nn.Identity()])
        self.probabilities = probabilities

    def forward(self, tokens_BL: Tensor) -> Tensor:
        return self.probabilities(tokens_BL).clamp_min(1e-12).log()


def lm(state_size: int = 4, n_nonzero: int = 2, n_states: int = 2, seed: int = 1) -> LinearMap:
    return LinearMap(state_size, n_nonzero, n_states, task_seed=seed, data_seed=2)


def parity(task: LinearMap, keys: dict[int, list[int]]) -> Callable[[Tensor], Tensor]:
    """Knows at some queries that the next token is the parity of some tokens; guesses at the others."""

    def probabilities(tokens_BL: Tensor) -> Tensor:
        p_BLV = torch.full((*tokens_BL.shape, 2), 0.5)
        for query, of_query in keys.items():
            p_BLV[:, query] = nn.functional.one_hot(tokens_BL[:, of_query].sum(1) % 2, 2).float()
        return p_BLV

    return probabilities


def truth(task: LinearMap) -> dict[int, list[int]]:
    return {q: keys for q, keys in enumerate(task.keys.tolist()) if min(keys) >= 0}


def values(model: SequenceModel, task: Task) -> dict[str, npt.NDArray[np.float32]]:
    return {row.quantity: array(row) for row in look("dependency", model, task).itertuples()}


def test_a_model_that_knows_the_keys_has_their_map() -> None:
    task = lm()
    found = values(Rule(task, parity(task, truth(task))), task)
    expected = np.where(np.tril(np.ones((7, 7))), 0.0, math.nan)
    for query, keys in truth(task).items():
        expected[query, keys] = 1.0
    np.testing.assert_allclose(found["map"], expected, atol=1e-6)
    unscored, scored = [math.nan] * 3, [1.0] * 4
    for name in ("average_precision", "exact", "mass", "size"):
        np.testing.assert_allclose(found[name], unscored + scored, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(found["explanation"], unscored + [TRUTH] * 4)
    assert found["dependency_average_precision"] == found["dependency_exact"] == 1
    chance = [(1 + 1 / 2 + 1 / 3 + 1 / 4) / 4]
    assert found["chance"][3] == pytest.approx(chance[0] + 1 / 3 * (1 - chance[0]))


def test_a_model_that_guesses_is_at_chance() -> None:
    task = lm()
    found = values(Rule(task, parity(task, {})), task)
    assert not found["map"][np.tril_indices(7)].any()
    np.testing.assert_allclose(found["average_precision"], found["chance"], rtol=1e-6)
    exact = [1 / math.comb(n, 2) for n in (4, 5, 6, 7)]
    np.testing.assert_allclose(found["exact"][3:], exact, rtol=1e-6)
    assert np.isnan(found["mass"]).all() and (found["explanation"][3:] == NONE).all()


def test_a_half_sure_model_has_half_the_effect_and_its_own_keys() -> None:
    """P(next = x_0) = .8 at the last query: replacing token 0 moves .6 of the probability."""
    task = lm()
    own = truth(task)[6]

    def probabilities(tokens_BL: Tensor) -> Tensor:
        p_BLV = torch.full((*tokens_BL.shape, 2), 0.5)
        p_BLV[:, 6] = 0.2 + 0.6 * nn.functional.one_hot(tokens_BL[:, 0], 2)
        return p_BLV

    found = values(Rule(task, probabilities), task)
    assert found["map"][6].tolist() == pytest.approx([0.6, 0, 0, 0, 0, 0, 0], abs=1e-6)
    assert found["size"][6] == pytest.approx(0.6) and found["mass"][6] == pytest.approx(float(0 in own), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transformer", "mlp_mixer", "gated_deltanet"])
def test_against_one_replacement_at_a_time_and_the_future_has_no_effect(name: str) -> None:
    torch.manual_seed(0)
    task = CellularAutomata(4, 3, 4, task_seed=0, data_seed=0)
    options: Any = {"d_model": 16}
    model = ARCHITECTURES[name](task.vocab_size, task.seq_len, **options)
    with torch.no_grad():
        model.head.weight.mul_(20)
        tokens = task.rows(0, 3, "eval")
        others = replaced(tokens, task.vocab_size)
        p = model(tokens[:, :-1]).softmax(-1)
        expected = torch.zeros(3, task.seq_len, task.seq_len)
        for i in range(3):
            for key in range(task.seq_len):
                changed = tokens[i : i + 1, :-1].clone()
                changed[0, key] = others[i, key]
                expected[i, :, key] = 0.5 * (model(changed).softmax(-1)[0] - p[i]).abs().sum(-1)
        for chunk in (1, 50, 2**13):
            found = effects(model, tokens[:, :-1], others[:, :-1], chunk)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=3e-6)
            assert not found[:, *torch.ones(task.seq_len, task.seq_len).triu(1).nonzero().T].any()
    assert expected.max() > 0.05


def test_replacements_are_other_symbols_and_always_the_same() -> None:
    before = torch.get_rng_state()
    for vocab_size in (2, 3, 7):
        tokens = torch.arange(600).view(20, 30) % vocab_size
        others = replaced(tokens, vocab_size)
        assert (others != tokens).all() and ((others >= 0) & (others < vocab_size)).all()
        assert torch.equal(others, replaced(tokens, vocab_size))
        steps = ((others - tokens) % vocab_size).flatten().bincount(minlength=vocab_size)
        assert (steps[1:] > 400 / (vocab_size - 1)).all()  # of 600 draws among all others
    assert torch.equal(before, torch.get_rng_state())


def window_model(task: CellularAutomata, sure: float) -> Rule:
    """Turns its prediction by every change of a cell in the window, and a little by the first token."""

    def probabilities(tokens_BL: Tensor) -> Tensor:
        logits = torch.zeros(*tokens_BL.shape, task.vocab_size)
        for query, keys in enumerate(task.keys.tolist()):
            if keys[0] >= 0:
                at = tokens_BL[:, keys].sum(1) % task.vocab_size
                logits[:, query].scatter_(1, at[:, None], sure)
            logits[:, query, 0] += 0.1 * tokens_BL[:, 0]
        return logits.softmax(-1)

    return Rule(task, probabilities)


def test_on_ca_within_the_previous_state() -> None:
    task = CellularAutomata(6, 3, 4, task_seed=0, data_seed=0)
    found = values(window_model(task, 3.0), task)
    scored = slice(task.state_size - 1, None)
    assert (found["exact_previous"][scored] == 1).all() and (found["average_precision_previous"][scored] == 1).all()
    harmonic = (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5 + 1 / 6) / 6
    assert found["chance_previous"][scored].tolist() == pytest.approx([harmonic + 2 / 5 * (1 - harmonic)] * 12)
    for query in (8, 13):
        keys = task.keys[query].tolist()
        assert found["window_size"][query] == pytest.approx(found["map"][query, keys].mean(), rel=1e-5)
    p = math.exp(3) / (math.exp(3) + 3)
    moved = p - (1 - p) / 3  # between the sure colour and another one
    assert found["window_size"][scored].tolist() == pytest.approx([moved] * 12, rel=0.02)
    assert np.isnan(found["window_size"][: task.state_size - 1]).all()
    assert PROBES["dependency"](window_model(task, 3.0), task).n_sequences == 32


def test_keys_of_their_own_in_every_sequence() -> None:
    """A model that copies the token that its key names: exact everywhere, though the mean map is blurred."""
    task = Copying(8, 4, 2, 4, task_seed=0, data_seed=0)

    def probabilities(tokens_BL: Tensor) -> Tensor:
        sequences = torch.cat([tokens_BL, tokens_BL[:, :1]], 1)  # the last token is predicted and no key
        p = torch.full((*tokens_BL.shape, 4), 0.25)
        keys = own_keys(sequences)
        known = keys >= 0
        copied = tokens_BL.gather(1, keys.clamp_min(0))
        p[known] = nn.functional.one_hot(copied, 4).float()[known]
        return p

    rows = task.rows(0, 16, "eval")
    fixed = task.keys_in(rows)[..., 0].long()

    def own_keys(sequences: Tensor) -> Tensor:
        """Of the sequences that were drawn, not of those with a token replaced, which come in blocks of 16."""
        return fixed.repeat(len(sequences) // 16, 1)

    found = values(Rule(task, probabilities), task)
    defined = ~np.isnan(found["exact"])
    assert defined.tolist() == task.scored_in(rows).any(0).tolist()
    np.testing.assert_allclose(found["exact"][defined], 1.0)
    np.testing.assert_allclose(found["mass"][defined], 1.0, rtol=1e-5)


def test_a_task_without_keys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task = lm()
    monkeypatch.setattr(LinearMap, "keys", None)
    with pytest.raises(ValueError, match="--probes dependency: task lm does not know the keys"):
        look("dependency", Rule(task, parity(task, {})), task)


def test_tokens_are_sums_of_bits_of_the_first_state() -> None:
    task = lm(8, 3, 3)
    sums = token_sums(task)
    bits = task.rows(0, 64, "eval")
    for position, of_bits in enumerate(sums):
        members = [i for i in range(8) if of_bits >> i & 1]
        assert torch.equal(bits[:, position], bits[:, members].sum(1) % 2)


def subsets(sums: list[int], target: int) -> list[set[int]]:
    """All sets with a sum, by trying all of them."""
    everything = [set(c) for n in range(len(sums) + 1) for c in combinations(range(len(sums)), n)]
    return [s for s in everything if reduce(xor, [sums[p] for p in s], 0) == target]


@pytest.mark.parametrize("seed", range(6))
def test_explanations_against_all_subsets(seed: int) -> None:
    """Every pattern of effects 0, .4 and .9 on nine tokens of a redundant map."""
    task = lm(4, 2, 3, seed)
    sums, rng = token_sums(task), np.random.default_rng(seed)
    seen = set()
    for _ in range(300):
        query = int(rng.integers(3, 9))
        own = rng.choice([0.0, 0.4, 0.9], query + 1, p=[0.5, 0.25, 0.25])
        valid = subsets(sums[: query + 1], sums[query + 1])
        used = {int(p) for p in np.flatnonzero(own > 0.5)}
        touched = {int(p) for p in np.flatnonzero(own > 0.25)}
        inside = [s for s in valid if s <= touched]
        keys = task.keys[query].tolist()
        if used == set(keys):
            expected = TRUTH
        elif used in valid:
            expected = OTHER
        else:
            expected = MIXTURE if len(inside) > 1 and set().union(*inside) == touched else NONE
        assert explanation(own.tolist(), keys, sums, query) == expected
        seen.add(expected)
    assert {NONE, MIXTURE} <= seen


def test_a_mean_of_two_explanations_is_a_mixture_and_each_alone_is_not() -> None:
    """Two equal rows: the second output is the first, or the sum of two bits; their mean depends on each by a half."""
    task = next(t for t in (lm(seed=seed) for seed in range(100)) if t.key_cells[0].equal(t.key_cells[1]))
    both, duplicate, query = task.key_cells[0].tolist(), [4], 4
    codes = {}
    for name, weights in {"truth": (1.0, 0.0), "other": (0.0, 1.0), "mixture": (0.5, 0.5)}.items():
        ours, theirs = parity(task, {query: both}), parity(task, {query: duplicate})

        def mixed(
            tokens: Tensor, a: float = weights[0], b: float = weights[1], x: Any = ours, y: Any = theirs
        ) -> Tensor:
            return a * x(tokens) + b * y(tokens)

        found = values(Rule(task, mixed), task)
        codes[name] = found["explanation"][query]
        if name == "mixture":
            np.testing.assert_allclose(found["map"][query, [*both, 4]], 0.5, atol=1e-5)
    assert codes == {"truth": TRUTH, "other": OTHER, "mixture": MIXTURE}


def unique_by_trying(task: LinearMap) -> list[bool]:
    """The definition, with all sets of at most s tokens."""
    sums, found = token_sums(task), []
    for query in range(task.seq_len):
        keys = set(task.keys[query].tolist())
        others = (
            set(c) for n in range(task.n_nonzero + 1) for c in combinations(range(query + 1), n) if set(c) != keys
        )
        equal = any(reduce(xor, [sums[p] for p in s], 0) == sums[query + 1] for s in others)
        found.append(min(keys) >= 0 and not equal)
    return found


@pytest.mark.parametrize("sizes", [(4, 1, 3), (5, 2, 2), (5, 3, 2), (6, 2, 3), (4, 4, 2)])
def test_unique_queries_against_all_sets(sizes: tuple[int, int, int]) -> None:
    for seed in range(4):
        task = lm(*sizes, seed)
        assert unique_queries(task).tolist() == unique_by_trying(task)


@pytest.mark.parametrize(
    ("sizes", "share"),
    [((8, 2, 2), 0.16), ((8, 2, 3), 0.44), ((8, 3, 2), 0.61), ((16, 2, 2), 0.11), ((16, 3, 2), 0.40)],
)
def test_shares_that_were_measured_before(sizes: tuple[int, int, int], share: float) -> None:
    """Of queries where another set gives the same bit, the mean over task seeds 0 to 19."""
    found = [1 - unique_queries(lm(*sizes, seed))[sizes[0] - 1 :].double().mean().item() for seed in range(20)]
    assert np.mean(found) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(("sizes", "seeds"), [((8, 2, 2), [4, 5, 9, 12, 16]), ((16, 2, 2), [1, 5, 11, 12, 16])])
def test_task_seeds_without_another_explanation(sizes: tuple[int, int, int], seeds: list[int]) -> None:
    clean = [s for s in range(20) if unique_queries(lm(*sizes, s))[sizes[0] - 1 :].all()]
    assert clean[: len(seeds)] == seeds


@pytest.mark.parametrize(
    ("task", "batch", "every"),
    [
        (LinearMap(16, 3, 2), 8192, 1),
        (LinearMap(16, 2, 2), 64 * 31, 1),
        (CellularAutomata(6, 8, 16), 32 * 47, 5),
        (CellularAutomata(16, 16), 8192, 26),
    ],
)
def test_the_grid_keeps_the_cost_below_a_tenth(task: Task, batch: int, every: int) -> None:
    """With an evaluation every 25 steps."""
    probe = PROBES["dependency"](Rule(task, lambda tokens: tokens), task)
    assert probe.every(25 * batch) == every
    forward = probe.n_sequences * task.seq_len**2
    assert forward <= 0.1 * dependency.TOKEN_COST * 25 * batch * every


def test_a_diverged_model_has_no_scores() -> None:
    task = lm()
    found = values(Rule(task, lambda tokens: torch.full((*tokens.shape, 2), math.nan)), task)
    assert all(np.isnan(found[name]).all() for name in ("average_precision", "exact", "size", "explanation"))
