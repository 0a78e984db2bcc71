"""Other people's environments: variables, folders and streams that are not as a developer's, several at once."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from leaderboard.records.record import read_record

pytestmark = [pytest.mark.process, pytest.mark.slow]

NO_FOLDER = "/dev/null/none"  # not even root can make it
NO_HOME = {"HOME": NO_FOLDER, "XDG_CACHE_HOME": NO_FOLDER, "XDG_CONFIG_HOME": NO_FOLDER, "MPLCONFIGDIR": NO_FOLDER}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
SLURM = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_PROCID": "2", "RANK": "", "LOCAL_RANK": "one"}
ODD = {"TZ": "Nowhere/Odd", "OMP_NUM_THREADS": "1x", "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "7", "TERM": ""}
FEW = (
    "--protocol.max_steps=2",
    "--protocol.eval_every=1",
    "--data.eval_sequences=2",
    "--data.batch_size=2",
    "--name=a",
)


def run(
    repository: Path,
    folder: Path,
    *words: str,
    variables: Mapping[str, str],
    streams: tuple[int, ...] = (),
    path: str = "",
) -> subprocess.CompletedProcess[str]:
    """A command in a folder, with these variables, and without these standard streams."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    environment |= {"PYTHONPATH": f"{path}{os.pathsep}{repository}", "PYTHONDONTWRITEBYTECODE": "1", **variables}

    def close() -> None:
        os.umask(0o077)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in streams:
            os.close(number)

    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=folder, env=environment, preexec_fn=close, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip


def test_a_run_among_odd_variables_without_a_home(repository: Path, tmp_path: Path) -> None:
    words = ("-O", "-m", "benchmark", "fit", "--model=transformer", "--data=lm", *FEW)
    done = run(repository, tmp_path, *words, streams=(0,), variables=NO_HOME | ASCII | SLURM | ODD)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    folder = tmp_path / "runs" / "lm" / "transformer" / "a"
    assert read_record(folder / "record.json").status == "censored"
    assert (folder / "curves.png").stat().st_size
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning")]
    assert [line.split("=")[0] for line in warnings] == ["warning: RANK", "warning: LOCAL_RANK"]


def broken_numba(folder: Path, repository: Path) -> None:
    (folder / "numba.py").write_text("raise ImportError('Numba needs another NumPy')", encoding="utf-8")


def read_only_checkout(folder: Path, repository: Path) -> None:
    """Loops whose machine code can be kept nowhere."""
    shutil.copytree(
        repository / "architectures", folder / "architectures", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "architectures" / "ops" / "cpu" / "__pycache__").touch()


SQUARES = """
import torch
from architectures.ops.backend import choose
from architectures.ops.pointwise.squared_relu import squared_relu
for _ in range(2):
    chosen = choose("auto", torch.device("cpu"), "fla")
    print(chosen, squared_relu(torch.tensor([[-1.0, 3.0]]), implementation=chosen).tolist())
"""


@pytest.mark.parametrize(
    ("prepare", "chosen", "reason"),
    [(broken_numba, "torch", "Numba needs another NumPy"), (read_only_checkout, "numba", "NUMBA_CACHE_DIR")],
)
def test_auto_does_without_a_convenience(
    prepare: Callable[[Path, Path], None], chosen: str, reason: str, repository: Path, tmp_path: Path
) -> None:
    prepare(tmp_path, repository)
    done = run(repository, tmp_path, "-c", SQUARES, path=str(tmp_path), variables=NO_HOME)
    assert (done.returncode, done.stdout.splitlines()) == (0, 2 * [f"{chosen} [[0.0, 9.0]]"]), done.stderr
    warnings = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert len(warnings) == 1 and reason in warnings[0], done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [(("benchmark", "list"), 0), (("benchmark", "lits"), 2), (("leaderboard", "schema"), 0), (("leaderboard", "x"), 2)],
)
def test_closed_streams(words: tuple[str, ...], code: int, repository: Path, tmp_path: Path) -> None:
    for streams in ((0, 1), (0, 1, 2)):
        done = run(repository, tmp_path, "-m", *words, streams=streams, variables={})
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr


def test_an_output_without_the_characters(repository: Path, tmp_path: Path) -> None:
    """Bounds are written with a sign that ASCII lacks; what is lacking is replaced."""
    words = (
        "benchmark",
        "sweep",
        "--config=task/lm",
        "--models=transformer",
        "--seeds=0",
        "--max_steps=50",
        "--dry_run",
    )
    done = run(repository, tmp_path, "-m", *words, variables=ASCII)
    assert done.returncode == 0 and "1 of 1 runs to do" in done.stdout, done.stderr
