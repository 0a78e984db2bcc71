import math

import pytest
import torch

from benchmark.config.protocol import OptimizerConfig, Protocol
from benchmark.training.step import Step


def test_warm_up_then_constant() -> None:
    factor = OptimizerConfig(warmup_steps=4).factor(100)
    assert [factor(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert OptimizerConfig(warmup_steps=0).factor(100)(0) == 1.0


def test_cosine_ends_at_zero() -> None:
    factor = OptimizerConfig(warmup_steps=10, schedule="cosine").factor(110)
    assert factor(9) == factor(10) == 1.0
    assert factor(60) == pytest.approx(0.5)
    assert factor(35) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert factor(110) == pytest.approx(0.0)


def test_steps_are_adamw_with_the_scheduled_rate() -> None:
    """Three steps against AdamW's equations (arXiv 1711.05101, algorithm 2), written out in float64."""
    config = OptimizerConfig(lr=0.1, betas=(0.8, 0.9), weight_decay=0.05, warmup_steps=2)
    model = torch.nn.Linear(3, 1, bias=False).double()
    w = model.weight.detach().clone()
    step = Step(model, lambda start: start, 1, config, max_steps=10)
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t in range(1, 4):
        grad = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64) * t
        model.weight.grad = grad.clone()
        step.prepare(t - 1)
        step.optimizer.step()
        lr = 0.1 * min(1.0, t / 2)
        m, v = 0.8 * m + 0.2 * grad, 0.9 * v + 0.1 * grad**2
        w = w - lr * (m / (1 - 0.8**t) / ((v / (1 - 0.9**t)).sqrt() + 1e-8) + 0.05 * w)
    torch.testing.assert_close(model.weight.detach(), w, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Protocol(max_steps=0), "protocol.max_steps must be at least 1, got 0"),
        (lambda: Protocol(max_steps=5, eval_every=6), "protocol.eval_every must be in 1..max_steps = 5, got 6"),
        (lambda: Protocol(eval_every=0), "protocol.eval_every must be in 1.."),
        (lambda: OptimizerConfig(lr=0.0), "optimizer.lr must be positive, got 0.0"),
        (lambda: OptimizerConfig(lr=float("nan")), "optimizer.lr must be positive, got nan"),
        (lambda: OptimizerConfig(betas=(0.9, 1.0)), "optimizer.betas must lie in"),
        (lambda: OptimizerConfig(weight_decay=-1.0), "optimizer.weight_decay must not be negative"),
        (lambda: OptimizerConfig(clip_norm=float("nan")), "optimizer.clip_norm must not be negative"),
    ],
)
def test_bad_values_are_named(make, words: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert words in str(error.value)
