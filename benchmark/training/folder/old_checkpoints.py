"""Checkpoints of earlier versions of this suite, from which runs go on exactly."""

import copy
from collections.abc import Sequence
from typing import Any

STACKED = "ensemble.template."
"""Before names of weights of many seeds, up to version 0.1."""


def upgrade(checkpoint: dict[str, Any], seeds: Sequence[int]) -> None:
    """Turn a checkpoint of an earlier version into one of this version, in place; one of this version stays as it is.

    Args:
        checkpoint: as Lightning loads it.
        seeds: of the run, those that have ended included.
    """
    if loops := checkpoint.get("loops"):
        _count_manual_steps(loops["fit_loop"])
    if any(name.startswith(STACKED) for name in checkpoint["state_dict"]):
        _unstack_or_rename(checkpoint, alone=len(seeds) == 1)
    checkpoint.setdefault("seeds", list(seeds))
    checkpoint["lr_schedulers"] = []  # every step sets its own learning rate
    callbacks: dict[str, Any] = checkpoint.get("callbacks", {})
    if "RunRecorder" in callbacks:
        state = {**callbacks.pop("RunRecorder"), "curves": callbacks.pop("EmergenceTracker")["curves"]}
        callbacks["Recorder"] = {"diverged": {}, "seeds": {seeds[0]: state}}
    if "EnsembleRecorder" in callbacks:
        old = callbacks.pop("EnsembleRecorder")
        states = {seed: {**of["recorder"], "curves": of["tracker"]["curves"]} for seed, of in old["seeds"].items()}
        callbacks["Recorder"] = {"diverged": old["diverged"], "seeds": states}


def _count_manual_steps(fit_loop: dict[str, Any]) -> None:
    """One seed was once optimised automatically, and Lightning counts those steps elsewhere: it would begin at 0."""
    automatic = fit_loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
    manual = fit_loop["epoch_loop.manual_optimization.optim_step_progress"]
    if automatic["total"]["completed"]:
        manual.update(copy.deepcopy(automatic))


def _unstack_or_rename(checkpoint: dict[str, Any], alone: bool) -> None:
    """Weights and moments of many seeds were under another name, and stacked for a single one too."""
    prefix = "model." if alone else "model.template."
    weights = {prefix + name.removeprefix(STACKED): x for name, x in checkpoint["state_dict"].items()}
    checkpoint["state_dict"] = {name: x[0] for name, x in weights.items()} if alone else weights
    if alone:
        for optimizer in checkpoint.get("optimizer_states", []):
            for state in optimizer["state"].values():
                state.update({name: x[0] for name, x in state.items() if name != "step"})
