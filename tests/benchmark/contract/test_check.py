"""`python -m benchmark check`: what it prints and how it ends, for models that keep the contract and others."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from architectures import ARCHITECTURES, SequenceModel
from benchmark.__main__ import main
from benchmark.contract import CHECKS, lines

MODEL = '''
import torch
from torch import nn
from architectures import SequenceModel, register

class Block(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x):
        return x + self.out({mix})

@register("planted")
class Planted(SequenceModel):
    """Planted."""

    def __init__(self, vocab_size: int, seq_len: int, *, d_model: int = 16, positions: str = "learned") -> None:
        super().__init__(vocab_size, seq_len, d_model=d_model, positions=positions, blocks=[Block(d_model)])
'''
HONEST = MODEL.format(mix="x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]")
ACAUSAL = MODEL.format(mix="x.mean(1, keepdim=True)")
BROKEN = MODEL.format(mix="x.no_such_thing")


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BATCH_SIZE", 1)
    monkeypatch.setattr(lines, "STEPS", 1)


@pytest.fixture(autouse=True)
def _registry_as_before() -> Iterator[None]:
    before = dict(ARCHITECTURES)
    yield
    ARCHITECTURES.clear()
    ARCHITECTURES.update(before)
    for name in [name for name in sys.modules if name.startswith("_file_")]:
        del sys.modules[name]


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, dict[str, tuple[str, str]], str]:
    """Exit code, lines of the table as name: (outcome, detail), and the line above them."""
    code = main(["check", *map(str, words)])
    head, *lines, _ = capsys.readouterr().out.splitlines()
    table, name = dict[str, tuple[str, str]](), ""
    for line in lines:
        first, outcome, detail = line[:25].strip(), line[27:38].strip(), line[40:].strip()
        name = first or name
        table[name] = (outcome, detail) if first else (table[name][0], f"{table[name][1]} {detail}")
    return code, table, head


def planted(folder: Path, source: str) -> Path:
    """A file with the planted model, under the name of a module of Python's own."""
    path = folder / "random.py"
    path.write_text(source)
    return path


@pytest.mark.slow
def test_a_registered_architecture_passes(capsys: pytest.CaptureFixture[str]) -> None:
    code, table, head = run(capsys, "transformer", "--fast")
    assert code == 0
    assert "with default options, --model.positions rotary, --model.positions none" in head
    titles = [lines.title(function) for function in CHECKS]
    assert list(table) == [*titles, "parameters", "state", "backend", "many seeds", "speed"]
    assert {table[title][0] for title in titles if title != "streaming"} == {"passed"}
    assert table["streaming"] == ("not offered", "no state of fixed size to stream with")
    assert table["shapes"][1].startswith("Any batch and any length up to seq_len")
    # embedding 16 x 128, positions 512 x 128, head 16 x 128, final norm 256; block: 128 x 384 + 384, 128 x 128 + 128,
    # 128 x 512 + 512, 512 x 128 + 128 and two norms
    assert table["parameters"] == (
        "measured",
        "268,160 (width 128, 1 block(s), 16 token values, 512 positions)",
    )
    assert table["state"][0] == "not offered"
    assert table["backend"] == ("measured", "sdpa")
    assert table["many seeds"] == ("measured", "computed at once")
    assert "tokens per CPU-second" in table["speed"][1]
    assert int(table["speed"][1].split()[0].replace(",", "")) > 100


@pytest.mark.slow
def test_a_streaming_one_tells_its_state(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, table, _ = run(capsys, repository / "benchmark" / "contract" / "starting_point.py", "--fast")
    assert code == 0
    assert table["streaming"][0] == "passed"
    assert table["state"] == ("measured", f"{128 * 4} bytes per sequence")


def test_a_file_is_checked_and_its_fault_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, table, head = run(capsys, planted(tmp_path, ACAUSAL), "--fast")
    assert code == 1
    assert str(tmp_path / "random.py") in head
    failed = {name for name, (outcome, _) in table.items() if outcome == "failed"}
    assert failed == {"causality by gradient", "causality by perturbation"}
    assert table["causality by gradient"][1] == "not causal: the logits of position 0 depend on token 1"


@pytest.mark.slow
def test_an_honest_file_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = planted(tmp_path, HONEST)
    assert run(capsys, path, "--fast")[0] == 0
    assert run(capsys, path, "--fast")[0] == 0  # a second time it is imported already
    assert run(capsys, "planted", "--fast")[0] == 0


@pytest.mark.train
def test_the_documented_example_passes(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (repository / "docs/how-to/add-an-architecture.md").read_text()
    (source,) = re.findall(r"```python\n# running_mean.py\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "running_mean.py"
    path.write_text(source)
    assert f"python -m benchmark check {path.name}" in text
    code, table, _ = run(capsys, path)  # the checks that train too
    assert code == 0
    assert table["streaming"][0] == "not offered"


def test_any_exception_is_a_failure_with_its_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, table, _ = run(capsys, planted(tmp_path, BROKEN), "--fast")
    assert code == 1
    assert table["shapes"] == ("failed", "AttributeError: 'Tensor' object has no attribute 'no_such_thing'")
    assert table["speed"][0] == "failed"
    assert table["parameters"][0] == "measured"


@pytest.mark.slow
def test_options_reach_the_model_and_stay_fixed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = list[dict[str, Any]]()

    def check_something(cls: type[SequenceModel], **options: Any) -> None:
        """Something."""
        seen.append(options)

    monkeypatch.setattr(lines, "CHECKS", (check_something,))
    monkeypatch.setattr(lines, "TRAINING_CHECKS", (check_something,))
    code, table, _ = run(capsys, "transformer", "--model.d_model", "16", "--model.positions=rotary")
    assert code == 0
    assert seen == [{"d_model": 16, "positions": "rotary"}] * 2  # one that trains, one that does not
    assert table["something"] == ("passed", "Something.")
    assert "width 16" in table["parameters"][1]
    seen.clear()
    run(capsys, "transformer", "--fast")
    assert seen == [{}, {"positions": "rotary"}, {"positions": "none"}]


def test_which_variant_fails_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def check_something(cls: type[SequenceModel], **options: Any) -> None:
        if options:
            raise AssertionError("is wrong")

    monkeypatch.setattr(lines, "CHECKS", (check_something,))
    code, table, _ = run(capsys, "--fast", "transformer")
    assert code == 1
    assert table["something"] == ("failed", "is wrong (with --model.positions rotary); 2 of 3 variants fail")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "NAME is missing: see --help"),
        (["--model.d_model", "16", "transformer"], "unknown option --model.d_model: see --help"),
        (["transformer", "mamba"], "there is no place for 'mamba': see --help"),
        (["transfomer"], "unknown architecture 'transfomer': did you mean transformer? known names are "),
        (["zzz"], "unknown architecture 'zzz': known names are"),
        (["transformer", "--model.n_hedas", "3"], "unknown option --model.n_hedas: did you mean --model.n_heads"),
        (["transformer", "--n_heads", "3"], "unknown option --n_heads: did you mean --model.n_heads?"),
        (["transformer", "--model.n_heads", "five"], "--model.n_heads: expected int, got value: five"),
        (["transformer", "--model.n_heads", "5"], "model.n_heads = 5 does not divide model.d_model"),
        (["no/such/file.py"], "no/such/file.py: no such file"),
        (["empty.py"], 'empty.py: registers no architecture: put @register("name") above its class'),
        (["faulty.py"], "faulty.py: cannot be imported: ZeroDivisionError: division by zero"),
        (["taken.py"], "taken.py: cannot be imported: ValueError: architecture name 'transformer' of _file_taken is"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.py").write_text("import torch\n")
    Path("faulty.py").write_text("1 / 0\n")
    Path("taken.py").write_text(HONEST.replace('"planted"', '"transformer"'))
    path = list(sys.path)
    assert main(["check", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {line}"), err
    assert (sys.path, "_file_faulty" in sys.modules) == (path, False)


def test_help_lists_the_options_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    for words, option in ((["--help"], "--fast"), (["transformer", "--help"], "--model.n_heads")):
        with pytest.raises(SystemExit) as end:
            main(["check", *words])
        assert end.value.code == 0
        assert option in capsys.readouterr().out
