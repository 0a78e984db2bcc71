"""Tiny runs of the command line, in this process or another, and what two runs that are the same have in common."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from benchmark.__main__ import main
from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.folder.layout import CURVES, RECORD
from benchmark.training.module import EmergenceModule
from datamodules import Rows
from leaderboard.records.record import Record, read_record

MODEL = ["--model=transformer", "--model.d_model=16", "--model.n_heads=2", "--model.n_layers=1"]
LM = [*MODEL, "--data=lm", "--data.state_size=4", "--data.n_nonzero=2", "--data.batch_size=8"]
LM += ["--data.eval_sequences=20"]
CA = [*MODEL, "--data=ca", "--data.state_size=4", "--data.n_states=4", "--data.n_rules=4", "--data.batch_size=4"]
CA += ["--data.eval_sequences=6", "--optimizer.schedule=cosine"]
TRAINED = {"global_step", "state_dict", "optimizer_states", "identity"}
DECIDED = {
    "status", "architecture", "task", "protocol_hash", "optimizer", "seeds", "hits", "first_loss_nats", "final",
    "steps", "tokens", "parameters", "flops_per_token", "precision", "first_batch_hash", "first_losses_nats",
}  # fmt: skip


def fit_command(settings: Iterable[str], out: Path, name: str, steps: int, every: int) -> list[str]:
    """The words after ``python -m benchmark`` for a run in OUT/task/model/NAME, without bar and picture."""
    protocol = [f"--protocol.max_steps={steps}", f"--protocol.eval_every={every}", "--optimizer.warmup_steps=7"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--picture=false"]
    return ["fit", *settings, *protocol, *quiet, "--seed=3", f"--out={out}", f"--name={name}"]


def run_folder(out: Path, settings: Iterable[str], name: str) -> Path:
    """Where the run of `fit_command` lies."""
    model, task = (
        next(word.removeprefix(prefix) for word in settings if word.startswith(prefix))
        for prefix in ("--model=", "--data=")
    )
    return out / task / model / name


def fit(settings: list[str], out: Path, name: str, steps: int, every: int, *more: str) -> tuple[int, Path]:
    """Run in this process: the exit code and the run folder."""
    return main([*fit_command(settings, out, name, steps, every), *more]), run_folder(out, settings, name)


def resume(folder: Path) -> int:
    """Go on in this process: the exit code."""
    return main(["resume", str(folder)])


def send_at(monkeypatch: pytest.MonkeyPatch, *steps: int, signum: int = signal.SIGINT, times: int = 1) -> None:
    """Send this process a signal just before a training step counted from 0, once for each of the given steps."""
    left = list(steps)

    def on_train_batch_start(module: EmergenceModule, batch: Rows, batch_idx: int) -> None:
        if module.global_step in left:
            left.remove(module.global_step)
            for _ in range(times):
                os.kill(os.getpid(), signum)

    monkeypatch.setattr(EmergenceModule, "on_train_batch_start", on_train_batch_start)


def record_of(folder: Path) -> Record:
    """The valid record of a run folder."""
    return read_record(folder / RECORD)


def curves_of(folder: Path) -> pd.DataFrame:
    """The learning curves of a run folder."""
    return pd.read_parquet(folder / CURVES)


def assert_same_run(folder: Path, reference: Path) -> None:
    """Two run folders hold the same run: weights, optimizer, schedule, targets, curves and record, to the last bit.

    Times, places and what Lightning counts beside the steps may differ.
    """
    ours, theirs = (torch.load(f / CHECKPOINT, weights_only=True) for f in (folder, reference))
    for name in TRAINED:
        assert_same(ours[name], theirs[name], name)
    logs, their_logs = (checkpoint["callbacks"]["Recorder"]["seeds"] for checkpoint in (ours, theirs))
    for seed, log in logs.items():
        assert_same(log["curves"], their_logs[seed]["curves"], f"curves of seed {seed}")
    pd.testing.assert_frame_equal(curves_of(folder), curves_of(reference), check_exact=True)
    assert record_of(folder).model_dump(include=DECIDED) == record_of(reference).model_dump(include=DECIDED)


def assert_same(ours: Any, theirs: Any, where: str) -> None:
    """Equal through dictionaries, lists and tensors, bit for bit."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), where
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{where}[{i}]")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where
