import math
from typing import Any

import pytest
import torch
from scipy.stats import chisquare

from datamodules import SPLITS, NeuralAutomata, Split
from datamodules.automata.neural_automata import LOGIT_STD, N_HIDDEN
from tests.oracles import neural_automata as oracle
from tests.oracles import splitmix64

SIZES: list[dict[str, Any]] = [
    {},
    {"n_tokens": 20, "height": 2, "width": 4, "n_colors": 5, "burn_in": 0},
    {"n_tokens": 9, "height": 4, "width": 4, "n_colors": 2, "patch": 2, "burn_in": 1},
    {"n_tokens": 7, "height": 1, "width": 3, "n_colors": 3, "burn_in": 2, "temperature": 0.5},
]


def words_of(task: NeuralAutomata, split: Split, index: int) -> list[int]:
    first = SPLITS.index(split) * 2**61 + index * task.words_per_sequence
    return [splitmix64.word(("nca", 1, "data", task.data_seed), first + i) for i in range(task.words_per_sequence)]


def by_hand(task: NeuralAutomata, words: list[int]) -> list[int]:
    return oracle.candidate(
        words, task.n_tokens, task.height, task.width, task.n_colors, task.patch, task.burn_in,
        task.temperature * LOGIT_STD,
    )  # fmt: skip


@pytest.mark.parametrize("options", SIZES)
def test_tokens_are_the_oracles(options: dict[str, Any]) -> None:
    task = NeuralAutomata(**options, data_seed=3)
    for split in SPLITS:
        rows = task.rows(5, 8, split)
        assert (rows.shape, rows.dtype) == ((3, task.n_tokens), torch.int64)
        for row, tokens in enumerate(rows.tolist()):
            assert tokens == by_hand(task, words_of(task, split, 5 + row))


def test_a_frozen_candidate_makes_room_for_the_next() -> None:
    options: dict[str, Any] = {"n_tokens": 10, "height": 1, "width": 3, "n_colors": 2, "data_seed": 1}
    task, plain = NeuralAutomata(**options, n_candidates=3), NeuralAutomata(**options)
    rows, n_words = task.rows(0, 200), plain.words_per_sequence
    assert task.words_per_sequence == 3 * n_words
    taken = []
    for index, tokens in enumerate(rows.tolist()):
        words = words_of(task, "train", index)
        candidates = [by_hand(plain, words[c * n_words : (c + 1) * n_words]) for c in range(3)]
        moving = [c for c, made in enumerate(candidates) if made[3:] != made[:-3]]
        taken.append(moving[0] if moving else 2)
        assert tokens == candidates[taken[-1]]
    assert set(taken) == {0, 1, 2}
    assert task.frozen_share < plain.frozen_share


def test_shares_are_what_a_count_gives() -> None:
    task = NeuralAutomata(n_tokens=10, height=1, width=3, n_colors=2)
    rows = task.rows(0, 4096, "floor").tolist()
    frozen = sum(all(tokens[i] == tokens[i - 3] for i in range(3, 10)) for tokens in rows)
    unchanged = sum(tokens[i] == tokens[i - 3] for tokens in rows for i in range(3, 10))
    assert 0 < task.frozen_share == pytest.approx(frozen / 4096)
    assert task.unchanged_share == pytest.approx(unchanged / 4096 / 7) and task.unchanged_share > task.frozen_share


def test_a_logit_has_the_deviation_that_temperatures_are_in() -> None:
    generator = torch.Generator().manual_seed(0)

    def weights(*shape: int) -> torch.Tensor:
        return torch.randint(-(2**15), 2**15, shape, generator=generator).double()

    hidden = weights(20_000, N_HIDDEN, 10).sum(-1).relu()
    assert (hidden * weights(20_000, N_HIDDEN)).sum(-1).std().item() == pytest.approx(LOGIT_STD, rel=0.03)


def test_hot_rules_draw_from_the_softmax() -> None:
    """One rule many times over: the colours after one step, against the softmax of the logits at the temperature."""
    task = NeuralAutomata(2, 1, 1, n_colors=3, burn_in=0, temperature=0.7)
    n_state, n_rule, n_noise = task._words
    words = task.data_stream.sequence_words(torch.arange(30_000), task.words_per_sequence, "train")
    words[:, : n_state + n_rule] = words[:1, : n_state + n_rule]
    tokens = task._candidate(words, task._constant(torch.device("cpu")))
    assert tokens[:, 0].unique().numel() == 1
    one = [int(word) % 2**64 for word in words[0, : n_state + n_rule]]
    weights = [number - 2**15 for number in oracle.quarters(one[n_state:])]
    hidden = [
        max(0, weights[27 * N_HIDDEN + u] + sum(weights[(3 * i + tokens[0, 0]) * N_HIDDEN + u] for i in range(9)))
        for u in range(N_HIDDEN)
    ]
    logits = [sum(h * weights[28 * N_HIDDEN + u * 3 + c] for u, h in enumerate(hidden)) for c in range(3)]
    p = torch.tensor([float(x) for x in logits]).double().div(0.7 * LOGIT_STD).softmax(-1)
    assert p.max() < 0.95
    observed = torch.bincount(tokens[:, 1], minlength=3)
    assert chisquare(observed.numpy(), (30_000 * p).numpy()).pvalue > 1e-4


@pytest.mark.parametrize("options", SIZES)
def test_keys_are_what_a_change_of_reaches(options: dict[str, Any]) -> None:
    """The tokens of the frame before whose cells lie in the 3 x 3 around one of the next token's."""
    task = NeuralAutomata(**options)
    height, width, patch = task.height, task.width, task.patch
    assert task.scored.tolist() == [q + 1 >= task.frame_size for q in range(task.seq_len)]
    for query, keys in enumerate(task.keys.tolist()):
        frame, token = divmod(query + 1, task.frame_size)
        if frame == 0:
            assert set(keys) == {-1}
            continue
        needed = set()
        row, column = divmod(token, width // patch)
        for i in range(row * patch - 1, (row + 1) * patch + 1):
            for j in range(column * patch - 1, (column + 1) * patch + 1):
                needed.add(i % height // patch * (width // patch) + j % width // patch)
        assert keys == sorted((frame - 1) * task.frame_size + key for key in needed)


def test_vocabulary_and_targets() -> None:
    assert NeuralAutomata().vocab_size == 8 and NeuralAutomata(n_symbols=32).vocab_size == 32
    assert NeuralAutomata(9, 4, 4, 3, 2).vocab_size == 81
    assert torch.equal(NeuralAutomata(n_symbols=32).rows(0, 3), NeuralAutomata().rows(0, 3))
    assert NeuralAutomata().floor_loss_nats is None
    assert NeuralAutomata().chance_loss_nats == pytest.approx(math.log(8))
    assert NeuralAutomata.primary == "accuracy_75" and [t.value for t in NeuralAutomata.targets] == [0.5, 0.75, 0.9]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_tokens": 9}, ["n_tokens=9", "9 tokens of a frame"]),
        ({"patch": 2}, ["patch=2", "height=3"]),
        ({"height": 4, "width": 6, "patch": 4}, ["patch=4", "width=6"]),
        ({"n_colors": 1}, ["n_colors", "2", "1"]),
        ({"n_colors": 257}, ["n_colors", "256", "257"]),
        ({"height": 6, "width": 6, "patch": 3}, ["8^9", "65,536"]),
        ({"temperature": -0.1}, ["temperature", "-0.1"]),
        ({"temperature": math.nan}, ["temperature", "nan"]),
        ({"n_symbols": 7}, ["n_symbols", "8", "7"]),
        ({"burn_in": -1}, ["burn_in", "0", "-1"]),
        ({"n_candidates": 0}, ["n_candidates", "1", "0"]),
        ({"height": 0}, ["height", "1", "0"]),
    ],
)
def test_errors(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        NeuralAutomata(**options)
    assert all(name in str(error.value) for name in named)
