"""`python -m benchmark replay`: the same bits for a true record, one line for one that says anything else."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import ARCHITECTURES
from benchmark.__main__ import main
from benchmark.config.parser import config_of, parse
from benchmark.training.evidence.step_cost import require_affordable, step_cost
from benchmark.training.evidence.trajectory import relative
from benchmark.training.replay import COARSE_TOLERANCE, TOLERANCE, Mismatch, replay
from leaderboard.records.record import Record, RecordedProtocol, RecordedTask, protocol_hash
from tests.helpers.runs import CA, LM, curves_of, fit, record_of

STEPS, EVERY = 24, 8
PLUGIN = """
import torch
from torch import nn
from architectures import SequenceModel, register

class Drop(nn.Module):
    def __init__(self, width, kernel):
        super().__init__()
        assert isinstance(kernel, tuple)
        self.mix, self.drop = nn.Linear(width, width), nn.Dropout(0.5)
    def forward(self, x):
        return x + self.drop(self.mix(x)).cumsum(1) / 10

@register("drops")
class Drops(SequenceModel):
    def __init__(self, vocab_size: int, seq_len: int, *, d_model: int = 8, kernel: tuple[int, ...] = (1, 2)) -> None:
        super().__init__(vocab_size, seq_len, d_model=d_model, blocks=[Drop(d_model, kernel)])
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Of a run with three different seeds and a cosine, whose losses depend on every option."""
    seeds = ["--task_seed=1", "--init_seed=2", "--data_seed=4", "--optimizer.schedule=cosine"]
    code, folder = fit([*LM, *seeds], tmp_path_factory.mktemp("runs"), "a", STEPS, EVERY)
    assert code == 0
    return record_of(folder)


def changed(record: Record, **changes: Any) -> Record:
    """A valid record with other values in it, by their dotted paths."""
    fields = json.loads(record.model_dump_json())
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = fields
        for parent in parents:
            place = place[int(parent) if isinstance(place, list) else parent]
        if isinstance(place, list):
            place[int(last)] = value(place[int(last)]) if callable(value) else value
        else:
            place[last] = value(place[last]) if callable(value) else value
    task, protocol = RecordedTask.model_validate_json(json.dumps(fields["task"])), fields["protocol"]
    fields["protocol_hash"] = protocol_hash(task, RecordedProtocol.model_validate_json(json.dumps(protocol)))
    fields["tokens"] = fields["steps"] * protocol["tokens_per_step"]
    return Record.model_validate_json(json.dumps(fields))


NARROW = {"mamba2": ["--model.head_dim=16"], "rwkv": ["--model.head_dim=16"]}


@pytest.mark.train
@pytest.mark.parametrize("name", ["gated_deltanet", "mamba", "mamba2", "mlp_mixer", "rwkv", "transformer"])
def test_the_same_bits_on_the_same_machine(name: str, tmp_path: Path) -> None:
    model = [f"--model={name}", "--model.d_model=16", "--model.n_layers=1", *NARROW.get(name, [])]
    data = LM[4:] if name < "mamba2" else CA[4:]
    code, folder = fit([*model, *data], tmp_path, "a", STEPS, EVERY)
    assert code == 0
    result = replay(true := record_of(folder))
    assert (result.difference, result.n_losses, result.device) == (0.0, 21, "cpu")
    assert (result.parameters, result.flops_per_token) == (true.parameters, true.flops_per_token)


@pytest.mark.train
def test_three_seeds_and_a_schedule(record: Record) -> None:
    assert set(record.seeds.model_dump().values()) == {1, 2, 4}
    assert replay(record).difference == 0.0


@pytest.mark.train
def test_a_seed_of_an_ensemble_is_the_seed_alone(tmp_path: Path) -> None:
    words = ["fit", *LM, f"--protocol.max_steps={STEPS}", f"--protocol.eval_every={EVERY}"]
    assert main([*words, "--seeds=0-1", f"--out={tmp_path}", "--name=a", "--trainer.enable_progress_bar=false"]) == 0
    for path in sorted(tmp_path.rglob("record.json")):
        ours = record_of(path.parent)
        assert ours.ensemble_size == 2
        assert replay(ours).difference <= TOLERANCE


@pytest.mark.train
def test_lower_precision_has_a_wider_tolerance(tmp_path: Path) -> None:
    _, folder = fit([*LM, "--trainer.precision=bf16-mixed"], tmp_path, "a", STEPS, EVERY)
    low = record_of(folder)
    assert (replay(low).difference, replay(low).tolerance) == (0.0, COARSE_TOLERANCE)
    with pytest.raises(Mismatch, match="allowed are 1e-05"):
        replay(changed(low, precision="32-true"))


@pytest.mark.train
def test_a_kernel_of_a_gpu_has_a_wider_tolerance(record: Record, tmp_path: Path) -> None:
    """Only an architecture that has one, on a GPU: a record does not choose its tolerance."""
    _, folder = fit(["--model=mamba", "--model.d_model=16", "--model.n_layers=1", *LM[4:]], tmp_path, "a", STEPS, EVERY)
    mamba = record_of(folder)
    on_gpu = {"architecture.backend": "mamba_ssm", "hardware.device": "cuda"}
    assert replay(changed(mamba, **on_gpu)).tolerance == COARSE_TOLERANCE
    assert replay(changed(mamba, **{"architecture.backend": "torch"})).tolerance == TOLERANCE
    for backend, device in (("mamba_ssm", "cpu"), ("fla", "cuda"), ("made-up", "cuda"), ("sdpa", "cpu")):
        with pytest.raises(Mismatch, match="differs: backend is"):
            replay(changed(mamba, **{"architecture.backend": backend, "hardware.device": device}))
    for backend in ("numba", "sdpa"):  # of attention, by length and machine
        assert replay(changed(record, **{"architecture.backend": backend})).tolerance == TOLERANCE
    with pytest.raises(Mismatch, match="backend is 'fla' in the record, it can be numba or sdpa"):
        replay(changed(record, **{"architecture.backend": "fla"}))


@pytest.mark.train
def test_a_run_that_diverged(tmp_path: Path) -> None:
    wild = ["--optimizer.lr=1e18", "--optimizer.clip_norm=0", "--optimizer.warmup_steps=0"]
    settings = [word for word in LM if "warmup" not in word]
    code, folder = fit(settings, tmp_path, "a", STEPS, EVERY, *wild)
    ended = record_of(folder)
    assert (code, ended.status) == (3, "diverged")
    assert len(ended.first_losses_nats) < STEPS
    assert replay(ended).difference == 0.0
    with pytest.raises(Mismatch, match=r"^has \d+ losses of its first steps, a run of"):
        replay(changed(ended, first_losses_nats=lambda losses: losses[:-1], steps=lambda steps: steps + 1))


LIES: list[tuple[dict[str, Any], str]] = [
    ({"optimizer.lr": lambda lr: lr * 1.01}, "differs: first_losses_nats."),
    ({"optimizer.betas": [0.9, 0.9]}, "differs: first_losses_nats."),
    ({"optimizer.weight_decay": 0.1}, "differs: optimizer.no_weight_decay is ("),
    ({"optimizer.warmup_steps": 8}, "differs: first_losses_nats."),
    ({"optimizer.clip_norm": 0.1}, "differs: first_losses_nats."),
    ({"optimizer.schedule": "constant"}, "differs: first_losses_nats."),
    ({"protocol.max_steps": 32, "status": "interrupted"}, "differs: first_losses_nats."),
    ({"first_losses_nats.19": lambda loss: loss * (1 + 3e-5)}, "differs: first_losses_nats.19 is"),
    ({"first_losses_nats.0": -1.0}, "differs: first_losses_nats.0 is"),
    ({"first_losses_nats.0": 0.0}, "differs: first_losses_nats.0 is"),
    ({"first_loss_nats": lambda loss: loss * (1 + 3e-5)}, "differs: first_loss_nats is"),
    ({"protocol.eval_sequences": 21}, "differs: first_loss_nats is"),
    ({"seeds.init_seed": 3}, "differs: init_hash is"),
    ({"seeds.init_seed": 3, "init_hash": None}, "differs: first_loss_nats is"),
    ({"seeds.data_seed": 3}, "differs: first_batch_hash is"),
    ({"seeds.task_seed": 3}, "differs: first_batch_hash is"),
    ({"task.config.n_nonzero": 1}, "differs: first_batch_hash is"),
    ({"protocol.tokens_per_step": 56}, "differs: first_batch_hash is"),
    ({"protocol.tokens_per_step": 63}, "differs: protocol is"),
    ({"protocol.targets.0.value": 0.4}, "differs: protocol is"),
    ({"task.version": 2}, "differs: task is"),
    ({"architecture.config.d_model": 32}, "differs: parameters is"),
    ({"architecture.config.n_layers": 2}, "differs: parameters is"),
    ({"parameters": 1}, "differs: parameters is"),
    ({"architecture.config.n_heads": 4}, "differs: first_loss_nats is"),
    ({"architecture.config.embedding_std": 0.021}, "differs: init_hash is"),
    ({"flops_per_token": 1.0}, "differs: flops_per_token is"),
    ({"first_losses_nats": []}, "has 0 losses of its first steps, a run of 24 steps has 20"),
    ({"first_losses_nats": lambda losses: losses[:19]}, "has 19 losses of its first steps, a run of 24 steps has 20"),
    ({"architecture.name": "transfomer"}, "not registered here: unknown architecture 'transfomer': did you mean"),
    ({"architecture.version": 99}, "not registered here: architecture 'transformer' in version 99 (here it is 1)"),
    ({"task.name": "chess"}, "not registered here: task 'chess'; known names are bigram, ca, "),
    ({"architecture.config.n_heads": 3}, "cannot be replayed here: ValueError: model.n_heads = 3"),
    ({"architecture.config.n_heads": "__import__('os')"}, "cannot be replayed here: TypeError"),
    ({"architecture.config.wings": 2}, "cannot be replayed here: TypeError"),
    ({"architecture.config.d_model": 16.0}, "cannot be replayed here: TypeError"),
    ({"task.config.wings": 2}, "cannot be replayed here: TypeError"),
    ({"optimizer.wings": 2}, "differs: optimizer.wings is None here and 2 in the record"),
    ({"optimizer.lr": -1.0}, "cannot be replayed here: ValueError: optimizer.lr must be positive"),
    ({"precision": "float3"}, "precision 'float3' is not one of"),
    ({"precision": "32"}, "precision '32' is not one of"),
    (
        {"architecture.backend": "made-up"},
        "differs: backend is 'made-up' in the record, it can be numba or sdpa",
    ),
    ({"init_hash": "0" * 64}, "differs: init_hash is"),
    ({"state_bytes": 64}, "differs: state_bytes is None here and 64 in the record"),
    ({"chance_loss_nats": 0.6931}, "differs: chance_loss_nats is"),
    ({"floor_loss_nats": None}, "differs: floor_loss_nats is"),
    ({"floor_loss_nats": lambda floor: floor * 1.0001}, "differs: floor_loss_nats is"),
    (
        {"architecture.config.n_layers": 10**6},
        "cannot be replayed here: BenchmarkError: too large: model.n_layers = 1,000",
    ),
    (
        {"architecture.config.d_model": 10**5},
        "cannot be replayed here: BenchmarkError: too large: model.d_model = 100,",
    ),
    ({"architecture.config.d_model": 65_536}, "cannot be replayed here: BenchmarkError: too large: "),
    ({"architecture.config.mlp_ratio": 10**4, "architecture.config.d_model": 8192}, "cannot be replayed here: Bench"),
    ({"protocol.eval_sequences": 10**9}, "cannot be replayed here: BenchmarkError: too large: data.eval_sequences"),
    (
        {"protocol.eval_sequences": 10**7},
        "cannot be replayed here: BenchmarkError: too large: 80,000,000 tokens in the",
    ),
    ({"protocol.tokens_per_step": 8 * 10**6}, "cannot be replayed here: BenchmarkError: too large: 8,000,000 tokens"),
    ({"task.config.n_states": 10**6}, "cannot be replayed here: BenchmarkError: too large: data.n_states = 1,000,000"),
    (
        {"task.config.n_states": 50_000, "protocol.tokens_per_step": 200_000},
        "cannot be replayed here: BenchmarkError: too large: 200,000 tokens in a sequ",
    ),
    ({"task.config.state_size": 10**18}, "cannot be replayed here: BenchmarkError: too large: data.state_size"),
    ({"architecture.config.wings": [1] * 1000}, "cannot be replayed here: BenchmarkError: too large: model.wings has"),
]


@pytest.mark.train
@pytest.mark.parametrize(("lie", "line"), LIES, ids=lambda x: "+".join(x) if isinstance(x, dict) else "")
def test_what_a_record_may_not_say(lie: dict[str, Any], line: str, record: Record) -> None:
    with pytest.raises(Mismatch) as caught:
        replay(changed(record, **lie))
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_relative_difference() -> None:
    assert relative(0.5, 0.5) == relative(0.0, 0.0) == 0.0
    assert [relative(0.625, 0.5), relative(0.375, 0.5)] == [0.25, 0.25]
    assert relative(-0.4, 0.4) == 2.0
    assert relative(1e-9, 0.0) == relative(float("nan"), 1.0) == relative(1.0, float("nan")) == float("inf")


@pytest.mark.train
def test_it_leaves_no_trace(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        replay(record)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.rand(3), expected)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    """The file of an outside architecture, whose random numbers in training and whose tuple must come out the same."""
    path = tmp_path / "plugin_of_replay.py"
    path.write_text(PLUGIN)
    yield path
    _forget()


def _forget() -> None:
    ARCHITECTURES.pop("drops", None)
    sys.modules.pop("_file_plugin_of_replay", None)


@pytest.mark.train
def test_the_command(
    record: Record, tmp_path: Path, plugin: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.config.plugins import architectures_of_file

    architectures_of_file(plugin)
    code, folder = fit(["--model=drops", *LM[4:]], tmp_path, "a", STEPS, EVERY)
    _forget()
    path = folder / "record.json"
    assert code == 0
    capsys.readouterr()

    def said(*words: str) -> tuple[int, str, str]:
        return main(["replay", *words]), *capsys.readouterr()

    known = "unknown architecture 'drops': known names are"
    code, out, err = said(str(path))
    assert (code, out) == (1, "") and err.startswith(f"{path}: not registered here: {known}") and err.count("\n") == 1
    code, out, err = said(str(path), "--plugin", str(plugin))
    assert (code, err) == (0, "") and out.count("\n") == 1
    assert out.startswith(f"{path}: agrees: first batch, 24 losses (largest relative difference 0.0e+00 of 1e-05 ")
    assert said(str(folder), f"--plugin={plugin}")[0] == 0  # the folder of the record will do
    path.write_text(changed(record_of(folder), **{"optimizer.lr": 0.5}).model_dump_json())
    code, out, err = said(str(path))
    assert (code, out) == (1, "") and "differs: first_losses_nats." in err and err.count("\n") == 1
    for words, line in [
        (["gone.json"], "error: gone.json: cannot be read"),
        ([str(plugin)], f"error: {plugin}: "),
        ([], "error: "),
        ([str(path), "--plugin", "gone.py"], "error: gone.py: no such file"),
        ([str(path), "--plugn", "x"], "error: unknown option --plugn: did you mean --plugin?"),
    ]:
        code, out, err = said(*words)
        assert (code, out) == (2, "") and err.startswith(line) and err.count("\n") == 1, err


@pytest.mark.train
@pytest.mark.parametrize("where", ["architecture.name", "task.name", "architecture.config.positions"])
def test_no_record_imports_anything(
    where: str, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[..., Record] = changed
) -> None:
    (tmp_path / "module_of_a_stranger.py").write_text("class transformer:\n    pass\nlm = ca = learned = transformer\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("module_of_a_stranger.transformer", "module_of_a_stranger.lm", "module_of_a_stranger"):
        with pytest.raises(Mismatch):
            replay(change(record, **{where: name}))
    assert "module_of_a_stranger" not in sys.modules


LONGER = ["--data.state_size=6", "--data.batch_size=32", "--data.eval_sequences=64"]


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of 160 steps, whose warm-up ends after 7."""
    code, folder = fit([*LM, *LONGER], tmp_path_factory.mktemp("runs"), "a", 160, 20)
    assert code == 0
    return folder


def of(folder: Path) -> dict[str, Any]:
    """The columns of the curves of a run."""
    lists = ("loss_by_position_nats", "parts_solved")
    return {name: list(column) for name, column in curves_of(folder).items() if name not in lists}


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize(
    ("lie", "seen"),
    [
        ({}, False),
        ({"optimizer.warmup_steps": 9, "optimizer.lr": lambda lr: lr * 9 / 7}, True),
        ({"optimizer.schedule": "cosine"}, True),
        ({"optimizer.weight_decay": 0.03}, True),
    ],
)
def test_what_shows_after_the_warm_up(longer: Path, lie: dict[str, Any], seen: bool) -> None:
    """The slope of the warm-up is the record's, so the first steps say nothing; evaluations of 120 steps do."""
    record = changed(record_of(longer), first_losses_nats=lambda losses: losses, **lie)
    own = replay(changed(record_of(longer)), "trajectory", of(longer)).trajectory
    assert own is not None and own.same_bits and own.until == 120 and own.steps == 120
    if seen:
        with pytest.raises(Mismatch, match="differs: "):
            replay(record, "trajectory", of(longer))


@pytest.mark.train
@pytest.mark.slow
def test_evaluations_need_curves_to_be_compared_with(longer: Path) -> None:
    for depth in ("trajectory", "whole"):
        with pytest.raises(Mismatch, match="no curves"):
            replay(record_of(longer), depth, None)


@pytest.mark.train
def test_curves_that_are_changed_in_the_middle(longer: Path) -> None:
    """On this machine the bits are those of the record until one value is not; then two runs say what may differ."""
    record, curves = record_of(longer), of(longer)
    whole = replay(record, "whole", curves).trajectory
    assert whole is not None and whole.same_bits and whole.hits == {n: hit.step for n, hit in record.hits.items()}
    last_bits = {**curves, "loss_nats": [loss * (1 + 3e-9) for loss in curves["loss_nats"]]}
    near = replay(record, "trajectory", last_bits).trajectory
    assert near is not None and not near.same_bits and near.until >= 60
    curves["loss_nats"][3] *= 1 + 1e-3
    with pytest.raises(Mismatch, match="differs: loss_nats at step 60 is"):
        replay(record, "trajectory", curves)


@pytest.mark.parametrize("name", ["gated_deltanet", "mamba", "mamba2", "mlp_mixer", "rwkv", "transformer"])
def test_the_cost_is_known_before_anything_is_built(name: str) -> None:
    """Parameters are exact, on a model of 20 GB that is not built."""
    small, large = ({"model": {"class_path": name, "init_args": {"d_model": d, "n_layers": 2}}} for d in (64, 16_384))
    data = {"data": {"class_path": "lm", "init_args": {"state_size": 8}}}
    config = parse(small | data)
    expected = sum(p.numel() for p in config.model.build(2, 15).parameters())
    assert step_cost(config).parameters == expected
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"too large: [0-9,]+ parameters and a step take about"):
        require_affordable(parse(large | data), 1, 1e9)
    assert time.monotonic() - began < 20


def test_what_takes_too_long_is_refused(record: Record) -> None:
    config = config_of(record)
    assert require_affordable(config, 10, 60.0).seconds(10, 8) < 60
    with pytest.raises(ValueError, match="too slow: 10000000 steps and their evaluations take about"):
        require_affordable(config, 10**7, 60.0)
