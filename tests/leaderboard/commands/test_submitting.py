"""SUBMITTING.md: its commands are understood, and it names the suite's cells and the tolerances as they are."""

import argparse
import re
import shlex
from pathlib import Path

import pytest
import yaml

from benchmark.__main__ import COMMANDS
from benchmark.training.replay import COARSE_TOLERANCE, TOLERANCE
from leaderboard.__main__ import main
from leaderboard.commands import submit


@pytest.fixture
def text(repository: Path) -> str:
    return (repository / "leaderboard" / "SUBMITTING.md").read_text(encoding="utf-8")


def commands(text: str) -> list[list[str]]:
    """The words of every command in the fenced blocks, without comments."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "".join(block for language, block in blocks if not language).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def test_every_command_is_there(text: str) -> None:
    said = [tuple(words[2:4]) for words in commands(text) if words[:2] == ["python", "-m"]]
    assert len(said) == len(commands(text)) - 1  # all but setting up
    assert [name for room, name in said if room == "leaderboard"] == ["tuning", "check", "submit", "validate"]
    assert {name for room, name in said if room == "benchmark"} == {"new", "check", "sweep"} <= set(COMMANDS)


def test_the_options_of_submit(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    submit.add_arguments(parser)
    (words,) = (words[4:] for words in commands(text) if words[3:4] == ["submit"])
    options = parser.parse_args(words)
    assert (str(options.runs), options.name, options.tuning_trials) == ("../runs", "my_model", 32)
    assert f"`python -m leaderboard submit {options.runs} --name {options.name}`" in " ".join(text.split())
    for name in ("submit", "validate", "check"):
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
    capsys.readouterr()


def test_the_cells_of_lite(text: str, repository: Path) -> None:
    suite = yaml.safe_load((repository / "configs" / "suites" / "lite.yaml").read_text(encoding="utf-8"))
    sweeps = [words for words in commands(text) if words[3:6] == ["sweep", "--suite", "lite"]]
    said = [words[words.index("--cells") + 1].split(",") for words in sweeps]
    by_task = [
        [name for name, cell in suite["cells"].items() if cell["data"]["class_path"] == task] for task in ("lm", "ca")
    ]
    assert said == by_task


def test_the_tolerances(text: str) -> None:
    assert "relative 1e-5 (1e-3 below float32" in " ".join(text.split())
    assert (TOLERANCE, COARSE_TOLERANCE) == (1e-5, 1e-3)
