"""How sweeps end when something goes wrong: an architecture, the driver, a person who presses Ctrl-C."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from benchmark.config.errors import InUse
from benchmark.sweeps.engines.worker import LOG
from benchmark.sweeps.plan import make_plan
from benchmark.sweeps.state import make_folder
from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.folder.lock import LOCK, is_taken, training_in
from tests.benchmark.config.test_plugins import install
from tests.helpers.processes import PATIENCE_S, in_process, start, until
from tests.helpers.runs import record_of, resume
from tests.helpers.sweep_helpers import LONG, SUITE, records_of


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return path


@pytest.mark.train
def test_a_folder_in_use_is_refused_with_its_own_exit_code(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = make_plan((0,), suite=str(suite), cells=["lm4"], models=["transformer"]).entries[0].unit(0)
    folder = tmp_path / unit.folder
    make_folder(folder, unit)
    with training_in(folder), pytest.raises(InUse), training_in(folder):
        pass
    with training_in(folder):
        before = sorted(folder.iterdir())
        assert resume(folder) == 4
        (line,) = capsys.readouterr().err.splitlines()
        assert all(name in line for name in ("error: ", str(folder), "in use"))
        assert sorted(folder.iterdir()) == before
    assert resume(folder) == 0
    assert not is_taken(folder / LOCK)


@pytest.mark.process
def test_when_the_driver_is_gone_its_workers_end_in_order(tmp_path: Path, started: list[Any]) -> None:
    (tmp_path / "long.yaml").write_text(LONG)
    words: list[str | Path] = [
        "sweep",
        "--config",
        tmp_path / "long.yaml",
        "--seeds=0",
        "--jobs=1",
        f"--out={tmp_path}",
    ]
    driver = in_process(words, tmp_path / "output")
    started.append(driver)
    folder = tmp_path / "long" / "lm" / "transformer" / "seed0"
    until((folder / CHECKPOINT).exists)
    driver.kill()
    driver.join()
    until(lambda: not is_taken(folder / LOCK))
    record = record_of(folder)
    assert (record.status, record.error) == ("interrupted", "interrupted by SIGTERM")
    assert 0 < record.steps < 1_000_000


FAILING = '''
from torch import nn
from architectures import SequenceModel, register

@register("failing")
class Failing(SequenceModel):
    """Fails at its third step."""

    def __init__(self, vocab_size: int, seq_len: int, *, d_model: int = 8, crash: bool = False) -> None:
        super().__init__(vocab_size, seq_len, d_model=d_model, blocks=[nn.LayerNorm(d_model)])
        self.crash, self.calls = crash, 0

    def forward(self, tokens):
        self.calls += self.training
        if self.calls == 3:
            if self.crash:
                import os
                os.abort()
            raise RuntimeError("no third step\\nof mine")
        return super().forward(tokens)
'''


@pytest.mark.process
def test_what_fails_stops_nothing_else(suite: Path, tmp_path: Path, started: list[Any]) -> None:
    site, out = tmp_path / "site", tmp_path / "out"
    site.mkdir()
    install(site, "failing_plugin", FAILING)
    words = ["sweep", f"--suite={suite}", "--models=failing,transformer", "--cells=lm4", "--seeds=0-1"]
    process = in_process([*words, "--jobs=2", f"--out={out}"], tmp_path / "output", site=site)
    started.append(process)
    process.join(PATIENCE_S)
    text = (tmp_path / "output").read_text()
    assert process.exitcode == 1, text
    statuses = {name: record.status for name, record in records_of(out).items()}
    prefix = "tiny/lm4"
    assert statuses == {f"{prefix}/{name}/seed{s}": status for s in (0, 1) for name, status in
                        (("failing", "error"), ("transformer", "censored"))}  # fmt: skip
    for seed in (0, 1):
        log = out / prefix / "failing" / f"seed{seed}" / LOG
        line = "run ended as error: RuntimeError: no third step of mine"
        assert f"failed: {prefix}/failing/seed{seed}: {line} (log: {log})" in text
        assert "Traceback" in log.read_text()
    assert "Traceback" not in text
    # The same command tries again, and a crash of the interpreter is one more kind of failure.
    words += ["--grid=model.crash=true"]
    process = in_process([*words, "--models=failing", "--seeds=0", f"--out={out}"], tmp_path / "output", site=site)
    started.append(process)
    process.join(PATIENCE_S)
    text = (tmp_path / "output").read_text()
    assert process.exitcode == 1, text
    assert "killed by SIGABRT, 4 times" in text
    assert "Fatal Python error: Aborted" in next(out.glob("tiny/lm4,*/failing/seed0/log.txt")).read_text()


@pytest.mark.process
def test_ctrl_c_in_a_terminal(tmp_path: Path, repository: Path, started: list[Any]) -> None:
    """The whole process group gets it, as from a terminal: driver, fork server and workers."""
    (tmp_path / "long.yaml").write_text(LONG)
    words: list[str | Path] = [
        "sweep",
        "--config",
        tmp_path / "long.yaml",
        "--seeds=0-2",
        "--jobs=2",
        f"--out={tmp_path}",
    ]
    process = start(*words, cwd=repository, start_new_session=True)
    started.append(process)
    folders = [tmp_path / "long" / "lm" / "transformer" / f"seed{seed}" for seed in range(3)]
    until(lambda: process.poll() is not None or all((folder / CHECKPOINT).exists() for folder in folders[:2]))
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, output
    assert output.endswith("interrupted: the same command goes on where it stopped\n")
    assert "Traceback" not in output
    for folder in folders[:2]:
        assert record_of(folder).status == "interrupted"
        assert record_of(folder).error == "interrupted by SIGTERM"
        assert (folder / CHECKPOINT).exists()
        assert not is_taken(folder / LOCK)
    assert not folders[2].exists()
