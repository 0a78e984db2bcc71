import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from datamodules import CellularAutomata
from tests.oracles import cellular_automata as oracle


@st.composite
def tasks(draw: st.DrawFn, max_size: int = 20) -> CellularAutomata:
    window = draw(st.sampled_from([1, 3, 5]))
    return CellularAutomata(
        draw(st.integers(window, max_size)),
        draw(st.integers(2, 5)),
        draw(st.integers(0, 9)),
        draw(st.integers(1, 3)),
        draw(st.integers(2, 5)),
        window,
        task_seed=draw(st.integers(0, 2**63)),
        data_seed=draw(st.integers(0, 2**63)),
    )


@pytest.mark.slow
@given(tasks(), st.integers(0, 2**40))
def test_every_sequence_follows_a_rule(task: CellularAutomata, start: int) -> None:
    """A pool's sequence is the trajectory of one of its rules. A fresh rule is drawn with the sequence: the same
    numbers, read here from the stream, give it."""
    tokens = task.rows(start, start + 3)
    assert tokens.shape == (3, task.n_tokens)
    assert tokens.dtype == torch.int64
    n_digits = task.state_size + task.n_colors**task.window
    for i, row in enumerate(tokens.tolist()):
        if task.n_rules:
            tables = task.rules.tolist()
        else:
            draws = task.data_stream.digits(torch.tensor([start + i]), n_digits, task.n_colors)
            tables = [draws[0, task.state_size :].tolist()]
        first = row[: task.state_size]
        shape = (task.n_states, task.n_colors, task.window, task.rule_steps)
        assert all(0 <= token < task.n_colors for token in row)
        assert any(oracle.trajectory(table, first, *shape) == row for table in tables)


def test_wolfram_rule_110() -> None:
    """A table by hand: elementary rule 110 from one live cell, as in Wolfram's figure (a ring of 8, four steps)."""
    task = CellularAutomata(8, 5, n_rules=1, n_colors=2)
    task.rules = torch.tensor([[0, 1, 1, 1, 0, 1, 1, 0]])
    tokens = next(row for row in task.rows(0, 5000) if row[:8].tolist() == [0, 0, 0, 0, 0, 1, 0, 0])
    assert ["".join(map(str, state)) for state in tokens.view(5, 8).tolist()] == [
        "00000100",
        "00001100",
        "00011100",
        "00110100",
        "01111100",
    ]


def test_rules_and_choices_are_uniform() -> None:
    task = CellularAutomata(n_colors=3, n_rules=1000)
    assert task.rules.shape == (1000, 27)
    assert chisquare(torch.bincount(task.rules.flatten(), minlength=3).numpy()).pvalue > 1e-3
    by_entry = torch.nn.functional.one_hot(task.rules, 3).sum(0).flatten()
    assert chisquare(by_entry.numpy()).pvalue > 1e-3
    # constant rules show which one each sequence chose
    chooser = CellularAutomata(4, 2, n_rules=5, n_colors=5)
    chooser.rules = torch.arange(5)[:, None].expand(5, 125).contiguous()
    chosen = chooser.rows(0, 10_000)[:, -1]
    assert chisquare(torch.bincount(chosen, minlength=5).numpy()).pvalue > 1e-3


def test_fresh_rules_are_uniform_and_differ_between_sequences() -> None:
    """A constant first state of colour c shows the entry (c, c, c) in the next state."""
    tokens = CellularAutomata(3, 2, n_rules=0, n_colors=3).rows(0, 60_000)
    constant = tokens[(tokens[:, 0] == tokens[:, 1]) & (tokens[:, 0] == tokens[:, 2])]
    for color in range(3):
        entries = constant[constant[:, 0] == color, 3]
        assert len(entries) > 1500
        assert chisquare(torch.bincount(entries, minlength=3).numpy()).pvalue > 1e-3


def test_task_seed_moves_the_pool_and_data_seed_the_data() -> None:
    task, other_data, other_task = CellularAutomata(), CellularAutomata(data_seed=1), CellularAutomata(task_seed=1)
    assert torch.equal(task.rules, other_data.rules)
    assert not torch.equal(task.rules, other_task.rules)
    assert torch.equal(task.batch(0, 8)[:, :16], other_task.batch(0, 8)[:, :16])
    assert not torch.equal(task.batch(0, 8)[:, :16], other_data.batch(0, 8)[:, :16])


@pytest.mark.slow
@given(tasks(max_size=8), st.integers(0, 1000))
def test_no_other_token_than_the_keys_matters(task: CellularAutomata, index: int) -> None:
    """Change every token of the previous state that is not a key: the prediction stays, under any rule."""
    tokens = task.rows(index, index + 1)[0].tolist()
    table = torch.randint(task.n_colors, (task.n_entries,), generator=torch.Generator().manual_seed(index)).tolist()
    size = task.state_size
    for query in range(task.seq_len):
        keys = task.keys[query].tolist()
        assert bool(task.scored[query]) == (query + 1 >= size)
        if query + 1 < size:
            assert set(keys) == {-1}
            continue
        t, cell = divmod(query + 1, size)
        previous = range((t - 1) * size, t * size)
        assert len(set(keys)) == len(keys) == min(2 * task.rule_steps * (task.window // 2) + 1, size)
        assert set(keys) <= set(previous)
        state = tokens[previous.start : previous.stop]
        changed = [s if p in keys else (s + 1) % task.n_colors for p, s in zip(previous, state, strict=True)]
        shape = (task.n_colors, task.window, task.rule_steps)
        assert oracle.next_state(table, state, *shape)[cell] == oracle.next_state(table, changed, *shape)[cell]


@pytest.mark.parametrize(("rule_steps", "window"), [(1, 3), (2, 3), (1, 5), (1, 1), (3, 3)])
def test_every_key_can_matter(rule_steps: int, window: int) -> None:
    """For each key of a cell, some rule and state exist where changing it alone changes the prediction."""
    task = CellularAutomata(7, 2, 60, rule_steps, 2, window)
    states = task.rows(0, 40)[:, :7].tolist()
    for cell in (0, 3, 6):
        missing = set(task.key_cells[cell].tolist())
        for table, state in zip(task.rules.tolist(), states, strict=False):
            value = oracle.next_state(table, state, 2, window, rule_steps)[cell]
            for key in list(missing):
                changed = [1 - s if p == key else s for p, s in enumerate(state)]
                if oracle.next_state(table, changed, 2, window, rule_steps)[cell] != value:
                    missing.remove(key)
        assert not missing


def test_accuracy_second_half_by_hand() -> None:
    """S = 2, T = 3: of states 0, 1, 2 only state 2 lies in t >= 1.5, the last two predicted tokens."""
    task = CellularAutomata(2, 3, 4, window=1)
    accuracy = torch.tensor([0.0, 0.1, 0.2, 0.5, 1.0])
    assert task.metrics(torch.zeros(5), accuracy)["accuracy_second_half"] == pytest.approx(0.75)
    even = CellularAutomata(2, 4, 4, window=1)
    accuracy = torch.tensor([0.0, 0.0, 0.0, 0.2, 0.4, 0.6, 0.8])
    assert even.metrics(torch.zeros(7), accuracy)["accuracy_second_half"] == pytest.approx(0.5)


def test_targets() -> None:
    task = CellularAutomata()
    assert task.primary == "accuracy_85"
    assert [(t.name, t.metric, t.op) for t in task.targets] == [
        ("plateau", "loss_nats", "<"),
        ("accuracy_50", "accuracy_second_half", ">="),
        ("accuracy_85", "accuracy_second_half", ">="),
    ]
    # the paper's plateau ends at 1.3 for four colours
    assert [t.value for t in task.targets] == pytest.approx([1.303, 0.5, 0.85], abs=5e-4)
    assert CellularAutomata(n_colors=2).targets[0].value == pytest.approx(0.94 * math.log(2))
    harder = CellularAutomata(target_accuracy=0.96)
    assert harder.primary == "accuracy_96" and harder.targets[-1].value == 0.96


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"state_size": 0}, ["state_size", "1", "0"]),
        ({"n_states": 1}, ["n_states", "2", "1"]),
        ({"n_rules": -1}, ["n_rules", "0", "-1"]),
        ({"rule_steps": 0}, ["rule_steps", "1", "0"]),
        ({"n_colors": 1}, ["n_colors", "2", "1"]),
        ({"window": 0}, ["1", "0"]),
        ({"target_accuracy": 0.855}, ["target_accuracy", "0.855"]),
        ({"target_accuracy": 0.5}, ["target_accuracy", "between", "0.5"]),
        ({"target_accuracy": float("nan")}, ["target_accuracy", "nan"]),
        ({"window": 4}, ["4"]),
        ({"window": 17}, ["17", "state_size=16"]),
        (
            {"window": 11},
            ["n_colors=4", "11", "n_rules=256", "134217728"],
        ),
        ({"task_seed": -1}, ["task_seed", "0", "-1"]),
        ({"data_seed": -1}, ["data_seed", "0", "-1"]),
    ],
)
def test_errors(options: dict[str, int], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        CellularAutomata(**options)
    assert all(name in str(error.value) for name in named)


@pytest.mark.slow
def test_large_state() -> None:
    task = CellularAutomata(4096, 16)
    row = task.batch(0, 1)[0].tolist()
    table = next(t for t in task.rules.tolist() if oracle.next_state(t, row[:4096], 4, 3, 1) == row[4096:8192])
    assert oracle.next_state(table, row[-8192:-4096], 4, 3, 1) == row[-4096:]
