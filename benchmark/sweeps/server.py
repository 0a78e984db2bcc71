"""The fork server from which the runs of a sweep on this machine come. Nothing heavy is imported here."""

import multiprocessing
import os
import signal
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PRELOAD = ["benchmark.cli.train", "benchmark.sweeps.worker", "numba", "pandas", "pyarrow.parquet"]


def context() -> ForkServerContext:
    """Where its processes are made."""
    return multiprocessing.get_context("forkserver")


def start_server() -> None:
    """Let the fork server import what every run needs; it does so beside whatever follows here."""
    context().set_forkserver_preload(PRELOAD)
    before = {name: os.environ.get(name) for name in THREADS}
    # Its children ignore Ctrl-C until they listen to it in their own way: one could come before they are set up.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
