"""More mutations (see `mutations.py`): seeds, curves, files and folders, `entry.yaml`."""

import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.helpers.leaderboard.entries import CELLS, edit, edit_curves, parquet, replace_curves
from tests.helpers.leaderboard.mutations import load, mutation, seed_folder


@mutation
def seeds_changed(rng: Random, entry: Path) -> bool:
    cell = entry / rng.choice(CELLS)
    a, b = rng.sample([cell / f"seed{seed}" for seed in range(3)], 2)
    kind = rng.randrange(6)
    if kind == 0:
        shutil.rmtree(cell / f"seed{rng.randrange(2)}")
    elif kind == 1:
        a.rename(cell / rng.choice(["seed3", "seed7", "seed00", "seed-1", "seed1e3", "Seed3", "seed9999999999999"]))
    elif kind == 2:
        shutil.copytree(a, cell / "seed3")
    elif kind == 3:
        shutil.copytree(a, cell / "seed3")
        edit(cell / "seed3", **{f"seeds.{name}_seed": 3 for name in ("task", "init", "data")})
    elif kind == 4:
        swap(a, b)
    else:
        shutil.rmtree(b)
        shutil.copytree(a, b)
        edit(b, **{f"seeds.{name}_seed": int(b.name[-1]) for name in ("task", "init", "data")})
    return True


@mutation
def curves_swapped(rng: Random, entry: Path) -> bool:
    """Between two seeds; with the hash of the other's if they are to look right."""
    a, b = (entry / rng.choice(CELLS) / f"seed{seed}" for seed in rng.sample(range(3), 2))
    swap(a / "curves.parquet", b / "curves.parquet")
    if rng.random() < 0.5:
        for folder in (a, b):
            replace_curves(folder, (folder / "curves.parquet").read_bytes())
    return True


def swap(a: Path, b: Path) -> None:
    a.rename(a.with_name("aside"))
    b.rename(a)
    a.with_name("aside").rename(b)


@mutation
def curves_changed(rng: Random, entry: Path) -> bool:
    """One value of the curves of a solved run, the record's hash with it."""
    row = rng.choice([0, 2, 7, -2, -1])
    name, value = rng.choice(
        [
            *[("loss_nats", 0.1), ("loss_nats", 1.7), ("loss_nats", float("nan")), ("accuracy", 2.0), ("step", 7)],
            *[("step", -1), ("exact_match", None), ("loss_scored_nats", -1.0), ("loss_by_position_nats", [])],
            *[("loss_by_position_nats", [0.5] * 31), ("rows_solved", float("-inf")), ("rows_solved", None)],
        ]
    )

    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows[row][name] = value
        return rows

    edit_curves(entry / rng.choice(CELLS) / "seed0", change)
    return True


@mutation
def rows_changed(rng: Random, entry: Path) -> bool:
    row = rng.randrange(1, 14)
    kind = rng.randrange(4)

    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if kind == 0:
            return rows[:row] + rows[row + 1 :]
        if kind == 1:
            return [*rows[:row], rows[row], *rows[row:]]
        return rows[::-1] if kind == 2 else rows[:row]

    edit_curves(entry / rng.choice(CELLS) / "seed0", change)
    return True


@mutation
def not_the_columns(rng: Random, entry: Path) -> bool:
    folder = entry / rng.choice(CELLS) / "seed0"
    table = pq.read_table(folder / "curves.parquet")
    name = rng.choice(table.column_names)
    tables = [
        lambda: table.drop_columns(name),
        lambda: table.rename_columns([f"{column} " for column in table.column_names]),
        lambda: table.append_column("extra", table["step"].cast(pa.float64())),
        lambda: table.slice(0, 0),
        lambda: pa.table({"a": ["x" * 1000]}),
    ]
    replace_curves(folder, parquet(rng.choice(tables)()))
    return True


@mutation
def stray_file(rng: Random, entry: Path) -> bool:
    folder = rng.choice([entry, entry / "lm-a", entry / "lm-a" / "seed0"])
    name = rng.choice(
        [".git", ".x", "run.py", "last.ckpt", "RECORD.JSON", "a\nb", "record.json.bak", "curves.png", "\u202e"]
    )
    if rng.random() < 0.7:
        (folder / name).write_text("import os")
    else:
        (folder / name).mkdir()
    return True


@mutation
def no_ordinary_file(rng: Random, entry: Path) -> bool:
    path = seed_folder(rng, entry) / rng.choice(["record.json", "curves.parquet"])
    path = rng.choice([path, path.parent, path.parents[1], entry / "entry.yaml"])
    away = entry.parents[2] / f"away{rng.random()}"
    path.rename(away)
    kind = rng.randrange(3)
    if kind == 0:
        path.symlink_to(away)
    elif kind == 1:
        path.symlink_to(rng.choice(["/etc/passwd", "/dev/zero", "nowhere", ".", ".."]))
    else:
        os.mkfifo(path)
    return True


@mutation
def entry_file_changed(rng: Random, entry: Path) -> bool:
    path = entry / "entry.yaml"
    text = path.read_text()
    changes: list[tuple[str, bool]] = [
        (text.replace("A model", "'<script>alert(1)</script>'"), False),
        (text.replace("A. Author", "'../../etc/passwd'"), False),
        (text.replace("name: my_model", "name: transformer"), True),
        (text.replace("suite: tiny", "suite: lite"), True),
        (text.replace("architecture: my_model", "architecture: transformer"), True),
        (text.replace("https://", "javascript:"), True),
        (text.replace("trials: 3", "trials: -1"), True),
        (text.replace("trials: 3", "trials: 1e400"), True),
        (text + "verified: true\n", True),
        (text + "name: my_model\n", True),
        (text.replace("licence: MIT", "licence: !!python/name:os.system"), True),
        (text.replace("A model", '"\\e[2J"'), True),
        (text.replace("A model", "*a"), True),
        ("[" * 1500, True),
        ("", True),
        (text + "#" * 20_000, True),
    ]
    content, refused = rng.choice(changes)
    assert content != text
    path.write_text(content)
    return refused


@mutation
def results_of_another_entry(rng: Random, entry: Path) -> bool:
    """The reference's run as one's own."""
    cell = rng.choice(CELLS)
    target = entry / cell / "seed0"
    shutil.rmtree(target)
    shutil.copytree(entry.parent / "transformer" / cell / "seed0", target)
    if rng.random() < 0.7:
        architecture = load(entry / cell / "seed1")["architecture"]
        edit(target, architecture=architecture, started_at="2026-11-01T11:00:00Z")
    return True


@mutation
def wrong_place(rng: Random, entry: Path) -> bool:
    kind = rng.randrange(5)
    if kind == 0:
        entry.rename(entry.with_name(rng.choice(["other", "My_Model", "my model", "-x", "a.b"])))
    elif kind == 1:
        shutil.copytree(entry, entry.with_name("copy"))
    elif kind == 2:
        (entry / "lm-a").rename(entry / rng.choice(["lm-c", "LM-A", "lm a", "<b>"]))
    elif kind == 3:
        swap(entry / "lm-a", entry / "lm-b")
    else:
        shutil.copytree(entry / "lm-b", entry / "lm-a" / "seed0" / "deeper")
    return True
