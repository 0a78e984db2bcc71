import math
from typing import Any

import pytest
import torch
from scipy.stats import chisquare

from datamodules import SPLITS, BigramChain
from tests.oracles import splitmix64


def test_tokens_follow_the_chain_word_by_word() -> None:
    task = BigramChain(9, 7, 3, task_seed=4, data_seed=5)
    assert task.successors.shape == (7, 3)
    assert all(len(set(row)) == 3 and row == sorted(row) for row in task.successors.tolist())
    for split in SPLITS:
        for row, tokens in enumerate(task.rows(20, 23, split).tolist()):
            first = SPLITS.index(split) * 2**61 + (20 + row) * task.words_per_sequence
            words = [splitmix64.word(("bigram", 1, "data", 5), first + i) for i in range(task.words_per_sequence)]
            draws = [word >> shift & 0xFFFF_FFFF for word in words for shift in (0, 32)]
            expected = [draws[0] * 7 >> 32]
            for draw in draws[1:9]:
                expected.append(int(task.successors[expected[-1], draw * 3 >> 32]))
            assert tokens == expected


def test_all_sequences_and_splits_share_the_chain_and_other_seeds_have_another() -> None:
    task, other = BigramChain(data_seed=1), BigramChain(task_seed=1)
    assert torch.equal(task.successors, BigramChain().successors)
    assert not torch.equal(task.successors, other.successors)


def test_successors_are_equally_likely_and_the_floor_is_their_entropy() -> None:
    task = BigramChain(6, 4, 2)
    rows = task.rows(0, 4000)
    for symbol in range(4):
        after = rows[:, 1:][rows[:, :-1] == symbol]
        counts = torch.bincount(after, minlength=4)
        assert set(counts.nonzero().flatten().tolist()) == set(task.successors[symbol].tolist())
        assert chisquare(counts[counts > 0].numpy()).pvalue > 1e-4
    assert task.floor_by_position_nats.tolist() == pytest.approx([math.log(2)] * 5)
    assert task.metrics(torch.full((5,), math.log(4)), torch.zeros(5))["excess_nats"] == pytest.approx(math.log(2))
    assert task.keys[:, 0].tolist() == [0, 1, 2, 3, 4] and task.scored.all()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_successors": 33}, ["n_successors=33", "n_symbols=32"]),
        ({"n_successors": 0}, ["n_successors", "1", "0"]),
        ({"n_symbols": 0, "n_successors": 0}, ["n_symbols", "1", "0"]),
        ({"n_tokens": 1}, ["n_tokens", "2", "1"]),
    ],
)
def test_errors(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        BigramChain(**options)
    assert all(name in str(error.value) for name in named)
