"""Tokens of many seeds at once are those of each seed alone, bit for bit, and making them waits for nothing."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from datamodules import (
    SPLITS,
    BigramChain,
    CellularAutomata,
    Copying,
    LinearMap,
    NeuralAutomata,
    ShuffleDyck,
    Split,
    Task,
    TaskEnsemble,
)

SEEDS = st.lists(st.tuples(st.integers(0, 2**63), st.integers(0, 2**63)), min_size=1, max_size=4)
META = torch.device("meta")


class Counting(Task):
    """A task of an outside package, one seed at a time: what its seeds share does not even have one shape."""

    name: ClassVar[str] = "counting"
    version: ClassVar[int] = 1
    words_per_sequence = 1
    scored = None

    def __init__(self, *, task_seed: int, data_seed: int) -> None:
        super().__init__(n_tokens=4, vocab_size=10, task_seed=task_seed, data_seed=data_seed)

    def _make_constant(self) -> Tensor:
        return torch.arange(self.task_seed + 1)

    def _generate(self, index_B: Tensor, split: Split, constant: Tensor) -> Tensor:
        return constant.sum() + self.data_stream.digits(index_B, 4, 10, split)


@st.composite
def linear_maps(draw: st.DrawFn) -> list[Task]:
    size = draw(st.integers(1, 70))
    options = (size, draw(st.integers(1, size)), draw(st.integers(2, 4)))
    return [LinearMap(*options, task_seed=task, data_seed=data) for task, data in draw(SEEDS)]


@st.composite
def automata(draw: st.DrawFn) -> list[Task]:
    size, n_states, n_rules, rule_steps, n_colors = (
        draw(st.integers(*ends)) for ends in ((3, 9), (2, 4), (0, 5), (1, 3), (2, 4))
    )
    options = (size, n_states, n_rules, rule_steps, n_colors, draw(st.sampled_from([1, 3])))
    return [CellularAutomata(*options, task_seed=task, data_seed=data) for task, data in draw(SEEDS)]


@st.composite
def copies(draw: st.DrawFn) -> list[Task]:
    n_symbols = draw(st.integers(2, 20))
    max_period = draw(st.integers(2, n_symbols))
    options = (max_period + draw(st.integers(2, 9)), n_symbols, draw(st.integers(1, max_period)), max_period)
    return [Copying(*options, task_seed=task, data_seed=data) for task, data in draw(SEEDS)]


@pytest.mark.slow
@given(
    linear_maps() | automata() | copies(), st.integers(0, 2**40), st.integers(1, 5), st.sampled_from(SPLITS), st.data()
)
def test_equal_to_each_seed_alone(
    tasks: list[Task], start: int, batch_size: int, split: Split, data: st.DataObject
) -> None:
    ensemble = TaskEnsemble(tasks)
    check_equal(ensemble, tasks, start, batch_size, split)
    kept = data.draw(st.lists(st.sampled_from(range(len(tasks))), min_size=1, unique=True))
    ensemble.keep(kept)
    check_equal(ensemble, [tasks[index] for index in kept], start, batch_size, split)


def check_equal(ensemble: TaskEnsemble, tasks: list[Task], start: int, batch_size: int, split: Split) -> None:
    alone = torch.stack([task.rows(start, start + batch_size, split) for task in tasks])
    made = ensemble.rows(start, start + batch_size, split)
    assert made.shape == (len(tasks), batch_size, tasks[0].n_tokens)
    assert made.dtype == torch.int64
    assert torch.equal(made, alone)
    assert torch.equal(ensemble.rows_at(torch.tensor(start), batch_size, split), alone)
    assert ensemble.tasks == tasks


def test_a_task_of_an_outside_package() -> None:
    tasks: list[Task] = [
        Counting(task_seed=3, data_seed=1),
        Counting(task_seed=0, data_seed=2),
        Counting(task_seed=5, data_seed=1),
    ]
    ensemble = TaskEnsemble(tasks)
    for split in SPLITS:
        check_equal(ensemble, tasks, 7, 4, split)
    ensemble.keep([2, 0])
    check_equal(ensemble, [tasks[2], tasks[0]], 7, 4, "train")


def test_products_are_exact_under_autocast() -> None:
    """Sums of about 350 ones: in bfloat16 those above 256 would round."""
    tasks: list[Task] = [LinearMap(700, 699, task_seed=seed, data_seed=seed) for seed in range(2)]
    with torch.autocast("cpu", torch.bfloat16):
        made = TaskEnsemble(tasks).rows(0, 8)
    assert torch.equal(made, torch.stack([task.rows(0, 8) for task in tasks]))


def test_one_seed_costs_nothing_more() -> None:
    """The operations of the task alone, and one view."""

    class Operations(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    for task in (LinearMap(), CellularAutomata(), Copying(), Counting(task_seed=2, data_seed=3)):
        ensemble = TaskEnsemble([task])
        ensemble.rows(0, 1)  # what the run shares is made once
        with Operations() as alone:
            task.rows(0, 4)
        with Operations() as together:
            ensemble.rows(0, 4)
        assert together.names == [*alone.names, "aten.unsqueeze.default"]


MAKERS: dict[str, Callable[..., Task]] = {
    "lm": LinearMap,
    "lm, two words": lambda **seeds: LinearMap(70, 3, 3, **seeds),
    "ca": CellularAutomata,
    "ca, fresh rules": lambda **seeds: CellularAutomata(n_rules=0, rule_steps=2, **seeds),
    "copy": Copying,
    "dyck": ShuffleDyck,
    "bigram": BigramChain,
    "nca": lambda **seeds: NeuralAutomata(11, burn_in=1, temperature=0.5, n_candidates=2, **seeds),
    "one seed at a time": Counting,
}


def ensemble_of(maker: str) -> TaskEnsemble:
    return TaskEnsemble([MAKERS[maker](task_seed=seed, data_seed=seed) for seed in range(3)])


class Devices(TorchDispatchMode):
    """Collects the devices of every tensor that goes into an operation or comes out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.device] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        # a CPU tensor without dimensions is a number, which a kernel takes along
        self.seen |= {x.device for x in tensors if x.ndim or x.device.type != "cpu"}
        return out


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("keep", [[0, 1, 2], [2, 0], [1]], ids=["", "after keep", "one left"])
def test_rows_at_neither_reads_the_device_nor_copies_to_it(maker: str, keep: list[int]) -> None:
    """Tensors of the meta device have no values: an operation that needs one to go on raises."""
    ensemble = ensemble_of(maker)
    start = torch.zeros((), dtype=torch.int64, device=META)
    ensemble.rows_at(start, 4)  # the first call brings keys and constants to the device
    ensemble.keep(keep)
    with Devices() as devices:
        made = ensemble.rows_at(start, 4)
    assert (made.shape, made.device) == ((len(ensemble.tasks), 4, ensemble.tasks[0].n_tokens), META)
    assert devices.seen == {META}
    with pytest.raises(RuntimeError, match="cannot be called on meta tensors"):
        ensemble.rows(int(start), 4)


@pytest.mark.slow
@pytest.mark.parametrize("maker", ["lm", "ca", "copy", "dyck", "bigram", "nca"])
def test_rows_at_is_one_graph(maker: str) -> None:
    """Under fullgraph, `torch.compile` refuses whatever would hand a tensor's value to Python."""
    ensemble = ensemble_of(maker)
    expected = ensemble.rows(7, 12)
    compiled = torch.compile(ensemble.rows_at, fullgraph=True, backend="eager")
    assert torch.equal(compiled(torch.tensor(7), 5), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to capture a graph")
@pytest.mark.parametrize("maker", MAKERS)
def test_rows_at_in_a_captured_graph(maker: str) -> None:
    ensemble = ensemble_of(maker)
    start = torch.tensor(3, device="cuda")
    ensemble.rows_at(start, 4)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = ensemble.rows_at(start, 4)
    for row in (3, 1000):
        start.fill_(row)
        graph.replay()
        assert torch.equal(made.cpu(), ensemble.rows(row, row + 4))


def test_errors() -> None:
    def message(call: Callable[[], object]) -> str:
        with pytest.raises(ValueError) as error:
            call()
        return str(error.value)

    ensemble = ensemble_of("lm")
    assert message(lambda: TaskEnsemble([])) == "an ensemble needs at least one task"
    assert message(lambda: TaskEnsemble([LinearMap(), LinearMap(8)])) == (
        "task 1 of the ensemble is lm {'state_size': 8, 'n_nonzero': 3, 'n_states': 2}, task 0 is lm"
        " {'state_size': 16, 'n_nonzero': 3, 'n_states': 2}: they may differ in their seeds only"
    )
    assert "task 2 of the ensemble is ca" in message(lambda: TaskEnsemble([*ensemble.tasks[:2], CellularAutomata()]))
    for kept in ([], [0, 0], [3], [-1, 0]):
        assert message(lambda kept=kept: ensemble.keep(kept)) == (  # type: ignore[misc]
            f"keep needs different indices in 0..2, at least one, got {kept}"
        )
    assert "sequence index must not be negative" in message(lambda: ensemble.rows(-1, 3))
    assert "is out of range" in message(lambda: ensemble.rows(2**61 - 1, 2**61 + 1))
    for call in (lambda: ensemble.rows(0, 4, "val"), lambda: ensemble.rows_at(torch.tensor(0), 4, "val")):  # type: ignore[arg-type]
        assert "unknown split 'val'" in message(call)
