"""Loads the run in a folder, or resumes its training."""

import warnings
from pathlib import Path

from benchmark.config.errors import BenchmarkError
from benchmark.config.files.yaml_text import read_yaml
from benchmark.config.identity import RunIdentity, difference
from benchmark.config.parser import config_of, parse
from benchmark.config.plugins import registered_only
from benchmark.config.run_config import RunConfig
from benchmark.metrics.registry import METRICS
from benchmark.probes.registry import PROBES
from benchmark.training.first_stage import note_first_stage
from benchmark.training.folder.layout import CONFIG, RECORD, require_unfinished
from benchmark.training.members import Member
from benchmark.training.run import Run, build, restored
from leaderboard.records.record import read_record


def load(folder: str | Path, *, step: int | None = None, weights: bool = True, trust: bool = False) -> Run:
    """The run in a folder, with its weights at the end, or those kept after a step.

    Works for a run that has ended, whatever way, or is not over yet; for the folder of one seed of many, and for that
    of all of them. Where only the record is there, `weights=False` gives the run with its initial weights.

    Args:
        folder: run folder.
        step: one of `Run.kept_steps`; None for the end.
        weights: take the trained weights.
        trust: import whatever classes its configuration names; otherwise registered ones, torch's and Lightning's only.

    Raises:
        ValueError: one line, if the folder is not a run folder, or the weights are not there or damaged.
    """
    if step is not None and (isinstance(step, bool) or not isinstance(step, int)):
        raise BenchmarkError(f"step must be one of Run.kept_steps, or None for the end; got {step!r}")
    if step is not None and not weights:
        raise BenchmarkError("step says which weights to load: leave out weights=False")
    folder = Path(folder)
    config = config_in(folder, trust=trust)
    run = restored(config, folder, step) if weights else build(config)
    run.folder = folder
    for member in run.members:
        _check_record(run.seed_folder(member.seed) / RECORD, member)
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


def config_in(folder: Path, *, trust: bool = False) -> RunConfig:
    """The configuration of the run in a folder, from its config.yaml or else from its record.

    Raises:
        ValueError: one line, if there is neither, or one is not valid.
    """
    if (path := folder / CONFIG).is_file():
        try:
            content = read_yaml(path)
        except ValueError as error:
            raise BenchmarkError(str(error)) from error
        for kind, known in (("metrics", METRICS), ("probes", PROBES)):
            if isinstance(asked := content.get(kind), list) and (gone := [name for name in asked if name not in known]):
                listed = ", ".join(gone)
                warnings.warn(f"{path}: {kind} that are not registered here are left out: {listed}", stacklevel=2)
                content[kind] = [name for name in asked if name in known]
        try:
            return parse(content if trust else registered_only(content))
        except ValueError as error:
            raise BenchmarkError(f"{path}: {error}") from error
    if (folder / RECORD).is_file():
        return config_of(read_record(folder / RECORD))
    if not folder.is_dir():
        raise BenchmarkError(f"{folder}: no such folder")
    raise BenchmarkError(f"{folder}: is not a run folder (it has no {CONFIG} and no {RECORD})")


def resume(
    folder: Path,
    *,
    begin_anew: bool = False,
    progress: bool = True,
    plain_progress: bool = True,
    trust: bool = False,
) -> Run:
    """Go on with the run in a folder, from its checkpoint if there is one; `Run.outcome` says how it ended.

    Args:
        folder: run folder.
        begin_anew, progress, plain_progress: as for `Run.fit`.
        trust: as for `load`.

    Raises:
        ValueError: if it has ended, or the folder is not a run folder.
    """
    if not (folder / CONFIG).is_file():
        raise BenchmarkError(f"{folder}: is not a run folder (it has no {CONFIG})")
    require_unfinished(folder)
    run = load(folder, weights=False, trust=trust)
    if run.config.first_stage is not None:
        note_first_stage(folder, run.config)
    run.fit(begin_anew=begin_anew, progress=progress, plain_progress=plain_progress)
    return run
