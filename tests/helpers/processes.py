"""The command line in processes of its own, most of them from a fork server, so that a life costs no imports.

Moments at which a process is killed then fall on what the harness does rather than on imports.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmark.__main__ import main
from benchmark.sweeps.engines import server

PATIENCE_S = 120.0

Body = Callable[[list[str], Path], None]
"""Work of a process: given its words, and the file for everything that it says."""


def start(*words: str | Path, cwd: Path, **kwargs: Any) -> subprocess.Popen[str]:
    """Start ``python -m benchmark WORDS`` as a process of one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | kwargs.pop("env", {})
    command = [sys.executable, "-m", "benchmark", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | kwargs
    return subprocess.Popen(command, cwd=cwd, env=environment, **pipes)


def main_process(words: list[str], output: Path) -> None:
    """The body of a process: ``python -m benchmark WORDS``, everything it says appended to a file."""
    with open(output, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv = ["benchmark", *words]
    sys.exit(main())


def in_process(
    words: Sequence[str | Path], output: Path, body: Body = main_process, site: Path | None = None
) -> ForkServerProcess:
    """Start ``python -m benchmark WORDS`` in a process from this one's fork server; its own runs come from there too.

    Python would start another fork server in it, whose imports cost more than everything that is tested here.

    Args:
        site: a folder of installed packages.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "PRELOAD", [*server.PRELOAD, "lightning.pytorch.cli", "tensorboard.summary", __name__])
        server.start_server()
    names = ("_forkserver_address", "_forkserver_authkey")
    state = {name: getattr(forkserver._forkserver, name) for name in names if hasattr(forkserver._forkserver, name)}
    process = server.context().Process(
        target=_of_the_same_server, args=(list(map(str, words)), output, body, site, state)
    )
    process.start()
    return process


def _of_the_same_server(words: list[str], output: Path, body: Body, site: Path | None, state: dict[str, Any]) -> None:
    for name, value in state.items():
        setattr(forkserver._forkserver, name, value)
    forkserver._forkserver.ensure_running = forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
    if site is not None:
        sys.path.insert(0, str(site))
    body(words, output)


def until(what: Callable[[], object], interval_s: float = 0.02) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(interval_s)


def free_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Member(NamedTuple):
    """One of the processes of a run, when it has ended."""

    exit_code: int | None
    output: str
    rows: list[tuple[str, int, int]]


Prepare = Callable[[Path], None]


def by_hand(port: int) -> list[dict[str, str]]:
    """Environment of two processes that were started by hand or by Lightning."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    return [shared | {"LOCAL_RANK": str(rank)} for rank in range(2)]


def by_slurm(port: int) -> list[dict[str, str]]:
    """Two tasks of ``srun --nodes=2 --ntasks-per-node=1``: each is the first on its node."""
    shared = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "SLURM_JOB_ID": "17"}
    shared |= {"SLURM_JOB_NAME": "fit", "SLURM_LOCALID": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [shared | {"SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank)} for rank in range(2)]


def nothing(output: Path) -> None:
    """A process as it is."""


def in_two_processes(
    words: list[str],
    folder: Path,
    prepares: tuple[Prepare, Prepare] = (nothing, nothing),
    environments: Callable[[int], list[dict[str, str]]] = by_hand,
) -> list[Member]:
    """The ends of two processes that train one model, each a fork with what a launcher gives it.

    Args:
        folder: for what they say.
        prepares: what each does first.
    """
    outputs = [folder / f"member{i}" / "output" for i in range(2)]
    processes = []
    for output, environment, prepare in zip(outputs, environments(free_port()), prepares, strict=True):
        output.parent.mkdir(parents=True)
        processes.append(in_process(words, output, partial(_member, environment, prepare)))
    for process in processes:
        process.join(PATIENCE_S)
        process.kill()  # nothing happens to a process that has ended
        process.join()
    return [
        Member(process.exitcode, output.read_text(), _rows_of(output.with_name("rows")))
        for process, output in zip(processes, outputs, strict=True)
    ]


def _member(environment: dict[str, str], prepare: Prepare, words: list[str], output: Path) -> None:
    os.environ.update(environment)
    prepare(output)
    main_process(words, output)


def _rows_of(path: Path) -> list[tuple[str, int, int]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [tuple(json.loads(line)) for line in lines]
