"""`python -m benchmark speed`: the measurements against known ones, the table against numbers worked out by hand."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures import ARCHITECTURES, MLPMixer, SequenceModel, Transformer
from benchmark.__main__ import main
from benchmark.speed import lengths
from benchmark.speed.lengths import TimedModel, Timing
from benchmark.speed.lengths_table import header, markdown, rows
from benchmark.speed.peers import PEERS, Peer
from benchmark.training.measure import VOCAB_SIZE, TrainingStep, cpu_seconds, one_thread, peak_bytes, sized

MIB = 2**20


@torch.library.custom_op("test_speed::workspace", mutates_args=(), device_types="cpu")
def workspace(x: Tensor) -> Tensor:
    """Holds 16 MiB for a moment."""
    held = x.new_empty(4 * MIB)
    return held[:1] + 1


class Allocates(TrainingStep):
    """Does nothing but allocate, in a known order."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(1, 1), 1, 1)

    def __call__(self) -> None:
        """4, then 4 + 8, then 8, then 8 + 16 inside an operator of our own, then 8 + 2 MiB."""
        first = torch.empty(MIB)
        second = torch.empty(2 * MIB)
        del first
        workspace(second[:1])
        torch.empty(MIB // 2)


def test_peak_memory_of_known_allocations(capfd: pytest.CaptureFixture[str]) -> None:
    step = Allocates()
    step()
    for _ in range(2):
        assert 24 * MIB <= peak_bytes(step) < 24 * MIB + 10_000
    assert capfd.readouterr().err == ""


def test_peak_memory_of_a_model() -> None:
    """The (B, H, L, L) probabilities of the model below are kept for its backward pass; nothing else is as large."""

    class Quadratic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(VOCAB_SIZE))

        def forward(self, tokens: Tensor) -> Tensor:
            x = nn.functional.one_hot(tokens, VOCAB_SIZE) * self.scale
            return (x @ x.transpose(1, 2)).softmax(-1) @ x

    with one_thread():
        step = TrainingStep(Quadratic(), 2, 512)
        step()
        matrix = 2 * 512 * 512 * 4
        assert 2 * matrix <= peak_bytes(step) < 4 * matrix


def test_cpu_seconds_leave_out_waiting() -> None:
    def work() -> None:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass

    assert cpu_seconds(lambda: time.sleep(0.2)) < 0.1
    assert cpu_seconds(work) >= 0.05


def test_a_step_trains_every_parameter() -> None:
    with one_thread():
        model = sized(Transformer, 8, d_model=16, n_heads=2, token_mixing="mlp")
        assert (model.d_model, model.seq_len, model.vocab_size) == (16, 8, VOCAB_SIZE)
        before = {name: parameter.clone() for name, parameter in model.named_parameters()}
        step = TrainingStep(model, 4, 8)
        step()
    assert step.n_tokens == 32
    assert [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])] == []


def test_one_thread_leaves_threads_and_random_state_as_they_were() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), one_thread():
            assert torch.get_num_threads() == 1
            torch.rand(1)
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state)


def entry(
    name: str, model: SequenceModel, timings: dict[int, tuple[list[float], int | None]], **kwargs: Any
) -> TimedModel:
    """An entry with the given seconds and bytes, of steps of 100 tokens."""
    found = TimedModel(name, lambda length: model, **kwargs)
    for length, (seconds, size) in timings.items():
        step = TrainingStep(model, 1, 4)
        step.n_tokens = 100
        found.timings[length] = Timing(step, seconds, size)
    return found


def test_the_table_worked_out_by_hand() -> None:
    transformer, mixer = Transformer(4, 4, d_model=8, n_heads=2), MLPMixer(4, 4, d_model=8)
    entries = [
        entry("transformer", transformer, {8: ([3, 2], None), 16: ([1, 4], 51_200), 32: ([2, 2], 102_400)}),
        entry("mlp_mixer", mixer, {8: ([1], None), 16: ([2, 5], 25_600), 32: ([9, 5], 153_600)}),
        entry("transformers: X", transformer, {8: ([8, 9], None)}, longest=8, most_tokens=100, ours=False),
        TimedModel("broken", lambda length: mixer, error="RuntimeError: no"),
    ]
    assert header([8, 16, 32]) == [
        "model", "backend", "parameters", "L = 8", "L = 16", "L = 32",
        "time a token, 32 : 16", "KiB a token, L = 32", ": transformer's, L = 16",
    ]  # fmt: skip
    counts = [f"{sum(p.numel() for p in model.parameters()):,}" for model in (transformer, mixer)]
    assert rows(entries, [8, 16, 32]) == [
        ["transformer", "numba", counts[0], "50 (1.00)", "100 (1.00)", "50 (1.00)", "2.00", "1.0", "2.00"],
        ["mlp_mixer", "torch", counts[1], "100 (0.50)", "50 (2.00)", "20 (2.50)", "2.50", "1.5", "3.00"],
        ["transformers: X", "numba", counts[0], "12 (4.00)", "-", "-", "-", "-", "-"],
    ]
    page = markdown(entries, [8, 16, 32], 2, lengths.Sizes())
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert {line.count("|") for line in table} == {10}
    assert "- broken could not be measured: RuntimeError: no\n" in page
    assert "- transformers: X: 100 tokens per step and no length above 8: too slow.\n" in page
    # medians over minima - 1: 0.25, 1.5, 0, 0, 0.75, 0.4, 0.0625
    assert (
        "the fastest of 2 rounds in which the models take turns; the median round took 25% longer, 150% at wo" in page
    )


def test_a_single_length_has_no_ratio_of_times() -> None:
    model = MLPMixer(4, 4, d_model=8)
    entries = [entry("transformer", model, {8: ([1], 102_400)}), entry("b", model, {8: ([2], 204_800)})]
    assert len(header([8])) == 6
    assert rows(entries, [8])[1][3:] == ["50 (2.00)", "2.0", "2.00"]


@pytest.fixture
def planted() -> Iterator[None]:
    """A registered architecture that cannot run."""

    class Broken(SequenceModel):
        def __init__(self, vocab_size: int, seq_len: int) -> None:
            super().__init__(vocab_size, seq_len, d_model=8, blocks=[nn.Linear(9, 9)])

    ARCHITECTURES["broken"] = Broken
    yield
    del ARCHITECTURES["broken"]


@pytest.mark.train
@pytest.mark.usefixtures("planted")
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    order = list[tuple[str, int]]()

    def record(step: TrainingStep) -> float:
        order.append((type(step.model).__name__, step.tokens.shape[1] - 1))
        return cpu_seconds(step)

    monkeypatch.setattr(lengths, "cpu_seconds", record)
    file = tmp_path / "speed.md"
    sizes = ["--d_model", "16", "--n_layers", "1", "--tokens", "64"]
    words = ["--lengths", "16,8", "--rounds", "2", "--no_peers", "--part", "lengths", "--out", str(file), *sizes]
    assert main(["speed", "--models", "mlp_mixer", *words]) == 0
    turn = [("transformer", 8), ("mlp_mixer", 8), ("transformer", 16), ("mlp_mixer", 16)]
    assert order == turn * 2
    out = capsys.readouterr().out
    text = file.read_text()
    for name in ("transformer", "mlp_mixer"):
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
        assert all(cell in out for cell in line.split(" | ")[2:-1])
        assert all(float(cell.split("(")[-1].rstrip(") |").replace(",", "")) > 0 for cell in line.split(" | ")[2:])
    assert "Width 16, 1 layers, 64 tokens per step" in " ".join(out.split())
    (transformer,) = [line for line in text.splitlines() if line.startswith("| transformer ")]
    parameters = 2 * 16 * 16 + 16 * 16 + (12 * 16**2 + 13 * 16) + 2 * 16  # embedding, head; positions; block; norm
    assert transformer.split(" | ")[2] == f"{parameters:,}"
    assert "OMP_NUM_THREADS=" in out
    assert f"torch {torch.__version__}" in out
    assert main(["speed", "--models", "broken", *words]) == 1
    assert "broken could not be measured: RuntimeError: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--models", "transfomer"], "unknown architecture 'transfomer': did you mean transformer? known names are"),
        (["--models", "mlp_mixer,"], "unknown architecture '': known names are"),
        (["--lengths", "128,x"], "--lengths must be whole numbers from 1 up with commas between, like 128,512; got '"),
        (["--lengths", "0"], "--lengths must be whole numbers"),
        (["--rounds", "0"], "--rounds: 0 does not conform to restriction v>0"),
        (["--round", "2"], "unknown option --round: did you mean --rounds?"),
        (["--out", "no/such/folder.md"], "--out: no/such/folder.md is not a file in a folder that exists"),
        (["--out", "."], "--out: . is not a file in a folder that exists"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(
    words: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lengths, "measure", lambda *args: pytest.fail("measured"))
    assert main(["speed", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert line in err


@pytest.mark.filterwarnings("ignore")  # what the library and its imports warn of is not ours to mend
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_peers_are_causal_models_of_the_asked_size(peer: Peer) -> None:
    with one_thread():
        model = peer.build(64, 2, 12)
        tokens = torch.randint(VOCAB_SIZE, (2, 12))
        changed = torch.cat([tokens[:, :-1], (tokens[:, -1:] + 1) % VOCAB_SIZE], 1)
        with torch.no_grad():
            logits, others = model(tokens), model(changed)
        assert logits.shape == (2, 12, VOCAB_SIZE)
        torch.testing.assert_close(logits[:, :-1], others[:, :-1])
        assert not torch.allclose(logits[:, -1], others[:, -1])
        TrainingStep(model, 2, 12)()
    embedding = [m for m in model.modules() if isinstance(m, nn.Embedding)][0]
    assert tuple(embedding.weight.shape) == (VOCAB_SIZE, 64)
    layers = [m for m in model.modules() if isinstance(m, nn.ModuleList)]
    assert [len(stack) for stack in layers] == [2]
