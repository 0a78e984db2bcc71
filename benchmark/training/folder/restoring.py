"""Checkpoints that a run goes on from, or takes its weights from."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmark.config.errors import BenchmarkError, Damaged, said
from benchmark.config.identity import RunIdentity
from benchmark.training.folder.checkpoint import check_checkpoint, newest_checkpoint
from benchmark.training.module import EmergenceModule


def own_checkpoint(folder: Path, begin_anew: bool) -> Path | None:
    """The checkpoint that the run in a folder goes on from, None if it is to start from the beginning.

    Args:
        folder: run folder.
        begin_anew: where all that is there is damaged, warn and return None.

    Raises:
        Damaged: one line, if all that is there is damaged and the run is not to begin anew.
    """
    try:
        return newest_checkpoint(folder)
    except Damaged as damage:
        if not begin_anew:
            raise Damaged(f"{damage}; delete it, and resume begins the run anew") from damage
        warnings.warn(f"{damage}: the run begins anew", stacklevel=2)
        return None


def require_resumable(path: Path | None, identity: RunIdentity, module: EmergenceModule, probes: Sequence[str]) -> None:
    """Raise a ValueError of one line if training cannot go on from a checkpoint, or not begin without one."""
    if path is None:
        if identity.intervention is not None and identity.intervention.fork is not None:
            raise BenchmarkError(
                "a fork begins from a checkpoint, which is not there: python -m benchmark fork makes it"
            )
        return
    checkpoint = check_checkpoint(path, identity)
    if "optimizer_states" not in checkpoint:
        raise BenchmarkError(
            f"{path}: holds weights only, of one of many seeds or kept along the way: training cannot go on"
            " from it; resume the folder of the whole run"
        )
    if (there := checkpoint.get("metrics", [])) != (here := list(module.metrics)):
        raise BenchmarkError(
            f"{path}: its curves have the metrics {there}, this run asks for {here}: set metrics: {there}"
        )
    recorders = checkpoint.get("callbacks", {}).get("Recorder", {}).get("seeds", {})
    tables = {name: None for log in recorders.values() for name in log.get("probes", {}).get("names", ())}
    if (looked := sorted(tables)) != (asked := sorted(probes)):
        raise BenchmarkError(
            f"{path}: its table has the probes {looked}, this run asks for {asked}: set probes: {looked}"
        )


def take_weights(path: Path, identity: RunIdentity, module: EmergenceModule) -> int:
    """Put the weights of a checkpoint into a run's module; returns the steps they have seen.

    Raises:
        ValueError: one line, if it is damaged, of another run or does not fit the models.
    """
    checkpoint = check_checkpoint(path, identity)
    try:
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
        return int(checkpoint["global_step"])
    except Exception as error:  # whatever parts that are missing or of another kind lead to
        raise Damaged(f"{path}: does not fit this model: {said(error)}") from error
