"""The data module that a registered task gets: options, help, name; and a task that needs one file."""

import gc
import importlib
import inspect
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentError, ArgumentParser

from datamodules import TASKS, CellularAutomata, LinearMap, Task, TaskEnsemble, linear_map, register_task
from datamodules.data_module import TaskDataModule

LM: Any = TASKS["lm"]

TOY = '''
from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from datamodules import Split, Task, register_task


@register_task("toy")
class Parrot(Task):
    """Toy: a token and its echo.

    Args:
        n_values: values of a token.
        order: which of the two comes first,
            for example "same".
        noise: nothing at all.
    """

    version = 1
    targets = ()
    primary = ""
    words_per_sequence = 1
    scored = torch.tensor([True])

    def __init__(
        self, n_values: int = 4, *, order: Literal["same", "next"] = "same", noise: float = 0.0, task_seed: int = 0,
        data_seed: int = 0,
    ) -> None:
        super().__init__(n_tokens=2, vocab_size=n_values, task_seed=task_seed, data_seed=data_seed)
        self.n_values, self.order, self.noise = n_values, order, noise

    def _generate(self, index_B: Tensor, split: Split, constant: Tensor) -> Tensor:
        first = self.data_stream.digits(index_B, 1, self.n_values, split)
        return torch.cat([first, (first + (self.order == "next")) % self.n_values], dim=-1)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The task of a stranger's file, gone again afterwards."""
    (tmp_path / "toy_task.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("toy_task")
    del TASKS["toy"], sys.modules["toy_task"]
    gc.collect()  # jsonargparse would still find it among the subclasses


def test_names() -> None:
    assert LM.task_class is LinearMap
    assert linear_map.lm is LM  # type: ignore[attr-defined]
    assert (LinearMap.name, LM.__name__, LM.__qualname__, LM.__module__) == ("lm", "lm", "lm", "datamodules.linear_map")
    for name, cls in TASKS.items():
        assert issubclass(cls, TaskDataModule)
        assert (cls.__name__, cls.task_class.name) == (name, name)
        assert cls.model_defaults is cls.task_class.model_defaults
    assert {name: cls.model_defaults for name, cls in TASKS.items() if name in {"lm", "ca"}} == {
        "lm": {"n_layers": 1},
        "ca": {"n_layers": 4},
    }


def test_the_signature_is_the_tasks_then_the_batchs_then_the_seeds() -> None:
    assert str(inspect.signature(LM)) == (
        "(state_size: int = 16, n_nonzero: int = 3, n_states: int = 2, *, tokens_per_step: int = 8192,"
        " batch_size: int | None = None, eval_sequences: int | None = None, task_seed: int = 0, data_seed: int = 0)"
        " -> None"
    )
    data = LM(8, 2, batch_size=3, task_seed=4, data_seed=5)
    assert (data.task.config, data.batch_size) == ({"state_size": 8, "n_nonzero": 2, "n_states": 2}, 3)
    assert (data.task.task_seed, data.task.data_seed) == (4, 5)
    with pytest.raises(TypeError, match="state_sise"):
        LM(state_sise=8)


def test_the_docstring_has_each_option_once() -> None:
    assert LM.__doc__ == (
        "Linear map: x_{t+1} = A x_t mod 2 with a fixed sparse random matrix A.\n\nArgs:\n"
        "    state_size: bits in a state (S).\n"
        "    n_nonzero: ones in each row of the matrix (s), at most S.\n"
        "    n_states: states in a sequence (T), at least 2.\n"
        "    tokens_per_step: tokens in a training step; the batch is as many whole sequences as fit.\n"
        "    batch_size: sequences in a training step; overrides tokens_per_step.\n"
        "    eval_sequences: sequences in the held-out set; by default as many as make 16,384 tokens, at least 8.\n"
        "    task_seed: draws the matrix.\n"
        "    data_seed: draws the first states."
    )


@pytest.mark.parametrize("name", TASKS)
def test_a_data_module_can_be_pickled(name: str) -> None:
    cls: Any = TASKS[name]
    data = pickle.loads(pickle.dumps(cls(batch_size=3)))
    assert type(data) is cls
    assert torch.equal(data.task.batch(0, 3), cls().task.batch(0, 3))


@pytest.mark.parametrize("path", ["lm", "datamodules.linear_map.lm"])
def test_name_and_import_path_are_understood(path: str) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(TaskDataModule, "data")
    given = {"data": {"class_path": path, "init_args": {"state_size": 8}}}
    data = parser.instantiate(parser.parse_object(given)).data
    assert type(data) is LM
    assert data.task.state_size == 8


@pytest.mark.slow
def test_a_task_of_one_file(toy: Any) -> None:
    """A plain stream of tokens needs no more than `TOY`, and has every default."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(TaskDataModule, "data")
    words = ["--data=toy", "--data.order=next", "--data.noise=1e-3", "--data.batch_size=5", "--data.data_seed=7"]
    data = parser.instantiate(parser.parse_args(words)).data
    assert (type(data), data.batch_size, data.vocab_size, data.seq_len) == (toy.toy, 5, 4, 1)
    assert data.task.config == {"n_values": 4, "order": "next", "noise": 1e-3}
    with pytest.raises(ArgumentError, match="order"):
        parser.parse_args(["--data=toy", "--data.order=other"])
    lines = inspect.getdoc(toy.toy).splitlines()  # type: ignore[union-attr]
    assert lines[0] == "Toy: a token and its echo."
    assert '    order: which of the two comes first, for example "same".' in lines
    assert "    data_seed: draws the sequences." in lines  # what `Task` says of it

    task: Task = data.task
    tokens = task.batch(0, 5)
    assert torch.equal(tokens[:, 1], (tokens[:, 0] + 1) % 4)
    assert (task.keys, task.keys_in(tokens), task.floor_loss_nats) == (None, None, None)
    assert task.metrics(torch.zeros(1), torch.ones(1)) == {}
    assert task.scored_in(tokens).tolist() == [[True]] * 5
    correct = torch.tensor([[True], [False]])
    assert torch.equal(task.exact(correct, task.scored_in(tokens[:2])), correct)
    seeds = [toy.Parrot(data_seed=seed) for seed in range(2)]
    assert torch.equal(TaskEnsemble(seeds).rows(0, 3), torch.stack([seed.rows(0, 3) for seed in seeds]))
    assert type(pickle.loads(pickle.dumps(data))) is toy.toy


def refused(name: str, cls: Any, error: type[Exception]) -> str:
    with pytest.raises(error) as raised:
        register_task(name)(cls)
    return str(raised.value)


def test_what_cannot_be_registered() -> None:
    class Half(Task):
        words_per_sequence = 1

    class Another(LinearMap):
        pass

    known = dict(TASKS)
    assert refused("lm", Another, ValueError) == (
        f"task 'lm' is defined twice: in datamodules.linear_map and in {__name__}"
    )
    assert refused("Another", Another, ValueError) == (
        "task 'Another': its data module takes this name, so the class needs another one"
    )
    assert refused("half", Half, TypeError) == "@register_task('half') decorates Half, which lacks _generate, scored"
    for thing in (CellularAutomata(), TASKS["ca"], len):
        assert "which is not a subclass of Task" in refused("thing", thing, TypeError)
    assert known == TASKS and LinearMap.name == "lm"
