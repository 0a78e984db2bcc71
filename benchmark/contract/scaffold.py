"""The files of a new architecture, which trains and passes the contract as it is."""

import ast
import builtins
import keyword
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import architectures
from architectures import ARCHITECTURES, FAMILIES
from benchmark.config.files.yaml_text import from_text

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = Path(__file__).with_name("starting_point.py")
"""A whole architecture; its names `starting_point` and `StartingPoint` are replaced by the new ones."""

LONGEST_NAME = 24
"""With longer names the template's lines would have to be broken anew."""

CONFIG = """\
model:
  class_path: {name}
  init_args:
    d_model: 128
    mlp_ratio: 4
    positions: learned
"""

OF_WIDTH = "# {title}: width 128, MLP width 512. The depth follows from the task (lm 1, ca 4).\n" + CONFIG
OF_PARAMETERS = (
    """\
# {title} with the transformer's number of parameters (within 5 %): as it stands, that is the width of {name}.yaml.
# When the block changes, choose the width anew: tests/benchmark/config/test_matched_configs.py names the nearest
# that fits.
"""
    + CONFIG
)

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{project}"
version = "0.1.0"
description = "{title}: an architecture for the Emergence Benchmark"
requires-python = ">=3.11"
dependencies = ["emergence-benchmark"]

# The suite imports this module when it starts, and the module registers its class.
[project.entry-points."emergence_benchmark.architectures"]
{name} = "{name}"

[tool.setuptools]
py-modules = ["{name}"]
"""


def class_name(name: str) -> str:
    """``my_model`` to ``MyModel``."""
    return "".join(part.capitalize() for part in name.split("_"))


def require_name(name: str) -> None:
    """Raise a ValueError of one line, unless a name is free and can be a module, a class and an option."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ValueError(f"'{name}' cannot be a name here: lower case letters, digits and underscores, like my_model")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"'{name}' is longer than {LONGEST_NAME} characters: choose a shorter name")
    if from_text(name) != name:
        raise ValueError(f"'{name}' is {from_text(name)} in YAML: choose another name")
    for prefix in FAMILIES:
        if name.startswith(f"{prefix}_"):
            raise ValueError(f"'{name}': names with {prefix}_ before them are those of {prefix}:NAME: choose another")
    if name in ARCHITECTURES:
        where = ARCHITECTURES[name].__module__
        raise ValueError(f"architecture name '{name}' is already taken by {where}: choose another")
    meant = {name, class_name(name)}
    if find_spec(f"architectures.{name}") or meant & (vars(architectures).keys() | vars(builtins).keys() | _used()):
        raise ValueError(f"'{name}' (class {class_name(name)}) means something else in the code: choose another name")


def _used() -> set[str]:
    """The names that the template uses."""
    nodes = list(ast.walk(ast.parse(TEMPLATE.read_text(encoding="utf-8"))))
    found = {node.id for node in nodes if isinstance(node, ast.Name)}
    return found | {alias.asname or alias.name for node in nodes if isinstance(node, ast.ImportFrom | ast.Import)
                    for alias in node.names}  # fmt: skip


def rendered(name: str) -> str:
    """The source of the new architecture."""
    source = (
        TEMPLATE.read_text(encoding="utf-8").replace("starting_point", name).replace("StartingPoint", class_name(name))
    )
    return source.replace("Starting point", title(name))


def title(name: str) -> str:
    """``my_model`` to ``My model``."""
    return name.replace("_", " ").strip().capitalize()


def inside(name: str) -> dict[Path, str]:
    """New files, with their contents, of an architecture in this checkout, which imports whatever lies in the folder.

    Raises:
        ValueError: if the suite is not run from a checkout.
    """
    if not ((ROOT / "pyproject.toml").is_file() and (ROOT / "configs").is_dir()):
        raise ValueError("the suite is installed, not checked out: give --out FOLDER for a package of your own")
    return {
        ROOT / "architectures" / f"{name}.py": rendered(name),
        ROOT / "configs" / "arch" / f"{name}.yaml": OF_WIDTH.format(name=name, title=title(name)),
        ROOT / "configs" / "arch" / f"{name}_parameters.yaml": OF_PARAMETERS.format(name=name, title=title(name)),
    }


def package(name: str, folder: Path) -> dict[Path, str]:
    """New files, with their contents, of a package that declares the architecture as an entry point.

    Raises:
        ValueError: if the folder holds something, or the package would hide an installed module.
    """
    if name in sys.stdlib_module_names or find_spec(name) is not None:
        raise ValueError(f"a package '{name}' would hide the Python module of this name: choose another")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"--out: {folder} exists already: choose a new folder")
    fields = {"name": name, "title": title(name), "project": name.replace("_", "-").strip("-")}
    return {
        folder / f"{name}.py": rendered(name),
        folder / f"{name}.yaml": OF_WIDTH.format(**fields),
        folder / "pyproject.toml": PYPROJECT.format(**fields),
    }


def write(files: Mapping[Path, str]) -> None:
    """Write new files; whatever goes wrong, all is as it was before.

    Raises:
        ValueError: if one of the new files is there already.
        OSError: if something cannot be written.
    """
    for path in files:
        if path.exists():
            raise ValueError(f"{path} exists already: choose another name")
    made = list[Path]()
    try:
        for path, text in files.items():
            for folder in reversed([folder for folder in path.parents if not folder.exists()]):
                folder.mkdir()
                made.append(folder)
            made.append(path)
            path.write_text(text, encoding="utf-8")
    except BaseException:  # Ctrl-C too
        for path in reversed(made):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        raise
