"""`python -m leaderboard show`: the table, its formats and its exit codes."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from leaderboard.__main__ import main
from leaderboard.board.others import summarise
from leaderboard.records.record import write_record
from leaderboard.render import markdown, text
from tests.helpers.leaderboard.records import START, make_record, run_of


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two architectures on one cell, one of them with two learning rates, and a cell without any observation."""
    records = [
        *(run_of("solved", seed, step) for seed, step in enumerate([200, 400, 600, 800])),
        *(run_of("censored", seed, **{"architecture.name": "mamba"}) for seed in range(2)),
        run_of("solved", 2, 300, **{"architecture.name": "mamba", "tokens_per_s": 9e5, "hardware.device": "cuda"}),
        run_of("diverged", 0, **{"architecture.name": "mamba", "optimizer.lr": 0.003}),
        run_of("error", 0, **{"task.config.state_size": 8, "tokens_per_s": None}),
        run_of("interrupted", 1, **{"task.config.state_size": 8, "tokens_per_s": None}),
    ]
    for number, record in enumerate(records):
        write_record(tmp_path / "runs" / str(number) / "record.json", record)
    return tmp_path / "runs"


def test_rows(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(runs), "--format", "json"]) == 0
    nothing, transformer, mamba, diverged = json.loads(capsys.readouterr().out)
    assert (nothing["task"], nothing["n"], nothing["restricted_mean_step"]) == ("lm S=8 s=3 T=2", 0, None)
    assert nothing["statuses"] == {"error": 1, "interrupted": 1}
    assert (transformer["task"], transformer["architecture"]) == ("lm S=16 s=3 T=2", "transformer")
    assert (transformer["n"], transformer["n_solved"], transformer["median_step"]) == (4, 4, 400)
    assert transformer["restricted_mean_step"] == pytest.approx(500, rel=1e-12)  # from products of rounded shares
    assert (mamba["n"], mamba["n_solved"], mamba["median_step"]) == (3, 1, None)
    assert mamba["restricted_mean_step"] == pytest.approx((300 + 1000 + 1000) / 3)
    assert mamba["tokens_per_s"] == {"cpu": 65000, "cuda": 900000}
    assert mamba["architecture"] == "mamba lr=0.001"
    assert diverged["architecture"] == "mamba lr=0.003"
    assert (diverged["n"], diverged["n_solved"], diverged["restricted_mean_step"]) == (1, 0, 1000)


def test_plain_text(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(line.isascii() and line == line.rstrip() for line in lines)
    start = lines[0].index("architecture")
    assert [line[start : start + 11] for line in lines[2:]] == ["transformer", "mamba lr=0.", "mamba lr=0."]
    assert "1 error, 1 interrupted" in lines[1]
    for cell in ("4/4 (51-100 %)", "400 (200+)", "1,000", "65,000 cpu"):
        assert cell in lines[2]
    assert "> 1,000" in lines[3]
    assert "65,000 cpu, 900,000 cuda" in lines[3]
    assert "1 diverged" in lines[4]


def test_markdown(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(runs), "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert len({line.count("|") for line in lines}) == 1
    assert "a&#124;b" in markdown.summaries(summarise([make_record(**{"architecture.name": "a|b"})]))


def test_rows_of_different_protocols_are_kept_apart() -> None:
    longer = {"protocol.max_steps": 2000}
    rows = summarise([run_of("solved", 0), run_of("solved", 1), run_of("solved", 0, **longer)])
    assert sorted((row.budget, row.n) for row in rows) == [(1000, 2), (2000, 1)]
    assert {row.architecture for row in rows} == {"transformer"}  # the label compares within a protocol


def test_only_differing_settings_are_named() -> None:
    heads = [run_of("solved", 0, **{"architecture.config.n_heads": n}) for n in (4, 8)]
    versions = [run_of("solved", 0, **{"architecture.name": "rwkv", "architecture.version": n}) for n in (1, 2)]
    labels = [row.architecture for row in summarise([*heads, *versions])]
    assert sorted(labels) == [
        "rwkv version=1",
        "rwkv version=2",
        "transformer n_heads=4",
        "transformer n_heads=8",
    ]


def test_cells_are_sorted_by_number() -> None:
    rows = summarise([run_of("solved", 0, **{"task.config.state_size": size}) for size in (128, 8, 16)])
    assert [row.task for row in rows] == [f"lm S={size} s=3 T=2" for size in (8, 16, 128)]


def test_other_tasks_need_no_code() -> None:
    config = {"state_size": 16, "n_colors": 4, "mystery_knob": 0.5}
    [row] = summarise([make_record(**{"task": {"name": "new", "version": 3, "config": config}})])
    assert row.task == "new v3 S=16 C=4 mystery_knob=0.5"


def test_repeated_seed_is_counted_once_and_named() -> None:
    [row] = summarise([run_of("solved", 0, 900), run_of("solved", 0, 100, started_at=START.replace(hour=18))])
    assert (row.n, row.median.step) == (1, 900)
    assert text.summaries([row]).endswith("1 repeated seed ignored")


def test_overlapping_paths_count_once(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(runs), str(runs / "0"), str(runs / "0" / "record.json"), "--format", "json"]) == 0
    assert [(row["n"], row["repeated_seeds"]) for row in json.loads(capsys.readouterr().out)] == [
        (0, 0),
        (4, 0),
        (3, 0),
        (1, 0),
    ]


def test_broken_record_is_named_and_the_table_still_comes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "0" / "record.json").write_text("{")
    assert main(["show", str(runs)]) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 5
    [line] = captured.err.splitlines()
    assert line.startswith(f"broken record: {runs / '0' / 'record.json'}: record: Invalid JSON")


def test_nothing_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(tmp_path / "gone")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and str(tmp_path / "gone") in line
    assert main(["show", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and str(tmp_path) in line
    (tmp_path / "record.json").write_text("{}")
    assert main(["show", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: no valid record found in {tmp_path}"


@pytest.mark.process
def test_terminal_wraps_and_never_cuts(runs: Path, repository: Path) -> None:
    """On an 80-column terminal."""
    main_end, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "leaderboard", "show", str(runs)]
    with subprocess.Popen(command, cwd=repository, stdout=terminal, stderr=terminal, env=environment) as process:
        os.close(terminal)
        output = b""
        try:
            while chunk := os.read(main_end, 65536):
                output += chunk
        except OSError:  # how Linux says that the other end of a pseudo-terminal is closed
            pass
    os.close(main_end)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", output.decode())
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("lm S=16 s=3 T=2   budget 1,000 steps") == 1  # one table a cell
    for cell in ("architecture", "transformer", "4/4 (51-100 %)", "400 (200+)", "> 1,000", "interrupted"):
        assert cell in text


@pytest.mark.process
def test_reader_may_leave_early(runs: Path, repository: Path) -> None:
    command = f"{sys.executable} -m leaderboard show {runs} | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=repository, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.process
def test_show_starts_without_heavy_imports(runs: Path, repository: Path) -> None:
    """Torch and Lightning are not allowed here at all; SciPy and pandas would double the time to the first line."""
    code = (
        "import sys; from leaderboard.__main__ import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'lightning', 'pytorch_lightning', 'scipy', 'pandas'} & set(sys.modules);"
        "print(*sorted(heavy), file=sys.stderr);"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "show", str(runs)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split()) == (0, [])
