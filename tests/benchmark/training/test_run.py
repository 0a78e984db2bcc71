"""A run is built, loaded and looked into in one way, and a loaded run is the run that was recorded."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from architectures import ARCHITECTURES
from benchmark.config.parser import config_of, parse, parse_trainer, to_yaml
from benchmark.config.run_config import RunConfig
from benchmark.training.folder.checkpoint import CHECKPOINT
from benchmark.training.folder.layout import CONFIG, RECORD
from benchmark.training.loading import load
from benchmark.training.run import Run, build
from leaderboard.records.record import read_record

SMALL = {"d_model": 16, "n_layers": 1, "n_heads": 2, "head_dim": 8}
DATA = {
    "lm": {"state_size": 4, "n_nonzero": 2, "batch_size": 8, "eval_sequences": 20},
    "ca": {"state_size": 4, "n_states": 4, "n_rules": 4, "batch_size": 4, "eval_sequences": 6},
}


def config(out: Path, model: str = "transformer", data: str = "lm", **more: Any) -> RunConfig:
    known = {name: value for name, value in SMALL.items() if name in ARCHITECTURES[model].__init__.__annotations__}
    content = {
        "model": {"class_path": model, "init_args": known},
        "data": {"class_path": data, "init_args": DATA[data]},
        "protocol": {"max_steps": 12, "eval_every": 4},
        "trainer": {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False},
        "out": str(out),
        "picture": False,
    }
    return parse(content | {key.rstrip("_"): value for key, value in more.items()})


def fitted(*args: Any, **more: Any) -> Run:
    run = build(config(*args, **more))
    outcome = run.fit()
    assert outcome.error is None
    return run


@pytest.mark.train
@pytest.mark.parametrize("data", ["lm", "ca"])
@pytest.mark.parametrize("model", sorted(ARCHITECTURES))
def test_a_loaded_run_evaluates_to_its_record_to_the_last_bit(model: str, data: str, tmp_path: Path) -> None:
    run = fitted(tmp_path, model, data)
    assert run.folder is not None
    loaded = load(run.folder)
    assert loaded.record is not None and loaded.record.final is not None
    evaluation = loaded.evaluate()
    assert evaluation.metrics["loss_nats"] == loaded.record.final.loss_nats
    assert evaluation.metrics["accuracy"] == loaded.record.final.accuracy
    assert (loaded.step, loaded.identity) == (12, run.identity)
    assert loaded.curves()["loss_nats"].iloc[-1] == loaded.record.final.loss_nats
    assert loaded.evaluate("test").metrics["loss_nats"] != loaded.record.final.loss_nats


@pytest.mark.train
@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_a_loaded_run_has_its_precision(precision: str, tmp_path: Path) -> None:
    told = config(tmp_path)
    trainer = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False}
    run = build(replace(told, trainer=parse_trainer({**trainer, "precision": precision})))
    run.fit()
    assert run.folder is not None
    loaded = load(run.folder)
    assert loaded.record is not None and loaded.record.final is not None
    assert loaded.evaluate().metrics["loss_nats"] == loaded.record.final.loss_nats


@pytest.mark.train
def test_a_run_is_trained_once(tmp_path: Path) -> None:
    """And one that was loaded goes on from its checkpoint, not from its weights at step 0."""
    run = fitted(tmp_path)
    assert run.folder is not None
    with pytest.raises(ValueError, match="this run has been trained"):
        run.fit()
    (run.folder / RECORD).unlink()
    loaded = load(run.folder)
    assert loaded.fit().error is None
    assert loaded.record is not None and loaded.step == 12
    assert torch.load(run.folder / CHECKPOINT, weights_only=True)["global_step"] == 12


@pytest.mark.slow
def test_building_leaves_no_trace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    one, two = build(config(tmp_path, seed=5)), build(config(tmp_path, seed=5))
    assert torch.equal(before, torch.get_rng_state())
    for ours, theirs in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert one.folder is None and one.records == [] and not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_many_seeds_have_the_weights_that_each_has_alone(tmp_path: Path) -> None:
    many = build(config(tmp_path, seeds="3,5"))
    for seed in (3, 5):
        alone = build(config(tmp_path, seed=seed)).model.state_dict()
        for name, x in many.module.model_of(seed).state_dict().items():
            assert torch.equal(x, alone[name])
    with pytest.raises(ValueError, match="2 seeds: take run.module.model_of"):
        _ = many.model
    with pytest.raises(ValueError, match="2 seeds: take run.records"):
        _ = many.record


@pytest.mark.train
def test_many_seeds_are_loaded_together_or_one_by_one(tmp_path: Path) -> None:
    run = fitted(tmp_path, seeds="3,5")
    assert run.folder is not None
    together = load(run.folder)
    together.evaluate()
    for seed, record in zip((3, 5), together.records, strict=True):
        assert record.final is not None
        alone = load(run.folder / f"seed{seed}")
        # Of the seed alone, where the record's is of a batch of seeds: float32 rounding.
        assert alone.evaluate().metrics["loss_nats"] == pytest.approx(record.final.loss_nats, rel=1e-6)
        assert together.evaluations[seed].metrics["loss_nats"] == record.final.loss_nats


@pytest.mark.train
def test_seeds_that_ended_early_are_looked_into_as_the_others(tmp_path: Path) -> None:
    data = {"class_path": "lm", "init_args": {**DATA["lm"], "state_size": 6, "batch_size": 32}}
    model = {"class_path": "transformer", "init_args": {"d_model": 32, "n_heads": 4}}
    run = fitted(
        tmp_path, seeds="0-3", data_=data, model_=model, optimizer={"lr": 3e-3},
        protocol={"max_steps": 400, "eval_every": 25},
    )  # fmt: skip
    assert len({record.steps for record in run.records}) > 1, "choose seeds that end at different steps"
    run.evaluate()
    assert run.evaluations.keys() == {0, 1, 2, 3}
    for seed, record in zip(run.evaluations, run.records, strict=True):
        assert record.final is not None
        assert run.evaluations[seed].metrics["loss_nats"] == pytest.approx(record.final.loss_nats, rel=1e-6)


@pytest.mark.train
def test_kept_weights(tmp_path: Path) -> None:
    run = fitted(tmp_path, keep_every=4)
    assert run.folder is not None and run.kept_steps == [0, 4, 8, 12]
    losses = [at.evaluate().metrics["loss_nats"] for at in run.trajectory()]
    assert losses == run.curves()["loss_nats"].tolist()
    at_4 = load(run.folder, step=4)
    assert at_4.step == 4 and at_4.evaluate().metrics["loss_nats"] == losses[1]
    with pytest.raises(ValueError, match="no weights of step 5: kept are those after steps 0, 4, 8, 12 "):
        load(run.folder, step=5)
    with pytest.raises(ValueError, match="--keep_every must be a multiple of protocol.eval_every = 4, got 6"):
        config(tmp_path, keep_every=6)


@pytest.mark.train
def test_a_run_without_weights(tmp_path: Path) -> None:
    """As Ray's sweeps and committed results leave them: the record and the curves."""
    run = fitted(tmp_path)
    assert run.folder is not None
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(run.folder / RECORD, bare)
    with pytest.raises(ValueError, match="there are no weights at its end .*record says censored after 12 steps"):
        load(bare)
    initial = load(bare, weights=False)
    assert initial.record is not None and initial.step == 0
    assert initial.evaluate().metrics["loss_nats"] == initial.record.first_loss_nats
    assert initial.identity == run.identity
    with pytest.raises(ValueError, match="there are no curves"):
        initial.curves()


@pytest.mark.train
def test_a_diverged_run(tmp_path: Path) -> None:
    run = build(config(tmp_path, optimizer={"lr": 1e30, "clip_norm": 0.0, "warmup_steps": 0}))
    assert run.fit().exit_code == 3
    assert run.folder is not None and run.record is not None and run.record.status == "diverged"
    with pytest.raises(ValueError, match="no weights at its end .*record says diverged after 2 steps; none were kept"):
        load(run.folder)
    assert load(run.folder, weights=False).record == run.record


@pytest.mark.train
def test_a_run_that_is_not_over_goes_on(tmp_path: Path) -> None:
    """With a budget off the evaluation grid, the weights are later than the last evaluation."""
    run = fitted(tmp_path, protocol={"max_steps": 10, "eval_every": 4})
    assert run.folder is not None
    loaded = load(run.folder)
    assert loaded.record is not None and loaded.record.final is not None
    assert (loaded.step, loaded.record.final.step) == (10, 8)
    with pytest.raises(ValueError, match="all of its seeds have ended"):
        loaded.fit()


@pytest.mark.train
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("nothing", "no such folder"),
        ("empty", "is not a run folder"),
        ("torn", "is not a checkpoint, or a damaged one"),
        ("foreign", "is not a checkpoint of this suite"),
        ("other", "was made with init_seed = 0, this run has 9"),
        ("yaml", "is no YAML"),
        ("list", "must be a mapping"),
        ("unknown", "unknown architecture 'transfromer' for --model: did you mean transformer?"),
        ("record", "record.json: "),
        ("foreign record", "is the record of another run .init_seed = 8 there, 0 in the configuration"),
    ],
)
def test_a_folder_that_is_not_as_it_should_be(damage: str, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    if damage != "nothing":
        run = fitted(tmp_path)
        assert run.folder is not None
        shutil.copytree(run.folder, folder)
    settings = folder / CONFIG
    match damage:
        case "empty":
            shutil.rmtree(folder)
            folder.mkdir()
        case "torn":
            (folder / CHECKPOINT).write_bytes((folder / CHECKPOINT).read_bytes()[:-2000])
        case "foreign":
            torch.save({"state_dict": {}}, folder / CHECKPOINT)
        case "other":
            settings.write_text(settings.read_text().replace("init_seed: null", "init_seed: 9"))
        case "yaml":
            settings.write_text("a: [")
        case "list":
            settings.write_text("- 1")
        case "unknown":
            settings.write_text(settings.read_text().replace("architectures.transformer.transformer", "transfromer"))
        case "foreign record":
            content = json.loads((folder / RECORD).read_text())
            content["seeds"]["init_seed"] = 8
            (folder / RECORD).write_text(json.dumps(content))
        case "record":
            settings.unlink()
            (folder / RECORD).write_text("{}")
    with pytest.raises(ValueError, match=said) as error:
        load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.train
@pytest.mark.parametrize("data", ["lm", "ca"])
@pytest.mark.parametrize("model", sorted(ARCHITECTURES))
def test_yaml_and_record_give_the_run_back(model: str, data: str, tmp_path: Path) -> None:
    told = config(tmp_path, model, data, seed=3, task_seed=7, optimizer={"lr": 3e-4, "betas": [0.8, 0.9]})
    again = parse(yaml.safe_load(to_yaml(told)))
    assert build(again).identity == build(told).identity
    assert to_yaml(again) == to_yaml(told)
    run = build(told)
    run.fit()
    assert run.folder is not None
    assert build(config_of(read_record(run.folder / RECORD))).identity == run.identity


@pytest.mark.train
def test_a_record_of_something_unknown(tmp_path: Path) -> None:
    run = fitted(tmp_path)
    assert run.folder is not None
    content = json.loads((run.folder / RECORD).read_text())
    content["architecture"]["name"] = "perceptron"
    (tmp_path / RECORD).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="architecture 'perceptron' is not registered here; known names are"):
        config_of(read_record(tmp_path / RECORD))


@pytest.mark.train
def test_what_an_architecture_draws_is_seeded_and_its_own(tmp_path: Path) -> None:
    """Dropout draws from torch's generator: two runs draw the same, and the caller's generator does not move."""

    def first_losses(out: Path) -> list[float]:
        run = build(config(out))
        torch.manual_seed(len(str(out)))
        model = run.members[0].model
        for block in model.blocks:
            block.register_forward_hook(lambda module, inputs, output: torch.dropout(output, 0.5, True))
        before = torch.get_rng_state()
        run.fit()
        assert torch.equal(before, torch.get_rng_state())
        assert run.record is not None
        return list(run.record.first_losses_nats)

    assert first_losses(tmp_path / "a") == first_losses(tmp_path / "another")
