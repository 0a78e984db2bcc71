import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datamodules import (
    SPLITS,
    BigramChain,
    CellularAutomata,
    Copying,
    LinearMap,
    NeuralAutomata,
    ShuffleDyck,
    Split,
    States,
    Target,
    Task,
)

TASKS: list[Task] = [
    LinearMap(),
    LinearMap(70, 5, 3, task_seed=1, data_seed=2),
    CellularAutomata(),
    CellularAutomata(9, 4, 0, 2, 3, 5, task_seed=1, data_seed=2),
    Copying(),
    Copying(20, 70, 1, 9, task_seed=1, data_seed=2),
    ShuffleDyck(),
    ShuffleDyck(70, 5, 9, task_seed=1, data_seed=2),
    BigramChain(),
    BigramChain(33, 70, 9, task_seed=1, data_seed=2),
    NeuralAutomata(),
    NeuralAutomata(40, 4, 2, 3, 2, 1, 0.5, 2, 90, task_seed=1, data_seed=2),
]
STATES = [task for task in TASKS if isinstance(task, States)]


def digest(tokens: torch.Tensor) -> str:
    return hashlib.sha256(tokens.cpu().numpy().astype("<i8").tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("number", "train", "held_out"),
    [
        (0, "0620f2ecd5d7b5e7", "40e9784bf9426004"),
        (1, "6bf3b24631c031d1", "ddb52e9bb9e26533"),
        (2, "5d38c5a52f7143d2", "f3566e2a13f0cc4f"),
        (3, "a7f94b05540e54fe", "e54ba69bfa3e2747"),
        (4, "a292961fd1c93c13", "7682f7e175441c00"),
        (5, "58735e089a29c11a", "26e97ae4b7d2d9ac"),
        (6, "03b30a45587fe1cc", "5d9337a90b322333"),
        (7, "279daad99d47ace4", "1616e1b07165e096"),
        (8, "c793f10ab7181b08", "a8395ec66b6140f9"),
        (9, "a51a4405c40be3a7", "13a36576414bb3e8"),
        (10, "34f0fd665cb2dccc", "e679caf12e3409f1"),
        (11, "5d9f4f4882b57777", "0cffe616f666090d"),
    ],
)
def test_tokens_are_pinned(number: int, train: str, held_out: str) -> None:
    task = TASKS[number]
    assert (digest(task.batch(1, 16)), digest(task.batch(1, 16, split="eval"))) == (train, held_out), (
        f"The tokens of {task.name} {task.config} changed. Committed results no longer describe this task: change these"
        f" hashes only together with {type(task).__name__}.version (now {task.version})."
    )


@pytest.mark.slow
@given(st.sampled_from(TASKS), st.sampled_from(SPLITS), st.lists(st.integers(0, 500), min_size=1, max_size=12))
def test_any_order_gives_the_same_sequences(task: Task, split: Split, index: list[int]) -> None:
    whole = task.batch(0, 501, split=split)
    assert torch.equal(task.sequences(torch.tensor(index), split), whole[index])


@pytest.mark.slow
@given(st.sampled_from(TASKS), st.integers(1, 20), st.integers(0, 5))
def test_any_batch_size_gives_the_same_sequences(task: Task, batch_size: int, step: int) -> None:
    batch = task.batch(step, batch_size)
    assert batch.shape == (batch_size, task.n_tokens)
    assert torch.equal(batch, task.rows(0, 120)[step * batch_size : (step + 1) * batch_size])


@pytest.mark.parametrize("task", TASKS)
def test_splits_and_steps_give_different_sequences(task: Task) -> None:
    rows = torch.cat([task.rows(0, 8, split) for split in SPLITS] + [task.rows(8, 16)])
    enough = task.n_tokens * (task.vocab_size - 1) >= 32
    assert enough
    assert len(rows.unique(dim=0)) == len(rows)


@pytest.mark.process
def test_another_process_makes_the_same_tokens(repository: Path) -> None:
    """In the other order, with hash randomisation, and with more threads."""
    code = (
        "import torch; torch.set_num_threads(2)\n"
        "from tests.datamodules.test_task import TASKS, digest\n"
        "print(*reversed([digest(task.batch(3, 64, split='test')) for task in reversed(TASKS)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [digest(task.batch(3, 64, split="test")) for task in TASKS]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to compare with the CPU")
@pytest.mark.parametrize("task", TASKS)
def test_cuda_makes_the_same_tokens(task: Task) -> None:
    for split in SPLITS:
        made = task.batch(3, 64, split=split, device="cuda")
        assert made.is_cuda
        assert torch.equal(made.cpu(), task.batch(3, 64, split=split))


@pytest.mark.parametrize("task", TASKS)
def test_the_last_sequences_of_a_split_exist_and_no_more(task: Task) -> None:
    last = 2**61 // task.words_per_sequence - 1
    assert task.rows(last - 1, last + 1, "test").shape == (2, task.n_tokens)
    for ask in (lambda: task.rows(last, last + 2), lambda: task.sequences(torch.tensor([0, last + 1]))):
        with pytest.raises(ValueError, match="out of range: this task has sequences 0.."):
            ask()
    for ask in (lambda: task.batch(-1, 4), lambda: task.sequences(torch.tensor([3, -2]))):
        with pytest.raises(ValueError, match="sequence index must not be negative"):
            ask()


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown split 'val'; known splits: train, floor, eval, test"):
        LinearMap().batch(0, 1, split="val")  # type: ignore[arg-type]


def test_no_sequences_is_an_empty_batch() -> None:
    assert LinearMap().sequences(torch.arange(0)).shape == (0, 32)


@pytest.mark.parametrize("task", TASKS)
def test_scored_positions_and_keys_of_sequences(task: Task) -> None:
    """Those of every sequence where all have the same; causal, and given exactly where a position is scored."""
    tokens = task.rows(0, 6).view(2, 3, -1)
    scored, keys = task.scored_in(tokens), task.keys_in(tokens)
    assert scored.shape == (2, 3, task.seq_len)
    if keys is None:
        assert isinstance(task, ShuffleDyck)
        return
    assert keys.shape[:-1] == (2, 3, task.seq_len)
    assert torch.equal((keys >= 0).all(-1), scored)
    assert torch.equal((keys >= 0).any(-1), scored)
    assert bool((keys <= torch.arange(task.seq_len)[:, None]).all())
    assert (task.scored is None) == (task.keys is None)
    if task.scored is not None and task.keys is not None:
        assert torch.equal(scored, task.scored.expand(2, 3, -1))
        assert torch.equal(keys, task.keys.expand(2, 3, -1, -1))


@pytest.mark.parametrize("task", STATES)
def test_states_are_right_as_a_whole(task: States) -> None:
    """One wrong token spoils its state and no other; what is not predicted spoils nothing."""
    correct = torch.ones(2, 3, task.seq_len, dtype=torch.bool)
    correct[..., : task.state_size - 1] = False
    correct[1, 2, -1] = False
    exact = task.exact(correct, task.scored)
    assert exact.shape == (2, 3, task.n_states - 1)
    assert (~exact).nonzero().tolist() == [[1, 2, task.n_states - 2]]


def test_config_is_every_option_but_the_seeds() -> None:
    """Read off the constructor: a task made again from it is the same one."""
    for task in TASKS:
        again = type(task)(**task.config, task_seed=task.task_seed, data_seed=task.data_seed)
        assert again.config == task.config
        assert not {"task_seed", "data_seed"} & task.config.keys()
        assert torch.equal(again.rows(0, 4), task.rows(0, 4))
    assert LinearMap(9, 2).config == {"state_size": 9, "n_nonzero": 2, "n_states": 2}
    assert list(CellularAutomata().config.items()) == [
        ("state_size", 16), ("n_states", 16), ("n_rules", 256), ("rule_steps", 1), ("n_colors", 4), ("window", 3),
        ("target_accuracy", 0.85),
    ]  # fmt: skip


@pytest.mark.parametrize("task", STATES)
def test_the_mask_is_the_index_lists_and_causal(task: States) -> None:
    mask = task.pattern_mask()
    assert mask.shape == (task.seq_len, task.seq_len)
    assert not mask.triu(1).any()
    listed = {(q, int(k)) for q, keys in enumerate(task.keys) for k in keys if k >= 0}
    assert listed == set(map(tuple, mask.nonzero().tolist()))
    assert task.keys.dtype == torch.int32
    assert torch.equal(mask.any(1), task.scored)


def test_the_mask_refuses_to_fill_the_memory() -> None:
    task = CellularAutomata(4096, 16)
    with pytest.raises(ValueError) as error:
        task.pattern_mask()
    assert str(error.value) == (
        "pattern_mask of 65535 x 65535 would take 4.0 GiB, more than the limit of 1 GiB:"
        " use the index lists in keys, or fewer tokens in a sequence"
    )
    assert task.keys.shape == (65535, 3)


def test_target_holds() -> None:
    at_least, below = Target("a", "accuracy", ">=", 0.5), Target("b", "loss_nats", "<", 1.3)
    assert [at_least.holds({"accuracy": a}) for a in (0.49, 0.5, 0.6, float("nan"))] == [False, True, True, False]
    assert [below.holds({"loss_nats": x}) for x in (1.2, 1.3, 1.4, float("nan"))] == [True, False, False, False]
    with pytest.raises(ValueError, match="target 'a' needs metric 'accuracy'; got exact_match, loss_nats"):
        at_least.holds({"loss_nats": 1.0, "exact_match": 0.0})
