import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.__main__ import main
from benchmark.progress import EmergenceProgressBar
from tests.benchmark.runs import CA, LM, fit_command


@pytest.mark.parametrize(("settings", "headline"), [(LM, "rows solved"), (CA, "accuracy")])
def test_a_terminal_shows_loss_headline_speed_and_time_left(
    settings: list[str], headline: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr("benchmark.progress.REFRESH_S", 0.0)
    monkeypatch.setattr(
        EmergenceProgressBar, "make_console", lambda self: Console(file=screen, force_terminal=True, width=140)
    )
    words = [word for word in fit_command(settings, tmp_path, "a", 40, 10) if "progress" not in word]
    assert main(words) == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    lines = [line for line in re.split(r"[\r\n]+", shown) if "training" in line]
    assert len(lines) > 20
    pattern = rf"training .*40/40 loss \d\.\d+ {headline} \d\.\d\d [\d,]+ tokens/s \d:\d\d:\d\d"
    assert re.search(pattern, re.sub(r"\s+", " ", lines[-1])), lines[-1]


def test_without_a_terminal_there_are_a_few_plain_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in fit_command(LM, tmp_path, "a", 300, 5) if "progress" not in word]
    assert main(words) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert len(lines) == 20
    assert re.fullmatch(r"step 300/300  loss [\d.]+  rows solved [\d.]+  [\d,]+ tokens/s  at most 0 s left", lines[-1])
