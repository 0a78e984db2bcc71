"""The hash of initial weights: one on every make of CPU, another for other weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from architectures import ARCHITECTURES
from benchmark.training.evidence import initial_weights
from benchmark.training.evidence.initial_weights import init_hash, init_hashes
from tests.helpers.runs import LM, fit, record_of, resume, send_at

PROGRAM = """
import json, sys, torch
from architectures import ARCHITECTURES
from benchmark.training.evidence.initial_weights import init_hash, init_hashes
found = {}
for name in json.loads(sys.argv[1]):
    torch.manual_seed(3)
    model = ARCHITECTURES[name](4, 47, d_model=64, n_layers=2)
    found[name] = [init_hash(model), sorted(init_hashes(model))]
print(json.dumps(found))
"""
OURS = ["gated_deltanet", "mamba", "mamba2", "mlp_mixer", "rwkv", "transformer"]


def model(seed: int, **options: float) -> nn.Module:
    torch.manual_seed(seed)
    return ARCHITECTURES["transformer"](4, 15, **{"d_model": 16, "n_heads": 2, **options})  # type: ignore[arg-type]


@pytest.mark.process
def test_another_make_of_cpu_gives_the_same_hash() -> None:
    """Without vector instructions and with whatever this machine has: the weights differ in their last bits."""
    answers = []
    for capability in ("default", torch.backends.cpu.get_cpu_capability().lower()):
        environment = os.environ | {"ATEN_CPU_CAPABILITY": capability}
        command = [sys.executable, "-c", PROGRAM, json.dumps(OURS)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        answers.append(json.loads(done.stdout))
    plain, vectors = answers
    for name in OURS:
        assert plain[name][0] in vectors[name][1] and vectors[name][0] in plain[name][1], name


def test_it_binds_seed_options_and_shapes() -> None:
    hashes = [init_hash(model(seed, **options)) for seed in range(20) for options in ({}, {"embedding_std": 0.03})]
    hashes += [init_hash(model(0, d_model=32)), init_hash(model(0, n_layers=3))]
    assert len(set(hashes)) == len(hashes)
    assert init_hash(model(0)) == hashes[0]
    assert all(init_hash(model(seed)) in init_hashes(model(seed)) for seed in range(20))


def test_the_last_bits_do_not_count() -> None:
    for seed in range(20):
        changed = model(seed)
        with torch.no_grad():
            for parameter in changed.parameters():
                parameter.add_(2e-6 * parameter.abs().mean() * torch.randn_like(parameter))
        assert init_hash(changed) in init_hashes(model(seed))


def test_a_number_on_the_boundary_goes_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [0.0, 2.4999, 7.3]
    monkeypatch.setattr(initial_weights, "_numbers", lambda _: numbers)
    both = init_hashes(nn.Linear(1, 1))
    assert len(both) == 2
    numbers[1] = 2.5001
    assert init_hashes(nn.Linear(1, 1)) == both
    numbers[:] = [0.5] * 13
    with pytest.raises(ValueError, match="more than 12 tensors"):
        init_hashes(nn.Linear(1, 1))


def test_weights_that_cannot_be_scaled() -> None:
    odd = nn.ParameterList([torch.zeros(3), torch.ones(2), torch.empty(0), torch.full((2,), torch.inf)])
    assert init_hashes(odd) == {init_hash(odd)}


@pytest.mark.train
def test_records_have_it_whatever_way_they_were_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, as one of many seeds, and cut short and resumed."""
    from benchmark.__main__ import main

    _, alone = fit(LM, tmp_path, "alone", 16, 8)
    with monkeypatch.context() as patch:
        send_at(patch, 9)
        _, cut = fit(LM, tmp_path, "cut", 16, 8)
    resume(cut)
    protocol = ["--protocol.max_steps=16", "--protocol.eval_every=8", "--trainer.enable_progress_bar=false"]
    main(["fit", *LM, *protocol, "--picture=false", "--seeds=2-3", f"--out={tmp_path}", "--name=many"])
    many = record_of(cut.parent / "many" / "seed3")
    assert record_of(alone).init_hash == record_of(cut).init_hash == many.init_hash is not None
    assert record_of(cut.parent / "many" / "seed2").init_hash != many.init_hash


@pytest.mark.parametrize(
    ("given", "name"), [("32", "32-true"), (64, "64-true"), ("bf16", "bf16-mixed"), (None, "32-true")]
)
def test_a_precision_has_one_name(given: object, name: str) -> None:
    """The precision in a record decides the tolerance of its replay, so that short names are written out."""
    from benchmark.config.parser import parse

    assert parse({"model": "transformer", "data": "lm", "trainer": {"precision": given}}).precision == name
