import io
import re
from pathlib import Path

import pytest
from rich.console import Console

import benchmark
from benchmark.__main__ import main
from benchmark.training.display.progress_bar import EmergenceProgressBar
from benchmark.training.display.terminal import is_live
from tests.helpers.runs import CA, LM, fit_command


@pytest.mark.train
@pytest.mark.parametrize(("settings", "headline"), [(LM, "rows solved"), (CA, "accuracy second half")])
def test_a_terminal_shows_loss_headline_speed_and_time_left(
    settings: list[str], headline: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr("benchmark.training.display.progress_bar.REFRESH_S", 0.0)
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


@pytest.mark.train
def test_without_a_terminal_there_are_a_few_plain_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in fit_command(LM, tmp_path, "a", 300, 5) if "progress" not in word]
    assert main(words) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert len(lines) == 20
    assert re.fullmatch(r"step 300/300  loss [\d.]+  rows solved [\d.]+  [\d,]+ tokens/s  at most 0 s left", lines[-1])


@pytest.mark.parametrize(
    ("console", "widgets", "live"),
    [
        (Console(file=io.StringIO(), force_terminal=True), False, True),
        (Console(file=io.StringIO(), force_jupyter=True), True, True),
        (Console(file=io.StringIO(), force_jupyter=True), False, False),
        (Console(file=io.StringIO()), True, False),
    ],
    ids=["terminal", "notebook", "notebook without ipywidgets", "file"],
)
def test_what_can_be_drawn_over(console: Console, widgets: bool, live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.training.display.terminal.find_spec", lambda name: object() if widgets else None)
    assert is_live(console) == live


@pytest.mark.slow
@pytest.mark.parametrize("in_notebook", [True, False])
def test_python_prints_lines_in_a_notebook_that_cannot_draw_and_nothing_elsewhere(
    in_notebook: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(file=io.StringIO(), force_jupyter=in_notebook)
    monkeypatch.setattr(EmergenceProgressBar, "make_console", lambda self: console)
    monkeypatch.setattr("benchmark.training.display.terminal.find_spec", lambda name: None)
    options = {"d_model": 16, "n_heads": 2}
    data = {"state_size": 4, "n_nonzero": 2, "batch_size": 8, "eval_sequences": 20}
    benchmark.fit(
        "transformer", "lm", model_options=options, data_options=data, protocol={"max_steps": 8, "eval_every": 4},
        out=tmp_path, picture=False, trainer={"logger": False},
    )  # fmt: skip
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["step 4/8", "step 8/8"] * in_notebook
