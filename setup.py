"""Builds the package as pyproject.toml says, with the YAML files of `configs/` as data of `benchmark`.

They cannot be a package of their own: a module called `configs` would meet those of other projects. An editable install
reads them where they are.
"""

from collections.abc import Iterator
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CONFIGS = Path("configs")


class BuildWithConfigs(build_py):
    """Copies Python modules and data files into a wheel."""

    def _get_data_files(self) -> Iterator[tuple[str, str, str, list[str]]]:
        """Data files: package, source folder, folder in the build, and names."""
        yield from super()._get_data_files()
        names = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))
        yield "benchmark", str(CONFIGS), str(Path(self.build_lib, "benchmark", "_configs")), names


setup(cmdclass={"build_py": BuildWithConfigs})
