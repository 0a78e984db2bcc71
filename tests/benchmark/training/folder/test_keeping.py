"""Checkpoints along the way: around hits, on a grid, whole ones, and how many."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.config.parser import parse
from benchmark.config.run_config import RunConfig
from benchmark.training.folder import keeping
from benchmark.training.folder.checkpoint import read_checkpoint
from benchmark.training.folder.keeping import around
from benchmark.training.folder.layout import kept_checkpoint, kept_steps
from benchmark.training.folder.seed_log import SeedLog
from benchmark.training.loading import load, resume
from benchmark.training.run import Run, build


def config(out: Path, **more: Any) -> RunConfig:
    content = {
        "model": {"class_path": "transformer", "init_args": {"d_model": 16, "n_heads": 2}},
        "data": {
            "class_path": "lm",
            "init_args": {"state_size": 3, "n_nonzero": 1, "batch_size": 32, "eval_sequences": 64},
        },
        "protocol": {"max_steps": 60, "eval_every": 4, "stop_when_solved": True},
        "optimizer": {"lr": 0.03, "warmup_steps": 0},
        "trainer": {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False},
        "out": str(out),
        "picture": False,
    }
    return parse(content | more)


def fitted(out: Path, **more: Any) -> Run:
    run = build(config(out, **more))
    assert run.fit().error is None
    return run


def around_hits_of(run: Run, seed: int = 0) -> set[int]:
    """From the record alone."""
    record = next(record for record in run.records if record.seeds.init_seed == seed)
    hits = [*record.hits.values(), *(record.part_hits or ())]
    return {hit.step + d for hit in hits if hit.step is not None for d in (-4, 0, 4) if hit.step + d >= 0}


@pytest.mark.train
def test_around_hits_are_the_evaluations_before_at_and_after(tmp_path: Path) -> None:
    run = fitted(tmp_path, keep_checkpoints="around_hits", seed=1)
    assert run.record is not None and run.record.status == "solved" and run.record.steps > 16
    expected = around_hits_of(run, 1)
    assert set(run.kept_steps) == expected and len(expected) < len(run.curves())
    step = run.kept_steps[1]
    curves = run.curves().set_index("step")["loss_nats"]
    assert run.folder is not None and load(run.folder, step=step).evaluate().metrics["loss_nats"] == curves[step]


@pytest.mark.train
def test_every_evaluation_a_grid_of_them_and_both_kinds_together(tmp_path: Path) -> None:
    short = {"max_steps": 16, "eval_every": 4}
    assert fitted(tmp_path, protocol=short, keep_checkpoints="every", name="a").kept_steps == [0, 4, 8, 12, 16]
    both = fitted(tmp_path, protocol=short, keep_checkpoints="every", keep_every=8, name="b")
    assert both.kept_steps == [0, 8, 16]
    run = fitted(tmp_path, keep_checkpoints="around_hits", keep_every=20, seed=1, name="c")
    assert run.record is not None
    assert set(run.kept_steps) == around_hits_of(run, 1) | set(range(0, run.record.steps + 1, 20))


@pytest.mark.train
def test_each_of_many_seeds_keeps_its_own(tmp_path: Path) -> None:
    run = fitted(tmp_path, keep_checkpoints="around_hits", seeds="0-2")
    for seed in range(3):
        assert set(kept_steps(run.seed_folder(seed))) == around_hits_of(run, seed)


@pytest.mark.train
def test_a_run_cut_short_keeps_what_may_still_lie_around_a_hit(tmp_path: Path) -> None:
    from benchmark.training.folder.checkpoint import Checkpointer

    whole = fitted(tmp_path / "whole", keep_checkpoints="around_hits", seed=1, checkpoint_interval_s=0)
    cut = build(config(tmp_path / "cut", keep_checkpoints="around_hits", seed=1, checkpoint_interval_s=0, name="cut"))
    before = Checkpointer.on_train_batch_end

    def interrupted(self: Checkpointer, trainer: Any, *args: Any) -> None:
        if trainer.global_step == 10:
            self.signum = 2
        before(self, trainer, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpointer, "on_train_batch_end", interrupted)
        assert cut.fit().exit_code == 130
    assert cut.folder is not None and {4, 8} <= set(cut.kept_steps)
    again = resume(cut.folder)
    assert again.kept_steps == whole.kept_steps


@pytest.mark.train
@pytest.mark.parametrize("step", [0, 8])
def test_whole_checkpoints_are_those_that_a_run_goes_on_from(step: int, tmp_path: Path) -> None:
    run = fitted(tmp_path, keep_checkpoints="every", keep_resumable=True)
    assert run.folder is not None
    kept = read_checkpoint(kept_checkpoint(run.folder, step))
    assert kept["global_step"] == step and len(kept["optimizer_states"]) == 1
    assert [row["step"] for row in kept["callbacks"]["Recorder"]["seeds"][0]["curves"]] == list(range(0, step + 1, 4))
    curves = run.curves().set_index("step")["loss_nats"]
    assert load(run.folder, step=step).evaluate().metrics["loss_nats"] == curves[step]


def test_their_number_is_bounded_targets_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    member = build(config(tmp_path)).members[0]
    log = SeedLog(member.identity, member.task, tmp_path)
    solved = [(12, [True, False, False]), (16, [True, False, True]), (20, [True, True, True]), (24, [True, True, True])]
    for step, parts in [(0, [False] * 3), (4, [False] * 3), (8, [False] * 3), *solved]:
        row = {"step": step, "rows_solved": sum(parts) / 3, "parts_solved": torch.tensor(parts)}
        log.curves.append(row)
    log.__post_init__()
    assert {name: hit.step for name, hit in log.hits.items()} == dict.fromkeys(log.hits, 20) | {"rows_50": 16}
    assert around(log) == [12, 16, 20, 24, 8]
    monkeypatch.setattr(keeping, "MOST_AROUND_HITS", 4)
    assert around(log) == [12, 16, 20, 24]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"keep_checkpoints": "some"}, "keep_checkpoints"),
        (
            {"keep_resumable": True},
            "--keep_resumable says how to keep checkpoints: add --keep_checkpoints or --keep_every",
        ),
        (
            {"keep_resumable": True, "keep_every": 4, "seeds": "0-1"},
            "--keep_resumable is for a run of one seed: give --seed in the place of --seeds",
        ),
    ],
)
def test_a_mistake_is_one_line(options: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=line) as error:
        config(tmp_path, **options)
    assert "\n" not in str(error.value)
