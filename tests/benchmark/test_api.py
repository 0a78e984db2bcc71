"""The Python API: what README shows, mistakes as clear as on the command line, and the manners of a library."""

import os
import runpy
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import benchmark
from architectures import SequenceModel
from benchmark.__main__ import main
from benchmark.training.module import EmergenceModule
from tests.helpers.processes import PATIENCE_S, in_process
from tests.helpers.runs import send_at
from tests.helpers.sweep_helpers import SUITE

TINY: dict[str, Any] = {
    "model_options": {"d_model": 16, "n_heads": 2},
    "data_options": {"state_size": 4, "n_nonzero": 2, "batch_size": 8, "eval_sequences": 20},
    "protocol": {"max_steps": 12, "eval_every": 4},
    "trainer": {"logger": False},
    "picture": False,
}


def fit(out: Path, **more: Any) -> benchmark.Run:
    return benchmark.fit("transformer", "lm", out=out, **TINY | more)


@pytest.mark.train
def test_a_run_in_one_call_and_loaded_again(tmp_path: Path) -> None:
    run = fit(tmp_path, seed=3, name="mine")
    assert run.folder == tmp_path / "lm" / "transformer" / "mine"
    assert run.record is not None and run.record.final is not None
    assert (run.record.status, run.record.seeds.init_seed) == ("censored", 3)
    assert benchmark.load(run.folder).evaluate().metrics["loss_nats"] == run.record.final.loss_nats
    frame = benchmark.records_frame(run.records)
    assert frame.loc[0, "task.config.state_size"] == 4 and frame.loc[0, "final.loss_nats"] == run.record.final.loss_nats
    assert frame["primary_step"].isna().all()


@pytest.mark.train
def test_it_is_the_command_lines_run(tmp_path: Path) -> None:
    """Same configuration, same record: defaults and names are those of the command line."""
    run = fit(tmp_path, seed=3, name="python", optimizer={"lr": 3e-4})
    words = ["fit", "--model=transformer", "--data=lm", "--seed=3", "--name=shell", f"--out={tmp_path}"]
    words += [f"--{part}.{name}={value}" for part, key in (("model", "model_options"), ("data", "data_options"))
              for name, value in TINY[key].items()]  # fmt: skip
    words += [f"--protocol.{name}={value}" for name, value in TINY["protocol"].items()]
    assert (
        main([*words, "--optimizer.lr=3e-4", "--trainer.logger=false", "--trainer.devices=1", "--picture=false"]) == 0
    )
    shell = benchmark.load(tmp_path / "lm" / "transformer" / "shell")
    times = {"started_at", "ended_at", "wall_train_s", "wall_eval_s", "tokens_per_s", "peak_memory_bytes"}
    assert run.record is not None and shell.record is not None
    assert shell.record.model_dump(exclude=times) == run.record.model_dump(exclude=times)


@pytest.mark.train
def test_a_file_and_what_is_given_beside_it(repository: Path, tmp_path: Path) -> None:
    config = benchmark.configure(config=repository / "configs" / "quickstart.yaml", seed=4, optimizer={"lr": 1e-4})
    assert (config.model.name, config.seed, config.optimizer.lr) == ("transformer", 4, 1e-4)
    other = benchmark.configure("mamba", config=repository / "configs" / "quickstart.yaml")
    assert other.model.name == "mamba" and other.data.options == config.data.options
    assert "n_heads" not in other.model.options, "options of another architecture do not carry over"
    run = benchmark.fit(benchmark.configure("transformer", "lm", out=tmp_path, **TINY))
    assert run.record is not None
    with pytest.raises(benchmark.BenchmarkError, match="a RunConfig holds everything"):
        benchmark.fit(config, seed=3)


@pytest.mark.train
def test_many_seeds(tmp_path: Path) -> None:
    assert benchmark.configure("transformer", "lm", seeds=np.arange(3)).numbers == (0, 1, 2)
    run = fit(tmp_path, seeds=range(2))
    assert [record.seeds.init_seed for record in run.records] == [0, 1]
    assert list(benchmark.records_frame(run.records)["ensemble_size"]) == [2, 2]


MISTAKES: list[tuple[dict[str, Any], list[str]]] = [
    ({"model": "mambo"}, ["--model=mambo"]),
    ({"data": "ln"}, ["--data=ln"]),
    ({"model_options": {"d_mode": 3}}, ["--model.d_mode=3"]),
    ({"model_options": {"d_model": "wide"}}, ["--model.d_model=wide"]),
    ({"model_options": {"d_model": 0}}, ["--model.d_model=0"]),
    ({"model_options": {"vocab_size": 3}}, ["--model.vocab_size=3"]),
    ({"data_options": {"state_size": 0}}, ["--data.state_size=0"]),
    ({"data_options": {"task_seed": 1}}, ["--data.task_seed=1"]),
    ({"optimizer": {"lr": -1.0}}, ["--optimizer.lr=-1.0"]),
    ({"optimizer": {"lrr": 1}}, ["--optimizer.lrr=1"]),
    ({"protocol": {"max_steps": "many"}}, ["--protocol.max_steps=many"]),
    ({"protocol": {"max_steps": 3, "eval_every": 4}}, ["--protocol.max_steps=3", "--protocol.eval_every=4"]),
    ({"trainer": {"max_steps": 3}}, ["--trainer.max_steps=3"]),
    ({"trainer": {"accelerator": "cpuu"}}, ["--trainer.accelerator=cpuu"]),
    ({"sede": 3}, ["--sede=3"]),
    ({"seed": -1}, ["--seed=-1"]),
    ({"seed": "x"}, ["--seed=x"]),
    ({"seeds": "3-1"}, ["--seeds=3-1"]),
    ({"seeds": "0-3", "seed": 4}, ["--seeds=0-3", "--seed=4"]),
    ({"name": "a/b"}, ["--name=a/b"]),
    ({"keep_every": 7}, ["--keep_every=7"]),
    ({"optimizer": {"lr": None}}, ["--optimizer.lr=null"]),
    ({"protocol": {"max_steps": None}}, ["--protocol.max_steps=null"]),
    ({"model_options": {"d_model": None}}, ["--model.d_model=null"]),
    ({"data_options": {"state_size": None}}, ["--data.state_size=null"]),
    ({"checkpoint_interval_s": None}, ["--checkpoint_interval_s=null"]),
    ({"suite": ""}, ["--suite="]),
    ({"cell": "a\tb"}, ["--cell=a\tb"]),
    ({"task_seed": 2**70}, [f"--task_seed={2**70}"]),
    ({"checkpoint_interval_s": -1.0}, ["--checkpoint_interval_s=-1.0"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "words"), MISTAKES, ids=[" ".join(words) for _, words in MISTAKES])
def test_mistakes_say_what_the_command_line_says(
    settings: dict[str, Any], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"model": "transformer", "data": "lm", "out": str(tmp_path)} | settings
    names = [f"--{key}={settings[key]}" for key in ("model", "data")]
    try:
        code: Any = main(["fit", *names, f"--out={tmp_path}", *words])
    except SystemExit as end:
        code = end.code
    assert code == 2
    said = capsys.readouterr().err.strip().removeprefix("error: ")
    with pytest.raises(benchmark.BenchmarkError) as error:
        benchmark.fit(**settings)
    ours = str(error.value)
    assert "\n" not in ours
    if "accelerator name" not in said:  # Lightning lists the names in any order
        assert ours == said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": None}, "--model NAME is missing: known names are"),
        ({"data": None}, "--data NAME is missing: known names are"),
        ({"model": 3}, "--model: must be a registered name or a class, got 3"),
        ({"optimizer": 3}, "--optimizer: must be a mapping of options, got 3"),
        ({"model_options": 3}, "--model_options: must be a mapping of options, got 3"),
        ({"config": "nothing.yaml"}, "nothing.yaml: cannot be read"),
        ({"foo": {}}, "unknown option --foo"),
        ({"optimizer": {"clip_norm": float("inf")}}, "optimizer.clip_norm must not be negative or infinite"),
        ({"config": 3}, "config must be a YAML file or a mapping, got 3"),
        ({"seeds": 1.5}, "seeds must be whole numbers"),
        ({"seeds": [1.5]}, "seeds must be whole numbers"),
        ({"seeds": True}, "seeds must be whole numbers"),
        ({"seeds": []}, "seeds must be whole numbers, at least one"),
        ({"trainer": {"devices": -1}}, "devices"),
    ],
)
def test_mistakes_that_only_python_allows(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(benchmark.BenchmarkError, match=said):
        benchmark.fit(**{"model": "transformer", "data": "lm", "out": str(tmp_path)} | settings)
    assert not list(tmp_path.iterdir())


def test_a_class_must_be_registered(tmp_path: Path) -> None:
    class Mine(SequenceModel):
        pass

    with pytest.raises(benchmark.BenchmarkError, match="Mine is not registered: put @register"):
        benchmark.fit(Mine, "lm", out=tmp_path)


def run_script(words: list[str], output: Path) -> None:
    """The body of a process: a script, everything it says written to a file."""
    with open(output, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")


@pytest.mark.process
def test_a_class_of_a_script(repository: Path, tmp_path: Path, started: list[Any]) -> None:
    """Trained by its class, registered anew as in a notebook; a sweep, whose processes cannot see it, says so."""
    script = tmp_path / "script.py"
    page = (repository / "docs" / "how-to" / "add-an-architecture.md").read_text()
    example = page.partition("# running_mean.py\n")[2].partition("```")[0]
    again = example[example.index("@register") :]
    settings = (
        f"data_options={TINY['data_options']}, protocol={TINY['protocol']}, trainer={TINY['trainer']}, picture=False,"
        f" out={str(tmp_path)!r}"
    )
    script.write_text(
        f"{example}\n{again}\nimport benchmark\n"
        f"run = benchmark.fit(RunningMean, 'lm', model_options={{'d_model': 16}}, {settings})\n"
        "assert type(run.model) is RunningMean\n"
        "again = benchmark.load(run.folder)\n"
        "assert again.evaluate().metrics['loss_nats'] == run.record.final.loss_nats\n"
        "try:\n    benchmark.sweep('lite', models=[RunningMean])\n"
        "except benchmark.BenchmarkError as error:\n    print(error)\n"
    )
    process = in_process([script], tmp_path / "output", run_script)
    started.append(process)
    process.join(PATIENCE_S)
    said = (tmp_path / "output").read_text()
    assert process.exitcode == 0, said
    assert said.startswith("running_mean is defined in a script or a notebook") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: benchmark.build("transformer"), "build takes a RunConfig"),  # type: ignore[arg-type]
        (lambda: benchmark.load(None), "folder: must be a path"),  # type: ignore[arg-type]
        (lambda: benchmark.load("x", step="5"), "step must be one of Run.kept_steps"),  # type: ignore[arg-type]
        (lambda: benchmark.load("x", step=5, weights=False), "leave out weights=False"),
        (lambda: benchmark.records_frame([None]), "model_dump"),  # type: ignore[list-item]
        (lambda: benchmark.sweep("lite", seeds=1.5), "seeds must be whole numbers"),  # type: ignore[arg-type]
        (lambda: benchmark.sweep("lite", models=[None]), "__name__"),  # type: ignore[list-item]
    ],
)
def test_arguments_of_another_kind(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(benchmark.BenchmarkError, match=said):
        call()


@pytest.mark.train
def test_nothing_is_printed_and_nothing_left_changed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    torch.manual_seed(4)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    run = fit(tmp_path)
    assert run.folder is not None
    benchmark.load(run.folder).evaluate()
    assert torch.equal(before, torch.get_rng_state()) and torch.get_num_threads() == threads
    assert {signum: signal.getsignal(signum) for signum in handlers} == handlers
    assert capfd.readouterr() == ("", "")


@pytest.mark.train
def test_in_another_thread(tmp_path: Path) -> None:
    runs: list[benchmark.Run] = []
    thread = threading.Thread(target=lambda: runs.append(fit(tmp_path)))
    thread.start()
    thread.join()
    assert runs[0].record is not None and runs[0].record.status == "censored"


@pytest.mark.train
def test_ctrl_c_comes_after_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send_at(monkeypatch, 6)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, name="stopped")
    monkeypatch.undo()
    folder = tmp_path / "lm" / "transformer" / "stopped"
    record = benchmark.load(folder).record
    assert record is not None and (record.status, record.steps) == ("interrupted", 7)
    run = benchmark.resume(folder)
    assert run.record is not None and (run.record.status, run.record.steps) == ("censored", 12)
    with pytest.raises(benchmark.BenchmarkError, match="this run has ended .censored.; there is nothing to resume"):
        benchmark.resume(folder)


@pytest.mark.train
def test_what_the_model_raises_comes_out_after_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(module: EmergenceModule, *args: Any) -> None:
        raise RuntimeError("the state has the wrong shape")

    monkeypatch.setattr(EmergenceModule, "on_train_batch_start", fail)
    with pytest.raises(RuntimeError, match="the state has the wrong shape"):
        fit(tmp_path, name="failed")
    record = benchmark.load(tmp_path / "lm" / "transformer" / "failed", weights=False).record
    assert record is not None
    assert (record.status, record.error) == ("error", "RuntimeError: the state has the wrong shape")


@pytest.mark.train
def test_callbacks_as_objects(tmp_path: Path) -> None:
    from lightning import Callback

    class Counts(Callback):
        steps = 0

        def on_train_batch_end(self, *args: Any) -> None:
            self.steps += 1

    counts = Counts()
    run = fit(tmp_path, trainer={"callbacks": [counts], "logger": False})
    assert counts.steps == 12 and run.folder is not None
    assert "# trainer.callbacks: given as an object" in (run.folder / "config.yaml").read_text()
    assert benchmark.load(run.folder).step == 12


@pytest.mark.process
def test_a_sweep(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    settings: dict[str, Any] = {
        "suite": str(tmp_path / "tiny.yaml"), "models": ["transformer"], "cells": ["lm4"], "seeds": range(2),
        "grid": {"data.n_nonzero": [1, 2]}, "out": tmp_path / "out",
    }  # fmt: skip
    result = benchmark.sweep(**settings)
    assert [record.task.config["n_nonzero"] for record in result.records] == [1, 2, 1, 2]
    assert result.failures == [] and len(result.frame()) == 4
    again = benchmark.sweep(**settings)
    assert again.records == result.records, "nothing was missing"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"suite": "life"}, "unknown suite 'life': did you mean lite"),
        ({"suite": "lite", "models": ["mambo"]}, "unknown architecture 'mambo': did you mean mamba"),
        ({"suite": "lite", "cells": ["lm"]}, "unknown cell 'lm'"),
        ({"suite": "lite", "seeds": "3-1"}, "runs backwards"),
        ({"suite": "lite", "grid": {"data.n_nonzeros": [1]}}, "did you mean --data.n_nonzero"),
        ({"suite": "lite", "engine": "slurm"}, "--engine must be local or ray"),
        ({"suite": "lite", "optimiser": {}}, "unknown argument 'optimiser': did you mean optimizer"),
        ({"suite": "lite", "optimizer": 3}, "--optimizer: must be a mapping"),
        ({"suite": "lite", "model_options": {"d_modell": 1}}, "did you mean --model.d_model"),
        ({"suite": "lite", "jobs": 0}, "--jobs must be at least 1"),
        ({}, "what is to be run"),
    ],
)
def test_mistakes_of_a_sweep(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(benchmark.BenchmarkError, match=said):
        benchmark.sweep(**settings, out=tmp_path / "out")


@pytest.mark.process
def test_a_script_without_a_guard_may_sweep(repository: Path, tmp_path: Path) -> None:
    """The processes of a sweep do not run the script that started it once more."""
    (tmp_path / "tiny.yaml").write_text(SUITE)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import benchmark
            print("begun")
            result = benchmark.sweep({str(tmp_path / "tiny.yaml")!r}, models=["transformer"], cells=["lm4"], seeds=1,
                                     out={str(tmp_path / "out")!r})
            print([record.status for record in result.records])
            """
        )
    )
    done = subprocess.run([sys.executable, script], cwd=repository, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[0], done.stdout.count("begun")) == (0, "begun", 1), done.stderr
    assert done.stderr == ""


@pytest.mark.process
def test_importing_costs_no_pytorch() -> None:
    code = "import benchmark, sys; dir(benchmark); print('torch' in sys.modules, 'lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        _ = benchmark.fitt
