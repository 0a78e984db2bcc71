"""However a run ends, it leaves a valid record, the exit code that says how, and no traceback where none helps."""

import json
import os
import re
import signal
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from benchmark.training.folder.checkpoint import CHECKPOINT, Checkpointer
from benchmark.training.folder.layout import RECORD
from benchmark.training.folder.lock import LOCK
from benchmark.training.folder.recorder import Recorder
from benchmark.training.module import EmergenceModule
from tests.helpers.processes import PATIENCE_S, in_process, until
from tests.helpers.runs import LM, assert_same_run, fit, fit_command, record_of, resume, run_folder, send_at

SIGNALS = [signal.SIGINT, signal.SIGTERM]
LONG = (6_000, 300)  # steps, evaluation grid: 20 s or more if nothing ends it


@pytest.fixture
def training(tmp_path: Path, started: list[Any]) -> tuple[ForkServerProcess, Path, Path]:
    """A process that has trained for some steps and has no checkpoint yet, its run folder, and what it says."""
    more = ["--protocol.stop_when_solved=false", "--trainer.enable_progress_bar=true", "--checkpoint_interval_s=1000"]
    output = tmp_path / "output"
    output.touch()
    process = in_process([*fit_command(LM, tmp_path, "long", *LONG), *more], output)
    started.append(process)
    until(lambda: re.search(r"^step \d", output.read_text(), re.MULTILINE))
    return process, run_folder(tmp_path, LM, "long"), output


def sent(process: ForkServerProcess, *signals: int) -> int | None:
    """The exit code of a process after signals that it gets within one step, the smaller number first."""
    assert process.pid is not None
    for signum in (signal.SIGSTOP, *signals, signal.SIGCONT):
        os.kill(process.pid, signum)
    process.join(PATIENCE_S)
    return process.exitcode


@pytest.mark.process
@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_ends_the_process_in_order(signum: int, training: tuple[ForkServerProcess, Path, Path]) -> None:
    process, folder, output = training
    assert sent(process, signum) == 128 + signum, output.read_text()
    record = record_of(folder)
    assert (record.status, record.error) == ("interrupted", f"interrupted by {signal.Signals(signum).name}")
    assert torch.load(folder / CHECKPOINT, weights_only=True)["global_step"] == record.steps
    assert "Traceback" not in output.read_text()
    assert f"python -m benchmark resume {folder}" in output.read_text()


@pytest.mark.process
def test_a_second_signal_decides(training: tuple[ForkServerProcess, Path, Path]) -> None:
    """The process ends at once, or after the little that it was doing between two steps; the run can go on from there.

    That a pass is broken off is tested with a signal at a known moment, in test_resume.py.
    """
    process, folder, output = training
    assert sent(process, signal.SIGINT, signal.SIGTERM) == 128 + signal.SIGTERM, output.read_text()
    assert record_of(folder).error == "interrupted by SIGTERM"
    assert record_of(folder).status == "interrupted" and record_of(folder).steps < LONG[0]
    assert "Traceback" not in output.read_text()


@pytest.mark.train
@pytest.mark.parametrize("signum", [*SIGNALS, signal.SIGHUP])
def test_resumes_to_the_end_as_the_run_that_began(signum: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send_at(monkeypatch, 7, signum=signum)
    code, folder = fit(LM, tmp_path, "a", 20, 5)
    interrupted = record_of(folder)
    assert (code, interrupted.status, interrupted.steps) == (128 + signum, "interrupted", 8)
    assert resume(folder) == 0
    ended = record_of(folder)
    assert (ended.status, ended.steps, ended.started_at) == ("censored", 20, interrupted.started_at)
    assert ended.ended_at > interrupted.ended_at and ended.wall_train_s > interrupted.wall_train_s


@pytest.mark.train
def test_a_closed_terminal_does_not_end_what_nohup_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send_at(monkeypatch, 7, signum=signal.SIGHUP)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        code, folder = fit(LM, tmp_path, "a", 20, 5)
    finally:
        assert signal.signal(signal.SIGHUP, before) == signal.SIG_IGN
    assert (code, record_of(folder).steps) == (0, 20)


@pytest.mark.slow
def test_a_run_that_has_ended_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, folder = fit(LM, tmp_path, "a", 5, 5)
    before = (folder / RECORD).read_bytes()
    capsys.readouterr()
    assert resume(folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(name in line for name in ("error: ", str(folder), "censored", "resume"))
    assert (folder / RECORD).read_bytes() == before


@pytest.mark.train
@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_in_the_evaluation_before_the_first_step(
    signum: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = fit(LM, tmp_path, "whole", 10, 5)

    def send(module: EmergenceModule) -> None:
        os.kill(os.getpid(), signum)

    with monkeypatch.context() as patch:
        patch.setattr(EmergenceModule, "on_validation_start", send)
        code, folder = fit(LM, tmp_path, "a", 10, 5)
    assert (code, record_of(folder).status, record_of(folder).steps) == (128 + signum, "interrupted", 0)
    assert resume(folder) == 0
    assert_same_run(folder, whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("during", "times", "signum"),
    [
        ("last checkpoint", 1, signal.SIGINT),
        ("last checkpoint", 2, signal.SIGTERM),
        ("record", 1, signal.SIGTERM),
        ("record", 2, signal.SIGINT),
    ],
)
def test_signals_while_the_end_is_written_change_nothing(
    during: str, times: int, signum: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = {"last checkpoint": (Checkpointer, "save"), "record": (Recorder, "write")}[during]
    method = getattr(owner, name)

    def interrupted(*args: object) -> object:
        for _ in range(times):
            os.kill(os.getpid(), signum)
        return method(*args)

    monkeypatch.setattr(owner, name, interrupted)
    code, folder = fit(LM, tmp_path, "a", 5, 5)
    assert (code, record_of(folder).status) == (0, "censored")
    assert (folder / CHECKPOINT).exists()


@pytest.mark.slow
def test_signals_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(signum) for signum in SIGNALS]
    fit(LM, tmp_path, "whole", 5, 5)
    assert [signal.getsignal(signum) for signum in SIGNALS] == before
    send_at(monkeypatch, 2)
    fit(LM, tmp_path, "stopped", 5, 5)
    assert [signal.getsignal(signum) for signum in SIGNALS] == before


@pytest.mark.slow
@pytest.mark.parametrize("where", ["training_step", "validation_step"])
def test_an_error_in_the_model(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, the traceback for whoever wrote the model, a record with the reason in one line."""
    step = getattr(EmergenceModule, where)

    def fail(module: EmergenceModule, batch: torch.Tensor, batch_idx: int) -> object:
        if module.global_step == 5:
            raise RuntimeError("the state\nhas the wrong shape")
        return step(module, batch, batch_idx)

    monkeypatch.setattr(EmergenceModule, where, fail)
    code, folder = fit(LM, tmp_path, "a", 10, 5)
    record = record_of(folder)
    assert (code, record.status, record.steps) == (1, "error", 5)
    assert record.error == "RuntimeError: the state has the wrong shape"
    errors = capsys.readouterr().err
    assert errors.count("Traceback") == 1
    assert errors.splitlines()[-1] == f"error: run ended as error: {record.error}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("every", "what"),
    [pytest.param(20, "training loss", id="training"), pytest.param(1, "held-out loss", id="held-out")],
)
def test_a_learning_rate_that_diverges(
    every: int, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [*LM, "--optimizer.lr=1e38", "--optimizer.clip_norm=0"]
    code, folder = fit(settings, tmp_path, "a", 20, every)
    record = record_of(folder)
    assert (code, record.status) == (3, "diverged")
    assert record.error is not None and re.fullmatch(rf"{what} is (nan|inf) at step {record.steps}", record.error)
    assert record.final is not None and record.final.step == 0, "the last evaluation that was a number"
    (line,) = capsys.readouterr().err.splitlines()
    assert all(name in line for name in ("error: ", "diverged", str(record.error)))
    json.loads((folder / RECORD).read_text(), parse_constant=lambda name: pytest.fail(f"{name} in the record"))
    assert resume(folder) == 2


@pytest.mark.slow
def test_a_disk_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint that cannot be written is an error of the run; the one before stays."""
    save = torch.save

    def full(content: dict[str, Any], file: BinaryIO) -> None:
        if content["global_step"] == 10:
            file.write(bytes(1000))
            raise OSError(28, "No space left on device")
        save(content, file)

    monkeypatch.setattr(torch, "save", full)
    code, folder = fit(LM, tmp_path, "a", 20, 5, "--checkpoint_interval_s=0")
    (line,) = capsys.readouterr().err.splitlines()
    error = record_of(folder).error
    assert (code, line) == (1, f"error: run ended as error: {error}")
    assert error is not None
    assert all(part in error for part in (str(folder / CHECKPOINT), "No space left on device", "bytes are free"))
    assert torch.load(folder / CHECKPOINT, weights_only=True)["global_step"] == 5
    assert {path.name for path in folder.glob(".*")} <= {LOCK}, "the broken file is left behind"
