"""The plan of a sweep: what runs with which configuration, and one line for what cannot run, before anything does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.config.grid import parse_grid
from benchmark.sweeps.plan import Plan, PlanEntry, make_plan
from tests.helpers.sweep_helpers import LONG, SUITE

Make = Callable[..., Plan]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Plan with the tiny suite, unless other words are given; `files` are the texts of YAML files."""

    def plan(
        *, text: str = SUITE, files: dict[str, str] | None = None, grid: list[str] | None = None, **words: Any
    ) -> Plan:
        (tmp_path / "tiny.yaml").write_text(text)
        for name, content in (files or {}).items():
            (tmp_path / name).write_text(content)
        paths = [str(tmp_path / name) for name in files or {}]
        words = {"suite": str(tmp_path / "tiny.yaml"), **words}
        return make_plan((0, 1, 2), files=paths, grid=parse_grid(grid or []), **words)

    return plan


def config_of(entry: PlanEntry) -> dict[str, Any]:
    return yaml.safe_load(entry.config)


@pytest.mark.slow
def test_every_architecture_of_the_suite_on_every_cell_seed_after_seed(make: Make) -> None:
    plan = make()
    runs = [(str(entry.unit(seed).folder), entry.unit(seed)) for entry, seed in plan.runs()]
    pairs = ["lm4/transformer", "lm4/mlp_mixer", "ca4/transformer", "ca4/mlp_mixer"]
    assert [folder for folder, _ in runs] == [f"tiny/{pair}/seed{seed}" for seed in (0, 1, 2) for pair in pairs]
    by_name = {folder: yaml.safe_load(unit.config) for folder, unit in runs}
    first = by_name["tiny/lm4/transformer/seed2"]
    assert (first["seed"], first["suite"], first["cell"]) == (2, "tiny", "lm4")
    assert {"out", "name", "seeds", "ckpt_path"}.isdisjoint(first)
    assert first["model"]["class_path"].endswith(".transformer")
    assert {"d_model": 16, "n_layers": 1, "n_heads": 2}.items() <= first["model"]["init_args"].items()
    assert first["data"]["init_args"]["batch_size"] == 8
    assert (first["optimizer"]["lr"], first["optimizer"]["warmup_steps"]) == (1e-3, 7)
    assert (first["protocol"]["max_steps"], first["protocol"]["eval_every"]) == (40, 20)
    # The mixer has no heads, its learning rate for ca is not given, and only lm4 says how to warm up.
    mixer = by_name["tiny/ca4/mlp_mixer/seed0"]
    assert "n_heads" not in mixer["model"]["init_args"]
    assert (mixer["optimizer"]["lr"], mixer["optimizer"]["warmup_steps"]) == (1e-3, 100)
    assert plan.entries[0].identity_of(2).seeds.model_dump() == {"task_seed": 2, "init_seed": 2, "data_seed": 2}


def test_models_cells_and_what_a_file_says_of_an_architecture(make: Make) -> None:
    files = {
        "mine.yaml": "model: {class_path: rwkv, init_args: {head_dim: 8}}\noptimizer: {lr: 5e-4}",
        "other.yaml": "model: {class_path: transformer, init_args: {n_heads: 1}}\noptimizer: {lr: 7e-4}",
    }
    plan = make(files=files, models=["transformer", "rwkv"], cells=["ca4"])
    assert [(entry.cell, entry.architecture) for entry in plan.entries] == [("ca4", "transformer"), ("ca4", "rwkv")]
    mine = config_of(plan.entries[1])
    assert {"d_model": 16, "n_layers": 1, "head_dim": 8}.items() <= mine["model"]["init_args"].items()
    assert mine["optimizer"]["lr"] == 5e-4
    assert mine["suite"] == "tiny"
    other = config_of(plan.entries[0])  # the file's word counts more than the suite's
    assert (other["model"]["init_args"]["n_heads"], other["optimizer"]["lr"]) == (1, 7e-4)


def test_a_grid_point_is_a_cell_of_its_own_name(make: Make) -> None:
    grid = ["data.n_nonzero=1..2", "model.n_heads=1,4"]
    plan = make(models=["transformer"], cells=["lm4"], grid=grid)
    assert [str(entry.unit(0).folder) for entry in plan.entries] == [
        f"tiny/lm4,n_nonzero={s},n_heads={h}/transformer/seed0" for s in (1, 2) for h in (1, 4)
    ]
    for entry, (s, h) in zip(plan.entries, [(1, 1), (1, 4), (2, 1), (2, 4)], strict=True):
        content = config_of(entry)
        assert content["data"]["init_args"]["n_nonzero"] == entry.identity.task.config["n_nonzero"] == s
        assert content["model"]["init_args"]["n_heads"] == entry.identity.architecture.config["n_heads"] == h
        assert content["cell"] == entry.cell
        assert "suite" not in content  # another task than the suite's
    hashes = [entry.identity.flat()["data.n_nonzero"] for entry in plan.entries]
    assert hashes == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("words", "suite"),
    [
        ({"grid": ["model.mlp_ratio=2"]}, "tiny"),
        ({"grid": ["optimizer.lr=1e-2"]}, "tiny"),
        ({"options": {"optimizer": {"lr": 1e-2}, "model": {"mlp_ratio": 2}, "metrics": "entropy_nats"}}, "tiny"),
        ({"options": {"model": {"d_model": 32}}}, None),  # the suite's, for all architectures
        ({"grid": ["optimizer.warmup_steps=1"]}, None),
        ({"options": {"data": {"n_nonzero": 1}}}, None),
        ({"grid": ["protocol.eval_every=10"]}, None),
        ({"max_steps": 60}, None),
    ],
)  # fmt: skip
def test_the_record_names_the_suite_while_cell_and_protocol_are_its_own(
    words: dict[str, Any], suite: str | None, make: Make
) -> None:
    plan = make(models=["transformer"], cells=["lm4"], **words)
    [content] = map(config_of, plan.entries)
    assert content.get("suite") == suite
    assert content["cell"] == "lm4"  # nothing varies
    assert str(plan.entries[0].unit(0).folder) == "tiny/lm4/transformer/seed0"
    if "max_steps" in words:
        assert content["protocol"]["max_steps"] == plan.entries[0].identity.protocol.max_steps == 60
    if words.get("grid") == ["optimizer.lr=1e-2"]:
        assert content["optimizer"]["lr"] == plan.entries[0].identity.optimizer["lr"] == 0.01


def test_without_a_suite_a_file_is_a_cell(make: Make) -> None:
    plan = make(suite=None, files={"figure.yaml": LONG + "task_seed: 7\nseed: 5\nname: old\nout: elsewhere"})
    [entry] = plan.entries
    assert str(entry.unit(2).folder) == "figure/lm/transformer/seed2"
    content = yaml.safe_load(entry.unit(2).config)
    assert (content["seed"], content["task_seed"], content["cell"]) == (2, 7, "lm")
    assert {"suite", "name", "out"}.isdisjoint(content)
    assert entry.identity_of(2).seeds.model_dump() == {"task_seed": 7, "init_seed": 2, "data_seed": 2}
    bare = LONG.replace(LONG.splitlines()[1], "")
    plan = make(suite=None, files={"figure.yaml": bare}, models=["mamba", "transformer"])
    assert [entry.architecture for entry in plan.entries] == ["mamba", "transformer"]


MIXER = {"m.yaml": "model: mlp_mixer"}
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"suite": "no_such_suite"}, "unknown suite 'no_such_suite'"),
    ({"suite": "missing.yaml"}, "missing.yaml: cannot be read: No such file"),
    ({"text": "a: [b"}, "tiny.yaml: is no YAML"),
    ({"text": "- a"}, "tiny.yaml: must be a mapping"),
    ({"text": "cells: {}"}, "tiny.yaml: cells: Dictionary should have at least 1 item"),
    ({"text": SUITE.replace("architectures:", "architecture:")}, "top level: unknown key 'architecture': did you"),
    ({"text": SUITE.replace("protocol:", "protocl:")}, "cells.lm4: unknown key 'protocl': did you mean protocol?"),
    ({"text": SUITE.replace("init_args:", "args:", 1)}, "cells.lm4.data: unknown key 'args': did you mean init_args?"),
    ({"text": SUITE.replace("{lm: 3e-3}", "fast")}, "architectures.mlp_mixer.lr: Input should be a valid dictionary"),
    ({"text": SUITE.replace("3e-3", "-1")}, "architectures.mlp_mixer.lr.lm: Input should be greater than 0"),
    ({"text": SUITE.replace("{lm: 3e-3}", "{ml: 3e-3}")}, "mlp_mixer.lr: unknown task 'ml': did you mean lm?"),
    ({"text": SUITE.replace("mlp_mixer", "mlp_mixr")}, "unknown architecture 'mlp_mixr': did you mean mlp_mixer?"),
    ({"text": SUITE.replace("class_path: ca", "class_path: cas")}, "ca4.data: unknown task 'cas': did you mean ca?"),
    ({"text": SUITE.replace("d_model", "d_modle")}, "cells.lm4.model: unknown option 'd_modle': did you mean d_model?"),
    ({"text": SUITE.replace("  lm4:", "  lm/4:")}, "cells.lm/4"),
    ({"text": SUITE.replace("n_nonzero", "n_nonzeros")}, "lm4, transformer: unknown option --data.n_nonzeros: did"),
    ({"text": SUITE.replace("warmup_steps: 7", "warmup_steps: soon")}, "transformer: --optimizer.warmup_steps: exp"),
    ({"text": SUITE.replace("n_nonzero: 2", "n_nonzero: 5")}, "cell lm4, transformer: "),
    ({"text": SUITE.replace("n_heads: 2", "n_heads: 3")}, "cell lm4, transformer: "),
    ({"text": SUITE.replace("n_heads: 2", "n_haeds: 2")}, "did you mean --model.n_heads"),
    ({"models": ["transfomer"]}, "unknown architecture 'transfomer': did you mean transformer?"),
    ({"models": ["transformer", "transformer"]}, "tiny/lm4/transformer is there twice"),
    ({"cells": ["lm5"]}, "--cells: unknown cell 'lm5': did you mean lm4?"),
    ({"grid": ["data.n_nonzeros=1"]}, "unknown option --data.n_nonzeros: did you mean --data.n_nonzero?"),
    ({"grid": ["data.n_nonzero=1..2"]}, "(options of ca, cell ca4: "),
    ({"grid": ["model.n_heads=1,2"]}, "(options of mlp_mixer: "),
    ({"grid": ["data.task_seed=1"]}, "unknown option --data.task_seed"),
    ({"grid": ["optimizer.lrr=1"]}, "unknown option --optimizer.lrr: did you mean --optimizer.lr or"),
    ({"grid": ["protocol.max_step=1"]}, "did you mean --protocol.max_steps"),
    ({"grid": ["optimizer.lr=fast"]}, "--grid optimizer.lr=fast: --optimizer.lr: expected float, got value: fast"),
    ({"grid": ["protocol.eval_every=50"]}, "protocol.eval_every must be in 1..max_steps = 40, got 50"),
    ({"grid": ["protocol.max_steps=60"], "max_steps": 60}, "exclude each other"),
    ({"options": {"optimizer": {"lrr": 1}}}, "unknown option --optimizer.lrr: did you mean --optimizer.lr or"),
    ({"options": {"optimizer": {"lr": "fast"}}}, "--optimizer.lr: expected float, got value: fast"),
    ({"options": {"model": {"n_heads": 2}}}, "unknown option --model.n_heads"),
    ({"options": {"trainer": {"devices": 2}}}, "--trainer.devices: each run of a sweep has one device"),
    ({"options": {"trainer": {"precison": "32"}}}, "did you mean --trainer.precision"),
    ({"options": {"metrics": "entropy"}}, "did you mean entropy_nats?"),
    ({"options": {"protocol": {"max_steps": 60}}, "max_steps": 60}, "exclude each other"),
    ({"options": {"optimizer": {"lr": 1}}, "grid": ["optimizer.lr=1,2"]}, "exclude each other"),
    ({"max_steps": 10}, "cell lm4, transformer: protocol.eval_every must be in 1..max_steps = 10, got 20"),
    ({"files": {"m.yaml": "model: rwkv"}}, "--config sets up rwkv, which --models does not name"),
    ({"files": {"m.yaml": "modle: rwkv"}}, "m.yaml: unknown key 'modle': did you mean model?"),
    ({"files": {"m.yaml": "model: rwkw"}}, "m.yaml: unknown architecture 'rwkw': did you mean rwkv?"),
    ({"files": {"m.yaml": "optimizer: {lr: 1}"}}, "m.yaml: must name the architecture"),
    ({"files": {"m.yaml": "model: mlp_mixer\ndata: lm"}}, "m.yaml: data is the suite's to decide: leave it out"),
    ({"files": {"m.yaml": "model: mlp_mixer\nprotocol: {}"}}, "m.yaml: protocol is the suite's to decide"),
    ({"files": {"m.yaml": "model: [mlp_mixer]"}}, "m.yaml: model must be a name, or class_path"),
    ({"files": {"m.yaml": "model: mlp_mixer\noptimizer: 1"}}, "m.yaml: optimizer must be a mapping"),
    ({"files": {**MIXER, "n.yaml": "model: mlp_mixer"}}, "n.yaml: another --config file sets up mlp_mixer already"),
    ({"suite": None}, "what is to be run?"),
    ({"suite": None, "files": MIXER}, "what is to be run?"),
    ({"suite": None, "files": {"f.yaml": LONG}, "models": ["mamba"]}, "f.yaml: sets up transformer: leave"),
    ({"suite": None, "files": {"f.yaml": LONG.replace("protocol:", "protocl:")}}, "did you mean --protocol?"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "line"), MISTAKES, ids=[line[:40] for _, line in MISTAKES])
def test_a_mistake_is_one_line(words: dict[str, Any], line: str, make: Make) -> None:
    with pytest.raises(ValueError) as caught:
        make(**words)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_attention_bias_is_in_every_run_and_keeps_the_suite_for_comparisons() -> None:
    bias = {"attention_bias": 3.0, "attention_bias_steps": "0:50"}
    plan = make_plan((0,), suite="lite", models=["transformer"], options=bias)
    for entry in plan.entries:
        content = config_of(entry)
        assert {name: content[name] for name in bias} == bias and content["suite"] == "lite"
        assert entry.identity.intervention is not None
        assert entry.identity.intervention.text == "an attention bias of 3 (steps 0:50)"
    with pytest.raises(ValueError, match="mamba: --attention_bias: mamba has no attention to add it to") as error:
        make_plan((0,), suite="lite", models=["mamba"], options=bias)
    assert "\n" not in str(error.value)
