"""The wording of help screens and messages, in one place that `make snapshots` renews: the diff shows the change."""

import inspect
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import architectures
import datamodules
from benchmark.__main__ import COMMANDS, LIGHTNING
from benchmark.config import plugins
from tests.benchmark.cli.test_cli import MISTAKES
from tests.benchmark.cli.test_commands import MISSPELT, ended

ERRORS = [
    *(["fit", *words] for words, _ in MISTAKES),
    *([name, *words] for name, (words, _, _) in MISSPELT.items()),
    ["fitt"], ["resum"], ["zzz"], ["--hlep"], ["--seed"],
    ["resume"], ["replay"], ["list", "tasks"], ["fit", "tasks"], ["sweep", "--lr=3"], ["fit", "--lr=3"],
    ["resume", "no_folder"], ["replay", "no.json"], ["check", "transfomer"], ["check", "no.py"], ["new", "My-Model"],
    ["sweep"], ["sweep", "--suite=life"], ["sweep", "--suite=lite", "--models=mambo"],
    ["sweep", "--suite=lite", "--cells=lm"], ["sweep", "--suite=lite", "--seeds=3-1"],
    ["sweep", "--suite=lite", "--grid=data.n_nonzeros=1"], ["sweep", "--suite=lite", "--engine=slurm"],
    ["sweep", "--suite=lite", "--jobs=0"], ["sweep", "--suite=lite", "--address=auto"],
    ["speed", "--part=some"], ["speed", "--seconds=0"], ["validate", "--model=transformer", "--data=lm", "--seeds=0-3"],
]  # fmt: skip


@pytest.fixture(autouse=True)
def _far_from_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [])


@pytest.mark.slow
def test_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str], snapshot: Callable[[str, str], None]) -> None:
    said = []
    for words in ERRORS:
        code = ended(words)
        out, err = capsys.readouterr()
        assert (code, out) == (2, ""), words
        said.append(f"$ python -m benchmark {shlex.join(words)}\n{err.replace(str(tmp_path), '.')}")
    snapshot("errors", "\n".join(said))


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="there argparse lays out options in another way")
def test_help(capsys: pytest.CaptureFixture[str], snapshot: Callable[[str, str], None]) -> None:
    """Help of Lightning's commands changes with Lightning, so they are left out."""
    said = []
    for words in [["--help"], *([name, "--help"] for name in COMMANDS if name not in LIGHTNING)]:
        assert ended(words) == 0
        text = re.sub(r" +$", "", capsys.readouterr().out, flags=re.MULTILINE)
        said.append(f"$ python -m benchmark {shlex.join(words)}\n{text}")
    snapshot("help", "\n".join(said))


def test_options_out_of_range(snapshot: Callable[[str, str], None]) -> None:
    """Every option of the architectures and tasks that the packages export, one at a time, with a wrong value."""
    wrong = {int: -1, float: -1.0, str: "nonsense"}
    exported = [vars(package)[name] for package in (architectures, datamodules) for name in package.__all__]
    ours = [cls for cls in exported if isinstance(cls, type) and not inspect.isabstract(cls)]
    said = []
    for base, first in ((architectures.SequenceModel, (2, 7)), (datamodules.Task, ())):
        classes: list[Any] = sorted((cls for cls in ours if issubclass(cls, base)), key=lambda cls: cls.__name__)
        for cls in classes:
            for option, parameter in inspect.signature(cls).parameters.items():
                if (value := wrong.get(type(parameter.default))) is not None:
                    with pytest.raises(ValueError) as error:
                        cls(*first, **{option: value})
                    said.append(f"{cls.__name__} {option}={value!r}: {error.value}")
    assert len(said) > 60
    snapshot("options", "\n".join([*said, ""]))
