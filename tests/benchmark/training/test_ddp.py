"""One model trained by several processes: the run of one process, one record, whatever way it ends.

Most processes come from a fork server that has imported the harness, as in test_kill.py, with the environment that a
launcher or SLURM would give them; in the slow tests Lightning starts the second process from the command line.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.utilities import rank_zero_only

from benchmark.training import processes
from benchmark.training.folder.checkpoint import CHECKPOINT, Checkpointer, read_checkpoint
from benchmark.training.folder.layout import RECORD
from benchmark.training.module import EmergenceModule
from datamodules import Rows, TaskDataModule
from tests.helpers.processes import Member, by_slurm, in_two_processes, nothing, start
from tests.helpers.runs import LM, assert_same_run, curves_of, fit, fit_command, record_of, run_folder, send_at

STEPS, EVERY = 60, 25
DDP = ["--trainer.strategy=ddp", "--trainer.devices=2"]
SAME = {
    "status", "architecture", "task", "protocol", "protocol_hash", "optimizer", "seeds", "hits", "steps", "tokens",
    "parameters", "state_bytes", "flops_per_token", "precision", "first_batch_hash", "ensemble_size",
}  # fmt: skip


def noted(output: Path, interval_s: float) -> None:
    """A process that notes which rows it makes tokens of, and whose clock asks for checkpoints when others' do not."""
    make, init = TaskDataModule.transfer_batch_to_device, Checkpointer.__init__

    def transfer(data: TaskDataModule, batch: object, *args: object) -> object:
        with output.with_name("rows").open("a") as file:
            print(json.dumps(batch), file=file)
        return make(data, batch, *args)  # type: ignore[arg-type]

    patch = pytest.MonkeyPatch()
    patch.setattr(TaskDataModule, "transfer_batch_to_device", transfer)
    patch.setattr(Checkpointer, "__init__", lambda self, folder, identity, _: init(self, folder, identity, interval_s))


def terminated(output: Path) -> None:
    """A process that gets a SIGTERM before its ninth step."""
    send_at(pytest.MonkeyPatch(), 8, signum=signal.SIGTERM)


def failing(output: Path) -> None:
    """A process whose model fails in its ninth step."""
    step = EmergenceModule.training_step

    def fail(module: EmergenceModule, batch: Rows, batch_idx: int) -> torch.Tensor:
        if module.global_step == 8:
            raise RuntimeError("the state has the wrong shape")
        return step(module, batch, batch_idx)

    pytest.MonkeyPatch().setattr(EmergenceModule, "training_step", fail)


Group = Callable[..., list[Member]]


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Group:
    """A function that runs a command in two processes, with a folder for what they say."""
    return lambda words, *args, **more: in_two_processes(words, tmp_path_factory.mktemp("members"), *args, **more)


def command(out: Path, name: str, *more: str) -> list[str]:
    return [*fit_command(LM, out, name, STEPS, EVERY), *DDP, *more]


def files_in(folder: Path) -> set[str]:
    """Names of all files below, that of TensorBoard's without its time and place."""
    return {str(path.relative_to(folder)).partition(".tfevents")[0] for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def together(group: Group, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Member], Path]:
    """The undisturbed run of two processes."""
    out = tmp_path_factory.mktemp("together")
    members = group(command(out, "a"), (partial(noted, interval_s=1e9), partial(noted, interval_s=0.0)))
    return members, run_folder(out, LM, "a")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in one process."""
    code, folder = fit(LM, tmp_path_factory.mktemp("alone"), "a", STEPS, EVERY)
    assert code == 0
    return folder


def assert_like_alone(folder: Path, alone: Path) -> None:
    """The same run but for the order of floating-point sums: after 60 steps losses near 0.7 differ by 1e-7 or so."""
    ours, theirs = record_of(folder), record_of(alone)
    assert ours.model_dump(include=SAME) == theirs.model_dump(include=SAME)
    assert len(ours.first_losses_nats) == 20
    assert ours.first_losses_nats == pytest.approx(theirs.first_losses_nats, rel=2e-6)
    assert curves_of(folder)["loss_nats"].tolist() == pytest.approx(curves_of(alone)["loss_nats"].tolist(), rel=1e-5)
    assert files_in(folder.parents[2]) == files_in(alone.parents[2]), "one run folder, and nothing beside it"


@pytest.mark.process
def test_the_run_of_one_process(together: tuple[list[Member], Path], alone: Path) -> None:
    (first, second), folder = together
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert_like_alone(folder, alone)
    assert first.output.count("transformer on lm") == 1
    assert second.output == ""


@pytest.mark.process
def test_processes_share_every_batch_and_nothing_else(together: tuple[list[Member], Path]) -> None:
    (first, second), _ = together
    trained = [[row for row in rows if row[0] == "train"] for rows in (first.rows, second.rows)]
    assert trained[0][:STEPS] == [("train", 8 * step, 8 * step + 4) for step in range(STEPS)]
    assert trained[1][:STEPS] == [("train", 8 * step + 4, 8 * step + 8) for step in range(STEPS)]
    held_out = [[row for row in rows if row[0] == "eval"] for rows in (first.rows, second.rows)]
    assert held_out[0] == held_out[1] == [("eval", 0, 8), ("eval", 8, 16), ("eval", 16, 20)] * (1 + STEPS // EVERY)


@pytest.mark.process
def test_tasks_of_slurm(group: Group, alone: Path, tmp_path: Path) -> None:
    nodes = [*command(tmp_path, "a"), "--trainer.devices=1", "--trainer.num_nodes=2"]
    members = group(nodes, environments=by_slurm)
    assert [m.exit_code for m in members] == [0, 0], members
    assert_like_alone(run_folder(tmp_path, LM, "a"), alone)


@pytest.mark.process
@pytest.mark.parametrize("signalled", [0, 1])
def test_a_signal_to_any_process_ends_all(
    signalled: int, group: Group, together: tuple[list[Member], Path], tmp_path: Path
) -> None:
    """They agree on it at step 20, in one record; the run goes on to the end that it would have had."""
    prepares = (terminated, nothing) if signalled == 0 else (nothing, terminated)
    first, second = group(command(tmp_path, "a"), prepares)
    folder = run_folder(tmp_path, LM, "a")
    assert (first.exit_code, second.exit_code) == (128 + signal.SIGTERM, 0), first.output + second.output
    record = record_of(folder)
    assert (record.status, record.error, record.steps) == ("interrupted", "interrupted by SIGTERM", 20)
    assert read_checkpoint(folder / CHECKPOINT)["global_step"] == 20
    assert second.output == ""
    assert [m.exit_code for m in group(["resume", str(folder)])] == [0, 0]
    assert_same_run(folder, together[1])


@pytest.mark.process
def test_a_run_that_diverges(group: Group, tmp_path: Path) -> None:
    settings = [*command(tmp_path, "a"), "--optimizer.lr=1e38", "--optimizer.clip_norm=0"]
    first, second = group(settings)
    assert (first.exit_code, second.exit_code, second.output) == (3, 0, "")
    assert record_of(run_folder(tmp_path, LM, "a")).status == "diverged"


@pytest.mark.process
def test_an_error_in_another_process(group: Group, tmp_path: Path) -> None:
    """The first one, which waits for it, notices, and its record says that the run ended in an error."""
    first, second = group(command(tmp_path, "a"), (nothing, failing))
    assert (first.exit_code, second.exit_code) == (1, 0), first.output + second.output
    assert second.output.count("RuntimeError: the state has the wrong shape") == 1
    assert record_of(run_folder(tmp_path, LM, "a")).status == "error"


@pytest.mark.process
def test_an_error_in_the_model_of_both(group: Group, tmp_path: Path) -> None:
    first, second = group(command(tmp_path, "a"), (failing, failing))
    assert (first.exit_code, second.exit_code) == (1, 0), first.output + second.output
    record = record_of(run_folder(tmp_path, LM, "a"))
    assert (record.status, record.error) == ("error", "RuntimeError: the state has the wrong shape")


@pytest.mark.process
def test_ending_the_others_is_not_taken_for_their_failure() -> None:
    """Lightning's observer, which would kill this process, finds nobody left to observe."""
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), num_processes=2, num_nodes=1)
    other = subprocess.Popen(["sleep", "60"])
    launcher.procs = [other]
    observer = _ChildProcessObserver(0, launcher.procs)
    processes.end_others(SimpleNamespace(strategy=SimpleNamespace(launcher=launcher)))  # type: ignore[arg-type]
    assert other.returncode == -signal.SIGKILL
    assert observer._child_processes == []
    assert observer._run(), "it has finished"


def test_where_the_first_would_not_notice_another_waits_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without gloo, as here without any connection; it waits no longer than the first process lives."""
    ticks: list[float] = []
    monkeypatch.setattr("time.sleep", ticks.append)
    monkeypatch.setattr("os.getppid", lambda: 1 if len(ticks) < 3 else 2)
    assert processes.leave(RuntimeError("the state has the wrong shape")) == 1
    assert len(ticks) == 3
    assert "RuntimeError: the state has the wrong shape" in capsys.readouterr().err
    monkeypatch.setattr(processes, "GRACE_S", 0.0)
    assert processes.leave(RuntimeError("")) == 1
    assert processes.leave(None) == 0
    assert len(ticks) == 3


class FailsInTheSecond(Callback):
    """Fails in the second process, before a step counted from 0."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: object) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 8:
            raise RuntimeError("the state has the wrong shape")


@pytest.mark.slow
@pytest.mark.process
def test_an_error_in_the_process_that_lightning_starts(tmp_path: Path, repository: Path) -> None:
    """Lightning kills the first process when another fails: it must have written its record by then."""
    more = ["--trainer.callbacks+=tests.benchmark.training.test_ddp.FailsInTheSecond"]
    process = start(*command(tmp_path, "a"), *more, cwd=repository)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert record_of(run_folder(tmp_path, LM, "a")).status == "error"
    assert output.count("RuntimeError: the state has the wrong shape") == 1


@pytest.mark.slow
@pytest.mark.process
def test_the_command_line(tmp_path: Path, repository: Path) -> None:
    """Ctrl-C, which reaches both processes, then resume: Lightning repeats either command line for the second one."""
    words = [*fit_command(LM, tmp_path, "a", 400, 100), *DDP, "--trainer.enable_progress_bar=true"]
    process = start(*words, cwd=repository, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 100/"):
            os.killpg(process.pid, signal.SIGINT)
            break
    output, _ = process.communicate(timeout=120)
    folder = run_folder(tmp_path, LM, "a")
    assert process.returncode == 128 + signal.SIGINT, output
    interrupted = record_of(folder)
    assert (interrupted.status, interrupted.error) == ("interrupted", "interrupted by SIGINT")
    assert 100 <= interrupted.steps < 400
    assert output.count("transformer on lm") == 1 and "Traceback" not in output
    process = start("resume", folder, cwd=repository)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert (record_of(folder).status, record_of(folder).steps) == ("censored", 400)
    assert [path.name for path in tmp_path.rglob(RECORD)] == [RECORD]


@pytest.mark.slow
def test_each_task_of_a_job_has_a_run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``srun --ntasks-per-node=2`` around runs of one process each: none is second to another."""
    for name, value in by_slurm(0)[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # as Lightning reads it off SLURM_PROCID when it is imported
    code, folder = fit(LM, tmp_path, "a", 5, 5, "--trainer.devices=1")
    assert (code, record_of(folder).status) == (0, "censored")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ("fit", ["--data.batch_size=7"], "batch_size=7 does not divide among 2 processes"),
        ("fit", ["--seeds=0-1", "--seed=0"], "--seeds trains in one process, not in 2: give --trainer.devices 1"),
        (
            "fit",
            ["--trainer.strategy=ddp_spawn"],
            "--trainer.strategy ddp_spawn brings nothing back from its processes",
        ),
        ("fit", ["--trainer.strategy=dpp"], "You selected an invalid strategy name"),
        ("sweep", [], "2 processes would each repeat the command line, which is none of python -m benchmark fit"),
    ],
)
def test_mistakes_leave_nothing_behind(
    words: str,
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["emergence-benchmark", words])
    monkeypatch.setattr(Trainer, "fit", lambda *args, **kwargs: pytest.fail("it is about to start processes"))
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    assert fit(LM, tmp_path, "a", 5, 5, *DDP, *options)[0] == 2
    errors = capsys.readouterr().err
    assert message in errors and len(errors.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_job_of_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in by_slurm(0)[0].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    assert fit(LM, tmp_path, "a", 5, 5, *DDP, "--trainer.num_nodes=2")[0] == 2
    assert "`--ntasks-per-node=1` does not match" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
