"""Work of a Ray cluster's node for a sweep: one run at a time in a process of its own, its files sent back.

The Ray worker stays light: neither torch nor Lightning is imported into it. They are in its fork server, as for the
runs of one machine, so that the second run on a worker begins in a second, and the end of a run, whatever way, leaves
the worker as it was.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark.sweeps.engines.ray_folder import is_private
from benchmark.sweeps.engines.server import start_process, start_server
from benchmark.sweeps.engines.worker import work
from benchmark.training.folder.lock import LOCK, is_taken, take

CONFIG = "config.yaml"  # as in benchmark.training.run, which imports torch
SENT_BACK = ("record.json", "curves.parquet", "curves.png", "log.txt")
"""Not the checkpoint: a run that is lost with its node begins again."""

POLL_S = 0.5
"""Ray's cancellation sets a flag that Python looks at only between two waits."""

GRACE_S = 5.0
"""Time that a cancelled run may take to end: nothing that it leaves is kept."""


@dataclass(frozen=True)
class UnitResult:
    """Remains of a run on a node.

    Args:
        exit_code: of its process; negative if a signal killed it.
        files: the content of every file to keep, by name.
        node: host name.
    """

    exit_code: int
    files: dict[str, bytes]
    node: str


def run_unit(config: str) -> UnitResult:
    """Carry out a run in a temporary folder of this node; cancelling it ends its process.

    Args:
        config: YAML text of a complete `fit` configuration.
    """
    start_server()
    with _temporary_folder() as folder:
        (folder / CONFIG).write_text(config, encoding="utf-8")
        process = start_process(work, folder)
        try:
            while process.is_alive():
                process.join(POLL_S)
        finally:
            process.terminate()  # both do nothing to a process that has ended
            process.join(GRACE_S)
            process.kill()
            process.join()
        assert process.exitcode is not None
        files = {name: (folder / name).read_bytes() for name in SENT_BACK if (folder / name).exists()}
        return UnitResult(process.exitcode, files, platform.node())


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A run folder that is removed afterwards; where this process gets killed, by the next one on the machine."""
    root = Path(tempfile.gettempdir(), f"emergence-benchmark-{os.getuid()}")
    root.mkdir(mode=0o700, exist_ok=True)
    if not is_private(root):  # made by somebody else, or open to others
        root = Path(tempfile.mkdtemp(prefix=f"{root.name}-"))
    remove_orphans(root)
    folder = Path(tempfile.mkdtemp(dir=root))
    owner = folder.with_suffix(LOCK)
    lock = take(owner)
    assert lock is not None
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            owner.unlink(missing_ok=True)


def remove_orphans(root: Path) -> None:
    """Remove the run folders of processes that are gone, and the files that say whose they were."""
    for owner in root.glob(f"*{LOCK}"):
        folder = owner.with_suffix("")
        if not is_taken(owner) and not is_taken(folder / LOCK):  # its run may still be about to end
            shutil.rmtree(folder, ignore_errors=True)
            owner.unlink(missing_ok=True)
