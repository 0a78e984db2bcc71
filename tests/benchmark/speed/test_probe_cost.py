"""The cost of probes: measured in a run, beside the training that they look at."""

import pytest

from benchmark.probes import PROBES
from benchmark.speed.probe_cost import ProbeCost, probe_costs


def test_the_share_is_that_of_the_looks_that_take_place() -> None:
    assert ProbeCost("a", look_s=0.2, between_s=1.0, every=4).share == pytest.approx(0.05)


@pytest.mark.slow
@pytest.mark.train
def test_every_probe_that_can_look_is_measured() -> None:
    content = {
        "model": {"class_path": "hybrid", "init_args": {"d_model": 16, "pattern": "mlp_mixer attention(n_heads=2)"}},
        "data": {"class_path": "lm", "init_args": {"state_size": 4, "n_nonzero": 2, "batch_size": 8}},
        "protocol": {"max_steps": 1000, "eval_every": 4},
    }
    costs = {cost.probe: cost for cost in probe_costs(content, 3)}
    assert costs.keys() == PROBES.keys()
    assert all(cost.look_s > 0 and cost.between_s > 0 for cost in costs.values())
    tokens, look = 4 * 8 * 8, 16 * 7**2
    assert costs["dependency"].every == -(-look * 10 // (4 * tokens))
    assert [cost.probe for cost in probe_costs({**content, "model": {"class_path": "mlp_mixer"}}, 2)] == [
        "dependency", "weights",
    ]  # fmt: skip
