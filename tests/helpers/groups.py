"""Two processes that train one model, each a fork with the environment that its launcher would give it."""

import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers.runs import main_process


class Member(NamedTuple):
    """One of the processes of a run, when it has ended."""

    exit_code: int | None
    output: str
    rows: list[tuple[str, int, int]]


Prepare = Callable[[Path], None]
Group = Callable[..., list[Member]]
"""Runs a command in two processes: its words, what each does first, and the environment that they find."""


def by_hand(port: int) -> list[dict[str, str]]:
    """What two processes find in their environment that were started by hand or by Lightning."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    return [shared | {"LOCAL_RANK": str(rank)} for rank in range(2)]


def by_slurm(port: int) -> list[dict[str, str]]:
    """Two tasks of ``srun --nodes=2 --ntasks-per-node=1``: each is the first on its node."""
    shared = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "SLURM_JOB_ID": "17"}
    shared |= {"SLURM_JOB_NAME": "fit", "SLURM_LOCALID": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [shared | {"SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank)} for rank in range(2)]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def nothing(output: Path) -> None:
    """A process as it is."""


def member(words: list[str], output: Path, environment: dict[str, str], prepare: Prepare) -> None:
    """The body of one of the processes."""
    os.environ.update(environment)
    prepare(output)
    main_process(words, output)


def runner_of_two(tmp_path_factory: pytest.TempPathFactory, *modules: str) -> Group:
    """What runs a command in two processes, with these modules imported, until both have ended."""
    server: ForkServerContext = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["benchmark.training.run", *modules])

    def run(
        words: list[str],
        prepares: tuple[Prepare, Prepare] = (nothing, nothing),
        environments: Callable[[int], list[dict[str, str]]] = by_hand,
    ) -> list[Member]:
        outputs = [tmp_path_factory.mktemp("member") / "output" for _ in range(2)]
        members: list[ForkServerProcess] = [
            server.Process(target=member, args=(words, *rest))
            for rest in zip(outputs, environments(free_port()), prepares, strict=True)
        ]
        for process in members:
            process.start()
        for process in members:
            process.join(120)
            process.kill()  # nothing happens to a process that has ended
            process.join()
        return [
            Member(process.exitcode, output.read_text(), rows_of(output.with_name("rows")))
            for process, output in zip(members, outputs, strict=True)
        ]

    return run


def rows_of(path: Path) -> list[tuple[str, int, int]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [tuple(json.loads(line)) for line in lines]
