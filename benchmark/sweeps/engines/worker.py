"""The process of one run of a sweep on this machine."""

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

from benchmark.config.signals import listen

LOG = "log.txt"
"""In the run folder: what the run says, of all its attempts."""

GRACE_S = 60.0
"""Time that a run may take to end after a signal: the rest of a step, an evaluation, a checkpoint."""


def work(folder: Path) -> None:
    """Do what ``python -m benchmark resume FOLDER`` does, in one thread, and end with its exit code.

    A run whose checkpoint is damaged begins anew, and says so in its log.
    """
    os.setsid()  # Ctrl-C in the terminal is for the driver, which ends its runs in order
    listen()  # the fork server ignores signals, and so did this process so far
    try:
        with open(folder / LOG, "ab", buffering=0) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
    except OSError:  # the driver finds out why; here nobody reads what is said
        sys.exit(1)
    faulthandler.enable()
    threading.Thread(target=_end_with_parent, daemon=True).start()

    import torch

    from benchmark.config.errors import reported
    from benchmark.config.plugins import load_plugins
    from benchmark.training.display.summary import resume_and_print

    def resumed() -> int:
        load_plugins()
        return resume_and_print(folder, begin_anew=True, trust=True)  # the sweep wrote its configuration

    torch.set_num_threads(1)
    sys.exit(reported(resumed))


def work_on(folder: Path, device: str) -> None:
    """The same for the ensemble in a run folder, on the GPU of this number (CUDA_VISIBLE_DEVICES) and no other."""
    os.environ["CUDA_VISIBLE_DEVICES"] = device
    work(folder)


def _end_with_parent() -> None:
    """When the driver is gone, end too: in order, at once if that takes long, and whatever happens in the end."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    for signum in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        os.kill(os.getpid(), signum)
        time.sleep(GRACE_S)
