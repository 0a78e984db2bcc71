"""Loggers write into the run's folder; TensorBoard's HPARAMS tab shows how the run ended."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from tensorboard.plugins.hparams import plugin_data_pb2  # type: ignore[import-untyped]

import benchmark
from benchmark.__main__ import main
from benchmark.training.display.hparams_tab import outcome_of
from benchmark.training.folder.layout import CONFIG
from tests.helpers.leaderboard.records import make_record
from tests.helpers.runs import LM, fit, fit_command, record_of, resume, run_folder, send_at


def hparams(folder: Path) -> tuple[dict[str, Any], set[str], dict[str, float]]:
    """Contents of the tab: options of the run, names of its columns, and their values."""
    events = EventAccumulator(str(folder))
    events.Reload()
    options: dict[str, Any] = {}
    columns: set[str] = set()
    try:
        contents = events.PluginTagToContent("hparams")
    except KeyError:  # nothing was written for the tab
        contents = {}
    for content in contents.values():
        data = plugin_data_pb2.HParamsPluginData.FromString(content)
        columns |= {info.name.tag for info in data.experiment.metric_infos}
        for name, value in data.session_start_info.hparams.items():
            options[name] = getattr(value, value.WhichOneof("kind"))
    return options, columns, {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"] if tag in columns}


EASY = [*LM, "--data.n_nonzero=1", "--optimizer.lr=0.03", "--data.batch_size=64"]


@pytest.mark.train
@pytest.mark.parametrize("logger", [[], ["--trainer.logger=TensorBoardLogger"]], ids=["ours", "asked for"])
def test_the_tab_shows_hitting_steps_and_losses(logger: list[str], tmp_path: Path) -> None:
    _, folder = fit(EASY, tmp_path, "a", 200, 5, *logger)
    record = record_of(folder)
    assert record.status == "solved" and record.final is not None
    (events,) = {path.parent for path in folder.rglob("events.*")}
    options, columns, values = hparams(events)
    assert (options["optimizer.lr"], options["model"], options["init_seed"]) == (pytest.approx(0.03), "transformer", 3)
    assert "hp_metric" not in columns
    assert values["final/loss_nats"] == pytest.approx(record.final.loss_nats)
    assert {name: values[f"hit_step/{name}"] for name in record.hits} == {
        name: hit.step for name, hit in record.hits.items()
    }


@pytest.mark.train
def test_a_target_that_was_not_reached_is_an_empty_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the tab of a run that was cut short, which writes its outcome once, at its end."""
    send_at(monkeypatch, 4)
    _, folder = fit(LM, tmp_path, "a", 12, 3)
    assert hparams(folder) == ({}, set(), {})
    assert resume(folder) == 0
    record = record_of(folder)
    assert record.final is not None and record.primary_step is None
    _, columns, values = hparams(folder)
    assert {f"hit_step/{name}" for name in record.hits} <= columns
    assert f"hit_step/{record.protocol.primary}" not in values
    assert values["final/loss_nats"] == pytest.approx(record.final.loss_nats)


def test_of_many_seeds_the_mean() -> None:
    """A target counts once all seeds have reached it."""
    first = make_record()
    second = first.model_copy(update={"steps": first.steps + 100})
    unsolved = {name: hit.model_copy(update={"step": None}) for name, hit in first.hits.items()}
    third = first.model_copy(update={"hits": unsolved, "final": None})
    assert outcome_of([first, second])["final/steps"] == first.steps + 50
    primary = f"hit_step/{first.protocol.primary}"
    assert outcome_of([first, second])[primary] == first.primary_step
    both = outcome_of([first, third])
    assert both[primary] is None and both["final/loss_nats"] is None


@pytest.mark.train
def test_a_logger_gets_the_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the command line, from YAML and from Python; the configuration repeats it for another run."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, folder = fit(LM, tmp_path, "a", 4, 2, "--trainer.logger=CSVLogger", "--trainer.logger.name=x")
    assert code == 0
    (table,) = folder.rglob("metrics.csv")
    assert table.parent.parent == folder / "x"
    with table.open() as file:
        assert {"val/loss_nats", "step"} <= set(next(csv.reader(file)))
    assert main(["fit", f"--config={folder / CONFIG}", "--name=b"]) == 0
    assert len(list(folder.with_name("b").rglob("metrics.csv"))) == 1
    config = yaml.safe_load((folder / CONFIG).read_text()) | {"name": "c"}
    config["trainer"]["logger"] = ["CSVLogger", {"class_path": "TensorBoardLogger", "init_args": {"name": "y"}}]
    run = benchmark.fit(config=config, progress=False)
    assert run.folder is not None
    assert list(run.folder.rglob("metrics.csv")) and list((run.folder / "y").rglob("events.*"))
    assert not list((tmp_path / "here").iterdir())


def test_a_folder_that_is_given_is_taken(tmp_path: Path) -> None:
    words = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'mine'}"]
    _, folder = fit(LM, tmp_path, "a", 4, 2, *words)
    assert list((tmp_path / "mine").rglob("metrics.csv")) and not list(folder.rglob("metrics.csv"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["logger=WandbLogger"], "wandb"),
        (["logger=MLFlowLogger"], "mlflow"),
        (["logger=CometLogger"], "comet"),
        (["logger=Nonsense"], "Nonsense"),
        # Refused, installed or not.
        (["plugins=BitsandbytesPrecision", "plugins.mode=nf4"], "BitsandbytesPrecision: the record would not"),
        (["plugins=TransformerEnginePrecision"], "TransformerEnginePrecision: the record would not say so"),
    ],
)
def test_one_that_is_not_installed(
    words: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*fit_command(LM, tmp_path, "a", 4, 2), *(f"--trainer.{word}" for word in words)]
    try:
        code = main(command)
    except SystemExit as end:  # of the parser
        code = end.code  # type: ignore[assignment]
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line and "Expected a" not in line
    assert not run_folder(tmp_path, LM, "a").exists()
