import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from datamodules import SPLITS, ShuffleDyck, Split
from datamodules import dyck as module
from tests.oracles import dyck as oracle
from tests.oracles import splitmix64


@st.composite
def tasks(draw: st.DrawFn) -> ShuffleDyck:
    max_depth = draw(st.integers(1, 12))
    return ShuffleDyck(
        draw(st.integers(max_depth + 1, 40)),
        draw(st.integers(1, 9)),
        max_depth,
        task_seed=draw(st.integers(0, 2**63)),
        data_seed=draw(st.integers(0, 2**63)),
    )


@given(tasks(), st.integers(0, 2**50), st.sampled_from(SPLITS))
def test_tokens_and_positions_are_the_oracles(task: ShuffleDyck, start: int, split: Split) -> None:
    tokens = task.rows(start, start + 2, split)
    scored = task.scored_in(tokens)
    assert (tokens.shape, tokens.dtype) == ((2, task.n_tokens), torch.int64)
    for row, tokens_N in enumerate(tokens.tolist()):
        first = SPLITS.index(split) * 2**61 + (start + row) * task.n_tokens
        words = [splitmix64.word(("dyck", 1, "data", task.data_seed), first + i) for i in range(task.n_tokens)]
        assert tokens_N == oracle.sequence(words, task.n_types, task.max_depth)
        assert scored[row].tolist() == [token >= task.n_types for token in tokens_N[1:]]
        assert scored[row].any()
        for i in range(task.n_tokens + 1):
            depths = oracle.depths_of(tokens_N[:i], task.n_types)
            assert min(depths) >= 0 and sum(depths) <= task.max_depth


def test_every_string_is_as_likely_as_its_choices() -> None:
    """Against all strings that can be, at two sizes: one that is often at its greatest depth, and one that never is."""
    for n_tokens, n_types, max_depth in ((5, 2, 2), (5, 2, 4)):
        expected = dict(oracle.strings(n_tokens, n_types, max_depth))
        assert sum(expected.values()) == pytest.approx(1)
        rows = map(tuple, ShuffleDyck(n_tokens, n_types, max_depth).rows(0, 20_000).tolist())
        counts = dict.fromkeys(expected, 0)
        for row in rows:
            counts[row] += 1
        assert chisquare(list(counts.values()), 20_000 * np.array(list(expected.values()))).pvalue > 1e-3


SIZES = [(6, 2, 2), (6, 2, 4), (5, 3, 4), (7, 1, 3), (5, 3, 1), (4, 2, 3)]


@pytest.mark.parametrize(("n_tokens", "n_types", "max_depth"), SIZES)
def test_floor_is_the_entropy_of_all_strings(n_tokens: int, n_types: int, max_depth: int) -> None:
    """By the chain rule: what a token adds to the entropy of the prefixes, which are all counted out."""
    entropies = []
    for length in range(1, n_tokens + 1):
        prefixes = [p for _, p in oracle.strings(length, n_types, max_depth)]
        entropies.append(-sum(p * math.log(p) for p in prefixes))
    expected = [after - before for before, after in itertools.pairwise(entropies)]
    task = ShuffleDyck(n_tokens, n_types, max_depth)
    np.testing.assert_allclose(task.floor_by_position_nats.numpy(), expected, atol=1e-12)


def test_floor_of_sequences_agrees_with_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the default size 2,000 sequences give the mean to 0.005 nats, and position 0 to the last digit."""
    task = ShuffleDyck()
    exact, sampled = task.floor_by_position_nats, task._sampled_floor(2000)
    assert sampled[0].item() == pytest.approx(exact[0].item(), abs=1e-12)
    assert sampled.mean().item() == pytest.approx(exact.mean().item(), abs=0.005)
    assert (sampled - exact).abs().max() < 0.03
    monkeypatch.setattr(module, "MOST_STATES", 10)
    monkeypatch.setattr(module, "FLOOR_TOKENS", 2000 * 32)
    assert torch.equal(ShuffleDyck().floor_by_position_nats, sampled)


def test_floor_of_sequences_is_the_oracles() -> None:
    task = ShuffleDyck(9, 3, 3)
    found = []
    for tokens in task.rows(0, 50, "floor").tolist():
        ps = [oracle.distribution(tokens[: q + 1], 3, 3) for q in range(task.seq_len)]
        found.append([-sum(x * math.log(x) for x in p if x) for p in ps])
    np.testing.assert_allclose(task._sampled_floor(50).numpy(), np.mean(found, axis=0), atol=1e-12)


def test_metric_and_targets() -> None:
    task = ShuffleDyck()
    assert task.metrics(task.floor_by_position_nats + 0.25, torch.zeros(31))["excess_nats"] == pytest.approx(0.25)
    assert [(t.name, t.metric, t.op, t.value) for t in task.targets] == [
        ("excess_50", "excess_nats", "<", 0.5), ("excess_10", "excess_nats", "<", 0.1),
        ("excess_5", "excess_nats", "<", 0.05),
    ]  # fmt: skip
    assert task.primary == "excess_10" and task.chance_loss_nats == pytest.approx(math.log(32))
    assert task.floor_loss_nats is not None and task.floor_loss_nats < task.chance_loss_nats
    assert task.keys is None and task.keys_in(task.rows(0, 1)) is None
    assert task.config == {"n_tokens": 32, "n_types": 16, "max_depth": 16}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_types": 0}, ["n_types", "1", "0"]),
        ({"max_depth": 0}, ["max_depth", "1", "0"]),
        ({"n_tokens": 16}, ["n_tokens=16", "max_depth=16"]),
        ({"data_seed": -1}, ["data_seed", "0", "-1"]),
    ],
)
def test_errors(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        ShuffleDyck(**options)
    assert all(name in str(error.value) for name in named)
