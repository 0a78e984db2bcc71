import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from datamodules import SPLITS, Copying, Split
from tests.oracles import copy as oracle
from tests.oracles import prefix_counts, splitmix64


@st.composite
def tasks(draw: st.DrawFn) -> Copying:
    n_symbols = draw(st.integers(1, 40))
    max_period = draw(st.integers(1, n_symbols))
    return Copying(
        draw(st.integers(max_period + 2, 3 * max_period + 2)),
        n_symbols,
        draw(st.integers(1, max_period)),
        max_period,
        task_seed=draw(st.integers(0, 2**63)),
        data_seed=draw(st.integers(0, 2**63)),
    )


@pytest.mark.slow
@given(tasks(), st.integers(0, 2**50), st.sampled_from(SPLITS))
def test_tokens_positions_and_keys_are_the_oracles(task: Copying, start: int, split: Split) -> None:
    tokens = task.rows(start, start + 3, split)
    scored, keys = task.scored_in(tokens), task.keys_in(tokens)
    assert (tokens.shape, tokens.dtype) == ((3, task.n_tokens), torch.int64)
    assert (scored.shape, scored.dtype) == ((3, task.seq_len), torch.bool)
    assert (keys.shape, keys.dtype) == ((3, task.seq_len, 1), torch.int32)
    n_words = task.words_per_sequence
    for row, tokens_N in enumerate(tokens.tolist()):
        first = SPLITS.index(split) * 2**61 + (start + row) * n_words
        words = [splitmix64.word(("copy", 1, "data", task.data_seed), first + word) for word in range(n_words)]
        assert tokens_N == oracle.sequence(words, task.n_tokens, task.min_period, task.max_period)
        expected = [oracle.key(tokens_N, query) for query in range(task.seq_len)]
        assert keys[row, :, 0].tolist() == expected
        assert scored[row].tolist() == [key >= 0 for key in expected]
        assert scored[row].any()
        period = expected.index(1)
        assert task.min_period <= period <= task.max_period
        assert len(set(tokens_N[:period])) == period
        assert all(tokens_N[key] == tokens_N[query + 1] for query, key in enumerate(expected) if key >= 0)


def test_positions_and_keys_of_a_stack_of_seeds() -> None:
    task = Copying()
    tokens = task.rows(0, 12).view(3, 4, -1)
    assert torch.equal(task.scored_in(tokens), task.scored_in(tokens.flatten(0, 1)).view(3, 4, -1))
    assert torch.equal(task.keys_in(tokens), task.keys_in(tokens.flatten(0, 1)).view(3, 4, -1, 1))
    assert task.scored is None and task.keys is None


@pytest.mark.slow
@given(tasks().filter(lambda task: task.n_symbols < 12), st.integers(0, 1000))
def test_what_is_scored_is_certain(task: Copying, index: int) -> None:
    tokens = task.rows(index, index + 1)
    seen = tokens[0].tolist()
    for query in task.scored_in(tokens)[0].nonzero().flatten().tolist():
        options = (task.n_symbols, task.min_period, task.max_period)
        assert oracle.prediction(seen[: query + 1], *options)[seen[query + 1]] == pytest.approx(1)


def test_periods_and_strings_are_uniform() -> None:
    tokens = Copying(7, 5, 2, 4).rows(0, 12_000)
    period = Copying(7, 5, 2, 4).scored_in(tokens).int().argmax(1)
    assert chisquare(torch.bincount(period)[2:].numpy()).pvalue > 1e-3
    for p in (2, 3, 4):
        strings = tokens[period == p][:, :p]
        counts = strings.unique(dim=0, return_counts=True)[1]
        assert len(counts) == math.perm(5, p)
        assert chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("n_tokens", "n_symbols", "min_period", "max_period"), [(6, 4, 1, 4), (8, 5, 2, 4), (7, 6, 3, 3), (5, 1, 1, 1)]
)
def test_floor_is_exact(n_tokens: int, n_symbols: int, min_period: int, max_period: int) -> None:
    """Over every order of the alphabet with every period, all equally likely, by counting prefixes."""
    sequences = [
        tuple(order[i % period] for i in range(n_tokens))
        for order in itertools.permutations(range(n_symbols))
        for period in range(min_period, max_period + 1)
    ]
    losses = prefix_counts.losses(sequences)
    task = Copying(n_tokens, n_symbols, min_period, max_period)
    np.testing.assert_allclose(task.floor_by_position_nats.numpy(), losses.mean(0), atol=1e-12)
    # and the predictor of the next test, where there are too many sequences to count
    options = (n_symbols, min_period, max_period)
    for sequence, loss in list(zip(sequences, losses, strict=True))[:: len(sequences) // 20 + 1]:
        tokens = list(sequence)
        p = [oracle.prediction(tokens[: q + 1], *options)[tokens[q + 1]] for q in range(n_tokens - 1)]
        np.testing.assert_allclose(-np.log(p), loss, atol=1e-12)


@pytest.mark.slow
def test_floor_by_simulation() -> None:
    """The Bayes predictor on 200 sequences at the default size: their mean loss is good to 0.01 nats."""
    task = Copying()
    losses = []
    for tokens in task.rows(0, 200, "floor").tolist():
        p = [oracle.prediction(tokens[: q + 1], 32, 8, 16)[tokens[q + 1]] for q in range(task.seq_len)]
        losses.append(-np.log(p))
    error = np.std(np.mean(losses, axis=1)) / 200**0.5
    assert error < 0.03
    assert task.floor_loss_nats == pytest.approx(np.mean(losses), abs=4 * error)
    assert task.chance_loss_nats == pytest.approx(math.log(32))


def test_a_sequence_is_right_if_all_its_scored_tokens_are() -> None:
    task = Copying(6, 4, 2, 3)
    tokens = torch.tensor([[3, 1, 3, 1, 3, 1], [2, 0, 1, 2, 0, 1]])
    scored = task.scored_in(tokens)
    assert scored.int().tolist() == [[0, 0, 1, 1, 1], [0, 0, 0, 1, 1]]
    correct = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 1]]).bool()
    assert task.exact(correct, scored).tolist() == [[True], [False]]
    assert task.exact(torch.stack([correct, ~correct]), scored).shape == (2, 2, 1)


def test_targets() -> None:
    assert [(t.name, t.metric, t.op, t.value) for t in Copying.targets] == [
        ("accuracy_50", "accuracy", ">=", 0.5),
        ("accuracy_90", "accuracy", ">=", 0.9),
        ("accuracy_99", "accuracy", ">=", 0.99),
    ]
    assert Copying.primary == "accuracy_90"
    assert Copying().config == {"n_tokens": 32, "n_symbols": 32, "min_period": 8, "max_period": 16}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_tokens": 1}, ["n_tokens", "2", "1"]),
        ({"min_period": 0}, ["min_period", "1", "0"]),
        ({"min_period": 17}, ["max_period=16", "min_period=17"]),
        ({"n_symbols": 15}, ["max_period=16", "n_symbols=15"]),
        (
            {"n_tokens": 17},
            ["n_tokens=17", "max_period=16", "n_tokens", "18"],
        ),
        ({"task_seed": -1}, ["task_seed", "0", "-1"]),
        ({"data_seed": -1}, ["data_seed", "0", "-1"]),
    ],
)
def test_errors(options: dict[str, int], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        Copying(**options)
    assert all(name in str(error.value) for name in named)
