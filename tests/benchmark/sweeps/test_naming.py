"""Names of cells: only what varies, good on any file system, and those of runs that are there already."""

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from rich.table import Table

from benchmark.config.grid import parse_grid
from benchmark.sweeps.naming import MOST_CHARACTERS, CellNames, cut_in_the_middle, named, plain
from benchmark.sweeps.plan import Plan, make_plan
from benchmark.sweeps.state import check_config, make_folder
from tests.helpers.sweep_helpers import SUITE


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return str(path)


def planned(suite: str, out: Path, *grid: str, **more: Any) -> Plan:
    words = {"suite": suite, "models": ["transformer"], "cells": ["lm4"], **more}
    return named(make_plan((0, 1), grid=parse_grid(grid), **words), out)


def cells(plan: Plan) -> list[str]:
    for entry in plan.entries:
        assert yaml.safe_load(entry.config)["cell"] == entry.cell
    return [entry.cell for entry in plan.entries]


def begun(plan: Plan, out: Path) -> None:
    """Leave what a sweep leaves of every run that it has begun."""
    for entry, seed in plan.runs():
        make_folder(out / entry.unit(seed).folder, entry.unit(seed))


def found(plan: Plan, out: Path) -> list[bool]:
    """Whether the folder of each run is there; none holds another run."""
    for entry, seed in plan.runs():
        check_config(out / entry.unit(seed).folder, entry.unit(seed))
    return [(out / entry.unit(seed).folder).is_dir() for entry, seed in plan.runs()]


def test_names_hold_what_varies(suite: str, tmp_path: Path) -> None:
    grid = ["model.n_heads=1,4", "optimizer.lr=1e-3", "data.n_nonzero=2"]
    assert cells(planned(suite, tmp_path, *grid, max_steps=60)) == ["lm4,n_heads=1", "lm4,n_heads=4"]
    assert cells(planned(suite, tmp_path, "optimizer.lr=1e-3", options={"data": {"n_nonzero": 1}})) == ["lm4"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["model.n_heads=4"], ["model.n_heads=4,1"]),  # another value
        (["model.n_heads=1,4"], ["model.n_heads=4,1", "data.n_nonzero=2,1"]),  # another key, at its value so far first
        (["model.n_heads=1,4", "data.n_nonzero=1,2"], ["model.n_heads=1,4", "data.n_nonzero=1"]),  # fewer
        (["model.n_heads=4", "optimizer.lr=1e-2"], ["optimizer.lr=1e-2", "model.n_heads=4"]),
    ],
)
def test_a_changed_grid_finds_its_runs(before: list[str], after: list[str], suite: str, tmp_path: Path) -> None:
    first = planned(suite, tmp_path, *before)
    begun(first, tmp_path)
    second = planned(suite, tmp_path, *after)
    assert sum(found(second, tmp_path)) == min(len(list(first.runs())), len(list(second.runs())))
    assert len(set(cells(second))) == len(second.entries)
    begun(second, tmp_path)
    assert cells(planned(suite, tmp_path, *after)) == cells(second) and all(found(second, tmp_path))


def test_runs_with_names_by_the_older_rule_are_found(suite: str, tmp_path: Path) -> None:
    """Every key stood in them, with its section."""
    grid = parse_grid(["model.n_heads=1,4"])
    for entry in make_plan((0,), suite=suite, models=["transformer"], cells=["lm4"], grid=grid, max_steps=60).entries:
        heads = entry.identity.architecture.config["n_heads"]
        name = f"lm4,model.n_heads={heads},protocol.max_steps=60"
        folder = tmp_path / "tiny" / name / "transformer" / "seed0"
        folder.mkdir(parents=True)
        text = yaml.safe_dump({**yaml.safe_load(entry.unit(0).config), "cell": name}, sort_keys=False)
        (folder / "config.yaml").write_text(text)
    plan = planned(suite, tmp_path, "model.n_heads=1,4", max_steps=60)
    assert cells(plan) == [f"lm4,model.n_heads={heads},protocol.max_steps=60" for heads in (1, 4)]
    assert found(plan, tmp_path) == [True, True, False, False]  # seed 0, seed 1


def test_two_sweeps_that_differ_in_what_is_not_named_share_a_folder(suite: str, tmp_path: Path) -> None:
    whole = planned(suite, tmp_path)
    begun(whole, tmp_path)
    shorter = planned(suite, tmp_path, max_steps=60)
    assert cells(shorter) == ["lm4,protocol.max_steps=60"] and found(shorter, tmp_path) == [False, False]
    begun(shorter, tmp_path)
    assert cells(planned(suite, tmp_path, max_steps=60)) == cells(shorter)
    assert cells(planned(suite, tmp_path)) == ["lm4"]


@pytest.mark.parametrize("name", ["lm4", "lm4,lr=1e-05", "a" * MOST_CHARACTERS])
def test_a_name_that_can_be_a_folder_stays(name: str) -> None:
    assert plain(name) == name


def test_any_other_becomes_one_and_stays_unique() -> None:
    long = [",".join(["lm4", *(f"key{i}={value}" for i in range(40))]) for value in (1, 2)]
    middle = [f"{'a' * 200}{value}{'b' * 200}" for value in (1, 2)]
    names = ["lm4.", "lm4..", "con", "NUL.txt", *long, *middle]
    made = [plain(name) for name in names]
    assert len(set(made)) == len(names) and all(len(name) <= MOST_CHARACTERS for name in made)
    assert not any(name.endswith((".", " ")) or name.lower().startswith(("con~", "nul")) for name in made)
    assert [plain(name) for name in names] == made and made[4].startswith("lm4,key0=1") and "key39=1~" in made[4]


def test_names_that_differ_in_case_alone_have_two_folders(suite: str, tmp_path: Path) -> None:
    plan = make_plan((0,), suite=suite, models=["transformer"], cells=["lm4"], grid=parse_grid(["model.n_heads=1,2"]))
    from dataclasses import replace

    entries = tuple(replace(entry, cell=name) for entry, name in zip(plan.entries, ("lm4,a=X", "lm4,a=x"), strict=True))
    made = cells(named(replace(plan, entries=entries), tmp_path))
    assert len({name.casefold() for name in made}) == 2


@pytest.mark.parametrize(
    ("text", "most", "cut"), [("abcdefgh", 8, "abcdefgh"), ("abcdefgh", 7, "ab…efgh"), ("ab", 1, "…")]
)
def test_the_middle_is_cut(text: str, most: int, cut: str) -> None:
    assert cut_in_the_middle(text, most) == cut and len(cut) <= most


def shown(names: list[str], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    table, name = Table(), CellNames(names)
    table.add_column("cell")
    table.add_column("n", no_wrap=True)
    for each in names:
        table.add_row(name(each), "1234567890")
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_table_shows_the_ends(suite: str) -> None:
    common = "a_cell_with_a_long_name,stop_when_solved=false"
    names = [f"{common},n_heads={n}" for n in (1, 12)]
    wide, narrow = shown(names, 100), shown(names, 50)
    assert all(name in wide for name in names)
    assert "n_heads=1 " in narrow and "n_heads=12" in narrow and "…" in narrow
    middle = [f"cell,first={n},second=a_value_that_is_long" for n in (1, 2)]
    assert all(f"first={n}" in shown(middle, 50).replace("\n", "") for n in (1, 2))  # on more lines
