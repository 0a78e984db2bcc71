"""The plan of figure 13: what it runs, that all of it can be built, and a small experiment from end to end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.config.files.suite import load_suite
from benchmark.config.files.yaml_text import to_text
from benchmark.sweeps.plan import make_plan
from benchmark.sweeps.two_stages import arms_of, read_two_stages, records_in, sweeps_of
from leaderboard.statistics.paired_ratio import ratio_table

FIG13 = "configs/pretraining/fig13.yaml"


def test_figure_13_has_its_table() -> None:
    stages = read_two_stages(FIG13)
    arms = arms_of(stages)
    assert len({(arm.cell, arm.name) for arm in arms}) == len(arms)
    by_cell = {cell: [arm for arm in arms if arm.cell == cell] for cell in stages.cells}
    assert {cell: len(found) for cell, found in by_cell.items()} == {
        **{f"copy_l{n}_lr{k}": 1 + 4 * 4 for n in (2, 4) for k in (1, 3)},  # no row of positions, which are rotary
        **{f"ca_l{n}_lr{k}": 1 + 4 * 5 for n in (2, 4) for k in (1, 3)},
    }
    rows = {arm.name: arm for arm in by_cell["ca_l4_lr3"]}
    assert rows["scratch"].first is None
    assert (rows["permuted_all"].first, rows["permuted_all"].permuted) == ("dyck_ca_l4", True)
    assert rows["nca_blocks_positions"].parts == ("attention", "mlp", "norms", "positions")
    assert {arm.name: arm.parts for arm in by_cell["copy_l2_lr1"]}["bigram_all"] == (
        "attention", "mlp", "norms", "embeddings", "head"
    )  # fmt: skip


@pytest.mark.slow
def test_first_and_second_stages_fit_each_other() -> None:
    """In width, depth, vocabulary and length, so that every row of the table can be taken."""
    stages = read_two_stages(FIG13)
    plans = {
        which: {entry.cell: entry.identity for entry in make_plan((0,), suite=suite, models=["transformer"]).entries}
        for which, suite in (("first", stages.first), ("second", stages.second))
    }
    vocabulary: dict[str, Callable[[dict[str, Any]], int]] = {
        "dyck": lambda options: 2 * options["n_types"],
        "bigram": lambda options: options["n_symbols"],
        "nca": lambda options: options["n_symbols"] or options["n_colors"],
        "copy": lambda options: options["n_symbols"],
        "ca": lambda options: options["n_colors"],
    }
    used = set()
    for arm in arms_of(stages):
        if arm.first is None:
            continue
        first, second = plans["first"][arm.first], plans["second"][arm.cell]
        used.add(arm.first)
        assert first.architecture == second.architecture
        assert (second.architecture.config["positions"] == "rotary") == ("positions" in stages.cells[arm.cell].lacks)
        configs: list[dict[str, Any]] = [dict(identity.task.config) for identity in (first, second)]
        sizes = [vocabulary[x.task.name](config) for x, config in zip((first, second), configs, strict=True)]
        assert sizes[0] == sizes[1]
        lengths = [config.get("n_tokens") or config["state_size"] * config["n_states"] for config in configs]
        assert lengths == [32, 32]
        assert not first.protocol.stop_when_solved
    assert used == plans["first"].keys() and stages.cells.keys() == plans["second"].keys()
    assert {load_suite(suite)[0] for suite in (stages.first, stages.second)} == {"fig13_first", "fig13_second"}


TASK = {"class_path": "lm", "init_args": {"state_size": 3, "n_nonzero": 1, "batch_size": 8, "eval_sequences": 8}}
CELL = {"data": TASK, "model": {"d_model": 8, "n_heads": 2}, "protocol": {"max_steps": 4, "eval_every": 2}}


def small(tmp_path: Path, **more: Any) -> Path:
    for name, cells in (("one", ["a_x", "b_x"]), ("two", ["x"])):
        suite = {"cells": dict.fromkeys(cells, CELL), "architectures": {"transformer": {}}}
        (tmp_path / f"{name}.yaml").write_text(f"# Small.\n{to_text(suite)}")
    content = {
        "first": str(tmp_path / "one.yaml"), "second": str(tmp_path / "two.yaml"), "seeds": "0-1",
        "sources": {"a": {"cell": "a"}, "p": {"cell": "a", "permuted": True}},
        "parts": {"attention": ["attention"], "more": ["attention", "positions"]},
        "cells": {"x": {"first": "x"}},
    }  # fmt: skip
    (tmp_path / "plan.yaml").write_text(to_text(content | more))
    return tmp_path / "plan.yaml"


def test_the_sweeps_are_those_of_the_arms(tmp_path: Path) -> None:
    stages = read_two_stages(small(tmp_path))
    first, *others = sweeps_of(stages, tmp_path / "out", seeds="3")
    assert (first.seeds, first.cells, first.out) == ((3,), ("a_x",), tmp_path / "out" / "first")
    assert [order.out.name for order in others] == ["scratch", "a_attention", "a_more", "p_attention", "p_more"]
    source = str(tmp_path / "out" / "first" / "one" / "a_x" / "transformer")
    assert others[0].options == {}
    assert others[2].options == {"init_from": source, "init_parts": "attention,positions"}
    assert others[4].options == {"init_from": source, "init_parts": "attention,positions", "init_permuted": True}
    assert {order.cells for order in others} == {("x",)}


@pytest.mark.slow
@pytest.mark.process
def test_from_the_plan_to_the_table(tmp_path: Path) -> None:
    from benchmark.sweeps.display import live_or_silent
    from benchmark.sweeps.sweep import carry_out

    stages = read_two_stages(small(tmp_path, sources={"a": {"cell": "a"}}, parts={"attention": ["attention"]}))
    for order in sweeps_of(stages, tmp_path / "out", jobs=1):
        with live_or_silent(False) as display:
            assert carry_out(order, display).progress.failures == []
    records = records_in(stages, tmp_path / "out")
    assert {arm: len(found) for arm, found in records["x"].items()} == {"scratch": 2, "a_attention": 2}
    found = ratio_table(records)["x"]["a_attention"]
    assert found.seeds == (0, 1) and found.steps.low is None  # two pairs have no interval
    assert records_in(stages, tmp_path / "nowhere") == {"x": {"scratch": [], "a_attention": []}}


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"cells": {"y": {"first": "x"}}}, "plan.yaml: cells: unknown cell 'y': "),
        ({"cells": {"x": {"first": "y"}}}, "plan.yaml: cells.x: unknown cell 'a_y': did you mean a_x?"),
        ({"parts": {"a": ["ears"]}}, "plan.yaml: parts.a.0: Input should be 'attention'"),
        ({"seeds": "3-1"}, "plan.yaml: seeds '3-1'"),
        ({"sauces": {}}, "plan.yaml: sauces: Extra inputs are not permitted"),
        ({"first": "nowhere"}, "plan.yaml: unknown suite 'nowhere'"),
    ],
)
def test_a_mistake_is_one_line(more: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        read_two_stages(small(tmp_path, **more))
    assert line in str(error.value) and "\n" not in str(error.value)
