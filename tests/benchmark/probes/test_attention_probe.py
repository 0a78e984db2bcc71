"""The probe `attention`: a toy with two heads worked out by hand, and real maps against loops."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, SequenceModel
from benchmark.probes import PROBES, array, attention_pattern, look
from benchmark.probes.attention_pattern import attention_entropy, attention_mass, serving_heads
from datamodules import TASKS, LinearMap, Task
from datamodules.copy import Copying


def small(name: str, task: Task, **options: Any) -> SequenceModel:
    """A model for a task."""
    torch.manual_seed(0)
    return ARCHITECTURES[name](task.vocab_size, task.seq_len, **{"d_model": 16, **options})


def lm() -> LinearMap:
    return LinearMap(4, 2, 2, task_seed=1, data_seed=2)


class Toy(SequenceModel):
    """Two heads, the same in every sequence but for the first head's last row, which moves with the first token."""

    def __init__(self, vocab_size: int, seq_len: int) -> None:
        super().__init__(vocab_size, seq_len, d_model=4, blocks=[torch.nn.Identity()])

    def attention_maps(self, tokens_BL: Tensor) -> list[Tensor]:
        n, length = tokens_BL.shape
        map_BHLL = torch.zeros(n, 2, length, length)
        map_BHLL[:, 0].diagonal(dim1=-2, dim2=-1)[:] = 1.0  # looks at itself
        map_BHLL[:, 0, -1] = 0.0
        map_BHLL[range(n), 0, -1, tokens_BL[:, 0]] = 1.0  # key 0 or key 1, by the first token
        map_BHLL[:, 1] = torch.ones(length, length).tril() / torch.arange(1, length + 1)[:, None]  # uniform
        return [map_BHLL]


def test_the_toy_by_hand() -> None:
    """S 2, T 2: queries 1 and 2 are scored; the only row of keys is both cells of the first state."""
    task = LinearMap(2, 2, 2, task_seed=0, data_seed=0)
    assert task.keys.tolist() == [[-1, -1], [0, 1], [0, 1]]
    table = look("attention", Toy(2, 3), task).set_index("quantity")
    first = task.rows(0, 32, "eval")[:, 0].double().mean().item()
    last = -first * math.log(first) - (1 - first) * math.log(1 - first)
    assert 0 < first < 1
    np.testing.assert_allclose(array(table.loc["entropy"]), [last / 2, (math.log(2) + math.log(3)) / 2], rtol=1e-5)
    np.testing.assert_allclose(array(table.loc["sample_entropy"]), [0.0, (math.log(2) + math.log(3)) / 2], rtol=1e-5)
    nan = math.nan
    spread = np.array([[nan, 0, last], [nan, math.log(2), math.log(3)]])
    np.testing.assert_allclose(array(table.loc["query_entropy"]), spread, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(table.loc["mass"]), np.array([[nan, 1, 1], [nan, 1, 2 / 3]]), rtol=1e-6)
    np.testing.assert_allclose(
        array(table.loc["map"]),
        np.array([[[1, 0, 0], [0, 1, 0], [1 - first, first, 0]], [[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3] * 3]]),
        rtol=1e-6,
    )
    heads, mass = serving_heads(torch.tensor(array(table.loc["mass"])))
    assert heads.tolist() == [-1, 0, 0] and mass[1:].tolist() == [1, 1] and math.isnan(mass[0])
    assert array(table.loc["attention_mass"]) == 1
    expected = (last / 2 + (math.log(2) + math.log(3)) / 2) / 2
    assert array(table.loc["attention_entropy_nats"]) == pytest.approx(expected, rel=1e-5)


def test_entropy_and_mass_of_what_is_known() -> None:
    p = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4])
    np.testing.assert_allclose(attention_entropy(p), [0, math.log(2), math.log(4)], rtol=1e-6)
    map_BHLL = torch.tensor([[[[1.0, 0], [0.3, 0.7]]]])
    keys = torch.tensor([[[-1, -1], [1, -1]]], dtype=torch.int32)
    mass = attention_mass(map_BHLL, keys)
    assert mass[0, 0, 0].isnan() and mass[0, 0, 1] == pytest.approx(0.7)


def test_serving_heads_are_told_apart_by_row() -> None:
    mass = torch.tensor([[math.nan, 0.2, 0.9, 0.1], [math.nan, 0.7, 0.3, 0.0]])
    heads, best = serving_heads(mass)
    assert heads.tolist() == [-1, 1, 0, 0]
    np.testing.assert_allclose(best, [math.nan, 0.7, 0.9, 0.1], rtol=1e-6)


def by_loops(model: SequenceModel, task: Task, n: int = 32) -> dict[str, Any]:
    """The quantities of layer 1 by loops over sequences, heads, queries and keys."""
    tokens = task.rows(0, n, "eval")
    with torch.no_grad():
        maps = model.attention_maps(tokens[:, :-1])[1].double()  # type: ignore[operator]
    scored, keys = task.scored_in(tokens), task.keys_in(tokens)
    assert keys is not None
    heads, length = maps.shape[1:3]
    mass, entropy, mean = np.full((heads, length), math.nan), np.zeros(heads), maps.mean(0)
    for head in range(heads):
        for query in range(length):
            here = [i for i in range(n) if scored[i, query]]
            if here:
                sums = [sum(maps[i, head, query, key].item() for key in keys[i, query] if key >= 0) for i in here]
                mass[head, query] = np.mean(sums)
        each = [
            -sum(p * math.log(p) for p in maps[i, head, query].tolist() if p > 0)
            for i in range(n)
            for query in range(length)
            if scored[i, query]
        ]
        entropy[head] = np.mean(each)
    return {"mass": mass, "sample_entropy": entropy, "map": mean}


@pytest.mark.slow
@pytest.mark.parametrize("most", [2**24, 1])
@pytest.mark.parametrize("task", [lm(), Copying(8, 4, 2, 4, task_seed=0, data_seed=0)], ids=["lm", "copy"])
def test_real_maps_against_loops(task: Task, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only one sequence fits into memory, and where every sequence has keys of its own."""
    monkeypatch.setattr(attention_pattern, "MOST_ENTRIES", most)
    model = small("transformer", task, n_layers=2, n_heads=2)
    table = look("attention", model, task)
    table = table[table["layer"] == 1].set_index("quantity")
    for name, expected in by_loops(model, task).items():
        np.testing.assert_allclose(array(table.loc[name]), expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_layers_of_a_hybrid_are_its_blocks() -> None:
    model = small("hybrid", lm(), pattern="mlp_mixer attention(n_heads=2)", repeats=2)
    table = look("attention", model, lm())
    assert sorted(table["layer"].dropna().unique()) == [1, 3]


@pytest.mark.parametrize(("name", "options"), [("mlp_mixer", {}), ("hybrid", {"pattern": "mlp_mixer"})])
def test_a_model_without_attention_is_refused(name: str, options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"--probes attention: model {name}.* has no attention".replace("mlp_", ".*")):
        look("attention", small(name, lm(), **options), lm())


def test_it_is_registered() -> None:
    assert {"lm", "copy"} <= TASKS.keys() and PROBES["attention"].n_sequences == 32
