"""Ways to spoil an entry at random, each with what must become of it: refused, or accepted because it says nothing.

A mutation takes a random generator and the entry's folder, changes the folder, and returns whether the entry must be
refused. The entry has cells lm-a and lm-b with seeds 0 (solved), 1 (censored), 2 (diverged).
"""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq

from tests.helpers.leaderboard.entries import CELLS, STATUSES, edit, parquet, replace_curves, write_run

Mutation = Callable[[Random, Path], bool]
MUTATIONS: list[Mutation] = []

# Fields that a record may lack, or that may be anything of their kind: nothing else says what they should be.
FREE = {
    "hardware.name": "some <b>CPU</b> \u4e2d\u6587",
    "hardware.cores": 512,
    "hardware.threads": 3,
    "hardware.memory_bytes": None,
    "versions": {"python": "3.12.0", "<img src=x onerror=alert(1)>": "../../etc/passwd"},
    "git.commit": "89abcdef" * 5,
    "wall_eval_s": 4.5,
    "wall_compile_s": 12.5,
    "peak_memory_bytes": None,
    "ensemble_size": 32,
    "started_at": "2026-11-01T00:00:01Z",
    "ended_at": "2026-11-02T00:00:00.25+00:00",
}
TEXTS = ["<script>alert(1)</script>", "../../../etc/passwd", "/dev/zero", "a\x00b", "%s%n", "x" * 5000, "\u202egnp"]
OUT_OF_RANGE = ["NaN", "Infinity", "-Infinity", "1e999", "-1", "9" * 30, "9" * 5000, "-0.5"]


def mutation(function: Mutation) -> Mutation:
    MUTATIONS.append(function)
    return function


def seed_folder(rng: Random, entry: Path) -> Path:
    return entry / rng.choice(CELLS) / f"seed{rng.randrange(3)}"


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value of a record that is no object or list, with where it stands."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))
    else:
        yield path, value


def load(folder: Path) -> Any:
    return json.loads((folder / "record.json").read_text())


def mutation_of_fields(function: Callable[[Random, Any], bool]) -> Mutation:
    """A mutation of the fields of one record."""

    @wraps(function)
    def mutate(rng: Random, entry: Path) -> bool:
        folder = seed_folder(rng, entry)
        fields = load(folder)
        refuse = function(rng, fields)
        (folder / "record.json").write_text(json.dumps(fields))
        return refuse

    return mutation(mutate)


def place_of(fields: Any, path: tuple[str | int, ...]) -> Any:
    for key in path[:-1]:
        fields = fields[key]
    return fields


@mutation
def harmless_field(rng: Random, entry: Path) -> bool:
    key = rng.choice(sorted(FREE))
    edit(seed_folder(rng, entry), **{key: FREE[key]})
    return False


@mutation
def harmless_layout(rng: Random, entry: Path) -> bool:
    """The same record in another order, with other spaces, or with everything escaped."""
    folder = seed_folder(rng, entry)
    fields = load(folder)
    keys = rng.sample(list(fields), len(fields))
    text = json.dumps({key: fields[key] for key in keys}, indent=rng.choice([None, 1, 8]), ensure_ascii=True)
    (folder / "record.json").write_text(rng.choice(["", " ", "\n\n"]) + text + "\n")
    return False


@mutation
def harmless_packing(rng: Random, entry: Path) -> bool:
    folder = seed_folder(rng, entry)
    table = pq.read_table(folder / "curves.parquet")
    replace_curves(folder, parquet(table, compression=rng.choice(["none", "zstd", "gzip"])))
    return False


@mutation
def seed_added_or_taken_at_the_end(rng: Random, entry: Path) -> bool:
    cell = rng.choice(CELLS)
    if rng.random() < 0.5:
        shutil.rmtree(entry / cell / "seed2")
    else:
        write_run(entry, cell, 3, rng.choice(STATUSES))
    return False


@mutation_of_fields
def field_deleted(rng: Random, fields: Any) -> bool:
    path = rng.choice([path for path, _ in leaves(fields)])
    del place_of(fields, path)[path[-1]]
    return path[0] not in ("versions", "ensemble_size")


@mutation_of_fields
def part_deleted(rng: Random, fields: Any) -> bool:
    del fields[rng.choice([key for key, value in fields.items() if isinstance(value, dict | list)])]
    return True


@mutation_of_fields
def wrong_type(rng: Random, fields: Any) -> bool:
    path = rng.choice([path for path, _ in leaves(fields)])
    place_of(fields, path)[path[-1]] = rng.choice([{"a": {}}, [{}], [[[1]]], [{"a": [None]}]])
    return True


@mutation_of_fields
def unknown_field(rng: Random, fields: Any) -> bool:
    objects = [fields, *(fields[key] for key in sorted(fields) if isinstance(fields[key], dict) and key != "versions")]
    rng.choice(objects)[rng.choice(["", "extra", "__class__", "<b>", "../x"])] = rng.choice([1, "x", None, [1]])
    return True


@mutation
def number_out_of_range(rng: Random, entry: Path) -> bool:
    """As text, because Python would not write most of these."""
    folder = seed_folder(rng, entry)
    fields = load(folder)
    numbers = [p for p, value in leaves(fields) if isinstance(value, int | float) and not isinstance(value, bool)]
    path = rng.choice(numbers)
    place_of(fields, path)[path[-1]] = "THE NUMBER"
    text = json.dumps(fields).replace('"THE NUMBER"', rng.choice(OUT_OF_RANGE))
    (folder / "record.json").write_text(text)
    return True


@mutation_of_fields
def number_changed(rng: Random, fields: Any) -> bool:
    """A little, within its range: whatever is computed from or stands in two places must not be movable."""
    free = {*FREE, "wall_train_s", "wall_eval_s", "tokens_per_s", "first_losses_nats", "floor_loss_nats"}
    numbers = [
        path
        for path, value in leaves(fields)
        if isinstance(value, int | float) and ".".join(map(str, path)) not in free and path[0] not in free
    ]
    path = rng.choice(numbers)
    value = place_of(fields, path)[path[-1]]
    place_of(fields, path)[path[-1]] = not value if isinstance(value, bool) else value + rng.choice([1, 50, 0.125])
    return True


@mutation_of_fields
def text_changed(rng: Random, fields: Any) -> bool:
    texts = [path for path, value in leaves(fields) if isinstance(value, str)]
    path, text = rng.choice(texts), rng.choice(TEXTS)
    place_of(fields, path)[path[-1]] = text
    free = path in {("hardware", "name"), ("error",)} or path[0] == "versions"
    return not free or "\x00" in text or "\u202e" in text or len(text) > 1000


@mutation
def cut_off(rng: Random, entry: Path) -> bool:
    path = seed_folder(rng, entry) / rng.choice(["record.json", "curves.parquet"])
    content = path.read_bytes().rstrip()
    path.write_bytes(content[: rng.randrange(len(content))])
    return True


@mutation
def bytes_changed(rng: Random, entry: Path) -> bool:
    """Without the record's hash, any change of the curves is seen."""
    path = seed_folder(rng, entry) / "curves.parquet"
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return True


@mutation
def broken_json(rng: Random, entry: Path) -> bool:
    path = seed_folder(rng, entry) / "record.json"
    text = path.read_text().strip()
    deep = rng.choice([30, 1000, 40_000])
    path.write_bytes(
        rng.choice(
            [
                b"",
                b"null",
                b"[]",
                b"\x00" * 100,
                text.encode("utf-16"),
                b"\xef\xbb\xbf" + text.encode(),
                text.replace("{", '{"status": "solved", ', 1).encode(),
                (text[:-1] + ', "deep": ' + "[" * deep + "]" * deep + "}").encode(),
                (text[:-1] + ', "suite": "tiny"}').encode(),
                (text + text).encode(),
                (text[:-1] + ",}").encode(),
                (text + " " * 100_000).encode(),
            ]
        )
    )
    return True


@mutation
def path_trick(rng: Random, entry: Path) -> bool:
    tricks = ["../seed1/curves.parquet", "/etc/passwd", "..", ".", "curves.png", "C:\\x", "curves.parquet\x00", ""]
    edit(seed_folder(rng, entry), **{"curves.file": rng.choice(tricks)})
    return True


@mutation
def dishonest(rng: Random, entry: Path) -> bool:
    """Valid records that claim what they must not."""
    folder = entry / rng.choice(CELLS) / "seed0"
    changes: list[dict[str, Any]] = [
        {"status": "interrupted"},
        {"status": "error", "error": "killed"},
        {"git.dirty": True},
        {"git.commit": None},
        {"ended_at": "2126-01-01T00:00:00Z"},
        {"ended_at": "2020-01-01T00:00:00Z"},
        {"tokens_per_s": 1e9},
        {"wall_train_s": 1.0},
        {"parameters": 0},
        {"hits.rows_100": {"step": 300, "previous_step": 250}},
        {"hits.rows_50": {"step": 0, "previous_step": None}},
        {"steps": 600, "tokens": 600 * 8192, "final.step": 600},
        {"first_loss_nats": None},
        {"first_loss_nats": 0.5},
        {"first_losses_nats": []},
        {"final.accuracy": 0.999},
        {"floor_loss_nats": 0.6},
        {"protocol.max_steps": 2000},
        {"protocol.stop_when_solved": False},
        {"task.config.n_nonzero": 1},
        {"seeds.data_seed": 5},
        {"first_batch_hash": "ab" * 32},
        {"curves": None},
        {"suite": None},
        {"cell": None},
    ]
    edit(folder, **rng.choice(changes))
    return True


@mutation
def easier_protocol_throughout(rng: Random, entry: Path) -> bool:
    """The same in every seed of a cell: only the reference tells."""
    cell = rng.choice(CELLS)
    change = rng.choice([{"protocol.eval_sequences": 8}, {"task.config.n_nonzero": 1}, {"task.version": 2}])
    for seed in range(3):
        edit(entry / cell / f"seed{seed}", **change)
    return True
