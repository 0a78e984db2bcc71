"""Runs that really learn, and ends that users meet: the whole chain from the command to the record."""

import math
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from benchmark.__main__ import main
from tests.helpers.runs import record_of


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_quickstart_solves_and_shows_plateau_and_staircase(seed: int, repository: Path, tmp_path: Path) -> None:
    """Seed 0 as the file says, to its end; another as far as it needs, evaluated half as often."""
    words = ["--config", str(repository / "configs" / "quickstart.yaml"), "--out", str(tmp_path), "--name", "q"]
    shorter = ["--protocol.max_steps=500", "--protocol.eval_every=20", "--picture=false"] if seed else []
    assert main(["fit", *words, "--seed", str(seed), *shorter]) == 0
    folder = tmp_path / "lm" / "transformer" / "q"
    record = record_of(folder)
    assert record.status == "solved"
    assert record.primary_step is not None and 20 <= record.primary_step <= 800
    assert record.final is not None
    # (S - 1) / (2 S - 1) ln 2, and nothing but the unpredictable first state is left to pay for
    assert record.floor_loss_nats == pytest.approx(7 / 15 * math.log(2))
    assert record.final.loss_nats == pytest.approx(7 / 15 * math.log(2), abs=0.01)
    curves = pd.read_parquet(folder / "curves.parquet")
    assert curves["loss_nats"].max() > 0.68  # it starts at the plateau, chance
    halves = [  # where each output bit falls below half of ln 2: not all at once
        next(step for step, loss in zip(curves["step"], curves["loss_by_position_nats"], strict=True) if loss[i] < 0.35)
        for i in range(7, 15)
    ]
    assert max(halves) > min(halves)


@pytest.mark.train
def test_an_automaton_is_learned_below_the_plateau(tmp_path: Path) -> None:
    """S = 4, two colours, 4 rules: small enough to leave the plateau in seconds, with the floor known exactly."""
    words = ["--model=transformer", "--model.d_model=32", "--model.n_heads=4", "--model.n_layers=2", "--data=ca"]
    words += ["--data.state_size=4", "--data.n_states=4", "--data.n_colors=2", "--data.n_rules=4"]
    words += ["--data.tokens_per_step=1024", "--optimizer.lr=3e-3", "--protocol.max_steps=1500"]
    words += ["--protocol.eval_every=50", f"--out={tmp_path}", "--name=a", "--picture=false"]
    assert main(["fit", *words]) == 0
    record = record_of(tmp_path / "ca" / "transformer" / "a")
    assert record.hits["plateau"].step is not None
    assert record.final is not None and record.floor_loss_nats is not None
    assert record.floor_loss_nats - 0.02 < record.final.loss_nats < 0.94 * math.log(2)


@pytest.mark.filterwarnings("default:.*the picture was not drawn")
@pytest.mark.process
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs to mount a small file system")
def test_no_space_left_is_one_line_and_leaves_no_broken_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.decode().strip()}")
    try:
        words = ["--model=transformer", "--model.d_model=64", "--data=lm", "--data.batch_size=8"]
        words += ["--protocol.max_steps=20", "--protocol.eval_every=5", f"--out={tmp_path}", "--name=a"]
        assert main(["fit", *words, "--checkpoint_interval_s=0"]) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("error: ") and "No space left on device" in last
        folder = tmp_path / "lm" / "transformer" / "a"
        assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]
        if (folder / "record.json").exists():
            assert record_of(folder).status == "error"
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
