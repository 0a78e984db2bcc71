"""Many seeds in one module: each is the run that it is alone, in both ways to run them."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from architectures import ARCHITECTURES, SequenceModel
from benchmark.config.protocol import OptimizerConfig
from benchmark.metrics.held_out import next_token_loss
from benchmark.training.ensemble import Ensemble, clip_per_seed_, loss_of_each_seed
from datamodules.linear_map import LinearMap
from tests.oracles.optimizer import adamw

N_SEEDS, N_STEPS, BATCH = 3, 50, 4
SIZES = {"d_model": 16, "n_layers": 1, "n_heads": 2, "head_dim": 8, "d_state": 8}
TASK_OF_SEED = [LinearMap(state_size=8, n_nonzero=2, task_seed=seed, data_seed=seed) for seed in range(N_SEEDS)]
TASK = TASK_OF_SEED[0]
OPTIMIZER = OptimizerConfig(warmup_steps=20, clip_norm=0.1)
"""So that nearly every gradient of these small models is clipped."""

TOLERANCE = 1e-5
"""Largest relative difference of a loss within 50 steps; see `test_each_seed_is_the_run_that_it_is_alone`."""


def backends(cls: type[SequenceModel]) -> list[dict[str, str]]:
    return [{}, {"backend": "torch"}] if "backend" in inspect.signature(cls).parameters else [{}]


CASES = [
    pytest.param(cls, options, id="-".join([name, *options.values()]))
    for name, cls in ARCHITECTURES.items()
    for options in backends(cls)
]
PLAIN = [pytest.param(cls, backends(cls)[-1], id=name) for name, cls in ARCHITECTURES.items()]
every_architecture = pytest.mark.parametrize(("cls", "options"), CASES)
every_plain_architecture = pytest.mark.parametrize(("cls", "options"), PLAIN)


def build(cls: type[Any], seed: int, **options: Any) -> SequenceModel:
    known = inspect.signature(cls).parameters
    sizes = {name: size for name, size in SIZES.items() if name in known}
    if cls is ARCHITECTURES["rwkv"]:
        sizes["n_layers"] = 2  # the first hands its values to the others
    torch.manual_seed(seed)
    return cls(TASK.vocab_size, TASK.seq_len, **sizes, **options)


def build_all(cls: type[Any], **options: Any) -> list[SequenceModel]:
    return [build(cls, seed, **options) for seed in range(N_SEEDS)]


def batch(seed: int, step: int) -> Tensor:
    return TASK_OF_SEED[seed].rows(step * BATCH, (step + 1) * BATCH)


def batches(seeds: Sequence[int], step: int) -> Tensor:
    return torch.stack([batch(seed, step) for seed in seeds])


def train_alone(model: SequenceModel, seed: int, n_steps: int = N_STEPS) -> Tensor:
    """As `EmergenceModule` trains; the losses, (N,)."""
    optimizer, schedule = adamw(OPTIMIZER, model, n_steps)
    losses = []
    for step in range(n_steps):
        tokens = batch(seed, step)
        optimizer.zero_grad()
        loss = next_token_loss(model(tokens[:, :-1]), tokens)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.clip_norm)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    return torch.stack(losses)


class Training:
    """Trains an ensemble step by step."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble, self.seeds, self.step = ensemble, list(range(ensemble.n_seeds)), 0
        self.optimizer, self.schedule = adamw(OPTIMIZER, ensemble, N_STEPS)

    def run(self, n_steps: int) -> Tensor:
        """The losses, (N, E)."""
        losses = []
        for _ in range(n_steps):
            tokens = batches(self.seeds, self.step)
            self.optimizer.zero_grad()
            loss_E = loss_of_each_seed(self.ensemble(tokens[..., :-1]), tokens)
            loss_E.sum().backward()
            clip_per_seed_(self.ensemble.parameters(), self.ensemble.n_seeds, OPTIMIZER.clip_norm)
            self.optimizer.step()
            self.schedule.step()
            losses.append(loss_E.detach())
            self.step += 1
        return torch.stack(losses)

    def keep(self, indices: list[int]) -> None:
        self.ensemble.keep(indices)
        self.seeds = [self.seeds[i] for i in indices]
        for state in self.optimizer.state.values():
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = state[name][indices]


def worst(actual: Tensor, expected: Tensor) -> float:
    return ((actual - expected).abs() / expected.abs()).max().item()


@pytest.mark.train
@every_architecture
def test_each_seed_is_the_run_that_it_is_alone(cls: type[SequenceModel], options: dict[str, str]) -> None:
    """Also the ones that go on when another is dropped half way.

    Sums run in another order, so losses differ by float32's rounding, 1e-7, which training amplifies: by 50 steps the
    largest difference seen was 3e-7 of a loss. The losses of two seeds differ by 3e-2.
    """
    models, half = build_all(cls, **options), N_STEPS // 2
    ensemble = Ensemble(models)
    assert (ensemble.mapped, ensemble.reason) == (True, None)
    for e, model in enumerate(models):
        for name, stacked in ensemble.template.state_dict().items():
            assert torch.equal(stacked[e], model.state_dict()[name])
    training = Training(ensemble)
    first_half = training.run(half)
    training.keep([0, 2])
    second_half = training.run(N_STEPS - half)
    for e, seed in enumerate([0, 2]):
        together = torch.cat([first_half[:, seed], second_half[:, e]])
        assert worst(together, train_alone(models[seed], seed)) < TOLERANCE
    assert worst(first_half[:, 1], train_alone(models[1], 1, half)) < TOLERANCE


@pytest.mark.train
@every_plain_architecture
def test_one_after_another_is_the_same(cls: type[SequenceModel], options: dict[str, str]) -> None:
    """The two ways to run an ensemble, over a few steps."""
    losses = []
    for mapped in (True, False):
        ensemble = Ensemble(build_all(cls, **options))
        ensemble.mapped = mapped
        losses.append(Training(ensemble).run(4))
    assert worst(*losses) < TOLERANCE


@pytest.mark.slow
@every_plain_architecture
def test_a_seed_that_diverges_leaves_the_others_alone(cls: type[SequenceModel], options: dict[str, str]) -> None:
    healthy, sick = (Ensemble(build_all(cls, **options)) for _ in range(2))
    with torch.no_grad():
        for parameter in sick.parameters():
            parameter[1] = float("nan")
    tokens = batches(range(N_SEEDS), 0)
    for ensemble in (healthy, sick):
        loss_E = loss_of_each_seed(ensemble(tokens[..., :-1]), tokens)
        loss_E.sum().backward()
        clip_per_seed_(ensemble.parameters(), ensemble.n_seeds, 0.1)
    assert loss_E.isfinite().tolist() == [True, False, True]
    for (name, one), other in zip(healthy.named_parameters(), sick.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad[[0, 2]], other.grad[[0, 2]], msg=name)


@pytest.mark.slow
@every_plain_architecture
def test_a_step_never_waits_for_the_device(
    cls: type[SequenceModel], options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors without data stand in for a device's: nothing can be read from them, and no shape depend on them."""
    ensemble, tokens = Ensemble(build_all(cls, **options)), batches(range(N_SEEDS), 0)
    assert ensemble.mapped
    monkeypatch.delattr(torch, "get_rng_state")  # a checkpoint that keeps it would read the device's too
    with FakeTensorMode() as fake:
        tensors = [*ensemble.parameters(), *ensemble.buffers()]
        ensemble = copy.deepcopy(ensemble, {id(x): fake.from_tensor(x) for x in tensors})
        tokens = fake.from_tensor(tokens)
        loss_E = loss_of_each_seed(ensemble(tokens[..., :-1]), tokens)
        loss_E.sum().backward()
        norms_E = clip_per_seed_(ensemble.parameters(), ensemble.n_seeds, 1.0)
        assert loss_E.shape == norms_E.shape == (N_SEEDS,)
        with pytest.raises(DataDependentOutputException):
            loss_E[0].item()
