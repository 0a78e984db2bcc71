"""Forged submissions: real runs of the harness, changed as somebody would who wants them to look better.

Each is refused, and by the rule that docs/guide/threats.md names; the last ones are those that only a rerun finds, or
nothing.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from benchmark.__main__ import main
from benchmark.cli import replay as cli
from leaderboard.records.record import Record, read_record
from leaderboard.validation import Report, curves, reproduce, validate, validator
from tests.helpers.leaderboard.entries import READER, edit, replace_curves
from tests.helpers.leaderboard.entries import parquet as packed
from tests.helpers.leaderboard.forging import EVERY, Rows, renumbered, rows_of, with_rows

SIZES = {"lm-a": 4, "lm-b": 5}
BUDGET = 220
pytestmark = [pytest.mark.train, pytest.mark.slow]


def train(results: Path, entry: str, model: str, cell: str, seed: int, out: Path, **seeds: int) -> Path:
    """A run of the harness in the place of a seed of an entry; its code counts as committed."""
    words = [f"--model={model}", "--model.d_model=16", "--model.n_layers=1", "--data=lm", "--data.n_nonzero=2"]
    words += [f"--data.state_size={SIZES[cell]}", "--data.batch_size=32", "--data.eval_sequences=64"]
    words += [f"--protocol.max_steps={BUDGET}", f"--protocol.eval_every={EVERY}", "--optimizer.lr=0.003"]
    words += ["--optimizer.warmup_steps=7", "--suite=tiny", f"--cell={cell}", f"--out={out}", "--picture=false"]
    words += ["--trainer.enable_progress_bar=false", "--trainer.logger=false", "--trainer.accelerator=cpu"]
    words += ["--model.n_heads=2"] if model == "transformer" else []
    three = {name: seed for name in ("task_seed", "init_seed", "data_seed")} | seeds
    name = f"{entry}-{cell}-{seed}-{len(seeds)}"
    assert main(["fit", *words, *(f"--{key}={value}" for key, value in three.items()), f"--name={name}"]) == 0
    folder = results / "tiny" / entry / cell / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("record.json", "curves.parquet"):
        shutil.copy(out / "lm" / model / name / file, folder)
    edit(folder, **{"git.dirty": False, "git.commit": "0123456789" * 4})
    return folder


def describe(results: Path, name: str, model: str) -> None:
    about = {"schema_version": 1, "name": name, "suite": "tiny", "architecture": model, "title": "A model"}
    about |= {"authors": ["A. Author"], "licence": "MIT", "paper": None, "code": None}
    about |= {"tuning": {"trials": 0, "seeds": None, "note": "none"}}
    (results / "tiny" / name / "entry.yaml").write_text(yaml.safe_dump(about))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's reference, an entry of two seeds in two cells, and a run that belongs to neither."""
    results, out = tmp_path_factory.mktemp("honest") / "results", tmp_path_factory.mktemp("runs")
    for cell in SIZES:
        train(results, "transformer", "transformer", cell, 0, out)
        for seed in (0, 1):
            train(results, "my_model", "mlp_mixer", cell, seed, out)
    describe(results, "transformer", "transformer")
    describe(results, "my_model", "mlp_mixer")
    train(results.parent / "aside", "my_model", "mlp_mixer", "lm-a", 0, out, init_seed=77)
    return results


@pytest.fixture
def entry(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The entry's folder in a tree to spoil; the harness answers in this process, where it knows what it has run."""
    monkeypatch.setattr(validator, "RESULTS", tmp_path / "elsewhere")
    monkeypatch.setattr(reproduce, "ask", ask)
    monkeypatch.setattr(reproduce, "N_TRAJECTORIES", 0)
    monkeypatch.setattr(curves, "CurvesReader", lambda: READER)
    shutil.copytree(honest.parent, tmp_path / "tree")
    yield tmp_path / "tree" / "results" / "tiny" / "my_model"


_ANSWERS: dict[tuple[bytes, str], dict[str, Any]] = {}


def ask(requests: Sequence[reproduce.Request], time_s: float | None) -> tuple[list[dict[str, Any] | None], str]:
    answers: list[dict[str, Any] | None] = []
    for request in requests:
        path = Path(request.run.file)
        key = path.read_bytes(), request.depth
        if key not in _ANSWERS:
            record = read_record(path)
            _ANSWERS[key] = cli._replayed(record, request.depth, cli._curves([(path, record)])[0])
        answers.append(_ANSWERS[key])
    return answers, ""


def checked(entry: Path, **options: Any) -> Report:
    return validate(entry.parents[1], reader=READER, **{"draw": 0, **options})


def runs(entry: Path) -> list[Path]:
    return sorted(entry.glob("*/seed*"))


def every(entry: Path, /, **changes: Any) -> None:
    """Change fields of all records of the entry; a value may be a function of the old one."""
    for folder in runs(entry):
        fields = json.loads((folder / "record.json").read_text())
        for key, value in changes.items():
            old = fields
            for part in key.split("."):
                old = old[part]
            edit(folder, **{key: value(old) if callable(value) else value})


def moved(entry: Path, source: Path, /, **changes: Any) -> None:
    """Another run in the place of seed 0 of cell lm-a, under that seed's numbers."""
    target = entry / "lm-a" / "seed0"
    own = read_record(target / "record.json")
    for name in ("record.json", "curves.parquet"):
        shutil.copy(source / name, target)
    seeds = {f"seeds.{name}": value for name, value in own.seeds}
    edit(target, **seeds, **changes)


def aside(entry: Path) -> Path:
    return entry.parents[2] / "aside" / "tiny" / "my_model" / "lm-a" / "seed0"


def swapped(entry: Path) -> None:
    first, second = (entry / "lm-a" / f"seed{seed}" for seed in (0, 1))
    first.rename(entry / "x")
    second.rename(first)
    (entry / "x").rename(second)
    for seed, folder in enumerate((first, second)):
        edit(folder, **{f"seeds.{name}_seed": seed for name in ("task", "init", "data")})


def facts_of(folder: Path) -> dict[str, Any]:
    """The facts that anybody gets by building the run of a seed without training it."""
    record: Record = read_record(folder / "record.json")
    names = ("first_batch_hash", "init_hash", "first_loss_nats", "floor_loss_nats")
    return {name: getattr(record, name) for name in names}


def repacked(folder: Path) -> None:
    replace_curves(folder, packed(pq.read_table(folder / "curves.parquet"), compression="gzip", row_group_size=3))


def copy_of_the_reference(entry: Path) -> None:
    source = entry.parent / "transformer" / "lm-a" / "seed0"
    moved(entry, source)
    own = read_record(entry / "lm-a" / "seed1" / "record.json")
    target = entry / "lm-a" / "seed0"
    edit(target, architecture=own.architecture.model_dump(mode="json"), optimizer=own.optimizer)
    edit(target, parameters=own.parameters, state_bytes=own.state_bytes, flops_per_token=own.flops_per_token)
    edit(target, started_at=(own.started_at - timedelta(hours=1)).isoformat())
    repacked(target)


def stretched_copy(entry: Path) -> None:
    """Seed 0's curve of the reference, every second row, at the end of another cell's seed."""
    source = rows_of(entry.parent / "transformer" / "lm-a" / "seed0")
    with_rows(entry / "lm-a" / "seed1", lambda rows: renumbered([*rows[:4], *source[4:-2:2], *source[-2:]]))


def interpolated(rows: Rows) -> Rows:
    found = [rows[0]]
    for left, right in zip(rows, rows[1:], strict=False):
        middle = {name: (left[name] + right[name]) / 2 for name in ("loss_nats", "loss_scored_nats")}
        pairs = zip(left["loss_by_position_nats"], right["loss_by_position_nats"], strict=True)
        found += [{**left, **middle, "loss_by_position_nats": [(a + b) / 2 for a, b in pairs]}, right]
    return renumbered(found)[: BUDGET // EVERY + 1]


def solved_from(row: int) -> Callable[[Rows], Rows]:
    """Shares of a solved model from a row on; the losses stay."""
    won = {"accuracy": 1.0, "exact_match": 1.0, "rows_solved": 1.0}

    def solve(one: dict[str, Any]) -> dict[str, Any]:
        return {**one, **won, "parts_solved": [True] * len(one["parts_solved"])}

    return lambda rows: [*rows[:row], solve(rows[row]), solve(rows[row + 1])]


def cheap_from(row: int) -> Callable[[Rows], Rows]:
    """Losses of a solved model from a row on; the shares stay."""

    def cheap(one: dict[str, Any]) -> dict[str, Any]:
        size = (len(one["loss_by_position_nats"]) + 1) // 2
        free = one["loss_by_position_nats"][: size - 1]
        losses = [*free, *[0.01 * (1 + i / 7) for i in range(size)]]
        means = {"loss_nats": sum(losses) / len(losses), "loss_scored_nats": sum(losses[size - 1 :]) / size}
        return {**one, **means, "loss_by_position_nats": losses}

    return lambda rows: [*rows[:row], *map(cheap, rows[row:])]


A0, A1 = ("lm-a", "seed0"), ("lm-a", "seed1")


def at(place: tuple[str, str], change: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda entry: change(entry / place[0] / place[1])


def setting(**changes: Any) -> Callable[[Path], object]:
    return lambda entry: every(entry, **changes)


def one(**changes: Any) -> Callable[[Path], object]:
    return at(A0, lambda folder: edit(folder, **changes))


def curve(change: Callable[[Rows], Rows], place: tuple[str, str] = A0) -> Callable[[Path], object]:
    return at(place, lambda folder: with_rows(folder, change))


def constant(rows: Rows) -> Rows:
    return [*rows[:5], *({**rows[5], "step": row["step"]} for row in rows[5:])]


def column(name: str, change: Callable[[float], float]) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, name: change(row[name])} for row in rows]


def with_noise(rows: Rows) -> Rows:
    """As another run's losses would be, moved so that none is the same."""
    found = rows[:6]
    for i, row in enumerate(rows[6:]):
        move = 1e-4 * (1 + i / 7)
        losses = {name: row[name] + move for name in ("loss_nats", "loss_scored_nats")}
        found.append({**row, **losses, "loss_by_position_nats": [x + move for x in row["loss_by_position_nats"]]})
    return found


def solve(rows: Rows) -> Rows:
    """As they are up to step 40, then every fourth."""
    return renumbered([*rows[:5], *rows[5:-2:4], *rows[-2:]])


def other_batch(entry: Path) -> None:
    for folder in runs(entry):
        steps, size = read_record(folder / "record.json").steps, 128 if "lm-a" in str(folder) else 160
        speed = steps * size / read_record(folder / "record.json").wall_train_s
        edit(folder, tokens=steps * size, tokens_per_s=speed, **{"protocol.tokens_per_step": size})


def lucky_seed(entry: Path) -> None:
    """Whatever can be computed without training is that of the seed; the training is another seed's."""
    place = entry / "lm-a" / "seed0"
    first = rows_of(place)[:1]
    moved(entry, aside(entry), **facts_of(place))
    with_rows(place, lambda rows: [*first, *rows[1:]])


def rates_of_cells(entry: Path) -> None:
    for seed in (0, 1):
        edit(entry / "lm-b" / f"seed{seed}", **{"optimizer.lr": 0.001})


FORGERIES: dict[str, tuple[Callable[[Path], object], str]] = {
    # of the speed
    "twice as fast": (curve(lambda rows: renumbered([*rows[::2], rows[-1]])), "loss_nats at step 10 is"),
    "later start": (curve(lambda rows: renumbered([rows[0], *rows[8:]])), "loss_nats at step 10 is"),
    "swapped seeds": (swapped, "the same seed reads the same sequences"),
    "lucky seed": (lambda entry: moved(entry, aside(entry)), "differs: init_hash is"),
    "lucky seed with facts": (
        lambda entry: moved(entry, aside(entry), **facts_of(entry / "lm-a" / "seed0")), "first_loss_nats: is"
    ),
    "lucky seed with facts and first evaluation": (lucky_seed, "differs: first_losses_nats.0 is"),
    "copy under another name": (copy_of_the_reference, "the same run in two places"),
    "stretched copy": (stretched_copy, "the same run in two places"),
    "interpolated": (curve(interpolated, A1), "lie exactly between their neighbours"),
    "a version that nobody has": (
        lambda entry: [edit(path, **{"architecture.version": 2}) for path in entry.glob("*/seed*")],
        "architecture.version: does not replay",
    ),
    "a version that nobody has in one cell": (
        lambda entry: [edit(path, **{"architecture.version": 2}) for path in entry.glob("lm-a/seed*")],
        "architecture.version",
    ),
    "constant": (curve(constant, A1), "values that stand there twice"),
    "accuracy only": (curve(solved_from(6)), "far too unsure for accuracy 1.0"),
    "rows only": (
        curve(lambda rows: [*rows[:6], *({**row, "rows_solved": 1.0} for row in rows[6:8])]), "is not possible with acc"
    ),
    "accuracy between": (curve(column("accuracy", lambda old: 0.4567)), "is not a multiple of 1/256"),
    "exact match only": (curve(column("exact_match", lambda old: 1.0)), "exact_match 1.0 is not possible"),
    "loss only": (curve(cheap_from(6)), "what the errors in accuracy"),
    "scored loss only": (curve(column("loss_scored_nats", lambda old: old + 0.1)), "is not the mean"),
    # of the configuration
    "learning rate": (setting(**{"optimizer.lr": lambda lr: 1.3 * lr}), "differs: "),
    "learning rate with its warm-up": (
        setting(**{"optimizer.lr": 0.003 * 9 / 7, "optimizer.warmup_steps": 9}), "differs: "
    ),
    "warm-up": (setting(**{"optimizer.warmup_steps": 10}), "differs: "),
    "clipping": (setting(**{"optimizer.clip_norm": 0.05}), "differs: "),
    "weight decay": (setting(**{"optimizer.weight_decay": 0.1}), "differs: "),
    "rates of cells": (rates_of_cells, "an entry has one setting for all cells of a task"),
    "wider": (setting(**{"architecture.config.d_model": 160}), "but the suite decides it: 16"),
    "more parameters": (setting(parameters=20_000), "more than 2 times the reference's"),
    "wider inside": (setting(**{"architecture.config.mlp_ratio": 6}), "differs: parameters is"),
    "backend": (setting(**{"architecture.backend": "quick"}), "must be one of torch, sdpa"),
    "backend of another": (setting(**{"architecture.backend": "fla"}), "it can be torch"),
    "precision": (setting(precision="32"), "must be one of 32-true"),
    "coarse precision": (setting(precision="bf16-mixed", **{"optimizer.lr": 0.0039}), "differs: "),
    "task version": (setting(**{"task.version": 2}), "that of the suite's transformer is 1"),
    "held-out set": (setting(**{"protocol.eval_sequences": 32}), "that of the suite's transformer is 64"),
    "batch": (other_batch, "protocol.tokens_per_step: is 128, that of the suite's transformer is 256"),
    # of facts
    "tokens a second": (one(tokens_per_s=1e5), "tokens / wall_train_s is"),
    "parameters": (setting(parameters=900), "differs: parameters is"),
    "operations": (setting(flops_per_token=10.0), "differs: flops_per_token is"),
    "state": (setting(state_bytes=10), "differs: state_bytes is"),
    "floor": (one(floor_loss_nats=0.1), "that of the same seed of the suite's transformer"),
    "chance": (setting(chance_loss_nats=1.0), "that of the same seed of the suite's transformer"),
    "long ago": (one(started_at="2020-01-01T00:00:00Z"), "before there was a suite"),
    "short": (one(wall_train_s=1e5, tokens_per_s=1.0), "together, the run took"),
    "commit": (one(**{"git.commit": "0123abc"}), "must be the whole hash"),
    "no hash of weights": (one(init_hash=None), "init_hash: is missing"),
    "another hash of weights": (one(init_hash="12" * 32), "differs: init_hash is"),
    "first losses": (
        one(first_losses_nats=[0.69 + i / 1e4 for i in range(20)]), "differs: first_losses_nats.0 is"
    ),
}  # fmt: skip


def test_the_honest_entry_passes(entry: Path) -> None:
    report = checked(entry)
    assert report.problems == ()
    assert any("the facts of all 4 new runs, the first losses of 4" in note for note in report.notes)


@pytest.mark.parametrize("name", FORGERIES)
def test_forgery_is_refused(entry: Path, name: str) -> None:
    forge, reason = FORGERIES[name]
    forge(entry)
    found = [str(problem) for problem in checked(entry).problems]
    assert any(reason in line for line in found), found


UNSEEN: Mapping[str, Callable[[Path], object]] = {
    "true beginning, quicker end": curve(solve),
    "another's end with noise": curve(with_noise),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_only_a_rerun_sees(entry: Path, name: str) -> None:
    """Of these the threat model says so; on this machine the rerun of the seed gives other values."""
    UNSEEN[name](entry)
    assert checked(entry).problems == ()
    report = checked(entry, rerun=1, draw=next(d for d in count() if Random(d).sample(range(6), 1) == [0]))
    assert [Path(problem.file).parts[-3:-1] for problem in report.problems] == [A0]


def test_nothing_sees_faster_times(entry: Path) -> None:
    """Times are what the machine of the authors took, and another machine takes others."""
    for folder in runs(entry):
        record = read_record(folder / "record.json")
        edit(folder, wall_train_s=record.wall_train_s / 2, tokens_per_s=(record.tokens_per_s or 0) * 2)
    assert checked(entry, rerun=2).problems == ()
