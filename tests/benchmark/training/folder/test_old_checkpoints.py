"""Runs that version 0.1 began, before one module trained one seed and many, go on as if nothing had happened.

`golden/one` and `golden/many` were written by that version: a linear map by a transformer of width 8, interrupted after
13 of 20 steps; `undisturbed.json` says how the same runs ended there when nothing stopped them.
"""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.folder.layout import CONFIG
from tests.helpers.runs import CA, LM, assert_same_run, fit, record_of, resume, send_at

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = json.loads((GOLDEN / "undisturbed.json").read_text())


@pytest.mark.train
@pytest.mark.parametrize("kind", ["one", "many"])
def test_a_checkpoint_of_that_version_goes_on(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / kind
    shutil.copytree(GOLDEN / kind, folder)
    assert resume(folder) == 0
    for seed, expected in EXPECTED[kind].items():
        record = record_of(folder / f"seed{seed}" if kind == "many" else folder)
        assert (record.status, record.steps) == (expected["status"], expected["steps"])
        assert record.final is not None
        # Another CPU rounds otherwise: within 20 steps by far less than this, and a step forgotten by far more.
        assert record.first_losses_nats == pytest.approx(expected["first_losses_nats"], rel=1e-5)
        assert record.final.loss_nats == pytest.approx(expected["final"]["loss_nats"], rel=1e-5)


def as_version_0_1(checkpoint: dict[str, Any], seed: int) -> dict[str, Any]:
    """A checkpoint of one seed as that version would have written it."""
    old = copy.deepcopy(checkpoint)
    del old["seeds"]
    loop = old["loops"]["fit_loop"]
    manual = loop["epoch_loop.manual_optimization.optim_step_progress"]
    loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"] = copy.deepcopy(manual)
    for counts in manual.values():
        counts.update(ready=0, completed=0)
    log = old["callbacks"].pop("Recorder")["seeds"][seed]
    old["callbacks"]["EmergenceTracker"] = {"hittings": {}, "curves": log.pop("curves")}
    old["callbacks"]["RunRecorder"] = log
    old["lr_schedulers"] = [{"last_epoch": old["global_step"]}]
    return old


@pytest.mark.train
def test_double_precision_goes_on_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of the checkpoint are not rounded to float32 on their way."""
    _, whole = fit(LM, tmp_path, "whole", 40, 10, "--trainer.precision=64-true")
    send_at(monkeypatch, 17)
    _, folder = fit(LM, tmp_path, "stopped", 40, 10, "--trainer.precision=64-true")
    monkeypatch.undo()
    assert resume(folder) == 0
    assert_same_run(folder, whole)


@pytest.mark.train
@pytest.mark.parametrize("settings", [LM, CA], ids=["lm", "ca"])
def test_to_the_last_bit(settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = fit(settings, tmp_path, "whole", 40, 10)
    send_at(monkeypatch, 17)
    _, folder = fit(settings, tmp_path, "stopped", 40, 10)
    assert record_of(folder).steps == 18
    monkeypatch.undo()
    checkpoint = torch.load(folder / CHECKPOINT, weights_only=True)
    torch.save(as_version_0_1(checkpoint, 3), folder / CHECKPOINT)
    assert resume(folder) == 0
    assert_same_run(folder, whole)


def test_the_layout_is_that_versions() -> None:
    """A checkpoint of that version lacks and names the parts that `as_version_0_1` leaves out and renames."""
    old = torch.load(GOLDEN / "one" / CHECKPOINT, weights_only=True)
    assert old["callbacks"].keys() == {"EmergenceTracker", "RunRecorder"}
    loop = old["loops"]["fit_loop"]
    assert loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"]["completed"] == 13
    assert loop["epoch_loop.manual_optimization.optim_step_progress"]["total"]["completed"] == 0
    many = torch.load(GOLDEN / "many" / CHECKPOINT, weights_only=True)
    assert all(name.startswith("ensemble.template.") for name in many["state_dict"])


@pytest.mark.train
def test_one_seed_that_was_stacked(tmp_path: Path) -> None:
    """`--seeds 3` was an ensemble of one; now it is trained plainly."""
    folder = tmp_path / "one"
    shutil.copytree(GOLDEN / "many", folder)
    checkpoint = torch.load(folder / CHECKPOINT, weights_only=True)
    checkpoint["state_dict"] = {name: x[:1] for name, x in checkpoint["state_dict"].items()}
    for state in checkpoint["optimizer_states"][0]["state"].values():
        state.update({name: x[:1] for name, x in state.items() if name != "step"})
    checkpoint["seeds"], checkpoint["identity"]["seeds"] = [3], [3]
    for name in ("task_seed", "init_seed", "data_seed"):
        checkpoint["identity"][name] = [3]
    del checkpoint["callbacks"]["EnsembleRecorder"]["seeds"][4]
    torch.save(checkpoint, folder / CHECKPOINT)
    config = folder / CONFIG
    config.write_text(config.read_text().replace("seeds: 3-4", "seeds: '3'"))
    assert resume(folder) == 0
    final, expected = record_of(folder / "seed3").final, EXPECTED["many"]["3"]["final"]
    assert final is not None and final.loss_nats == pytest.approx(expected["loss_nats"], rel=1e-5)
    names = torch.load(folder / "seed3" / CHECKPOINT, weights_only=True)["state_dict"]
    assert names.keys() == torch.load(GOLDEN / "one" / CHECKPOINT, weights_only=True)["state_dict"].keys()
