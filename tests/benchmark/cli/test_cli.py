"""The command line in this process: what it understands, and one clear line for each mistake."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from architectures import ARCHITECTURES
from benchmark.__main__ import main
from datamodules import TASKS
from tests.helpers.runs import LM, fit, record_of

ARCHITECTURE_NAMES, TASK_NAMES = (", ".join(sorted(names)) for names in (ARCHITECTURES, TASKS))
GOOD = ["--model", "transformer", "--data", "lm"]
CA = ["--model", "transformer", "--data", "ca"]
MISTAKES: list[tuple[list[str], tuple[str, ...]]] = [
    (["--model", "transfomer", "--data", "lm"], ("--model", "'transfomer'", "did you mean transformer")),
    (["--model", "nonsense", "--data", "lm"], ("--model", ARCHITECTURE_NAMES)),
    (["--model", "transformer", "--data", "lmm"], ("--data", "'lmm'", "did you mean lm?", TASK_NAMES)),
    (["--model", "transformer"], ("--data", "missing", TASK_NAMES)),
    (["--data", "lm"], ("--model", "missing", ARCHITECTURE_NAMES)),
    ([*GOOD, "--model.n_hedas", "4"], ("--model.n_hedas", "did you mean --model.n_heads")),
    ([*GOOD, "--data.state_sise", "4"], ("--data.state_sise", "did you mean --data.state_size")),
    ([*GOOD, "--optimizer.lrr", "4"], ("--optimizer.lrr", "did you mean --optimizer.lr")),
    ([*GOOD, "--optimzer.lr", "4"], ("--optimzer.lr", "did you mean --optimizer.lr")),
    ([*GOOD, "--trainer.max_steps", "4"], ("--trainer.max_steps", "--protocol.max_steps")),
    ([*GOOD, "--model.n_heads", "five"], ("--model.n_heads", "int", "five")),
    ([*GOOD, "--model.positions", "learnt"], ("--model.positions", "learned", "rotary", "none", "learnt")),
    ([*GOOD, "--seed", "-1"], ("--seed", "-1")),
    ([*GOOD, "--data.state_size", "4", "--data.n_nonzero", "5"], ("n_nonzero=5", "state_size=4")),
    ([*GOOD, "--data.state_size", "0"], ("state_size", "at least 1", "0")),
    ([*GOOD, "--data.n_states", "1"], ("n_states", "at least 2", "1")),
    ([*CA, "--data.window", "4"], ("window",)),
    ([*CA, "--data.window", "19"], ("window",)),
    ([*CA, "--data.n_colors", "1"], ("n_colors", "at least 2", "1")),
    ([*GOOD, "--data.tokens_per_step", "5"], ("tokens_per_step=5", "32 tokens")),
    ([*GOOD, "--model.n_heads", "5"], ("model.n_heads = 5", "model.d_model = 128", "4")),
    ([*GOOD, "--model.vocab_size", "3"], ("model.vocab_size", "task")),
    ([*GOOD, "--data.task_seed", "3"], ("--data.task_seed", " --task_seed")),
    ([*GOOD, "--optimizer.lr", "-1"], ("optimizer.lr", "positive", "-1")),
    ([*GOOD, "--protocol.eval_every", "0"], ("protocol.eval_every", "max_steps = 10000", "0")),
    ([*GOOD, "--name", "../x"], ("name", "'../x'")),
    ([*GOOD, "--name", ".inf"], ("name", "dot", "'.inf'")),
    ([*GOOD, "--ckpt_path", "no.ckpt"], ("no.ckpt", "No such file")),
    (["--config", "no.yaml"], ("--config", "no.yaml")),
]


def complaint(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and the one line on stderr of a command that must fail."""
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return code, err


@pytest.mark.slow
@pytest.mark.parametrize(("words", "named"), MISTAKES, ids=[" ".join(words[-2:]) for words, _ in MISTAKES])
def test_a_mistake_is_one_line_and_leaves_nothing(
    words: list[str],
    named: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, err = complaint(["fit", *words, "--out", "runs"], capsys)
    assert code == 2
    assert err.startswith("error: ")
    assert all(name in err for name in named), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [b", "config.yaml: "),
        ("modell: transformer", "unknown option modell: did you mean --model"),
        ("model: transfomer\ndata: lm", "unknown architecture 'transfomer' for --model: did you mean transformer?"),
        ("model:\n  class_path: transformer\n  init_args:\n    n_hedas: 3\ndata: lm", "did you mean --model.n_heads"),
        ("model: transformer\ndata: lm\noptimizer:\n  lr: fast", "--optimizer.lr: expected float, got value: fast"),
        ("\x00\x01", "config.yaml: "),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line(text: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    code, err = complaint(["fit", "--config", str(path), "--out", str(tmp_path / "runs")], capsys)
    assert code == 2
    assert line in err
    assert list(tmp_path.iterdir()) == [path]


def test_the_output_must_be_a_folder_that_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    code, err = complaint(["fit", *GOOD, "--out", str(tmp_path / "file")], capsys)
    assert code == 2
    assert f"cannot make a run folder in {tmp_path / 'file' / 'lm' / 'transformer'}: Not a directory" in err


@pytest.mark.slow
def test_names_options_and_seeds_reach_the_record(tmp_path: Path) -> None:
    more = ["--init_seed=9", "--optimizer.lr=3e-4", "--model.mlp_ratio=2", "--picture=true"]
    code, folder = fit(LM, tmp_path, "a", 4, 2, *more)
    assert code == 0
    record = record_of(folder)
    assert record.status == "censored"
    assert record.seeds.model_dump() == {"task_seed": 3, "init_seed": 9, "data_seed": 3}
    assert record.optimizer["lr"] == 3e-4
    assert record.architecture.config == {
        "d_model": 16, "n_layers": 1, "n_heads": 2, "mlp_ratio": 2, "positions": "learned", "embedding_std": 0.02,
    }  # fmt: skip
    assert record.task.config == {"state_size": 4, "n_nonzero": 2, "n_states": 2}
    assert record.tokens == 4 * 8 * 8
    assert {p.name for p in folder.iterdir()} >= {
        "config.yaml",
        "record.json",
        "curves.parquet",
        "curves.png",
        "last.ckpt",
    }
    assert list(folder.glob("events.out.tfevents*"))


@pytest.mark.slow
def test_the_same_name_again_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, folder = fit(LM, tmp_path, "a", 4, 2)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    capsys.readouterr()
    code, _ = fit(LM, tmp_path, "a", 4, 2)
    assert code == 2
    assert "exists already: choose another --name" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.slow
def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, folder = fit(LM, tmp_path, "a", 4, 2)
    capsys.readouterr()
    checkpoint = f"--ckpt_path={folder / 'last.ckpt'}"
    code, other = fit(LM, tmp_path, "b", 4, 2, "--model.n_heads=4", checkpoint)
    assert code == 2
    assert "was made with model.n_heads = 2, this run has 4" in capsys.readouterr().err
    (folder / "last.ckpt").write_bytes(b"PK nonsense")
    code, other = fit(LM, tmp_path, "b", 4, 2, checkpoint)
    assert code == 2
    assert "is not a checkpoint, or a damaged one" in capsys.readouterr().err
    assert not other.exists()


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The configuration that --print_config prints."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    content: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return content


@pytest.mark.slow
def test_depth_follows_the_task_unless_given(tmp_path: Path) -> None:
    tiny = ["--data=ca", "--data.state_size=4", "--data.n_states=2", "--data.n_rules=4", "--data.batch_size=2"]
    tiny.append("--data.eval_sequences=8")
    for words, depth in ((tiny, 4), ([*tiny, "--model.n_layers=1"], 1)):
        model = ["--model=transformer", "--model.d_model=8", "--model.n_heads=2"]
        _, folder = fit([*model, *words], tmp_path, f"depth{depth}", 2, 1)
        assert record_of(folder).architecture.config["n_layers"] == depth
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["model"]["init_args"]["n_layers"] == depth


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("fit", "--print_config"),
        ("fit", "--print_config=skip_default"),
        ("validate", "--print_config=skip_unset"),
        ("test", "--print_config"),
    ],
)
def test_what_is_printed_is_what_runs(
    command: str, flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model=mamba", "--data=ca", "--data.state_size=8", "--task_seed=3"]
    content = printed([command, flag, *words], capsys)
    assert content["model"]["init_args"]["n_layers"] == 4
    file = tmp_path / "printed.yaml"
    file.write_text(yaml.safe_dump(content))
    assert printed([command, "--config", str(file), flag], capsys) == content
    assert (
        printed([command, *words, "--model.n_layers=1", "--print_config"], capsys)["model"]["init_args"]["n_layers"]
        == 1
    )


def test_an_incomplete_configuration_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    content = printed(["fit", "--data=ca", "--print_config"], capsys)
    assert content["model"] is None and content["data"]["init_args"]["state_size"] == 16


@pytest.mark.train
def test_a_run_repeats_from_its_config(tmp_path: Path) -> None:
    """Twice the same losses, and the same batches: from config.yaml alone."""
    _, first = fit(LM, tmp_path, "a", 6, 2)
    assert main(["fit", "--config", str(first / "config.yaml"), "--name", "b"]) == 0
    one, two = record_of(first), record_of(first.parent / "b")
    assert one.first_losses_nats == two.first_losses_nats
    assert one.first_batch_hash == two.first_batch_hash
    assert one.protocol_hash == two.protocol_hash


CONFIGS = sorted((Path(__file__).resolve().parents[3] / "configs").rglob("*.yaml"))
OF_RUNS = [path for path in CONFIGS if path.parent.name not in {"language", "pretraining", "suites", "tuning"}]


def test_every_config_says_what_it_shows() -> None:
    assert len(OF_RUNS) > 5
    for path in CONFIGS:
        assert path.read_text().startswith("# "), f"{path} needs a header that says what it shows"


@pytest.mark.slow
@pytest.mark.parametrize("path", OF_RUNS, ids=lambda path: path.stem)
def test_every_config_is_understood_and_printed_as_it_runs(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = yaml.safe_load(path.read_text())
    words = ["fit", "--config", str(path), "--print_config"]
    content = printed(
        [*words, *(f"--{key}={name}" for key, name in (("model", "transformer"), ("data", "ca")) if key not in keys)],
        capsys,
    )
    asked = keys.get("model", {}).get("init_args", {})
    depth = {"lm": 1, "ca": 4, "copy": 2}[content["data"]["class_path"].rpartition(".")[2]]
    assert content["model"]["init_args"]["n_layers"] == asked.get("n_layers", depth)
    file = tmp_path / "printed.yaml"
    file.write_text(yaml.safe_dump(content))
    assert printed(["fit", "--config", str(file), "--print_config"], capsys) == content


@pytest.mark.train
@pytest.mark.parametrize("command", ["validate", "test"])
def test_validate_and_test_print_the_metrics(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, folder = fit(LM, tmp_path, "a", 20, 10)
    final = json.loads((folder / "record.json").read_text())["final"]
    capsys.readouterr()
    assert main([command, "--config", str(folder / "config.yaml"), "--ckpt_path", str(folder / "last.ckpt")]) == 0
    shown = dict(re.findall(r"│ (\w+) +│ ([\d.]+) ", capsys.readouterr().out))
    same = float(shown["loss_nats"]) == pytest.approx(final["loss_nats"], abs=1e-4)
    assert same == (command == "validate")  # the test set holds other sequences
    assert {"loss_scored_nats", "accuracy", "exact_match", "rows_solved"} <= set(shown)
