"""RWKV-7 against the `rwkv` package and an oracle of the paper's equations, both with the same weights; errors."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from architectures.rwkv import RWKV, RWKVBlock
from benchmark.contract import random_tokens, seeded
from tests.oracles import rwkv as oracle

V = 7
BACKENDS = ["auto", "torch"]
SEED = 2


def build(dtype: torch.dtype = torch.float64, **options: Any) -> RWKV:
    """Off its initial weights, where zeros would hide what is wrong behind them; the same ones in every dtype."""
    with seeded(SEED):
        model = RWKV(V, 512, **{"d_model": 32, "n_layers": 2, "head_dim": 16, "positions": "none", **options})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.to(dtype)


def official(model: RWKV) -> dict[str, Tensor]:
    """The weights under the names of the authors' code; gradients flow to the model's parameters."""
    ours: dict[str, Tensor] = dict(model.named_parameters())
    theirs = {"emb.weight": ours["embedding.weight"], "head.weight": ours["head.weight"]}
    norms = {"ln_out": "norm", "blocks.0.ln0": "blocks.0.input_norm"}
    for n, block in enumerate(model.blocks):
        assert isinstance(block, RWKVBlock)
        norms |= {f"blocks.{n}.{a}": f"blocks.{n}.{b}" for a, b in (("ln1", "time_norm"), ("ln2", "channel_norm"))}
        norms |= {f"blocks.{n}.att.ln_x": f"blocks.{n}.time_mixing.ln_x"}
        theirs |= {f"blocks.{n}.att.x_{m}": mu for m, mu in zip("rwkvag", block.time_mixing.x, strict=True)}
        theirs |= {f"blocks.{n}.ffn.x_k": block.channel_mixing.x[0]}
        for name, parameter in block.time_mixing.named_parameters():
            if name != "x" and not name.startswith("ln_x"):
                theirs[f"blocks.{n}.att.{name}"] = parameter
        for name in ("key.weight", "value.weight"):
            theirs[f"blocks.{n}.ffn.{name}"] = ours[f"blocks.{n}.channel_mixing.{name}"]
    for their_name, our_name in norms.items():
        theirs |= {f"{their_name}.{kind}": ours[f"{our_name}.{kind}"] for kind in ("weight", "bias")}
    return theirs


def set_decay(model: RWKV, w0: float | None) -> None:
    """Of every channel: exp(-0.61) = 0.55 a position for a large w0, 1 for a very negative one."""
    for block in model.blocks:
        assert isinstance(block, RWKVBlock)
        if w0 is not None:
            torch.nn.init.constant_(block.time_mixing.w0, w0)


def relative_error(actual: Tensor | None, expected: Tensor | None) -> float:
    assert actual is not None
    assert expected is not None
    return ((actual - expected).abs().max() / expected.abs().max()).item()


PACKAGE = """
import os, sys
os.environ |= {"RWKV_V7_ON": "1", "RWKV_CUDA_ON": "0", "RWKV_JIT_ON": "0"}
import torch
from rwkv.model import RWKV
tokens = torch.load("tokens.pt").tolist()
for name in sys.argv[1:]:
    model = RWKV(model=name, strategy="cpu fp32")
    torch.save(torch.stack([model.forward(row, None, full_output=True)[0] for row in tokens]), name + ".out")
"""


@pytest.mark.process
def test_logits_equal_the_rwkv_package(tmp_path: Path) -> None:
    """With its head width of 64; in a process of its own, since its settings are environment variables."""
    tokens = random_tokens(V, 2, 40)
    torch.save(tokens.contiguous(), tmp_path / "tokens.pt")
    models = {f"layers{n}": build(torch.float32, d_model=128, head_dim=64, n_layers=n) for n in (2, 3)}
    for name, model in models.items():
        weights = {key: w.detach().clone() for key, w in official(model).items()}
        torch.save(weights, tmp_path / f"{name}.pth")
    command = [sys.executable, "-c", PACKAGE, *models]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    for name, model in models.items():
        expected = torch.load(tmp_path / f"{name}.out")
        assert expected.shape == (2, 40, V)
        for backend in BACKENDS:
            asked = with_backend(model, backend)
            assert relative_error(asked(tokens), expected) <= 1e-5, (name, backend)


def with_backend(model: RWKV, backend: str) -> RWKV:
    """A copy of the model that was asked for another backend."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if hasattr(module, "backend_asked"):
            module.__dict__["backend_asked"] = backend
    return model


CASES = [(1, 3, None), (2, 1, None), (63, 1, 4.0), (64, 3, -20.0), (65, 1, None), (127, 3, 4.0), (200, 1, 4.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("length", "batch", "decay"), CASES)
def test_logits_and_gradients_equal_the_oracle(length: int, batch: int, decay: float | None) -> None:
    """Of all parameters; the oracle in float64, ours in both precisions.

    One position leaves group norms of small vectors, which turn rounding into 1e-4: there, and at two, float32
    gradients are held to the order of the oracle's own in float32.
    """
    original = build()
    set_decay(original, decay)
    with seeded():
        tokens, weight = random_tokens(V, batch, length), torch.randn(batch, length, V, dtype=torch.float64)

    def run(backend: str, dtype: torch.dtype) -> dict[str, Tensor]:
        """Logits and gradients."""
        model = with_backend(original, backend).to(dtype)
        logits = oracle.logits(official(model), tokens) if backend == "oracle" else model(tokens)
        (logits * weight.to(logits.dtype)).sum().backward()
        return {"logits": logits} | {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    expected = run("oracle", torch.float64)
    gradient_limit = 1e-5
    if length <= 2:
        single = run("oracle", torch.float32)
        gradient_limit = max(1e-5, *(10 * relative_error(single[n], v) for n, v in expected.items() if v.any()))
    for backend in BACKENDS:
        exact, rounded = run(backend, torch.float64), run(backend, torch.float32)
        for name, value in expected.items():
            if value.any():  # one position reads nothing back from the state
                assert relative_error(exact[name], value) <= 1e-10, (name, backend)
                limit = 1e-5 if name == "logits" else gradient_limit
                assert relative_error(rounded[name], value) <= limit, (name, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_streams_exactly(backend: str) -> None:
    """Token by token and in pieces, three layers; the state is two inputs and a K x K matrix a head."""
    model = with_backend(build(n_layers=3), backend)
    tokens = random_tokens(V, 2, 40)
    assert model.state_bytes == 3 * (2 * 32 + 2 * 16 * 16) * 8
    with torch.no_grad():
        whole, state, pieces = model(tokens), model.initial_state(2), []
        for piece in (tokens[:, :1], tokens[:, 1:2], tokens[:, 2:19], tokens[:, 19:]):
            logits, state = model.scan(piece, state)
            pieces.append(logits)
    assert relative_error(torch.cat(pieces, 1), whole) <= 1e-12
    assert state.position == 40


def test_a_block_alone_is_the_first_layer() -> None:
    """Without the first layer's v, a later block takes its own, so that the mix of the two changes nothing."""
    block = build().blocks[1]
    assert isinstance(block, RWKVBlock)
    x = torch.randn(2, 5, 32, dtype=torch.float64)
    out = block(x)
    with torch.no_grad():
        block.time_mixing.v0.add_(3.0)
    torch.testing.assert_close(block(x), out, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("v", "d", "n", "head", "ratio", "ranks"),
    [(2, 128, 1, 64, 4, (32, 32, 32, 32)), (4, 128, 3, 64, 4, (32, 32, 32, 32)), (5, 768, 2, 64, 3, (64, 64, 32, 128))],
)
def test_parameter_count(v: int, d: int, n: int, head: int, ratio: int, ranks: tuple[int, ...]) -> None:
    """Four D x D matrices, the low ranks of w, a, v and g (the first layer has no v) and the channel mixing a layer.

    Vectors a layer: 6 token shifts, w0, a0, k_k, k_a, r_k, ln_x (2), v0; one more shift; two norms.
    """
    w, a, value, g = ranks
    time = 4 * d * d + 2 * d * (w + a + g) + 13 * d
    residual = 2 * d * value + d
    channel = 2 * ratio * d * d + d
    expected = 2 * v * d + 2 * d + 2 * d + n * (time + channel + 4 * d) + (n - 1) * residual
    model = RWKV(v, 9, d_model=d, n_layers=n, head_dim=head, mlp_ratio=ratio, positions="none")
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"d_model": 0}, ["model.d_model", "1", "0"]),
        ({"n_layers": 0}, ["model.n_layers", "1", "0"]),
        ({"head_dim": 0}, ["model.head_dim", "1", "0"]),
        ({"mlp_ratio": 0}, ["model.mlp_ratio", "1", "0"]),
        ({"d_model": 96}, ["model.head_dim", "64", "model.d_model", "96", "48"]),
        ({"positions": "rotary"}, ["model.positions", "'rotary'"]),
        ({"embedding_std": -1.0}, ["model.embedding_std", "-1.0"]),
        ({"backend": "cuda"}, ["model.backend", "'cuda'"]),
    ],
)
def test_errors(options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        RWKV(**{"vocab_size": 2, "seq_len": 7, **options})
    assert all(name in str(error.value) for name in named)


def test_a_narrow_model_has_one_head() -> None:
    model = RWKV(2, 7, d_model=24)
    block = model.blocks[0]
    assert isinstance(block, RWKVBlock)
    assert block.time_mixing.r_k.shape == (1, 24)
    assert block.time_mixing.ln_x.eps == pytest.approx(24e-5)
