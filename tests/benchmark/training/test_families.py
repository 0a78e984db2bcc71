"""Runs of models that a library names: trained, recorded, replayed, resumed, loaded and swept as any other."""

from pathlib import Path

import pytest
import torch
import transformers

import benchmark
from architectures import families
from benchmark.__main__ import main
from benchmark.config.files.yaml_text import read_yaml
from benchmark.config.parser import config_of
from benchmark.training.evidence.step_cost import step_cost
from benchmark.training.folder.layout import CONFIG
from benchmark.training.replay import Mismatch, replay
from leaderboard.records.record import Record
from tests.helpers.runs import LM, assert_same_run, fit_command, record_of, resume, send_at
from tests.helpers.sweep_helpers import SUITE

LLAMA = ["--model=hf:llama", "--model.d_model=16", "--model.n_heads=2", "--model.config=num_key_value_heads=1", *LM[4:]]
LIBRARY = f"transformers {transformers.__version__}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    assert main(fit_command(LLAMA, out, "a", 20, 5)) == 0
    return out / "lm" / "hf_llama" / "a"  # no file system forbids this name


@pytest.mark.train
def test_the_record_says_whose_code_it_was(folder: Path) -> None:
    of = record_of(folder).architecture
    assert (of.name, of.library, of.config["config"]) == ("hf_llama", LIBRARY, "num_key_value_heads=1")
    assert replay(record_of(folder)).difference == 0
    # The estimate before a replay is of the model itself, not of a transformer of its width.
    assert step_cost(config_of(record_of(folder))).parameters == record_of(folder).parameters
    other = record_of(folder).model_dump(mode="json")
    other["architecture"]["library"] = "transformers 1.0"
    with pytest.raises(Mismatch, match=f"in version transformers 1.0 .here it is {LIBRARY}."):
        replay(Record.model_validate(other))


@pytest.mark.train
def test_loaded_and_resumed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = benchmark.load(folder)
    assert sum(p.numel() for p in run.model.parameters()) == record_of(folder).parameters
    assert read_yaml(folder / CONFIG)["model"]["class_path"] == "architectures.families.huggingface.hf_llama"
    with monkeypatch.context() as patch:
        send_at(patch, 7)
        assert main(fit_command(LLAMA, tmp_path, "b", 20, 5)) == 130
    assert resume(tmp_path / "lm" / "hf_llama" / "b") == 0
    assert_same_run(tmp_path / "lm" / "hf_llama" / "b", folder)


@pytest.mark.train
def test_many_seeds_at_once(folder: Path, tmp_path: Path) -> None:
    assert (
        main([*(word for word in fit_command(LLAMA, tmp_path, "c", 20, 5) if "--seed=" not in word), "--seeds=3,5"])
        == 0
    )
    together, alone = record_of(tmp_path / "lm" / "hf_llama" / "c" / "seed3"), record_of(folder)
    torch.testing.assert_close(together.first_losses_nats, alone.first_losses_nats, rtol=1e-5, atol=0)


@pytest.mark.train
def test_swept(tmp_path: Path) -> None:
    """From a suite that lists it, by either of its names."""
    suite = tmp_path / "tiny.yaml"
    suite.write_text(f"{SUITE.rstrip()}\n  hf:gpt2: {{model: {{n_heads: 2}}}}\n")
    words = [f"--suite={suite}", "--cells=lm4", "--seeds=0", f"--out={tmp_path / 'runs'}", "--jobs=1"]
    assert main(["sweep", *words, "--models=hf_gpt2"]) == 0
    (path,) = (tmp_path / "runs").rglob("record.json")
    assert record_of(path.parent).architecture.library == LIBRARY and "hf_gpt2" in path.parts
    assert main(["sweep", *words, "--models=hf:gpt2"]) == 0  # nothing left to do


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "--data=lm", "--model=hf:lama"], "unknown architecture 'hf:lama': did you mean hf:llama?"),
        (["fit", "--data=lm", "--model=fla:gla"], "fla:NAME needs "),
        (["fit", "--data=lm", "--model=hf:gemma3"], "the model 'hf:gemma3' is made of several (text_config"),
        (["check", "hf:lama"], "unknown architecture 'hf:lama': did you mean hf:llama?"),
        (["sweep", "--suite=lite", "--models=hf:lama"], "unknown architecture 'hf:lama'"),
        (["fit", "--data=lm", "--model=hf:llama", "--model.n_heads=5"], "model.n_heads = 5 does not divide"),
        (["fit", "--data=lm", "--model=hf:mamba", "--model.n_heads=4"], "unknown option --model.n_heads"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(words)
    except SystemExit as end:  # of the parser
        code = end.code  # type: ignore[assignment]
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2 and said in line


def test_the_options_of_a_model_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--model.help", "hf:llama"])
    said = " ".join(capsys.readouterr().out.split())
    for text in ("number of blocks.", "number of heads.", "further arguments of the library's own", "default: 128"):
        assert text in said


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(families.huggingface, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--data=lm", "--model=hf:llama"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "error: --model: hf:NAME needs the transformers library, which is not installed: pip install transformers"
    )
