"""Who may import whom, and how long a file may grow.

The rules are read off the source with `ast`, so an import inside a function or under `if TYPE_CHECKING` counts too.
"""

import ast
import re
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
COMMAND_LINE = re.compile(r"benchmark\.(cli|__main__)(\.|$)")
MAX_LINES = 400


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute module name) for every import in `source`, a module inside the dotted `package`.

    Relative imports are resolved against `package`; `import_module("name")` and `__import__("name")` with a
    literal name count as imports of that name.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield node.lineno, module
            case ast.ImportFrom(level=level, module=module):
                parents = package.split(".")
                base = parents[: len(parents) - level + 1]
                yield node.lineno, ".".join(base + ([module] if module else []))
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def violations(root: Path) -> list[str]:
    """One line, "path:line: what is wrong", for every broken rule in the rooms below `root`."""
    found = []
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            where = path.relative_to(root)
            source = path.read_text(encoding="utf-8")
            for line, module in imports(source, ".".join(where.parts[:-1])):
                if module.partition(".")[0] in FORBIDDEN[room]:
                    found.append(f"{where}:{line}: {room} must not import {module}")
            if (length := len(source.splitlines())) > MAX_LINES:
                found.append(f"{where}:{length}: longer than {MAX_LINES} lines: it has two jobs, split it")
    return found


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


def test_long_file_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "benchmark/fits.py", "x = 1\n" * MAX_LINES)
    plant(tmp_path, "benchmark/grown.py", "x = 1\n" * (MAX_LINES + 1))
    assert [message.split(":")[0] for message in violations(tmp_path)] == ["benchmark/grown.py"]
