"""Every parameter of Lightning's trainer is the protocol's, or leaves training as it is, or is refused or recorded."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import callbacks
from lightning.pytorch.plugins import HalfPrecision, MixedPrecision, TorchCheckpointIO, TorchSyncBatchNorm
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, SingleDeviceStrategy

import benchmark
from benchmark.__main__ import main
from benchmark.config.parser import HARNESS_OWNS, OFFERED, built_trainer_options, parse_trainer
from benchmark.config.trainer_objects import CHANGING, OBSERVING, check_objects, own_callbacks
from tests.helpers.runs import LM, fit_command, record_of, run_folder

TINY: dict[str, Any] = dict(
    model_options={"d_model": 16, "n_heads": 2, "n_layers": 1},
    data_options={"state_size": 4, "n_nonzero": 2, "batch_size": 8, "eval_sequences": 20},
    protocol={"max_steps": 4, "eval_every": 2},
    optimizer={"warmup_steps": 1},
    picture=False,
    progress=False,
)


def test_every_parameter_has_its_place() -> None:
    """One that a later version of Lightning adds is not offered before somebody has looked at it."""
    assert set(inspect.signature(Trainer).parameters) == HARNESS_OWNS | OFFERED
    assert not HARNESS_OWNS & OFFERED


def test_every_callback_of_lightning_has_its_place() -> None:
    known = {name for name in callbacks.__all__ if name not in {"Callback", "ProgressBar", "LambdaCallback"}}
    derived = {"ModelCheckpoint", "OnExceptionCheckpoint"}
    assert known == {*OBSERVING, *CHANGING} | derived
    assert not {*OBSERVING} & {*CHANGING}
    assert all(issubclass(getattr(callbacks, name), callbacks.Checkpoint) for name in derived)


@pytest.mark.parametrize("name", sorted(HARNESS_OWNS))
def test_what_the_protocol_decides_is_no_option(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown option --trainer.{name}: "):
        parse_trainer({name: 2})


# Each parameter that is offered, with values that leave the options as they are, and ones that are refused.
VALUES: dict[str, tuple[list[Any], list[Any]]] = {
    "accelerator": (["cpu", "auto"], []),
    "devices": ([1, "auto"], []),
    "num_nodes": ([1], []),
    "strategy": (
        ["auto", SingleDeviceStrategy("cpu"), DDPStrategy()],
        [
            FSDPStrategy(),
            DDPStrategy(ddp_comm_hook=lambda state, bucket: None),
            DDPStrategy(model_averaging_period=2),
            DDPStrategy(precision_plugin=HalfPrecision("bf16-true")),
        ],
    ),
    "plugins": (
        [LightningEnvironment(), [LightningEnvironment()]],
        [HalfPrecision(), [MixedPrecision("bf16-mixed", "cpu")], TorchSyncBatchNorm(), TorchCheckpointIO()],
    ),
    "precision": (["32-true", "64-true", "bf16-mixed"], []),
    "logger": ([False, True], []),
    "callbacks": ([callbacks.LearningRateMonitor(), [callbacks.TQDMProgressBar()]], []),
    "log_every_n_steps": ([1], []),
    "enable_progress_bar": ([False], []),
    "enable_autolog_hparams": ([False], []),
    "profiler": (["simple"], ["xla"]),
    "detect_anomaly": ([True], []),
    "deterministic": ([True, "warn"], []),
    "benchmark": ([True], []),
    "inference_mode": ([False], []),
    "sync_batchnorm": ([False], [True]),
    "model_registry": (["a/b"], []),
}


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_what_is_offered(name: str) -> None:
    taken, refused = VALUES[name]
    for value in taken:
        assert built_trainer_options(parse_trainer({name: value}))[name] is not None
    for value in refused:
        with pytest.raises(ValueError, match=f"--trainer.{name}") as error:
            built_trainer_options(parse_trainer({name: value}))
        assert "\n" not in str(error.value)


class Mine(Callback):
    """Does nothing, but who knows."""


class Derived(callbacks.EarlyStopping):
    """Of a class that ends runs."""


class Watches(callbacks.LearningRateMonitor):
    """Of a class that observes, but with whatever its author adds."""


REFUSED: list[Callable[[], Callback]] = [
    lambda: callbacks.GradientAccumulationScheduler({0: 2}),
    lambda: callbacks.StochasticWeightAveraging(1e-2),
    callbacks.WeightAveraging,
    callbacks.EMAWeightAveraging,
    lambda: callbacks.EarlyStopping("val/loss_nats"),
    callbacks.LearningRateFinder,
    callbacks.BatchSizeFinder,
    callbacks.BackboneFinetuning,
    lambda: callbacks.ModelPruning("l1_unstructured"),
    lambda: callbacks.Timer("00:00:00:01"),
    callbacks.ModelCheckpoint,
    lambda: callbacks.OnExceptionCheckpoint("."),
    callbacks.SpikeDetection,
    lambda: Derived("val/loss_nats"),
]


@pytest.mark.parametrize("make", REFUSED)
def test_callbacks_that_change_training(make: Callable[[], Callback]) -> None:
    callback = make()
    with pytest.raises(ValueError, match=rf"--trainer.callbacks {type(callback).__name__}: \w+") as error:
        check_objects({"callbacks": [Mine(), callback]})
    assert "\n" not in str(error.value)


def test_names_of_own_callbacks() -> None:
    observing = [callbacks.LearningRateMonitor(), callbacks.ModelSummary(), callbacks.RichProgressBar()]
    assert own_callbacks(observing) == ()
    assert own_callbacks([Mine(), *observing, Mine(), Watches(), callbacks.LambdaCallback()]) == (
        f"{__name__}.Mine",
        f"{__name__}.Watches",
        "lightning.pytorch.callbacks.lambda_function.LambdaCallback",
    )


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["callbacks=ModelCheckpoint"], "ModelCheckpoint"),
        (["callbacks=EarlyStopping", "callbacks.monitor=val/loss_nats"], "EarlyStopping"),
        (["callbacks=EarlyStopping"], "EarlyStopping: is not"),  # and not that its argument is missing
        (["callbacks=lightning.pytorch.callbacks.GradientAccumulationScheduler"], "GradientAccumulationScheduler: is"),
        (["callbacks+=OnExceptionCheckpoint"], "OnExceptionCheckpoint: is not"),
        (["plugins=MixedPrecision"], "--trainer.plugins MixedPrecision: the record would not say so"),
        (["plugins=[TorchCheckpointIO]"], "--trainer.plugins TorchCheckpointIO: a run writes"),
        (["devices=-1"], "--trainer: `devices`"),
        (["devices=1e9"], "devices"),
        (["devices=[0,0]"], "devices"),
        (["strategy=single_xla"], "--trainer"),
        (["num_nodes=2"], "--trainer.num_nodes 2"),
        pytest.param(
            ['strategy={"class_path":"DDPStrategy","init_args":{"process_group_backend":"nope"}}'],
            "process_group_backend",
            marks=pytest.mark.process,
        ),
        (["callbacks=LearningRateMonitor", "logger=false"], "LearningRateMonitor"),
        (["callbacks+=TQDMProgressBar", "callbacks+=RichProgressBar"], "progress bar"),
        (["profiler=nonsense"], "profiler"),
        (["accelerator=tpu"], "torch_xla"),
        (["strategy=xla"], "torch_xla"),
        (["precision=transformer-engine"], "transformer_engine"),
    ],
)
def test_mistakes_leave_nothing_behind(
    words: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [word for word in fit_command(LM, tmp_path, "a", 4, 2) if not word.startswith("--trainer.")]
    assert main([*command, *(f"--trainer.{word}" for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert not run_folder(tmp_path, LM, "a").exists()


@pytest.mark.parametrize("precision", ["8", "foo"])
def test_precisions_that_do_not_exist(precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*fit_command(LM, tmp_path, "a", 4, 2), f"--trainer.precision={precision}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --trainer.precision: expected one of 16, 16-mixed, 16-true, 32, ")


def test_an_argument_is_missing_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "a.yaml"
    config.write_text(
        "model: transformer\ndata: lm\ntrainer:\n  callbacks: LambdaCallback\n  plugins: MixedPrecision\n"
    )
    with pytest.raises(SystemExit, match="2"):
        main(["fit", f"--config={config}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search("trainer needs '(precision|device)'", line)


@pytest.mark.train
def test_the_record_names_them_also_after_a_resume(tmp_path: Path) -> None:
    """The configuration cannot repeat an object, but the record does not forget it."""

    class Stops(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 3:
                raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        benchmark.fit(
            "transformer",
            "lm",
            out=tmp_path,
            name="a",
            trainer={"callbacks": [Stops()]},
            checkpoint_interval_s=0,
            **TINY,
        )
    folder, named = tmp_path / "lm" / "transformer" / "a", (f"{__name__}.{Stops.__qualname__}",)
    assert record_of(folder).callbacks == named
    run = benchmark.resume(folder, progress=False)
    assert run.record is not None and (run.record.steps, run.record.callbacks) == (4, named)


@pytest.mark.train
def test_an_observer_changes_nothing(tmp_path: Path) -> None:
    losses = []
    for name, given in (("plain", []), ("watched", [callbacks.LearningRateMonitor(), callbacks.ModelSummary()])):
        run = benchmark.fit("transformer", "lm", out=tmp_path, name=name, trainer={"callbacks": given}, **TINY)
        assert run.record is not None and run.record.callbacks == ()
        losses.append(run.record.first_losses_nats)
    assert losses[0] == losses[1]
