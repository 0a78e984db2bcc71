"""A run takes exactly what it asks for from another one, and is that of its seeds alone in everything else."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from architectures.weight_parts import WEIGHT_PARTS, parts_of
from benchmark.__main__ import main
from benchmark.config.files.yaml_text import read_yaml, to_text
from benchmark.config.parser import config_of, parse
from benchmark.config.run_config import first_stages_text, parse_first_stages
from benchmark.training.first_stage import permuted
from benchmark.training.folder.checkpoint import read_checkpoint
from benchmark.training.folder.layout import kept_checkpoint
from benchmark.training.loading import load, resume
from benchmark.training.replay import Mismatch, replay
from benchmark.training.run import Run, build
from leaderboard.__main__ import main as leaderboard
from leaderboard.records.record import Record, RecordedFirstStage, read_record
from tests.oracles import splitmix64

CONTENT: dict[str, Any] = {
    "model": {"class_path": "transformer", "init_args": {"d_model": 8, "n_heads": 2}},
    "data": {"class_path": "lm", "init_args": {"state_size": 3, "n_nonzero": 1, "batch_size": 8, "eval_sequences": 8}},
    "protocol": {"max_steps": 6, "eval_every": 3},
    "optimizer": {"lr": 0.01, "warmup_steps": 2},
    "trainer": {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False},
    "picture": False,
    "suite": "tiny",
    "cell": "lm_s3",
}


def of(out: Path, **more: Any) -> Run:
    return build(parse(CONTENT | {"out": str(out)} | more))


def fitted(out: Path, **more: Any) -> Run:
    run = of(out, **more)
    assert run.fit().exit_code == 0
    return run


def folder_of(run: Run) -> Path:
    assert run.folder is not None
    return run.folder


def record_of(run: Run) -> Record:
    assert run.record is not None
    return run.record


def stage_of(record: Record) -> RecordedFirstStage:
    assert record.intervention is not None and record.intervention.first_stage is not None
    return record.intervention.first_stage


def state(run: Run) -> dict[str, Tensor]:
    return {name: x.clone() for name, x in run.model.state_dict().items()}


def kept(folder: Path, step: int) -> dict[str, Tensor]:
    return {
        k.removeprefix("model."): x for k, x in read_checkpoint(kept_checkpoint(folder, step))["state_dict"].items()
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(fitted(tmp_path_factory.mktemp("first"), name="a", seed=5, keep_checkpoints="every"))


@pytest.mark.train
@pytest.mark.parametrize("asked", [None, "attention", "mlp,norms", "head,positions", ",".join(WEIGHT_PARTS)])
def test_exactly_the_parts_that_were_asked_for(asked: str | None, source: Path, tmp_path: Path) -> None:
    """To the last bit; the rest is the fresh start of the seed, and so is what torch draws next."""
    fresh, run = of(tmp_path, seed=1), of(tmp_path, seed=1, init_from=str(source), init_parts=asked)
    there, plain, ours = kept(source, 6), state(fresh), state(run)
    taken = (asked or "attention,mlp,norms").split(",")
    parts = parts_of(run.model)
    assert {parts[name] for name in parts} == set(WEIGHT_PARTS)
    for name, part in parts.items():
        assert torch.equal(ours[name], there[name] if part in taken else plain[name]), name
        if part not in {"norms", "positions"} and not name.endswith("bias"):
            assert not torch.equal(there[name], plain[name])
    assert torch.equal(run._random_state, fresh._random_state)
    assert run.step == 0 and run.config.taken == tuple(part for part in WEIGHT_PARTS if part in taken)


@pytest.mark.train
def test_a_kept_step_with_everything_is_the_run_from_there_with_a_fresh_optimizer(source: Path, tmp_path: Path) -> None:
    """From its own step 0 it is the run itself; from step 3 it begins with the loss that the run had there."""
    plain = record_of(load(source))
    whole = ",".join(WEIGHT_PARTS)
    again = fitted(tmp_path, name="again", seed=5, init_from=f"{source}@0", init_parts=whole)
    ours = record_of(again)
    assert (ours.first_losses_nats, ours.init_hash, ours.final) == (
        plain.first_losses_nats, plain.init_hash, plain.final
    )  # fmt: skip
    later = fitted(tmp_path, name="later", seed=5, init_from=f"{source}@3", init_parts=whole)
    assert later.curves()["loss_nats"].iloc[0] == load(source).curves()["loss_nats"].iloc[1]
    assert record_of(later).steps == 6 and record_of(later).init_hash != plain.init_hash
    assert {k: v for k, v in stage_of(record_of(later)).model_dump().items() if k != "source"} == {
        "step": 3, "tokens": 3 * 8 * 6, "parts": tuple(WEIGHT_PARTS), "permuted": False
    }  # fmt: skip


@pytest.mark.train
def test_permuted_tensors_keep_their_entries_and_nothing_else(source: Path, tmp_path: Path) -> None:
    runs = [of(tmp_path, seed=seed, init_from=str(source), init_permuted=True) for seed in (1, 1, 2)]
    there, (ours, again, other), parts = kept(source, 6), map(state, runs), parts_of(runs[0].model)
    for name, part in parts.items():
        if part in {"attention", "mlp", "norms"}:
            assert torch.equal(ours[name].flatten().sort().values, there[name].flatten().sort().values)
            assert torch.equal(ours[name], again[name])
            if there[name].unique().numel() > 2:
                assert not torch.equal(ours[name], there[name]) and not torch.equal(ours[name], other[name])
    assert torch.equal(ours["head.weight"], state(of(tmp_path, seed=1))["head.weight"])
    words = [splitmix64.word(("init_permuted", 1, "x", 0), i) for i in range(6)]
    order = sorted(range(6), key=lambda i: (words[i] + 2**63) % 2**64)  # as two's complement: the same on any machine
    assert permuted(torch.arange(1, 7).view(2, 3), "x", 0).flatten().tolist() == [1 + i for i in order]
    causal = torch.arange(1.0, 10).view(3, 3).tril()
    moved = permuted(causal, "x", 0)
    assert torch.equal(moved, moved.tril()) and not torch.equal(moved, causal)
    assert torch.equal(moved.flatten().sort().values, causal.flatten().sort().values)


@pytest.mark.train
def test_the_record_says_so_and_the_run_is_no_entry(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [fitted(tmp_path / "second", seed=seed, name=f"s{seed}", init_from=str(source)) for seed in (0, 1)]
    record = record_of(runs[0])
    stage, first = stage_of(record), record_of(load(source))
    assert (stage.step, stage.tokens, stage.parts) == (6, first.tokens, ("attention", "mlp", "norms"))
    assert "first_stage" not in first.model_dump_json() and "init_from" not in record.model_dump_json()
    assert record.protocol_hash == first.protocol_hash and record.init_hash != first.init_hash
    assert config_of(record).intervention == record.intervention
    with pytest.raises(Mismatch, match="a run that begins with attention, mlp, norms of run .* at step 6 .288 tokens"):
        replay(record)
    assert leaderboard(["submit", "second", "--name", "mine", "--out", "results"]) == 2
    assert "such a run is never part of an entry" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
    with pytest.raises(ValueError, match="begins with attention, mlp, norms of run .*no folder of that run is named"):
        build(config_of(record))


@pytest.mark.train
def test_a_run_is_loaded_without_its_source_and_resumed_with_the_same_one(source: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(source, own)
    run = fitted(tmp_path, name="b", init_from=str(own))
    folder = folder_of(run)
    assert read_yaml(folder / "config.yaml")["first_stage"] == first_stages_text([stage_of(record_of(run))])
    own.rename(tmp_path / "away")
    loaded = load(folder)
    assert loaded.identity == run.identity and loaded.step == 6
    (folder / "config.yaml").rename(tmp_path / "config.yaml")
    assert load(folder).identity == run.identity  # from the record alone
    (tmp_path / "config.yaml").rename(folder / "config.yaml")
    (folder / "record.json").unlink()
    with pytest.raises(ValueError, match=f"--init_from {own}: there is no such folder: the first stage must have been"):
        resume(folder)
    shutil.copytree(folder_of(fitted(tmp_path, name="c", seed=9)), own)
    with pytest.raises(ValueError, match="is another run, or other parts of it, than this run has begun with: atten"):
        resume(folder)
    shutil.rmtree(own)
    (tmp_path / "away").rename(own)
    assert record_of(resume(folder)).final == record_of(run).final


@pytest.mark.train
def test_many_seeds_each_take_their_own(tmp_path: Path) -> None:
    first = folder_of(fitted(tmp_path, name="first", seeds="3-4"))
    many = fitted(tmp_path, name="many", seeds="3-4", init_from=str(first))
    alone = fitted(tmp_path, name="alone", seed=4, init_from=str(first))
    of_seed = fitted(tmp_path, name="of_seed", seed=4, init_from=str(first / "seed4"))
    ours, theirs = many.records[1], record_of(alone)
    assert stage_of(ours) == stage_of(theirs) == stage_of(record_of(of_seed)) != stage_of(many.records[0])
    assert ours.first_losses_nats == pytest.approx(theirs.first_losses_nats, rel=1e-4)
    assert theirs.first_losses_nats == record_of(of_seed).first_losses_nats
    loaded = load(folder_of(many))
    assert loaded.identity == many.identity
    assert load(folder_of(many) / "seed4").identity == many.members[1].identity
    with pytest.raises(ValueError, match="seed7: there is no such folder: the first stage must have been run"):
        of(tmp_path, seed=7, init_from=str(first))
    with pytest.raises(ValueError, match="--first_stage tells of 2 seeds, the run has 1"):
        parse(CONTENT | {"init_from": str(first), "first_stage": many.config.first_stage})


@pytest.mark.slow
@pytest.mark.process
def test_a_sweep_takes_each_seeds_own_and_finds_its_runs_again(tmp_path: Path) -> None:
    from benchmark.api import sweep

    (tmp_path / "cell.yaml").write_text(
        to_text({k: v for k, v in CONTENT.items() if k in ("model", "data", "protocol")})
    )
    order: dict[str, Any] = {"config": tmp_path / "cell.yaml", "seeds": "3-4", "jobs": 1, "progress": False}
    first = sweep(**order, out=tmp_path / "first")
    assert first.failures == []
    inside = tmp_path / "first" / "cell" / "lm" / "transformer"
    second = sweep(**order, out=tmp_path / "second", init_from=str(inside), init_parts="attention")
    assert second.failures == [] and len(second.records) == 2
    stages = {record.seeds.init_seed: stage_of(record) for record in second.records}
    assert stages[3].source != stages[4].source and stages[3].parts == ("attention",)
    again = sweep(**order, out=tmp_path / "second", init_from=str(inside), init_parts="attention")
    assert [r.started_at for r in again.records] == [r.started_at for r in second.records]
    other = sweep(**order, out=tmp_path / "second", init_from=str(inside), init_parts="mlp")
    assert len(other.failures) == 2 and "holds the record of another run" in other.failures[0].reason
    folder = next((tmp_path / "second").rglob("seed3"))
    assert stage_of(read_record(folder / "record.json")) == stages[3]
    assert load(folder).identity.intervention == second.records[0].intervention


ARCHITECTURE = {"class_path": "transformer", "init_args": {"d_model": 8, "n_heads": 2}}


def model(**options: Any) -> dict[str, Any]:
    return {"model": {**ARCHITECTURE, "init_args": {**ARCHITECTURE["init_args"], **options}}}  # type: ignore[dict-item]


LONGER = {"data": {"class_path": "lm", "init_args": {"state_size": 4, "n_nonzero": 1}}}
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"init_from": "nowhere"}, "--init_from nowhere: there is no such folder: the first stage must have been run"),
    ({"at": "@4"}, "there are no weights of step 4; kept are: 0, 3, 6"),
    ({"init_parts": "attention", "init_from": None}, "--init_parts is for --init_from, which is not given"),
    ({"init_permuted": True, "init_from": None}, "--init_permuted is for --init_from, which is not given"),
    ({"init_parts": "atention"}, "unknown part 'atention' for --init_parts: did you mean attention?"),
    ({"init_parts": "mlp,mlp"}, "--init_parts names mlp twice"),
    ({"init_parts": "positions", **LONGER}, "positions is 5 x 8 there and 7 x 8 here: leave positions out of"),
    ({"init_parts": "positions", **model(positions="none")}, "--init_parts positions: this transformer has no such"),
    (
        {"init_parts": "head", "data": {"class_path": "copy", "init_args": {"n_symbols": 20}}},
        "head.weight is 2 x 8 there and 20 x 8 here: leave head out of --init_parts",
    ),
    ({"init_parts": "embeddings", **model(d_model=16)}, "embedding.weight is 2 x 8 there and 2 x 16 here"),
    (model(n_layers=2), "its blocks are others: blocks.1.attention.out.bias is here, but not there"),
    ({"model": {"class_path": "mamba", "init_args": {"d_model": 8}}}, "its blocks are others: blocks.0.A_log is here"),
    ({"first_stage": "mine"}, "--first_stage is written by fit with --init_from, not by hand; got 'mine'"),
]


@pytest.mark.train
@pytest.mark.parametrize(("options", "line"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line(options: dict[str, Any], line: str, source: Path, tmp_path: Path) -> None:
    given = {"init_from": str(source) + options.pop("at", ""), **options}
    with warnings.catch_warnings(), pytest.raises(ValueError) as error:
        warnings.simplefilter("ignore")  # that the models have other options
        of(tmp_path, **given)
    assert line in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.train
def test_other_options_with_the_same_shapes_are_told(source: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"model.n_heads is 2 there and 4 here") as caught:
        of(tmp_path, init_from=str(source), **model(n_heads=4))
    assert len(caught) == 1
    of(tmp_path, init_from=str(source), **model(positions="none", embedding_std=0.5))


@pytest.mark.train
def test_weights_that_would_be_rounded_are_refused(tmp_path: Path) -> None:
    wide = fitted(tmp_path, name="wide", trainer=CONTENT["trainer"] | {"precision": "64-true"})
    with pytest.raises(ValueError, match="holds weights of torch.float64, which would be rounded to torch.float32"):
        of(tmp_path, init_from=str(folder_of(wide)))


@pytest.mark.train
def test_a_run_that_has_not_ended_needs_a_step(source: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(source, cut)
    record = read_record(cut / "record.json").model_copy(update={"status": "interrupted"})
    (cut / "record.json").write_text(record.model_dump_json())
    with pytest.raises(ValueError, match="has not ended: name a step whose weights were kept, as .*cut@STEP"):
        of(tmp_path, init_from=str(cut))
    assert stage_of_config(of(tmp_path, init_from=f"{cut}@3")).step == 3
    (cut / "record.json").write_text(read_record(source / "record.json").model_dump_json())
    for path in (cut / "last.ckpt", kept_checkpoint(cut, 6)):
        path.unlink()
    with pytest.raises(ValueError, match="there are no weights at its end"):
        of(tmp_path, init_from=str(cut))


def stage_of_config(run: Run) -> RecordedFirstStage:
    [stage] = run.config.first_stages
    return stage


def test_what_is_written_is_read() -> None:
    stages = [
        RecordedFirstStage(source="0" * 64, step=7, tokens=70, parts=("attention", "head"), permuted=False),
        RecordedFirstStage(source="f" * 64, step=0, tokens=0, parts=("mlp",), permuted=True),
    ]
    assert parse_first_stages(first_stages_text(stages)) == stages
    for text in ("", f"{'0' * 64}@7 70 ears", f"{'0' * 64}@7 70 mlp;", f"{'0' * 64}@7 mlp", f"{'0' * 63}@7 70 mlp"):
        with pytest.raises(ValueError, match="--first_stage is written by fit with --init_from, not by hand; got "):
            parse_first_stages(text)


@pytest.mark.train
def test_the_command_line(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A first stage on another task, and a second one whose blocks begin with its; what the run says of it."""
    words = ["--model=transformer", "--model.d_model=8", "--model.n_heads=2", "--model.n_layers=1", "--picture=false"]
    words += ["--data=dyck", "--data.n_tokens=6", "--data.n_types=1", "--data.max_depth=2", "--data.batch_size=8"]
    words += ["--protocol.max_steps=3", "--protocol.eval_every=3", "--trainer.accelerator=cpu", f"--out={tmp_path}"]
    assert main(["fit", *words, "--name=x", f"--init_from={source}@3", "--init_parts=attention,positions"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "begins with attention, positions of run" in said and "cannot be part of an entry" in said
    assert stage_of(read_record(tmp_path / "dyck" / "transformer" / "x" / "record.json")).step == 3
