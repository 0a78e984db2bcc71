"""State of a unit's run folder: nothing yet, a run to go on with, its outcome, or something else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmark.config.files.yaml_text import from_text, text_of
from benchmark.config.identity import RunIdentity, difference
from benchmark.config.run_config import SEEDS
from benchmark.sweeps.plan import Unit
from benchmark.training.folder.layout import CONFIG, finished_record
from leaderboard.records.record import Record
from leaderboard.whole_files import write_whole

DECIDE = ("model", "data", "protocol", "optimizer", "seed", *SEEDS, "suite", "cell")
"""Parts of a configuration that decide what a run is; where it runs and what it shows may change."""


def outcome(folder: Path, unit: Unit, identity: RunIdentity) -> Record | None:
    """The record of a unit that has ended; None if there is something left to do.

    Args:
        folder: the run folder.
        unit: the run.
        identity: what it is.

    Raises:
        ValueError: one line, if the folder holds another run, or a record that is not valid.
    """
    record = finished_record(folder)
    if record is None:
        check_config(folder, unit)
        return None
    if (line := _difference(RunIdentity.of(record).flat(), identity.flat())) is not None:
        raise ValueError(f"{folder}: holds the record of another run ({line}): choose another --out, or remove it")
    return record


def check_config(folder: Path, unit: Unit) -> None:
    """Make sure that a run folder is this unit's, if there is one.

    Raises:
        ValueError: one line, if it was made for another configuration.
    """
    path = folder / CONFIG
    if not path.exists() or (text := text_of(path)) == unit.config:
        return
    try:
        there, here = flat(from_text(text)), flat(from_text(unit.config))
    except (yaml.YAMLError, AttributeError) as error:
        raise ValueError(f"{path}: is not a run's configuration") from error
    if (line := _difference(there, here)) is not None:
        raise ValueError(f"{folder}: holds another run ({line}): choose another --out, or remove it")


def make_folder(folder: Path, unit: Unit) -> None:
    """Make the run folder with the configuration in it, unless there is one; a kill at any moment harms nothing.

    Raises:
        ValueError: as `check_config`.
        OSError: if it cannot be made.
    """
    check_config(folder, unit)
    if not (folder / CONFIG).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / CONFIG, unit.config.encode())


def flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """Every decided value by its dotted key; what is not set counts as what is null."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{prefix}.{name}" if prefix else name, inner)
        elif value is not None:
            flat[prefix] = value

    walk("", {name: content.get(name) for name in DECIDE})
    return flat


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    found = difference(there, here)
    return None if found is None else f"{found[0]} = {found[1]} there, {found[2]} here"
