"""Many seeds in one process: every seed has the record it would have alone, whatever becomes of the others."""

import re
import shutil
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from architectures import ARCHITECTURES
from benchmark.__main__ import main
from benchmark.metrics.held_out import HeldOutMetrics
from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.folder.layout import CONFIG
from benchmark.training.module import EmergenceModule
from benchmark.training.step import Step
from datamodules import CellularAutomata, LinearMap, Task
from tests.helpers.runs import (
    CA,
    LM,
    assert_same,
    curves_of,
    fit,
    fit_command,
    record_of,
    resume,
    run_folder,
    send_at,
)

ALONE = {
    "status", "architecture", "task", "protocol_hash", "optimizer", "seeds", "hits", "steps", "tokens", "parameters",
    "flops_per_token", "precision", "first_batch_hash",
}  # fmt: skip
SEEDS = (0, 1, 2)
FAST = ["--model.d_model=32", "--model.n_heads=4", "--data.state_size=6", "--data.batch_size=32", "--optimizer.lr=3e-3"]


def ensemble(
    settings: list[str], out: Path, steps: int, every: int, *more: str, seeds: str = "0-2"
) -> tuple[int, Path]:
    """Run in this process: the exit code and the run folder of the ensemble."""
    words = [word for word in fit_command(settings, out, "many", steps, every) if not word.startswith("--seed=")]
    return main([*words, f"--seeds={seeds}", *more]), run_folder(out, settings, "many")


Alone = Callable[..., Path]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """A function that gives the folder of the run of one seed alone, trained once."""

    @cache
    def trained(settings: tuple[str, ...], seed: int, steps: int, every: int, *more: str) -> Path:
        code, folder = fit(list(settings), tmp_path_factory.mktemp("alone"), "a", steps, every, f"--seed={seed}", *more)
        assert code in {0, 3}
        return folder

    return lambda settings, *rest: trained(tuple(settings), *rest)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an ensemble that has ended, to look at."""
    return ensemble(LM, tmp_path_factory.mktemp("ended"), 40, 10)[1]


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """The folder of an ensemble whose seeds are solved at different steps, to look at; how many train in each step."""
    sizes: list[int] = []
    step = Step.gradients

    def counted(self: Step) -> None:
        sizes.append(len(self.loss_E))
        step(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Step, "gradients", counted)
        code, folder = ensemble([*LM, *FAST], tmp_path_factory.mktemp("solved"), 400, 25, seeds="0-3")
    assert code == 0
    return folder, sizes


@pytest.mark.train
@pytest.mark.parametrize("settings", [LM, CA], ids=["lm", "ca"])
def test_each_seed_has_the_record_it_has_alone(settings: list[str], alone: Alone, tmp_path: Path) -> None:
    code, folder = ensemble(settings, tmp_path, 40, 10)
    assert code == 0
    for seed in SEEDS:
        ours, theirs = record_of(folder / f"seed{seed}"), record_of(reference := alone(settings, seed, 40, 10))
        assert ours.model_dump(include=ALONE) == theirs.model_dump(include=ALONE)
        assert (ours.ensemble_size, theirs.ensemble_size) == (3, 1)
        assert len(ours.first_losses_nats) == 20
        np.testing.assert_allclose(ours.first_losses_nats, theirs.first_losses_nats, rtol=2e-5)
        curves = [curves_of(folder / f"seed{seed}"), curves_of(reference)]
        assert list(curves[0].columns) == list(curves[1].columns)
        assert curves[0].step.tolist() == curves[1].step.tolist() == [0, 10, 20, 30, 40]
        for name in ("loss_nats", "loss_scored_nats", "accuracy", "exact_match"):
            np.testing.assert_allclose(curves[0][name], curves[1][name], rtol=1e-3, atol=1e-3)


@pytest.mark.train
def test_losses_are_not_rounded_to_16_bits(alone: Alone, tmp_path: Path) -> None:
    """Autocast computes the loss in float32, for many seeds as for one."""
    _, folder = ensemble(LM, tmp_path, 4, 2, "--trainer.precision=bf16-mixed")
    for seed in SEEDS:
        theirs = record_of(alone(LM, seed, 4, 2, "--trainer.precision=bf16-mixed"))
        first = record_of(folder / f"seed{seed}").first_losses_nats[0]
        assert first == pytest.approx(theirs.first_losses_nats[0], rel=1e-3)  # matrix products are rounded to 16 bits
        assert torch.tensor(first).bfloat16().item() != first


@pytest.mark.slow
def test_seeds_differ_and_a_fixed_seed_holds_for_all(tmp_path: Path) -> None:
    _, folder = ensemble(LM, tmp_path, 10, 5, "--task_seed=9", seeds="4,7")
    records = [record_of(folder / f"seed{seed}") for seed in (4, 7)]
    assert [record.seeds.model_dump() for record in records] == [
        {"task_seed": 9, "init_seed": seed, "data_seed": seed} for seed in (4, 7)
    ]
    assert records[0].first_losses_nats != records[1].first_losses_nats


@pytest.mark.train
def test_a_solved_seed_stops_costing(solved: tuple[Path, list[int]], alone: Alone) -> None:
    """The ensemble shrinks as seeds are solved, and those that go on go on as if nothing had happened."""
    folder, sizes = solved
    records = {seed: record_of(folder / f"seed{seed}") for seed in range(4)}
    assert {record.status for record in records.values()} == {"solved"}
    assert len({record.steps for record in records.values()}) > 1, "choose seeds that end at different steps"
    assert len(sizes) == max(record.steps for record in records.values())
    for i, size in enumerate(sizes):
        assert size == sum(record.steps > i for record in records.values())
    last = max(records, key=lambda seed: records[seed].steps)
    reference = curves_of(alone([*LM, *FAST], last, 400, 25))
    ours = curves_of(folder / f"seed{last}")
    rows = min(len(ours), len(reference), 5)  # trajectories drift apart slowly, as on two machines
    np.testing.assert_allclose(ours.loss_nats[:rows], reference.loss_nats[:rows], atol=0.02)
    tokens = sum(record.tokens for record in records.values())
    assert records[last].tokens_per_s == pytest.approx(tokens / records[last].wall_train_s)


@pytest.mark.train
def test_a_diverged_seed_does_not_take_the_others_along(
    alone: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = EmergenceModule.configure_optimizers

    def poisoned(self: EmergenceModule) -> torch.optim.Optimizer:
        optimizer = built(self)
        assert self.step is not None
        prepare = self.step.prepare

        def prepare_and_poison(step: int, start: int | None = None) -> None:
            prepare(step, start)
            if step == 7:
                with torch.no_grad():
                    next(self.model.parameters())[1] = float("nan")

        monkeypatch.setattr(self.step, "prepare", prepare_and_poison)
        return optimizer

    monkeypatch.setattr(EmergenceModule, "configure_optimizers", poisoned)
    code, folder = ensemble(LM, tmp_path, 40, 10)
    assert code == 3
    records = [record_of(folder / f"seed{seed}") for seed in SEEDS]
    assert [record.status for record in records] == ["censored", "diverged", "censored"]
    assert records[1].error == "training loss is nan at step 8"
    assert (records[1].steps, len(records[1].first_losses_nats)) == (8, 7)
    assert all(np.isfinite(curves_of(folder / f"seed{seed}").loss_nats).all() for seed in SEEDS)
    monkeypatch.undo()
    for seed in (0, 2):
        reference = record_of(alone(LM, seed, 40, 10))
        final = records[seed].final
        assert final is not None and reference.final is not None
        assert final.loss_nats == pytest.approx(reference.final.loss_nats, rel=1e-3)


@pytest.mark.train
@pytest.mark.parametrize("step", [3, 30])
def test_interrupted_and_resumed_as_if_undisturbed(
    step: int, ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: the same computation in the same order."""
    send_at(monkeypatch, step)
    code, folder = ensemble(LM, tmp_path, 40, 10)
    assert code == 128 + signal.SIGINT
    assert {record_of(folder / f"seed{seed}").status for seed in SEEDS} == {"interrupted"}
    monkeypatch.undo()
    assert resume(folder) == 0
    ours, theirs = (torch.load(f / CHECKPOINT, weights_only=True) for f in (folder, ended))
    for name in ("global_step", "state_dict", "optimizer_states", "identity", "seeds"):
        assert_same(ours[name], theirs[name], name)
    for seed in SEEDS:
        a, b = record_of(folder / f"seed{seed}"), record_of(ended / f"seed{seed}")
        assert a.model_dump(include=ALONE | {"first_losses_nats", "final"}) == b.model_dump(
            include=ALONE | {"first_losses_nats", "final"}
        )


@pytest.mark.train
def test_resume_after_some_seeds_have_ended(solved: tuple[Path, list[int]], tmp_path: Path) -> None:
    """A record that is there stays as it is; without a checkpoint the other seeds start again."""
    folder = shutil.copytree(solved[0], tmp_path / "many")
    records = {seed: record_of(folder / f"seed{seed}") for seed in range(4)}
    shutil.rmtree(folder / "seed2")
    (folder / CHECKPOINT).unlink()
    assert resume(folder) == 0
    again = {seed: record_of(folder / f"seed{seed}") for seed in range(4)}
    assert [again[seed] == records[seed] for seed in range(4)] == [True, True, False, True]
    assert again[2].first_losses_nats == pytest.approx(records[2].first_losses_nats, rel=2e-5)


@pytest.mark.train
def test_one_seed_of_many_cannot_go_on_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its folder holds its weights, not the state of its optimizer; and its record stays as it is."""
    send_at(monkeypatch, 3)
    _, folder = ensemble(LM, tmp_path, 40, 10)
    monkeypatch.undo()
    before = record_of(folder / "seed1")
    assert resume(folder / "seed1") == 2
    assert "holds weights only, of one of many seeds" in capsys.readouterr().err
    assert record_of(folder / "seed1") == before and before.status == "interrupted"


@pytest.mark.train
def test_nothing_to_resume(ended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert resume(ended) == 2
    assert f"{ended}: all of its seeds have ended; there is nothing to resume" in capsys.readouterr().err


@pytest.mark.train
def test_weights_of_a_seed_can_be_examined(ended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`validate` takes the checkpoint and the configuration in a seed's folder."""
    seed = ended / "seed1"
    capsys.readouterr()
    assert main(["validate", f"--config={seed / CONFIG}", f"--ckpt_path={seed / CHECKPOINT}"]) == 0
    final = record_of(seed).final
    assert final is not None
    shown = dict(re.findall(r"│ (\w+) +│ ([\d.]+) ", capsys.readouterr().out))
    # Of the seed alone, where the record's is of a batch of seeds, and rounded to four digits.
    assert float(shown["loss_nats"]) == pytest.approx(final.loss_nats, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds=5-2"], "5-2"),
        (["--seeds=a"], "a"),
        (["--seeds=0-3", "--seed=4"], "--seed and --seeds exclude each other"),
        (["--seeds=0-3", "--trainer.precision=16-mixed"], "take bf16-mixed"),
        (["--seeds=0-3", "--trainer.precision=16-true"], "take bf16-mixed"),
        (["--trainer.precision=16-mixed"], "scales the loss before gradients are clipped"),
    ],
)
def test_mistakes(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = [word for word in fit_command(LM, tmp_path, "a", 10, 5) if not word.startswith("--seed=")]
    assert main([*base, *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_only_fit_trains_many_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", *LM, "--seeds=0-3"]) == 2
    assert "--seeds is for fit" in capsys.readouterr().err


@pytest.mark.train
@pytest.mark.filterwarnings("default:.*its seeds are computed one at a time")
def test_what_cannot_be_mapped_says_so(
    alone: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An architecture that looks at values is trained all the same, one seed after another, to the same records."""
    cls = ARCHITECTURES["transformer"]
    forward = cls.forward

    def looks(self: Any, tokens_BL: torch.Tensor, *args: Any) -> torch.Tensor:
        logits = forward(self, tokens_BL, *args)
        return logits if logits.sum().item() == logits.sum().item() else logits * 0

    monkeypatch.setattr(cls, "forward", looks)
    code, folder = ensemble(LM, tmp_path, 20, 10)
    assert code == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "one at a time" in line]
    assert len(lines) == 1 and lines[0].startswith("warning: transformer: its seeds are computed one at a time: ")
    monkeypatch.undo()
    for seed in SEEDS:
        theirs = record_of(alone(LM, seed, 40, 10))
        np.testing.assert_allclose(
            record_of(folder / f"seed{seed}").first_losses_nats, theirs.first_losses_nats, rtol=2e-5
        )


@pytest.mark.train
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_first_batch_and_weights_are_those_of_the_seed_alone(
    name: str, alone: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, through the command line, for every architecture."""
    started: list[dict[str, torch.Tensor]] = []

    def on_train_start(self: EmergenceModule) -> None:
        models = [self.model_of(seed) for seed in self.seeds]
        started.extend({k: v.clone() for k, v in model.state_dict().items()} for model in models)

    monkeypatch.setattr("benchmark.training.module.EmergenceModule.on_train_start", on_train_start, raising=False)
    settings = [f"--model={name}", "--model.d_model=32", *LM[4:]]
    code, folder = ensemble(settings, tmp_path, 5, 5, seeds="1,2")
    assert code == 0
    for i, seed in enumerate((1, 2)):
        reference = record_of(alone(settings, seed, 5, 5))
        ours = record_of(folder / f"seed{seed}")
        assert_same(started[i], started[2 + i], f"seed {seed}")
        assert ours.first_batch_hash == reference.first_batch_hash
        np.testing.assert_allclose(ours.first_losses_nats, reference.first_losses_nats, rtol=2e-5)


@pytest.mark.parametrize("task", [LinearMap(6, 2, 3), CellularAutomata(4, 4, 3)], ids=["lm", "ca"])
def test_metrics_are_those_of_each_seed(task: Task) -> None:
    """Against the metrics of each seed alone; in chunks of unequal size."""
    generator = torch.Generator().manual_seed(0)
    together = HeldOutMetrics(task, 2)
    apart = [HeldOutMetrics(task), HeldOutMetrics(task)]
    for chunk in (5, 3):
        tokens_EB = torch.randint(task.vocab_size, (2, chunk, task.n_tokens), generator=generator)
        logits = torch.randn(2, chunk, task.seq_len, task.vocab_size, generator=generator)
        logits += 3 * torch.nn.functional.one_hot(tokens_EB[..., 1:], task.vocab_size)  # mostly right
        together.update(logits, tokens_EB)
        for e, metrics in enumerate(apart):
            metrics.update(logits[e : e + 1], tokens_EB[e : e + 1])
    for ours, metrics in zip(together.evaluations(), apart, strict=True):
        (theirs,) = metrics.evaluations()
        assert ours.metrics.keys() == theirs.metrics.keys()
        for key, value in theirs.metrics.items():
            assert ours.metrics[key] == pytest.approx(value, rel=1e-6), key
        torch.testing.assert_close(ours.loss_L, theirs.loss_L, rtol=1e-6, atol=0)
        torch.testing.assert_close(ours.accuracy_L, theirs.accuracy_L)
        assert 0 < ours.metrics["exact_match"] < 1


@pytest.mark.train
def test_configuration_of_a_seed_repeats_it(ended: Path, tmp_path: Path) -> None:
    assert "seed: 2\n" in (ended / "seed2" / CONFIG).read_text()
    assert main(["fit", f"--config={ended / 'seed2' / CONFIG}", "--name=again", f"--out={tmp_path}"]) == 0
    again = record_of(run_folder(tmp_path, LM, "again"))
    assert again.model_dump(include=ALONE) == record_of(ended / "seed2").model_dump(include=ALONE)
