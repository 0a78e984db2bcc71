import math

import numpy as np
import pytest
import torch

from benchmark.metrics.held_out import HeldOutMetrics, next_token_loss
from datamodules import CellularAutomata, LinearMap


def reference(logits: np.ndarray, tokens: np.ndarray, state_size: int) -> dict[str, float]:
    """The metrics in NumPy, straight from their definitions."""
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = tokens[:, 1:]
    loss = -np.take_along_axis(log_p, target[..., None], -1)[..., 0]
    right = logits.argmax(-1) == target
    scored = np.arange(1, tokens.shape[1]) >= state_size
    states = right[:, scored].reshape(len(tokens), -1, state_size)
    rows = states.mean((0, 1))
    second_half = right[:, scored].reshape(len(tokens), -1, state_size)
    return {
        "loss_nats": loss.mean(),
        "loss_scored_nats": loss[:, scored].mean(),
        "accuracy": right[:, scored].mean(),
        "exact_match": states.all(-1).mean(),
        "rows_solved": (rows > 0.99).mean(),
        # state t of 0..T-1 is predicted by states[:, t - 1]; the second half begins at T / 2
        "accuracy_second_half": second_half[:, tokens.shape[1] // state_size // 2 - 1 :].mean(),
    }


@pytest.mark.parametrize("chunk", [1, 4, 10])
@pytest.mark.parametrize("confidence", [0.0, 3.0, 30.0])
def test_metrics_equal_their_definitions(chunk: int, confidence: float) -> None:
    torch.manual_seed(0)
    for task in (
        LinearMap(5, 2, 4, task_seed=0, data_seed=1),
        CellularAutomata(6, 4, 8, 1, 4, 3, task_seed=0, data_seed=1),
    ):
        tokens = task.batch(0, 10, split="eval")
        logits = torch.randn(10, task.seq_len, task.vocab_size)
        logits += confidence * torch.nn.functional.one_hot(tokens[:, 1:], task.vocab_size) * (torch.rand(1) + 0.5)
        logits[3, -1] = -logits[3, -1]  # one wrong answer at the end, so that exact match and accuracy differ
        metrics = HeldOutMetrics(task)
        for start in range(0, 10, chunk):
            metrics.update(logits[None, start : start + chunk], tokens[None, start : start + chunk])
        (result,) = metrics.evaluations()
        expected = reference(logits.double().numpy(), tokens.numpy(), task.state_size)
        assert set(result.metrics) <= set(expected)
        assert result.metrics == pytest.approx({name: expected[name] for name in result.metrics}, rel=1e-5, abs=1e-7)
        assert result.loss_L.shape == result.accuracy_L.shape == (task.seq_len,)
        metrics.reset()
        metrics.update(logits[None, :2], tokens[None, :2])
        assert metrics.evaluations()[0].metrics["loss_nats"] == pytest.approx(
            reference(logits[:2].double().numpy(), tokens[:2].numpy(), task.state_size)["loss_nats"], rel=1e-5
        )


def test_training_loss_is_the_mean_over_all_positions() -> None:
    """Uniform logits cost ln V everywhere; certainty at half the positions halves it."""
    tokens = torch.tensor([[0, 1, 2, 3, 1], [3, 3, 2, 1, 0]])
    logits = torch.zeros(2, 4, 4)
    assert next_token_loss(logits, tokens).item() == pytest.approx(math.log(4))
    logits[:, :2] += 1e4 * torch.nn.functional.one_hot(tokens[:, 1:3], 4)
    assert next_token_loss(logits, tokens).item() == pytest.approx(math.log(4) / 2)
