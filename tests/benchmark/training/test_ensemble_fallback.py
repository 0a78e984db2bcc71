"""Ensembles of architectures that are hard to map over seeds, and what an ensemble does besides running.

Shape letters: E seeds, B sequences, L positions, V token values.
"""

import copy

import pytest
import torch
from torch import Tensor, nn

from benchmark.metrics.held_out import next_token_loss
from benchmark.training.ensemble import Ensemble, clip_per_seed_, loss_of_each_seed
from tests.helpers.toy_architectures import (
    B,
    Branches,
    CheckpointsItself,
    CountsByAssignment,
    CountsInPlace,
    DropsAttention,
    DropsOut,
    ForgetsItsGradient,
    KeepsActivations,
    L,
    LibraryAttention,
    MixesSeeds,
    OwnGradient,
    ReadsANumber,
    RunningNorm,
    SharesItsTable,
    Toy,
    V,
)

E = 3

MAPPED: dict[type[Toy], bool] = {
    Toy: True,
    CountsInPlace: True,
    CountsByAssignment: True,
    RunningNorm: True,
    LibraryAttention: True,
    SharesItsTable: True,
    KeepsActivations: True,
    Branches: False,
    ReadsANumber: False,
    OwnGradient: False,
    MixesSeeds: False,
    ForgetsItsGradient: False,
    CheckpointsItself: False,
}


def build_all(cls: type[Toy]) -> list[Toy]:
    models = []
    for seed in range(E):
        torch.manual_seed(seed)
        models.append(cls())
    return models


@pytest.mark.parametrize("cls", MAPPED)
def test_each_seed_is_as_alone(cls: type[Toy]) -> None:
    """Logits and gradients, and the buffers after several calls."""
    models = build_all(cls)
    ensemble = Ensemble(models)
    assert ensemble.mapped == MAPPED[cls]
    assert (ensemble.reason is None) == MAPPED[cls]
    for step in range(3):
        torch.manual_seed(step)
        tokens = torch.randint(V, (E, B, L))
        alone = torch.stack([model(own) for model, own in zip(models, tokens, strict=True)])
        logits = ensemble(tokens)
        torch.testing.assert_close(logits, alone)
        for outputs in (logits, alone):
            outputs.square().sum().backward()
    for name, stacked in ensemble.template.named_parameters():
        assert stacked.grad is not None
        torch.testing.assert_close(stacked.grad, torch.stack([_gradient(model, name) for model in models]))
    for name, buffer in ensemble.template.named_buffers():
        torch.testing.assert_close(buffer, torch.stack([model.get_buffer(name) for model in models]))


def _gradient(model: nn.Module, name: str) -> Tensor:
    gradient = model.get_parameter(name).grad
    assert gradient is not None
    return gradient


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (Branches, "RuntimeError: vmap: It looks like you're attempting to use a Tensor in some data-dependent"),
        (MixesSeeds, "the logits of seed 0 are not those that it has alone"),
        (ForgetsItsGradient, "the gradient of positions of seed 0 is not the one that it has alone"),
    ],
)
def test_reason_is_one_line(cls: type[Toy], reason: str) -> None:
    said = Ensemble(build_all(cls)).reason
    assert said is not None
    assert said.startswith(reason)
    assert "\n" not in said


@pytest.mark.parametrize("cls", [DropsOut, DropsAttention])
def test_random_numbers(cls: type[Toy]) -> None:
    """Fall back, since a map draws other numbers than a seed alone; without randomness they are the same."""
    models = build_all(cls)
    ensemble = Ensemble(models)
    assert not ensemble.mapped
    tokens = torch.randint(V, (E, B, L))
    assert not torch.equal(ensemble(tokens), ensemble(tokens))
    ensemble.eval()
    alone = [model.eval()(own) for model, own in zip(models, tokens, strict=True)]
    torch.testing.assert_close(ensemble(tokens), torch.stack(alone))


@pytest.mark.parametrize("cls", [DropsOut, DropsAttention, CountsInPlace, RunningNorm])
def test_the_trial_leaves_no_trace(cls: type[Toy]) -> None:
    models = build_all(cls)
    before = copy.deepcopy([model.state_dict() for model in models])
    torch.manual_seed(7)
    expected = torch.get_rng_state()
    ensemble = Ensemble(models)
    assert torch.equal(torch.get_rng_state(), expected)
    for e, (model, state) in enumerate(zip(models, before, strict=True)):
        for name, x in model.state_dict().items():
            assert torch.equal(x, state[name])
            assert torch.equal(ensemble.template.state_dict()[name][e], x)
    assert all(p.grad is None for owner in (ensemble, *models) for p in owner.parameters())


def test_copies_share_nothing() -> None:
    """Not with the models that were given, nor with those that are taken out."""
    models = build_all(SharesItsTable)
    ensemble = Ensemble(models)
    taken = ensemble.model(1)
    assert type(taken) is SharesItsTable
    assert taken.head.weight is taken.embedding.weight  # as in the original
    tokens = torch.randint(V, (B, L))
    expected = models[1](tokens)
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter.zero_()
    for model in (models[1], taken):
        assert torch.equal(model(tokens), expected)
    assert not ensemble.model(1)(tokens).any()
    assert ensemble.template.state_dict().keys() == taken.state_dict().keys()


def test_keep_goes_on_with_some() -> None:
    """In the order asked for, with the same parameter objects, even while an earlier loss is held."""
    ensemble = Ensemble(build_all(CountsInPlace))
    tokens = torch.randint(V, (E, B, L))
    held = ensemble(tokens).sum()
    held.backward()
    parameters = list(ensemble.parameters())
    expected = [ensemble.model(e) for e in (2, 0)]
    ensemble.keep([2, 0])
    assert ensemble.n_seeds == 2
    for one, other in zip(ensemble.parameters(), parameters, strict=True):
        assert one is other
        assert one.grad is None
    for mapped in (True, False):
        ensemble.mapped = mapped
        logits = ensemble(tokens[[2, 0]])
        alone = [model(own) for model, own in zip(expected, tokens[[2, 0]], strict=True)]
        torch.testing.assert_close(logits, torch.stack(alone))
        logits.sum().backward()
        assert all(p.grad is not None and p.grad.shape == p.shape for p in parameters)
    assert held.isfinite()


@pytest.mark.parametrize("indices", [[], [0, 0], [3], [-1]])
def test_what_cannot_be_kept(indices: list[int]) -> None:
    with pytest.raises(ValueError, match=r"^keep takes at least one of the seeds 0\.\.2, each once; got \["):
        Ensemble(build_all(Toy)).keep(indices)


def test_what_is_no_ensemble() -> None:
    with pytest.raises(ValueError, match="^an ensemble needs at least one model$"):
        Ensemble([])
    with pytest.raises(ValueError, match="^model 1 of the ensemble is a RunningNorm, model 0 a Toy$"):
        Ensemble([Toy(), RunningNorm()])
    with pytest.raises(ValueError, match=r"^model 1 of the ensemble has positions \(6, 8, .*\), model 0 \(6, 4, .*"):
        Ensemble([Toy(), Toy(d_model=8)])


def test_half_precision() -> None:
    """Under autocast, twice, so that what it remembers of weights is used."""
    models = build_all(LibraryAttention)
    ensemble, tokens = Ensemble(models), torch.randint(V, (E, B, L))
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):
            logits = ensemble(tokens)
        alone = torch.stack([model(own) for model, own in zip(models, tokens, strict=True)])
    assert logits.dtype == alone.dtype == torch.bfloat16
    torch.testing.assert_close(logits, alone, rtol=2e-2, atol=1e-3)  # 8 bits
    logits.float().sum().backward()


def test_loss_of_each_seed() -> None:
    logits, tokens = torch.randn(E, B, L, V), torch.randint(V, (E, B, L + 1))
    expected = [next_token_loss(x, own) for x, own in zip(logits, tokens, strict=True)]
    torch.testing.assert_close(loss_of_each_seed(logits, tokens), torch.stack(expected))


def test_clipping_of_each_seed() -> None:
    """A large, a small, a zero and a broken gradient, over parameters of any shape and one without a gradient."""
    sizes: list[tuple[int, ...]] = [(2, 3), (5,), (), (1, 2, 3)]
    scales = torch.tensor([10.0, 0.01, 0.0, float("nan")])

    def parameter(data: Tensor, gradient: Tensor | None) -> nn.Parameter:
        leaf = nn.Parameter(data)
        leaf.grad = gradient
        return leaf

    gradients = [torch.randn(4, *size) * scales.view(-1, *[1] * len(size)) for size in sizes]
    stacked = [*(parameter(torch.zeros_like(g), g.clone()) for g in gradients), parameter(torch.zeros(4, 2), None)]
    norms_E = clip_per_seed_(iter(stacked), 4, 1.0)
    for e in range(4):
        alone = [parameter(torch.zeros_like(g[e]), g[e].clone()) for g in gradients]
        norm = nn.utils.clip_grad_norm_(alone, 1.0)
        torch.testing.assert_close(norms_E[e], norm, equal_nan=True)
        for one, other in zip(stacked, alone, strict=False):
            assert one.grad is not None
            torch.testing.assert_close(one.grad[e], other.grad, equal_nan=True)
    with pytest.raises(ValueError, match="^no parameter has a gradient to clip$"):
        clip_per_seed_([nn.Parameter(torch.zeros(2))], 2, 1.0)
