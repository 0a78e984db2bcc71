"""Committed records spoiled at random, and every command's answer to them."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from leaderboard.__main__ import main
from leaderboard.entries.places import RESULTS
from leaderboard.records.plain_text import is_plain

PATIENCE_S = 20.0  # of a command that takes a fifth of a second: a shared core can stall
LONGEST = 2000  # characters of a line on standard error
CODES = {
    "show": {0, 1, 2},
    "check": {0, 2, 10, 11, 12, 13},
    "build": {0, 1, 2},
    "submit": {0, 2},
}
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, -0.0, 1e308, 10**30, 2**63, -(2**63), 10**400),
    *("", "x", "\ud800", "\x1b[2J", "\u202e", "a\nb", "\0", "x" * 5000, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"),
    *("2026-13-45T00:00:00Z", "2026-11-01T12:00:00+14:00", [], {}, [[]], [None], {"": {}}, ["x"] * 2000),
)
TOKENS = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"\xff",
    b"\\ud800",
    b'"',
    b"{",
    b"[[[[",
    b"}",
    b",",
    b"\0",
    b"9" * 5000,
)

YAML = (
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!binary ",
    b"!!python/none ",
    b"? ",
    b"- ",
    b"\t",
    b"1:1:1",
    b"2026-99-99",
    b"|",
    b"---\n",
)
ABOUT = ("--title=t", "--authors=a", "--licence=MIT", "--tuning_trials=0", "--architecture=mamba", "--suite=lite")


def deep(rng: random.Random) -> Any:
    """A value nested up to 900 deep."""
    value: Any = 1
    for _ in range(rng.choice([5, 50, 150, 199, 201, 900])):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value and a key or place in it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def spoiled(text: bytes, rng: random.Random) -> bytes:
    """A text with one to three changes: of bytes, and of a record's values too."""
    if not text.startswith(b"{"):
        return with_other_bytes(with_other_bytes(text, rng, YAML), rng, (*YAML, *TOKENS))
    for _ in range(rng.randrange(1, 4)):
        if rng.random() < 0.35:
            text = with_other_bytes(text, rng)
        else:
            with suppress(ValueError, RecursionError):  # it is no JSON any more
                fields = json.loads(text)
                change_value(fields, rng)
                text = json.dumps(fields, indent=rng.choice([None, 2])).encode()
    return text


def with_other_bytes(text: bytes, rng: random.Random, tokens: tuple[bytes, ...] = TOKENS) -> bytes:
    """A text that is cut, has a piece put in, taken out or doubled."""
    at = rng.randrange(len(text) + 1)
    end = min(len(text), at + rng.randrange(1, 40))
    put_in = text[:at] + rng.choice(tokens) + text[at + rng.randrange(3) :]
    return rng.choice([text[:at], put_in, text[:at] + text[end:], text[:end] + text[at:]])


def change_value(fields: Any, rng: random.Random) -> None:
    """Give a place another value, that of another place or another key, or delete it."""
    if not (found := list(places(fields))):
        return
    place, key = rng.choice(found)
    kind = rng.randrange(5)
    if kind == 0:
        place[key] = rng.choice(VALUES)
    elif kind == 1:
        place[key] = deep(rng)
    elif kind == 2:
        other, another = rng.choice(found)
        place[key] = json.loads(json.dumps(other[another]))
    elif kind == 3 and isinstance(place, dict):
        place[str(rng.choice(VALUES))] = place[key]
    else:
        del place[key]


def tree(folder: Path) -> tuple[Path, list[Path]]:
    """Two committed entries with a seed in each of two cells, and the files of the one that may be spoiled."""
    results = folder / "results"
    for name in ("transformer", "mamba"):
        source = RESULTS / "lite" / name
        for cell in sorted(path.name for path in source.glob("lm_*"))[:2]:
            shutil.copytree(source / cell / "seed0", results / "lite" / name / cell / "seed0")
        shutil.copy(source / "entry.yaml", results / "lite" / name / "entry.yaml")
    return results, sorted((results / "lite" / "mamba").rglob("*.[jy]*"))


def answer(words: list[str]) -> tuple[int, list[str], float]:
    """Exit code, lines of standard error and seconds of a command that runs in this process."""
    out, err, start = StringIO(), StringIO(), time.monotonic()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    assert all(map(is_plain, out.getvalue().split("\n"))), words
    return code, err.getvalue().split("\n")[:-1], time.monotonic() - start


def attack(folder: Path, numbers: range, spoil: Callable[[bytes, random.Random], bytes] = spoiled) -> Counter[str]:
    """Spoil a record or `entry.yaml` for each number and ask every command of it; how often each gave which exit code.

    Raises:
        AssertionError: a command raised, was slow, gave a code that it does not have, or said more than plain lines.
    """
    results, files = tree(folder)
    counts: Counter[str] = Counter()
    for number in numbers:
        rng = random.Random(number)
        path = rng.choice(files)
        whole = path.read_bytes()
        path.write_bytes(spoil(whole, rng))
        commands = {
            "show": [str(results)],
            "check": [str(results / "lite" / "mamba"), "--against", str(results)],
            "build": [str(results), "--out", str(folder / "out"), "--check"],
            "submit": [str(results / "lite" / "mamba"), "--name", "own", "--out", str(folder / "submitted"), *ABOUT],
        }
        for name, words in commands.items():
            try:
                code, lines, seconds = answer([name, *words])
            except Exception as error:
                raise AssertionError(f"{number}: {name}: {error!r}: {path.read_bytes()[:500]!r}") from error
            said = f"{number}: {name}: exit code {code} in {seconds:.1f} s: {lines}"
            assert code in CODES[name] and seconds < PATIENCE_S, said
            assert all(is_plain(line) and len(line) < LONGEST for line in lines), said
            assert code != 2 or (len([line for line in lines if line.startswith("error: ")]) == 1), said
            counts[f"{name} {code}"] += 1
        path.write_bytes(whole)
        shutil.rmtree(folder / "submitted", ignore_errors=True)
    return counts
