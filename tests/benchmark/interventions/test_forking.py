"""A fork is its parent to the last bit where nothing was changed, and differs in one cause where one was."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from architectures.transformer import attentions_of
from benchmark.__main__ import main
from benchmark.config.parser import parse
from benchmark.interventions import forking
from benchmark.interventions.forking import Change, Parent, parse_twins
from benchmark.training.folder.checkpoint import CHECKPOINT, read_checkpoint
from benchmark.training.folder.layout import kept_checkpoint
from benchmark.training.loading import load, resume
from benchmark.training.run import Run, build
from leaderboard.__main__ import main as leaderboard
from leaderboard.records.record import Hit, Record, read_record
from leaderboard.statistics.head_to_head import head_to_head

CONTENT: dict[str, Any] = {
    "model": {"class_path": "transformer", "init_args": {"d_model": 8, "n_heads": 2}},
    "data": {"class_path": "lm", "init_args": {"state_size": 3, "n_nonzero": 1, "batch_size": 8, "eval_sequences": 8}},
    "protocol": {"max_steps": 9, "eval_every": 3},
    "optimizer": {"lr": 0.003, "warmup_steps": 2},
    "trainer": {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False},
    "picture": False,
    "suite": "tiny",
    "cell": "lm_s3",
}
TIMES = {
    "started_at",
    "ended_at",
    "wall_train_s",
    "wall_eval_s",
    "tokens_per_s",
    "peak_memory_bytes",
    "intervention",
    "hardware",
    "curves",
}


def fitted(out: Path, **more: Any) -> Run:
    run = build(parse(CONTENT | {"out": str(out), "keep_checkpoints": "every", "keep_resumable": True} | more))
    assert run.fit().exit_code == 0
    return run


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fitted(tmp_path_factory.mktemp("runs"), name="a").folder
    assert folder is not None
    return folder


def forked(parent: Path, step: int, out: Path, **change: Any) -> Run:
    run = resume(Parent(parent, step).folder_of(Change(**change), str(out)))
    assert run.outcome is not None and run.outcome.exit_code == 0
    return run


def record_of(run: Run) -> Record:
    assert run.record is not None
    return run.record


@pytest.mark.train
@pytest.mark.parametrize("step", [0, 3, 9])
def test_without_a_change_it_is_its_parent_to_the_last_bit(step: int, parent: Path, tmp_path: Path) -> None:
    fork, original = forked(parent, step, tmp_path), load(parent)
    ours, theirs = (record_of(run).model_dump(exclude=TIMES) for run in (fork, original))
    assert ours == theirs
    assert (
        fork.curves()
        .drop(columns="loss_by_position_nats")
        .equals(original.curves().drop(columns="loss_by_position_nats"))
    )
    for mine, other in zip(*(run.curves()["loss_by_position_nats"] for run in (fork, original)), strict=True):
        assert (mine == other).all()
    state, other_state = load(fork.folder).model.state_dict(), original.model.state_dict()  # type: ignore[arg-type]
    assert all(torch.equal(x, other_state[name]) for name, x in state.items())
    said = record_of(fork).intervention
    assert said is not None and said.fork is not None and said.attention_bias is None
    assert (said.fork.step, said.fork.changes, record_of(original).intervention) == (step, (), None)
    assert record_of(fork).run_id != record_of(original).run_id
    assert said.text.startswith(f"a fork of run {said.fork.parent[:12]} at step {step} (no change)")


@pytest.mark.train
def test_another_data_seed_changes_the_sequences_from_there_on(parent: Path, tmp_path: Path) -> None:
    ours, theirs = record_of(forked(parent, 3, tmp_path, data_seed=7)), record_of(load(parent))
    assert ours.seeds.model_dump() == theirs.seeds.model_dump() | {"data_seed": 7}
    assert [a == b for a, b in zip(ours.first_losses_nats, theirs.first_losses_nats, strict=True)] == [True] * 3 + [
        False
    ] * 6
    assert ours.init_hash == theirs.init_hash


@pytest.mark.train
def test_a_fresh_optimizer_takes_the_same_step_from_other_moments(parent: Path, tmp_path: Path) -> None:
    """The loss of the first step is that of the parent's weights."""
    run = forked(parent, 3, tmp_path, fresh_optimizer=True)
    ours, theirs = record_of(run).first_losses_nats, record_of(load(parent)).first_losses_nats
    assert [a == b for a, b in zip(ours, theirs, strict=True)][:5] == [True] * 4 + [False]
    steps = [x["step"] for x in read_checkpoint(run.folder / CHECKPOINT)["optimizer_states"][0]["state"].values()]  # type: ignore[operator]
    assert set(map(float, steps)) == {6.0}  # of its own, not the run's nine


@pytest.mark.train
def test_a_reset_head_has_its_initial_weights_and_no_moments(parent: Path, tmp_path: Path) -> None:
    whole = Parent(parent, 3)
    folder = whole.folder_of(Change(reset_heads=whole.parsed_heads(["0:1"])), str(tmp_path))
    before, after = read_checkpoint(kept_checkpoint(parent, 3)), read_checkpoint(folder / CHECKPOINT)
    initial = attentions_of(whole.run.model)[0]
    rows = [*range(4, 8), *range(12, 16), *range(20, 24)]  # queries, keys and values of the second head of width 4
    name = "model.blocks.0.attention.qkv.weight"
    changed = (before["state_dict"][name] != after["state_dict"][name]).any(1).nonzero().flatten().tolist()
    assert changed == rows
    assert torch.equal(after["state_dict"][name][rows], initial.qkv.weight[rows])
    out = "model.blocks.0.attention.out.weight"
    assert (before["state_dict"][out] != after["state_dict"][out]).any(0).nonzero().flatten().tolist() == [4, 5, 6, 7]
    others = [key for key in before["state_dict"] if key not in {name, out, name.replace("weight", "bias")}]
    assert all(torch.equal(before["state_dict"][key], after["state_dict"][key]) for key in others)
    zeros = {}
    for place, state in after["optimizer_states"][0]["state"].items():
        moment, was = state["exp_avg"], before["optimizer_states"][0]["state"][place]["exp_avg"]
        if not torch.equal(moment, was):
            zeros[tuple(moment.shape)] = (moment == 0).sum().item()
    assert zeros == {(24, 8): 12 * 8, (24,): 12, (8, 8): 8 * 4}
    assert record_of(resume(folder)).intervention.fork.changes == ("reset_head=0:1",)  # type: ignore[union-attr]


@pytest.mark.train
def test_twins_are_compared_by_the_leaderboards_own_statistics(
    parent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["fork", str(parent), "--at=3", "--twins=2", "--reset_head=0:0"]
    assert main([*words, "--format=json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["data_seed"] for each in found["untouched"]] == [1, 2] == [e["data_seed"] for e in found["changed"]]
    arms: dict[bool, list[Record]] = {True: [], False: []}
    for path in sorted(tmp_path.glob("forks/lm/transformer/*/record.json")):
        arms["reset" in path.parent.name].append(read_record(path))
    [verdict] = head_to_head({"x": arms[True]}, {"x": arms[False]}).tasks.values()
    rate = next(iter(found["compared"]["tasks"].values()))["win_rate"]
    assert rate == pytest.approx(verdict.win_rate.estimate) or rate["estimate"] == verdict.win_rate.estimate
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("forks/**/record.json")}
    assert main(words) == 0  # all have ended: nothing is trained again
    assert "changed against untouched: win rate" in capsys.readouterr().out
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.glob("forks/**/record.json")}
    assert leaderboard(["submit", "forks", "--name=mine", "--out=results"]) == 2
    assert "a fork of run" in capsys.readouterr().err


@pytest.mark.train
def test_a_fork_that_was_cut_short_goes_on_and_never_begins_anew(parent: Path, tmp_path: Path) -> None:
    whole = Parent(parent, 3)
    folder = whole.folder_of(Change(), str(tmp_path))
    (folder / CHECKPOINT).unlink()  # killed between the folder and its checkpoint
    with pytest.raises(ValueError, match="a fork begins from a checkpoint, which is not there"):
        resume(folder)
    assert not (folder / "record.json").exists()
    assert whole.folder_of(Change(), str(tmp_path)) == folder
    assert record_of(resume(folder)).first_losses_nats == whole.record.first_losses_nats


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--at=4"], "there is no checkpoint of step 4; there are those of: 0, 3, 6, 9"),
        (["--at=3", "--reset_head=0:9"], "--reset_head must be LAYER:HEAD, got '0:9'; there are 0:0 to 0:1"),
        (["--at=3", "--twins=0"], "--twins must be a number of twins, or their data seeds like 11-15 or 3,7; got '0'"),
        (["--at=3", "--twins=0-2"], "--twins 0-2: 0 is the data seed of the run itself"),
        (["--at=3", "--twins=2", "--data_seed=3"], "--twins names the data seeds: leave out --data_seed"),
        ([], "AT is missing"),
        (["--at=3", "--fresh_optimiser"], "--fresh_optimizer"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], line: str, parent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["fork", str(parent), *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and line in said and list(tmp_path.iterdir()) == []


def test_runs_that_cannot_be_forked_say_so(parent: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(parent, copied)
    (copied / "record.json").unlink()
    with pytest.raises(ValueError, match=r"has no record\.json yet"):
        Parent(copied, 3)
    weights = build(parse(CONTENT | {"out": str(tmp_path), "name": "w", "keep_checkpoints": "every"}))
    weights.fit()
    assert weights.folder is not None
    with pytest.raises(ValueError, match="holds weights only; a run made with --keep_resumable can be forked"):
        Parent(weights.folder, 3)
    many = build(
        parse(
            CONTENT
            | {"out": str(tmp_path), "name": "m", "seeds": "0-1", "protocol": {"max_steps": 0 + 1, "eval_every": 1}}
        )
    )
    many.fit()
    assert many.folder is not None
    with pytest.raises(ValueError, match="holds many seeds: a run of one seed can be forked"):
        Parent(many.folder, 1)


def test_twins_of_a_run_that_had_solved_its_task_are_refused(
    parent: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_record(parent / "record.json")
    solved = record.model_copy(update={"hits": dict.fromkeys(record.hits, Hit(step=3, previous_step=0))})
    monkeypatch.setattr(forking, "read_record", lambda path: solved)
    assert main(["fork", str(parent), "--at=3", "--twins=2"]) == 2
    assert "had solved its task at step 3: only from an earlier step can twins differ" in capsys.readouterr().err


def test_twins_are_counted_or_named() -> None:
    assert parse_twins("3", 5) == (6, 7, 8)
    assert tuple(parse_twins("11-13,20", 5)) == (11, 12, 13, 20)
