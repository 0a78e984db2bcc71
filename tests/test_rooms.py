"""Who may import whom, what a name may stand for, and how large a file and a folder may grow.

The rules are read off the source with `ast`, so an import inside a function or under `if TYPE_CHECKING` counts too.
"""

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOMS = ("architectures", "benchmark", "datamodules", "leaderboard")
FORBIDDEN = {
    "architectures": {"benchmark", "datamodules", "leaderboard", "tests"},
    "benchmark": {"tests"},
    "datamodules": {"architectures", "benchmark", "leaderboard", "tests"},
    # The leaderboard must start in a second on a machine without torch.
    "leaderboard": {"architectures", "benchmark", "datamodules", "lightning", "pytorch_lightning", "tests", "torch"},
}
FLOORS = (
    *("metrics", "probes", "config", "training", "interventions", "language", "sweeps", "contract", "speed", "report"),
    "figures",
    "cli",
)
"""Rooms within benchmark, from the ground up: each may import those below it."""

COMMAND_LINE = re.compile(r"benchmark\.(cli|__main__)(\.|$)")
MAX_LINES = 400
MAX_FILES = 13


def imports(source: str, package: str, deep: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute module name) for every import in `source`, a module inside the dotted `package`.

    With `deep`, what is imported from a module is yielded too, as if it were a module within it.

    Relative imports are resolved against `package`; `import_module("name")` and `__import__("name")` with a
    literal name count as imports of that name.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(level=level, module=module, names=aliases):
                parents = package.split(".")
                base = parents[: len(parents) - level + 1] if level else []
                full = ".".join(base + ([module] if module else []))
                yield node.lineno, full
                if deep:
                    yield from ((node.lineno, f"{full}.{alias.name}") for alias in aliases)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def sources(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield every Python file of the rooms, relative to `root`, with its content."""
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            yield path.relative_to(root), path.read_text(encoding="utf-8")


def violations(root: Path) -> list[str]:
    """One line, "path:line: what is wrong", for every broken rule in the rooms below `root`."""
    found = []
    for where, source in sources(root):
        room, package = where.parts[0], ".".join(where.parts[:-1])
        own = FLOORS.index(where.parts[1]) if room == "benchmark" and where.parts[1] in FLOORS else None
        for line, module in imports(source, package):
            if module.partition(".")[0] in FORBIDDEN[room]:
                found.append(f"{where}:{line}: {room} must not import {module}")
        above = () if own is None else FLOORS[own + 1 :]
        modules = {(line, tuple(module.split(".")[:2])) for line, module in imports(source, package, deep=True)}
        for line, (top, *floor) in sorted(modules):
            if top == "benchmark" and set(floor) & set(above):
                found.append(f"{where}:{line}: {where.parts[1]} lies below {floor[0]}")
        if (length := len(source.splitlines())) > MAX_LINES:
            found.append(f"{where}:{length}: longer than {MAX_LINES} lines: it has two jobs, split it")
    return found


def circles(root: Path) -> list[frozenset[str]]:
    """Groups of modules that import one another, wherever in the file the import stands; packages around them aside."""
    modules = {
        ".".join(where.with_suffix("").parts).removesuffix(".__init__"): (where, s) for where, s in sources(root)
    }
    graph: dict[str, set[str]] = {}
    for name, (where, source) in modules.items():
        found = {module for _, module in imports(source, ".".join(where.parts[:-1]), deep=True)} & modules.keys()
        graph[name] = {module for module in found if not f"{name}.".startswith(f"{module}.")}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    reach = {name: reached(name) for name in graph}
    return sorted(
        {frozenset({other for other in reach[name] if name in reach[other]}) for name in graph if name in reach[name]},
        key=sorted,
    )


def names_used_twice(root: Path) -> list[str]:
    """One line for every public class and every file whose name stands for two things.

    Files of commands are called after their command, and each registry is one.
    """
    places: dict[str, list[str]] = {}
    for where, source in sources(root):
        if not (where.parts[1] in {"cli", "commands"} or where.stem in {"registry", "__init__", "__main__"}):
            places.setdefault(f"{where.stem}.py", []).append(str(where))
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(f"class {node.name}", []).append(str(where))
    return [f"{name}: {', '.join(found)}" for name, found in places.items() if len(found) > 1]


def crowded(root: Path) -> list[str]:
    """The folders with more Python files than one can take in at a glance."""
    folders = [where.parent for where, _ in sources(root) if where.stem != "__init__"]
    return [
        f"{folder}: {folders.count(folder)} files"
        for folder in sorted(set(folders))
        if folders.count(folder) > MAX_FILES
    ]


def users_of_the_command_line(root: Path) -> list[str]:
    """The files outside of the command line that import it, or name a module of it in a string."""
    found = []
    for path in sorted((root / "benchmark").rglob("*.py")):
        where, source = path.relative_to(root), path.read_text(encoding="utf-8")
        if where.parts[1] in {"cli", "__main__.py"}:
            continue
        names = [module for _, module in imports(source, ".".join(where.parts[:-1]))]
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Constant(value=str(text)):
                    names.append(text)
                case ast.ImportFrom(level=0, module=str(module), names=aliases):
                    names += [f"{module}.{alias.name}" for alias in aliases]
        if any(COMMAND_LINE.match(name) for name in names):
            found.append(str(where))
    return found


def test_every_room_is_there(repository: Path) -> None:
    """A renamed room would otherwise pass unchecked."""
    assert [room for room in ROOMS if not (repository / room / "__init__.py").is_file()] == []


def test_rooms_keep_their_walls(repository: Path) -> None:
    assert violations(repository) == []


def test_every_floor_is_there(repository: Path) -> None:
    folders = {path.parent.name for path in (repository / "benchmark").glob("*/__init__.py")}
    assert folders == set(FLOORS)


def test_no_circle_of_imports(repository: Path) -> None:
    assert circles(repository) == []


def test_a_name_stands_for_one_thing(repository: Path) -> None:
    assert names_used_twice(repository) == []


def test_no_folder_is_crowded(repository: Path) -> None:
    assert crowded(repository) == []


def test_half_of_the_files_are_short(repository: Path) -> None:
    assert statistics.median(len(source.splitlines()) for _, source in sources(repository)) < 150


def test_nobody_uses_the_command_line(repository: Path) -> None:
    assert users_of_the_command_line(repository) == []


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("benchmark/a.py", "def f():\n    from benchmark.cli.command_parser import CommandParser", True),
        ("benchmark/a.py", "from benchmark import cli", True),
        ("benchmark/deep/a.py", "import benchmark.__main__", True),
        ("benchmark/deep/a.py", "from ..cli import parser", True),
        ("benchmark/a.py", "PRELOAD = ['numba', 'benchmark.cli.train']", True),
        ("benchmark/a.py", "import benchmark.climate\nfrom benchmark import config", False),
        ("benchmark/cli/a.py", "from benchmark.cli.command_parser import CommandParser", False),
        ("benchmark/__main__.py", "from benchmark.cli.command_parser import CommandParser", False),
    ],
)
def test_a_planted_use_of_the_command_line_is_found(tmp_path: Path, name: str, source: str, found: bool) -> None:
    plant(tmp_path, name, source)
    assert users_of_the_command_line(tmp_path) == [name] * found


@pytest.mark.process
def test_leaderboard_starts_without_torch(repository: Path) -> None:
    """The walker sees our own imports only; this one sees what a library drags in."""
    code = (
        "import importlib, leaderboard, pkgutil, sys\n"
        "for module in pkgutil.walk_packages(leaderboard.__path__, 'leaderboard.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(*sorted({'torch', 'lightning', 'pytorch_lightning'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def plant(root: Path, name: str, source: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "source", "module"),
    [
        ("architectures/a.py", "import datamodules.task", "datamodules.task"),
        ("architectures/deep/a.py", "import math, leaderboard as board", "leaderboard"),
        ("architectures/a.py", "from ..benchmark import module", "benchmark"),
        ("benchmark/a.py", "from tests.oracles import scan", "tests.oracles"),
        ("datamodules/a.py", "def f():\n    from architectures.model import SequenceModel", "architectures.model"),
        ("datamodules/a.py", "from benchmark import *", "benchmark"),
        ("leaderboard/a.py", "try:\n    import torch\nexcept ImportError:\n    pass", "torch"),
        ("leaderboard/a.py", "if TYPE_CHECKING:\n    from lightning.pytorch import Trainer", "lightning.pytorch"),
        ("leaderboard/a.py", "import importlib\nimportlib.import_module('torch.nn')", "torch.nn"),
    ],
)
def test_planted_import_is_found(tmp_path: Path, name: str, source: str, module: str) -> None:
    plant(tmp_path, name, source)
    assert [message.split(": ")[1].split()[-1] for message in violations(tmp_path)] == [module]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("benchmark/a.py", "import architectures, datamodules, leaderboard.records.record, torch"),
        ("architectures/a.py", "from architectures.model import SequenceModel\nfrom . import registry\nimport torch"),
        ("architectures/deep/a.py", "from ..model import SequenceModel"),
        ("datamodules/a.py", "import lightning, torchmetrics"),
        ("leaderboard/a.py", "import torchlike\nname = 'import torch'"),
    ],
)
def test_allowed_import_passes(tmp_path: Path, name: str, source: str) -> None:
    plant(tmp_path, name, source)
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "source", "module"),
    [
        ("benchmark/training/a.py", "def f():\n    from benchmark.sweeps.plan import Unit", "sweeps"),
        ("benchmark/training/deep/a.py", "from benchmark import speed", "speed"),
        ("benchmark/config/a.py", "import benchmark.contract", "contract"),
        ("benchmark/metrics/a.py", "from ..config import errors", "config"),
    ],
)
def test_planted_arrow_upwards_is_found(tmp_path: Path, name: str, source: str, module: str) -> None:
    plant(tmp_path, name, source)
    assert [message.split()[-1] for message in violations(tmp_path)] == [module]
    plant(tmp_path, name.replace(name.split("/")[1], "cli"), source)
    assert len(violations(tmp_path)) == 1  # from the top floor all are allowed


def test_planted_circle_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "benchmark/a.py", "from benchmark import b")
    plant(tmp_path, "benchmark/b.py", "import benchmark.c")
    plant(tmp_path, "benchmark/c.py", "def f():\n    from benchmark.a import x")
    plant(tmp_path, "benchmark/d.py", "from benchmark.a import x")
    assert circles(tmp_path) == [{"benchmark.a", "benchmark.b", "benchmark.c"}]


def test_planted_name_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "benchmark/a.py", "class Row: ...\nclass _Own: ...")
    plant(tmp_path, "benchmark/cli/b.py", "class _Own: ...")
    plant(tmp_path, "leaderboard/b.py", "class Row: ...")
    plant(tmp_path, "datamodules/deep/a.py", "")
    assert names_used_twice(tmp_path) == [
        "a.py: benchmark/a.py, datamodules/deep/a.py",
        "class Row: benchmark/a.py, leaderboard/b.py",
    ]


def test_crowded_folder_is_found(tmp_path: Path) -> None:
    for i in range(MAX_FILES + 1):
        plant(tmp_path, f"benchmark/deep/f{i}.py", "")
    plant(tmp_path, "benchmark/deep/__init__.py", "")
    plant(tmp_path, "benchmark/a.py", "")
    assert crowded(tmp_path) == [f"benchmark/deep: {MAX_FILES + 1} files"]


def test_long_file_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "benchmark/fits.py", "x = 1\n" * MAX_LINES)
    plant(tmp_path, "benchmark/grown.py", "x = 1\n" * (MAX_LINES + 1))
    assert [message.split(":")[0] for message in violations(tmp_path)] == ["benchmark/grown.py"]
