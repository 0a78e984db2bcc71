"""The captured step of many seeds, as far as it can be examined without a GPU.

What is captured and when, that replaying it trains as the plain step does, that nothing in it waits for the host.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.optim import AdamW

from architectures import Transformer
from benchmark.config.protocol import OptimizerConfig
from benchmark.training.ensemble import Ensemble
from benchmark.training.step import WARM_UP_STEPS, Step
from datamodules import LinearMap, TaskEnsemble
from tests.oracles.optimizer import adamw

N_SEEDS, BATCH = 3, 4
CONFIG = OptimizerConfig(lr=0.01, warmup_steps=4, weight_decay=0.1, schedule="cosine")


def new_step() -> Step:
    models = []
    for seed in range(N_SEEDS):
        torch.manual_seed(seed)
        models.append(Transformer(2, 11, d_model=8, n_heads=2))
    tasks = TaskEnsemble([LinearMap(6, 2, 2, task_seed=seed, data_seed=seed) for seed in range(N_SEEDS)])
    return Step(Ensemble(models), partial(rows, tasks), BATCH, CONFIG, 20, use_cuda_graph=True)


def rows(tasks: TaskEnsemble, start: Tensor) -> Tensor:
    """The sequences of every seed from one on; for `tasks` as they are when a seed has ended."""
    return tasks.rows_at(start, BATCH)


def train(step: Step, first: int, last: int) -> list[Tensor]:
    """Losses (E,) of the steps first..last-1."""
    losses = []
    for number in range(first, last):
        step.prepare(number)
        step.optimizer.step(None if step.optimizer.captured else step.gradients)
        losses.append(step.loss_E.clone())
    return losses


class StandIn:
    """In the place of a CUDA graph: what was captured is run by `replay`, and not when it is captured."""

    captures = 0

    def __init__(self, step: Step) -> None:
        self.step = step

    @contextmanager
    def capture(self, *args: Any) -> Iterator[None]:
        StandIn.captures += 1
        held = [*self.step.parameters, self.step.loss_E]
        held += [value for state in self.step.optimizer.state.values() for value in state.values()]
        before = [tensor.detach().clone() for tensor in held]
        yield
        with torch.no_grad():
            for tensor, value in zip(held, before, strict=True):
                tensor.copy_(value)

    def replay(self) -> None:
        with torch.enable_grad():
            self.step.gradients()
        AdamW.step(self.step.optimizer)


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> Step:
    step = new_step()
    assert not step.use_cuda_graph, "nothing is captured on a CPU"
    graph = StandIn(step)
    StandIn.captures = 0
    monkeypatch.setattr("torch.cuda.CUDAGraph", lambda: graph)
    monkeypatch.setattr("torch.cuda.graph", graph.capture)
    monkeypatch.setattr("torch.cuda.synchronize", lambda device: None)
    step.use_cuda_graph = True
    return step


@pytest.mark.train
def test_replayed_steps_train_as_plain_ones(captured: Step) -> None:
    plain = new_step()
    expected, losses = train(plain, 0, 12), train(captured, 0, 12)
    assert StandIn.captures == 1 and captured.optimizer.captured is not None and captured.capture_s > 0
    for ours, theirs in zip(losses, expected, strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(captured.parameters, plain.parameters, strict=True):
        assert torch.equal(ours, theirs)


def test_the_first_steps_are_plain(captured: Step) -> None:
    train(captured, 0, WARM_UP_STEPS)
    assert StandIn.captures == 0
    train(captured, WARM_UP_STEPS, WARM_UP_STEPS + 1)
    assert StandIn.captures == 1


@pytest.mark.train
def test_captured_anew_when_a_seed_ends(captured: Step) -> None:
    plain = new_step()
    for step in (plain, captured):
        train(step, 0, 6)
        step.keep([0, 2])
        step.tokens.args[0].keep([0, 2])  # type: ignore[attr-defined]
    expected, losses = train(plain, 6, 12), train(captured, 6, 12)
    assert StandIn.captures == 2
    assert losses[-1].shape == (2,)
    for ours, theirs in zip(losses, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.train
def test_what_cannot_be_captured_is_trained_step_by_step(captured: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def refuse(*args: Any) -> Iterator[None]:
        if args:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        yield

    monkeypatch.setattr("torch.cuda.graph", refuse)
    with pytest.warns(match="kernel by kernel: RuntimeError: operation not permitted when stream is capturing"):
        losses = train(captured, 0, 8)
    assert captured.optimizer.captured is None
    for ours, theirs in zip(losses, train(new_step(), 0, 8), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.train
def test_losses_are_those_of_each_seed_alone() -> None:
    """Warm-up, schedule, decay and clipping included: against PyTorch's own, one seed after another."""
    losses = torch.stack(train(new_step(), 0, 10))
    for seed in range(N_SEEDS):
        torch.manual_seed(seed)
        model = Transformer(2, 11, d_model=8, n_heads=2)
        task = LinearMap(6, 2, 2, task_seed=seed, data_seed=seed)
        optimizer, schedule = adamw(CONFIG, model, 20)
        for number in range(10):
            tokens = task.batch(number, BATCH)
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CONFIG.clip_norm)
            optimizer.step()
            schedule.step()
            torch.testing.assert_close(losses[number, seed], loss.detach(), rtol=2e-5, atol=0)


@pytest.mark.slow
def test_nothing_in_a_step_waits_for_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward, backward, clipping and AdamW on tensors without data, which stand in for a GPU's: reading one raises."""
    ensemble = new_step().model
    monkeypatch.setattr(Step, "_on_cuda", True)
    with FakeTensorMode() as fake:
        ensemble = copy.deepcopy(ensemble, {id(x): fake.from_tensor(x) for x in ensemble.parameters()})

        def tokens(start: Tensor) -> Tensor:
            return torch.zeros(N_SEEDS, BATCH, 12, dtype=torch.int64)

        step = Step(ensemble, tokens, BATCH, CONFIG, 20, use_cuda_graph=True)
        step.use_cuda_graph = False  # there is no graph to capture into
        assert all(isinstance(group["lr"], Tensor) for group in step.optimizer.param_groups)
        train(step, 0, 3)
        with pytest.raises(DataDependentOutputException):
            step.loss_E.sum().item()
