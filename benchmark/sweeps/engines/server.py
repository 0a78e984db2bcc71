"""The fork server from which the runs of a sweep on this machine come. Nothing heavy is imported here."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PRELOAD = [
    "benchmark.training.display.summary",
    "benchmark.sweeps.engines.worker",
    "numba",
    "pandas",
    "pyarrow.parquet",
]


@contextmanager
def without_main_file() -> Iterator[None]:
    """Hide the script of this process, which a new process would otherwise import: seconds, and whatever it does."""
    main = sys.modules["__main__"]
    shown: dict[str, Any] = {name: main.__dict__[name] for name in ("__file__", "__spec__") if name in main.__dict__}
    main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(shown)


def context() -> ForkServerContext:
    """The context that makes its processes."""
    return multiprocessing.get_context("forkserver")


def start_server() -> None:
    """Let the fork server import what every run needs; it does so beside whatever follows here."""
    context().set_forkserver_preload(PRELOAD)
    before = {name: os.environ.get(name) for name in THREADS}
    # Its children ignore Ctrl-C until they listen to it in their own way: one could come before they are set up.
    in_main_thread = threading.current_thread() is threading.main_thread()  # Python allows it nowhere else
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        forkserver.ensure_running()
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
