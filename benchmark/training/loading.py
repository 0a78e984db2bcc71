"""Loads the run in a folder, or resumes its training."""

from pathlib import Path

import torch
import yaml

from benchmark.config.errors import BenchmarkError
from benchmark.config.identity import RunIdentity, difference
from benchmark.config.parser import config_of, parse
from benchmark.config.run_config import RunConfig
from benchmark.training.folder.checkpoint import CHECKPOINT, check_checkpoint
from benchmark.training.folder.layout import CONFIG, RECORD, finished_record, kept_checkpoint, kept_steps, seed_folder
from benchmark.training.members import Member, members_of
from benchmark.training.run import Run
from leaderboard.records.record import read_record


def load(folder: str | Path, *, step: int | None = None, weights: bool = True) -> Run:
    """The run in a folder, with its weights at the end, or those kept after a step.

    Works for a run that has ended, whatever way, or is not over yet; for the folder of one seed of many, and for that
    of all of them. Where only the record is there, `weights=False` gives the run with its initial weights.

    Args:
        folder: run folder.
        step: one of `Run.kept_steps`; None for the end.
        weights: take the trained weights.

    Raises:
        ValueError: one line, if the folder is not a run folder, or the weights are not there or damaged.
    """
    if step is not None and (isinstance(step, bool) or not isinstance(step, int)):
        raise BenchmarkError(f"step must be one of Run.kept_steps, or None for the end; got {step!r}")
    if step is not None and not weights:
        raise BenchmarkError("step says which weights to load: leave out weights=False")
    folder = Path(folder)
    config = config_in(folder)
    at = 0
    with torch.random.fork_rng(devices=[]):
        members, data = members_of(config)
        for member in members if weights else ():
            at = _load_weights(member, folder if config.seeds is None else seed_folder(folder, member.seed), step)
        run = Run(config, members, data, folder)
    for member in members:
        _check_record(run.seed_folder(member.seed) / RECORD, member)
    run.step = at
    return run


def _check_record(path: Path, member: Member) -> None:
    """Make sure that a record, if there is one, is of this run."""
    if not path.exists():
        return
    if found := difference(RunIdentity.of(read_record(path)).flat(), member.identity.flat()):
        name, there, here = found
        raise BenchmarkError(
            f"{path}: is the record of another run ({name} = {there} there, {here} in the configuration beside it)"
        )


def _load_weights(member: Member, folder: Path, step: int | None) -> int:
    """Put the weights of a seed into its model; the optimizer steps that they have seen."""
    path = folder / CHECKPOINT if step is None else kept_checkpoint(folder, step)
    if not path.exists():
        raise BenchmarkError(_no_weights(folder, step))
    checkpoint = check_checkpoint(path, member.identity)
    weights = {name.removeprefix("model."): x for name, x in checkpoint["state_dict"].items()}
    dtypes = {x.dtype for x in weights.values() if x.is_floating_point()}
    if len(dtypes) == 1:  # those of precisions like 64-true are not float32
        member.model.to(dtypes.pop())
    try:
        member.model.load_state_dict(weights)
    except RuntimeError as error:
        raise BenchmarkError(f"{path}: does not fit this model: {' '.join(str(error).split())}") from error
    return int(checkpoint["global_step"])


def config_in(folder: Path) -> RunConfig:
    """The configuration of the run in a folder, from its config.yaml or else from its record.

    Raises:
        ValueError: one line, if there is neither, or one is not valid.
    """
    if (path := folder / CONFIG).is_file():
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise BenchmarkError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict):
            raise BenchmarkError(f"{path}: is not a run's configuration")
        try:
            return parse(content)
        except ValueError as error:
            raise BenchmarkError(f"{path}: {error}") from error
    if (folder / RECORD).is_file():
        return config_of(read_record(folder / RECORD))
    if not folder.is_dir():
        raise BenchmarkError(f"{folder}: no such folder")
    raise BenchmarkError(f"{folder}: is not a run folder (it has no {CONFIG} and no {RECORD})")


def resume(folder: Path, *, progress: bool = True, plain_progress: bool = True) -> Run:
    """Go on with the run in a folder, from its checkpoint if there is one; `Run.outcome` says how it ended.

    Args:
        folder: run folder.
        progress, plain_progress: as for `Run.fit`.

    Raises:
        ValueError: if it has ended, or the folder is not a run folder.
    """
    if not (folder / CONFIG).is_file():
        raise BenchmarkError(f"{folder}: is not a run folder (it has no {CONFIG})")
    if finished := finished_record(folder):
        raise BenchmarkError(f"{folder}: this run has ended ({finished.status}); there is nothing to resume")
    run = load(folder, weights=False)
    run.fit(progress=progress, plain_progress=plain_progress)
    return run


def _no_weights(folder: Path, step: int | None) -> str:
    kept = kept_steps(folder)
    known = f"kept are those after steps {', '.join(map(str, kept))}" if kept else "none were kept along the way"
    if step is not None:
        return f"{folder}: there are no weights of step {step}: {known} (keep_every)"
    path = folder / RECORD
    status = (
        f"; its record says {read_record(path).status} after {read_record(path).steps} steps" if path.exists() else ""
    )
    return (
        f"{folder}: there are no weights at its end ({CHECKPOINT} is missing{status}; {known}):"
        " load(folder, weights=False) gives the run with its initial ones"
    )
