"""Runs of the recurrent architectures through the command line."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import ARCHITECTURES
from tests.helpers.runs import assert_same_run, fit, record_of, resume, send_at

DATA = ["--data=ca", "--data.state_size=4", "--data.n_states=6", "--data.n_rules=4", "--data.batch_size=4"]
DATA += ["--data.eval_sequences=6"]
# Bytes of one sequence's state in float32 at width 16 and 2 layers, summed from the shapes that the papers give it.
STATE_BYTES = {
    "mamba": 2 * 4 * (3 * 32 + 32 * 16),  # last inputs of the convolution; D x N
    "mamba2": 2 * 4 * (3 * (32 + 2 * 64) + 32 * 64),  # x, B and C are convolved; H x N x P
    "gated_deltanet": 2 * 4 * (3 * (12 + 12 + 24) + 3 * 4 * 8),  # q, k and v are convolved; H x K x V
    "rwkv": 2 * 4 * (2 * 16 + 16 * 16),  # last inputs of both mixings; H x K x K
    "xlstm": 4 * (3 * 32 + 4 * 8 * 9 + 4 + 3 * 16 + 4 * 16),  # mLSTM: conv, memory, scale; sLSTM: conv, h, c, n and m
    "lru": 2 * 4 * 2 * 128,  # N complex numbers
}
SIZES = {"mamba2": ["--model.head_dim=32"]}


@pytest.mark.train
@pytest.mark.parametrize("name", STATE_BYTES)
def test_stopped_and_resumed_it_is_the_same_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [f"--model={name}", "--model.d_model=16", "--model.n_layers=2", *SIZES.get(name, []), *DATA]
    code, whole = fit(settings, tmp_path, "whole", 12, 5)
    assert code == 0
    send_at(monkeypatch, 6)
    assert fit(settings, tmp_path, "stopped", 12, 5)[0] == 130
    folder = whole.parent / "stopped"
    assert record_of(folder).status == "interrupted"
    assert resume(folder) == 0
    assert_same_run(folder, whole)

    record = record_of(whole)
    assert record.architecture.backend == "numba"
    assert record.state_bytes == STATE_BYTES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", STATE_BYTES)
def test_flops_do_not_depend_on_the_implementation(name: str, tmp_path: Path) -> None:
    settings = [f"--model={name}", "--model.d_model=16", "--model.n_layers=1", *SIZES.get(name, []), *DATA]
    flops: list[Any] = []
    for backend in ("auto", "torch"):
        _, folder = fit([*settings, f"--model.backend={backend}"], tmp_path, backend, 2, 2)
        record = record_of(folder)
        assert record.architecture.backend == {"auto": "numba", "torch": "torch"}[backend]
        flops.append(record.flops_per_token)
    assert flops[0] == flops[1] > 0


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there the fused kernels may run")
def test_fused_kernels_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--model=rwkv", "--model.backend=fused", *DATA]
    try:
        code, _ = fit(settings, tmp_path, "a", 2, 2)
    except SystemExit as end:
        assert isinstance(end.code, int)
        code = end.code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert "fused needs a CUDA device and fla (pip install 'emergence-benchmark[cuda]')" in line
    assert not list(tmp_path.iterdir())


def test_every_architecture_with_compiled_loops_is_covered() -> None:
    compiled = {name for name, cls in ARCHITECTURES.items() if "backend" in inspect.signature(cls).parameters}
    assert set(STATE_BYTES) == compiled
