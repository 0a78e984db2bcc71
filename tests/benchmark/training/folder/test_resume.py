"""A run that was stopped and resumed is the run that nothing stopped, bit for bit (on the CPU)."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.module import EmergenceModule
from datamodules import Rows
from tests.helpers.runs import CA, LM, assert_same_run, curves_of, fit, record_of, resume, send_at

# LM with one cell to copy and a high learning rate: solved after some 20 of 60 steps.
EASY = [*LM, "--data.n_nonzero=1", "--optimizer.lr=0.03", "--data.batch_size=64"]
# settings, steps, evaluation grid
RUNS = {"lm": (LM, 30, 5), "ca": (CA, 30, 5), "every_step": (LM, 8, 1), "ragged": (CA, 13, 5), "solved": (EASY, 200, 5)}

Undisturbed = Callable[[str], Path]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The folder of the undisturbed run of a name in RUNS."""
    folders: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in folders:
            settings, steps, every = RUNS[name]
            code, folders[name] = fit(settings, tmp_path_factory.mktemp(name), "whole", steps, every)
            assert code == 0
        return folders[name]

    return get


def stopped(name: str, out: Path, *more: str) -> tuple[int, Path]:
    settings, steps, every = RUNS[name]
    return fit(settings, out, "stopped", steps, every, *more)


@pytest.mark.train
@pytest.mark.parametrize(
    ("name", "signals"),
    [
        pytest.param("lm", [9], id="on an evaluation step"),
        pytest.param("lm", [12], id="off an evaluation step"),
        pytest.param("lm", [0], id="in the first step"),
        pytest.param("lm", [12, 13], id="twice in a row"),
        pytest.param("lm", [3, 4, 5, 24], id="around an evaluation"),
        pytest.param("lm", [28], id="before the last step"),
        pytest.param("lm", [29], id="in the last step"),
        pytest.param("ca", [9], id="ca on an evaluation step, cosine"),
        pytest.param("ca", [12, 13], id="ca twice off one, cosine"),
        pytest.param("every_step", [0, 1, 5], id="evaluation at every step"),
        pytest.param("ragged", [10, 11, 12], id="budget off the evaluation grid"),
    ],
)
def test_stopped_by_a_signal(
    name: str, signals: list[int], undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = undisturbed(name)
    send_at(monkeypatch, *signals)
    code, folder = stopped(name, tmp_path)
    for at in signals:
        assert code == 128 + signal.SIGINT
        assert (record_of(folder).status, record_of(folder).steps) == ("interrupted", at + 1)
        code = resume(folder)
    assert code == 0
    assert_same_run(folder, whole)


@pytest.mark.train
def test_solved_at_the_step_that_was_stopped(
    undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has reached its end, but did not come to say so: resuming must not train on."""
    whole = undisturbed("solved")
    assert record_of(whole).status == "solved" and record_of(whole).steps < RUNS["solved"][1]
    send_at(monkeypatch, record_of(whole).steps - 1)
    code, folder = stopped("solved", tmp_path)
    assert code == 128 + signal.SIGINT
    assert resume(folder) == 0
    assert_same_run(folder, whole)


@pytest.mark.train
@pytest.mark.parametrize("name", ["lm", "ca"])
def test_ended_at_once_before_any_checkpoint(
    name: str, undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second signal does not wait: the run starts anew."""
    whole = undisturbed(name)
    send_at(monkeypatch, 2, times=2)
    code, folder = stopped(name, tmp_path)
    assert code == 128 + signal.SIGINT and not (folder / CHECKPOINT).exists()
    assert resume(folder) == 0
    assert_same_run(folder, whole)


@pytest.mark.train
@pytest.mark.parametrize("name", ["lm", "ca", "every_step", "ragged"])
def test_goes_on_from_the_last_checkpoint_after_an_error(
    name: str, undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation that came after the checkpoint, or was never reached, is there once."""
    whole = undisturbed(name)
    settings, steps, every = RUNS[name]
    training_step = EmergenceModule.training_step

    def fail(module: EmergenceModule, batch: Rows, batch_idx: int) -> torch.Tensor:
        if module.global_step == steps - 2:
            raise RuntimeError("no more memory")
        return training_step(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(EmergenceModule, "training_step", fail)
        code, folder = stopped(name, tmp_path, "--checkpoint_interval_s=0")
    assert (code, record_of(folder).status) == (1, "error")
    assert torch.load(folder / CHECKPOINT, weights_only=True)["global_step"] == (steps - 2) // every * every
    assert resume(folder) == 0
    assert_same_run(folder, whole)


@pytest.mark.train
def test_the_whole_grid_is_evaluated_once(undisturbed: Undisturbed) -> None:
    """The undisturbed run that the other tests compare with: step 0, every fifth step, the last."""
    assert curves_of(undisturbed("lm"))["step"].tolist() == list(range(0, 31, 5))
    assert curves_of(undisturbed("ragged"))["step"].tolist() == [0, 5, 10]


@pytest.mark.train
def test_tensorboard_has_every_point_once_at_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send_at(monkeypatch, 4, 12, 13)
    _, folder = stopped("lm", tmp_path, "--trainer.log_every_n_steps=1")
    for _ in range(3):
        resume(folder)
    events = EventAccumulator(str(folder))
    events.Reload()
    loss = [(event.step, event.value) for event in events.Scalars("val/loss_nats")]
    curves = curves_of(folder)
    assert loss == [
        (step, pytest.approx(value)) for step, value in zip(curves["step"], curves["loss_nats"], strict=True)
    ]
    assert [event.step for event in events.Scalars("train/loss_nats")] == list(range(1, 31))


@pytest.mark.train
def test_learning_rate_follows_the_cosine_to_the_end(
    undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate of every step, over a stop: 7 steps of warm-up, then half a cosine over the other 23."""
    rates: list[float] = []
    training_step = EmergenceModule.training_step

    def note(module: EmergenceModule, batch: Rows, batch_idx: int) -> torch.Tensor:
        loss = training_step(module, batch, batch_idx)
        rates.append(module.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    monkeypatch.setattr(EmergenceModule, "training_step", note)
    send_at(monkeypatch, 4, 16)
    _, folder = stopped("ca", tmp_path)
    resume(folder)
    resume(folder)
    warm_up = [1e-3 * (step + 1) / 7 for step in range(7)]
    cosine = [1e-3 * (1 + torch.cos(torch.tensor(torch.pi * step / 23)).item()) / 2 for step in range(23)]
    assert rates == pytest.approx(warm_up + cosine, rel=1e-5, abs=1e-9)
