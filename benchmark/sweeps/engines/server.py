"""The fork server from which the runs of a sweep on this machine come. Nothing heavy is imported here."""

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import current_process, forkserver, util
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, BinaryIO

from benchmark.config.signals import SIGNALS
from benchmark.training.folder.lock import LOCK, is_alive, is_taken, take

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PRELOAD = [
    "benchmark.training.display.summary",
    "benchmark.sweeps.engines.worker",
    "numba",
    "pandas",
    "pyarrow.parquet",
]
_ATTEMPTS = 4
_SOCKETS = "emergence-sweep-"
_LONGEST_ROOT = 50
"""Characters: the path of a socket has 107 at most."""


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
    _own_socket_folder()
    before = {name: os.environ.get(name) for name in THREADS}
    # Its children ignore Ctrl-C until they listen to it in their own way: one could come before they are set up.
    # A signal to the whole group of processes must not take the server from under the runs that are to end in order.
    in_main_thread = threading.current_thread() is threading.main_thread()  # Python allows it nowhere else
    handlers = {signum: signal.signal(signum, signal.SIG_IGN) for signum in SIGNALS} if in_main_thread else {}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        forkserver.ensure_running()
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start_process(work: Callable[..., None], *args: Any) -> ForkServerProcess:
    """A new process of the fork server, which is started again if somebody has killed it.

    Raises:
        OSError: one line, if it does not stay alive.
    """
    for attempt in range(_ATTEMPTS):
        process = context().Process(target=work, args=args)
        try:
            with without_main_file():
                process.start()
            return process
        except (EOFError, ConnectionError, FileNotFoundError):
            time.sleep(attempt * 0.5)  # until the system has noticed that it is gone
            start_server()
    raise OSError("the process from which runs are started was killed, again and again: is there enough memory?")


def _own_socket_folder() -> None:
    """Make a folder for the server's socket, which is removed when this process ends, or when the next one begins."""
    config: dict[str, Any] = current_process()._config  # type: ignore[attr-defined]
    if config.get("tempdir") is not None:
        return
    for root in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"]):
        if len(root) > _LONGEST_ROOT:
            continue
        with suppress(OSError):
            for left in Path(root).glob(f"{_SOCKETS}*"):
                _remove_if_left(left)
            folder = tempfile.mkdtemp(prefix=f"{_SOCKETS}{os.getpid()}-", dir=root)
            held = take(Path(folder, LOCK))
            config["tempdir"] = folder
            util.Finalize(None, _remove, args=(folder, held), exitpriority=-100)
            return
    raise OSError("no temporary folder can be written to (TMPDIR, /tmp, /var/tmp): a sweep needs one for its socket")


def _remove(folder: str, held: BinaryIO | None) -> None:
    """Remove this process's own folder."""
    shutil.rmtree(folder, ignore_errors=True)
    if held is not None:
        held.close()


def _remove_if_left(folder: Path) -> None:
    """Remove the folder of a process that was killed."""
    pid = folder.name.removeprefix(_SOCKETS).partition("-")[0]
    with suppress(OSError):  # another sweep removes it at this moment
        ours = folder.stat().st_uid == os.getuid()
        if ours and pid.isdecimal() and not is_alive(int(pid)) and not is_taken(folder / LOCK):
            shutil.rmtree(folder, ignore_errors=True)
