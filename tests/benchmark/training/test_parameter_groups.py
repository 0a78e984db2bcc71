"""Weight decay and learning rates by parameter: by hand, in a step, in the record."""

from typing import Any

import pytest
import torch

from architectures import ARCHITECTURES, SequenceModel
from architectures.model import parameter_rules
from benchmark.config.parser import parse
from benchmark.config.protocol import OptimizerConfig
from benchmark.training.ensemble import Ensemble
from benchmark.training.run import build
from benchmark.training.step import Step, parameter_groups
from datamodules.linear_map import LinearMap
from tests.oracles.optimizer import UNDECAYED


def small_model(name: str) -> SequenceModel:
    torch.manual_seed(0)
    options = {"head_dim": 16} if name in ("mamba2", "rwkv") else {"n_heads": 2} if name == "transformer" else {}
    depth = {"repeats": 2} if name == "hybrid" else {"n_layers": 2}
    model: SequenceModel = ARCHITECTURES[name](4, 8, d_model=16, **depth, **options)  # type: ignore[arg-type]
    return model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_matrices_decay_but_those_that_the_authors_except(name: str) -> None:
    model = small_model(name)
    for parameter, rule in parameter_rules(model).items():
        sizes = dict(model.named_parameters())[parameter].dim()
        stacked_bias = name == "xlstm" and parameter.endswith("bias") and sizes == 2  # of four gates, by heads
        assert rule.decays == (sizes > 1 and not parameter.endswith(UNDECAYED) and not stacked_bias), parameter
        slow = name == "lru" and parameter.endswith(("nu_log", "theta_log", "gamma_log", ".B"))
        fast = name == "rwkv" and parameter.endswith("time_mixing.w0")
        assert rule.lr_factor == (0.25 if slow else 2.0 if fast else 1.0), parameter


@pytest.mark.parametrize("name", ["transformer", "mamba", "lru", "xlstm"])
def test_seeds_are_no_dimension_of_a_parameter(name: str) -> None:
    """Stacked, a bias is a matrix; it belongs to the group that it has alone."""
    config = OptimizerConfig(weight_decay=0.1)
    alone, many = small_model(name), Ensemble([small_model(name), small_model(name)])
    groups = [
        [(group["weight_decay"], group["lr"], [names[id(p)] for p in group["params"]]) for group in found]
        for model in (alone, many)
        for names in [{id(p): n.removeprefix("template.") for n, p in model.named_parameters()}]
        for found in [parameter_groups(model, config)]
    ]
    assert groups[0] == groups[1]
    assert sum(len(members) for *_, members in groups[0]) == len(list(alone.parameters()))


def test_without_decay_and_factors_there_is_one_group_in_the_order_of_the_model() -> None:
    """As checkpoints have it that were written before there were groups."""
    model = small_model("mamba")
    (group,) = parameter_groups(model, OptimizerConfig())
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]


def test_a_first_step_moves_each_parameter_by_its_own_rate() -> None:
    """AdamW's first step is lr * sign(gradient) wherever the gradient is not tiny."""
    task = LinearMap(state_size=4, n_nonzero=1, n_states=2)
    torch.manual_seed(0)
    model = ARCHITECTURES["lru"](task.vocab_size, task.n_tokens, d_model=16, lr_factor=0.5)  # type: ignore[call-arg]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step = Step(
        model, lambda start: task.batch(0, 8)[None], 8, OptimizerConfig(lr=0.01, warmup_steps=0), 10
    )  # fmt: skip
    step(0)
    moved = {name: (p.detach() - before[name]).abs().max().item() for name, p in model.named_parameters()}
    assert moved["blocks.0.nu_log"] == pytest.approx(0.005, rel=1e-3)
    assert moved["blocks.0.B"] == pytest.approx(0.005, rel=1e-3)
    assert moved["blocks.0.C"] == pytest.approx(0.01, rel=1e-3)
    assert moved["head.weight"] == pytest.approx(0.01, rel=1e-3)


def recorded_optimizer(model: str, **optimizer: float) -> dict[str, Any]:
    small = {"state_size": 4, "n_nonzero": 1, "batch_size": 4}
    run = build(
        parse(
            {
                "model": {"class_path": model, "init_args": {"d_model": 8}},
                "data": {"class_path": "lm", "init_args": small},
                "optimizer": optimizer,
            }
        )
    )
    return run.identity.optimizer


def test_the_identity_names_exceptions_that_decided_something() -> None:
    assert not {"no_weight_decay", "lr_factors"} & recorded_optimizer("mamba").keys()
    named = set(recorded_optimizer("mamba", weight_decay=0.1)["no_weight_decay"])
    assert {"blocks.0.A_log", "blocks.0.skip", "blocks.0.conv_bias", "norm.weight"} <= named
    assert not {"embedding.weight", "head.weight", "blocks.0.in_proj.weight"} & named
    factors = [f"0.25 blocks.0.{name}" for name in ("nu_log", "theta_log", "gamma_log", "B")]
    assert recorded_optimizer("lru")["lr_factors"] == factors
    assert recorded_optimizer("rwkv")["lr_factors"] == ["2 blocks.0.time_mixing.w0"]
