"""`python -m benchmark new`: what it writes works at once, and a refusal leaves everything as it was."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from architectures import ARCHITECTURES
from benchmark.__main__ import main
from benchmark.contract import scaffold
from leaderboard.records.record import read_record


@pytest.fixture
def template() -> Iterator[ModuleType]:
    """The template as a module, registered for the length of a test."""
    from benchmark.contract import starting_point

    yield starting_point
    ARCHITECTURES.pop("starting_point", None)
    sys.modules.pop("benchmark.contract.starting_point", None)
    sys.modules["benchmark.contract"].__dict__.pop("starting_point", None)


@pytest.fixture
def checkout(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As much of a checkout as the command touches, in place of the real one."""
    root = tmp_path / "checkout"
    for folder in ("architectures", "configs"):
        (root / folder).mkdir(parents=True)
    shutil.copy(repository / "pyproject.toml", root)
    monkeypatch.setattr(scaffold, "ROOT", root)
    return root


def contents(folder: Path) -> dict[Path, str | None]:
    """Every file with its text, and every folder."""
    return {path: path.read_text() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("length", [1, 2, 3, 63, 64, 65])
def test_the_recurrence_of_the_template(length: int, template: ModuleType) -> None:
    decay, write = torch.rand(2, 3, length, 5, dtype=torch.float64)
    decay[..., 0], decay[..., 1] = 0, 1
    h, expected = torch.zeros(3, 5, dtype=torch.float64), []
    for t in range(length):
        h = decay[:, t] * h + write[:, t]
        expected.append(h)
    torch.testing.assert_close(template.linear_recurrence(decay, write), torch.stack(expected, 1), rtol=1e-12, atol=0)


def test_parameter_count_of_the_template(template: ModuleType) -> None:
    model = template.StartingPoint(7, 9, d_model=16, n_layers=3, mlp_ratio=2, positions="learned")
    block = 2 * 2 * 16 + (16 * 16 + 16) + 3 * 16 * 16 + (16 * 32 + 32) + (32 * 16 + 16)
    assert sum(p.numel() for p in model.parameters()) == 2 * 7 * 16 + 9 * 16 + 2 * 16 + 3 * block


@pytest.mark.slow
@pytest.mark.process
def test_a_new_architecture_works_at_once(repository: Path, tmp_path: Path) -> None:
    """In a copy of the checkout: new, then check in full, and fit with the YAML file."""
    for room in ("architectures", "benchmark", "datamodules", "leaderboard", "configs"):
        shutil.copytree(repository / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy(repository / "pyproject.toml", tmp_path)

    def benchmark(*commands: list[str]) -> str:
        """Output of the commands, one after another in one process of the copy."""
        code = f"from benchmark.__main__ import main\nfor words in {commands!r}:\n    assert main(words) == 0, words"
        process = [sys.executable, "-c", code]
        done = subprocess.run(process, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    output = benchmark(["new", "sketched_model"])
    assert "next     python -m benchmark check sketched_model\n" in output
    written = [
        "architectures/sketched_model.py",
        "configs/arch/sketched_model.yaml",
        "configs/arch/sketched_model_parameters.yaml",
    ]
    assert all(str(tmp_path / name) in output for name in written)
    tiny = ["--data=lm", "--data.state_size=4", "--data.n_nonzero=2", "--data.batch_size=4"]
    settings = [
        "--model=sketched_model",
        "--config=configs/arch/sketched_model.yaml",
        *tiny,
        "--trainer.accelerator=cpu",
    ]
    fit = ["fit", *settings, "--protocol.max_steps=2", "--protocol.eval_every=1", "--name=a", "--picture=false"]
    output = benchmark(["check", "sketched_model"], fit)
    assert "overfits                   passed" in output
    assert "streaming                  passed" in output
    assert "\nsketched_model: nothing failed\n" in output
    record = read_record(tmp_path / "runs" / "lm" / "sketched_model" / "a" / "record.json")
    assert (record.architecture.name, record.steps, record.status) == ("sketched_model", 2, "censored")
    assert_style((tmp_path / written[0]).read_text(), written[0], repository)


def assert_style(source: str, name: str, repository: Path) -> None:
    """Hold a source against ruff, as a file of the repository."""
    for style in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *style, "--stdin-filename", name, "-"]
        done = subprocess.run(command, cwd=repository, input=source, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
@pytest.mark.parametrize("name", ["a", "abcdefghijklmnopqrstuvwx"])
def test_names_of_any_length_keep_the_style(name: str, repository: Path) -> None:
    assert_style(scaffold.rendered(name), f"architectures/{name}.py", repository)


@pytest.mark.slow
def test_a_package_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep" / "mine"
    assert main(["new", "my_idea", "--out", str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"next     python -m benchmark check {folder / 'my_idea.py'}\n" in out
    assert {path.name for path in folder.iterdir()} == {"my_idea.py", "my_idea.yaml", "pyproject.toml"}
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["entry-points"] == {"emergence_benchmark.architectures": {"my_idea": "my_idea"}}
    assert project["tool"]["setuptools"]["py-modules"] == ["my_idea"]
    try:
        assert main(["check", str(folder / "my_idea.py"), "--fast"]) == 0
        assert ARCHITECTURES["my_idea"].__doc__ is not None
    finally:
        ARCHITECTURES.pop("my_idea", None)
        sys.modules.pop("_file_my_idea", None)


REFUSED = [
    (["transformer"], "architecture name 'transformer' is already taken by architectures.transformer: choose another"),
    (["ops"], "'ops' (class Ops) means something else in the code: choose another name"),
    (["state"], "'state' (class State) means something else in the code: choose another name"),
    (["torch"], "'torch' (class Torch) means something else in the code"),
    (["super"], "'super' (class Super) means something else in the code"),
    (["hf_mine"], "'hf_mine': names with hf_ before them are those of hf:NAME: choose another"),
    (["My-Model"], "'My-Model' cannot be a name here: lower case letters, digits and underscores, like my_model"),
    (["../evil"], "'../evil' cannot be a name here"),
    (["class"], "'class' cannot be a name here"),
    (["x" * 25], "is longer than 24 characters: choose a shorter name"),
    (["occupied"], "occupied.py exists already: choose another name"),
    (["numpy", "--out", "new_folder"], "a package 'numpy' would hide the Python module of this name"),
    (["fine", "--out", "checkout"], "--out: checkout exists already: choose a new folder"),
    (["fine", "--outt", "x"], "unknown option --outt: did you mean --out?"),
    ([], "NAME is missing: see --help"),
]


@pytest.mark.parametrize(("words", "line"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_a_refusal_is_one_line_and_leaves_nothing(
    words: list[str], line: str, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout.parent)
    (checkout / "architectures" / "occupied.py").write_text("something")
    before = contents(checkout.parent)
    assert main(["new", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert line in err
    assert contents(checkout.parent) == before


def test_without_a_checkout_a_folder_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaffold, "ROOT", tmp_path)
    assert main(["new", "my_idea"]) == 2
    assert "not checked out: give --out FOLDER for a package of your own" in capsys.readouterr().err
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_what_fails_halfway_leaves_nothing(
    failure: BaseException, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(checkout)
    write_text = Path.write_text

    def fail(path: Path, text: str, encoding: str) -> int:
        if path.name == "my_idea_parameters.yaml":  # the last of three
            raise failure
        return write_text(path, text, encoding)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fail)
        assert main(["new", "my_idea"]) in (1, 130)
    assert contents(checkout) == before
    assert main(["new", "my_idea"]) == 0
    assert len(contents(checkout)) == len(before) + 4  # three files, one folder
    capsys.readouterr()
