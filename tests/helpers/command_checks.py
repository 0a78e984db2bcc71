"""Checks of the commands that pages show: each runs one, or what comes nearest, in a folder like a checkout."""

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from architectures import ARCHITECTURES
from benchmark.__main__ import main as benchmark
from leaderboard.__main__ import main as leaderboard
from tests.helpers.pages import ROOT
from tests.helpers.runs import send_at

STAND_IN = ("mlp_mixer", "lm_s10_n3")
"""The entry and the cell whose committed records stand in for those of a sweep that is only planned."""

SMALL_RUN = [
    f"--{option}"
    for option in (
        *("protocol.max_steps=1", "protocol.eval_every=1", "data.batch_size=1", "data.eval_sequences=1"),
        *("picture=false", "trainer.logger=false", "trainer.accelerator=cpu"),
    )
]
NOTHING_RUNS = ("--help", "--print_config", "--model.help", "--data.help")


@dataclass(frozen=True)
class Place:
    """Where the commands of a page run: a folder that looks like a checkout.

    Attributes:
        folder: the working directory.
        done: fits that other pages have shown already; they are not run again.
    """

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    done: set[tuple[str, ...]]

    def copy(self, *names: str) -> None:
        """Copy files or folders of the repository here, unless they are here."""
        for name in names:
            target = self.folder / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, target)


Check = Callable[[list[str], Place], None]


def ended(run: Callable[[list[str]], int], words: list[str]) -> int | str | None:
    """The exit code of a command line, whichever way it ends."""
    try:
        return run(words)
    except SystemExit as end:
        return end.code


def fit(words: list[str], place: Place) -> None:
    place.copy("configs")
    own = words[3:]
    if any(option in own for option in NOTHING_RUNS):
        if ">" in own:
            at = own.index(">")
            with open(place.folder / own[at + 1], "w") as file, redirect_stdout(file):
                code = ended(benchmark, own[:at])
        else:
            code = ended(benchmark, own)
        assert code in (0, None)
    elif any(option.startswith("--trainer.devices") for option in own):
        assert ended(benchmark, [*own, "--print_config"]) == 0
    elif "--name" in own or any("my" in word for word in own) or tuple(own) not in place.done:
        place.done.add(tuple(own))
        small = [word for word in SMALL_RUN if "--trainer.logger" not in own or "logger" not in word]
        assert ended(benchmark, [*own, *small]) == 0


def resume(words: list[str], place: Place) -> None:
    """The run is made anew and interrupted first."""
    out, task, model, name = words[-1].split("/")
    shutil.rmtree(words[-1])
    with place.monkeypatch.context() as patch:
        send_at(patch, 1)
        run = ["fit", "--model", model, "--data", task, "--out", out, "--name", name, *SMALL_RUN]
        assert ended(benchmark, [*run, "--protocol.max_steps", "2"]) == 130
    assert ended(benchmark, words[3:]) == 0


def sweep(words: list[str], place: Place) -> None:
    """Plan it, with the ends of each range, and put the records that stand in for its own into its folder."""
    from benchmark.config.grid import parse_grid, value_text
    from benchmark.config.seeds import parse_seeds
    from benchmark.sweeps import estimate

    place.copy("configs")
    at = words.index("--seeds")
    seeds = parse_seeds(words[at + 1])
    words[at + 1] = f"{seeds[0]},{seeds[-1]}"
    for at in [at for at, word in enumerate(words) if word == "--grid"]:
        (axis,) = parse_grid([words[at + 1]])
        words[at + 1] = f"{axis.key}={value_text(axis.values[0])},{value_text(axis.values[-1])}"
    with place.monkeypatch.context() as patch:
        patch.setattr(estimate, "whole_run_seconds", lambda run: 1.0)
        assert ended(benchmark, [*words[3:], *["--dry_run"][: "--dry_run" not in words]]) == 0
    out = words[words.index("--out") + 1] if "--out" in words else "runs"
    if "--dry_run" not in words and not out.startswith("/"):
        stand_in(place.folder / out)


def stand_in(folder: Path) -> None:
    """Committed records, as a sweep leaves its own in a folder."""
    entry, cell = STAND_IN
    target = folder / "lite" / cell / entry
    if not target.exists():
        shutil.copytree(ROOT / "leaderboard" / "results" / "lite" / entry / cell, target)


def figure(words: list[str], place: Place) -> None:
    """Plan it; simulate it, twice, into nothing."""
    from benchmark.figures import planting
    from benchmark.sweeps import estimate

    with place.monkeypatch.context() as patch:
        patch.setattr(estimate, "whole_run_seconds", lambda run: 1.0)
        patch.setattr(planting, "write_error_rates", lambda figure, n: planting.simulate(figure, 2))
        plain = [*words[3:], *["--dry_run"][: not {"--dry_run", "--list", "--simulate"} & {*words}]]
        assert ended(benchmark, plain) == 0


def report(words: list[str], place: Place) -> None:
    """A run folder of the reader's is made if it is not there: one step on one sequence."""
    for folder in [word for word in words[4:] if word.startswith("runs/")]:
        if not (place.folder / folder).exists():
            out, task, model, name = folder.split("/")
            run = ["fit", "--model", model, "--data", task, "--out", out, "--name", name, *SMALL_RUN]
            assert ended(benchmark, run) == 0
    benchmark_command("--no_pictures")(words, place)


def language_series(words: list[str], place: Place) -> None:
    """Two steps of a narrow model, each with a checkpoint, for one seed."""
    from benchmark.config.files.packaged import CONFIGS

    content = yaml.safe_load((CONFIGS / "language" / f"{words[4]}.yaml").read_text())
    content |= {"batch_size": 1, "max_steps": 2, "keep_every": 1}
    content["model"] |= {"hidden_size": 16, "intermediate_size": 16}
    (place.folder / f"{words[4]}.yaml").write_text(yaml.safe_dump(content))
    own = ["language_series", f"{words[4]}.yaml", "--seeds", "0", "--out", words[words.index("--out") + 1]]
    assert ended(benchmark, own) == 0


def capability(words: list[str], place: Place) -> None:
    """Few prompts, no charts; a series on the hub is planned only."""
    few = ["--n_prompts", "2", "--no_pictures"]
    assert ended(benchmark, [*words[3:], *few]) == 0


def head_patch(words: list[str], place: Place) -> None:
    """At steps 1 and 2 of the series that the page has trained, where nothing has emerged."""
    own = list(words[3:])
    for option in ("--from", "--into"):
        if option in own:
            del own[own.index(option) : own.index(option) + 2]
    few = ["--from", "2", "--into", "1", "--n_prompts", "2", "--draws", "2", "--no_pictures"]
    assert ended(benchmark, [*own, *few]) == 0


def new(words: list[str], place: Place) -> None:
    from benchmark.contract import scaffold

    place.copy("architectures/__init__.py", "pyproject.toml", "configs")
    with place.monkeypatch.context() as patch:
        patch.setattr(scaffold, "ROOT", place.folder)
        assert ended(benchmark, words[3:]) == 0
    if "--out" not in words:  # a new process would import it with the room
        imported(place.folder / "architectures" / f"{words[4]}.py")


def imported(path: Path) -> ModuleType:
    """A Python file as a module, imported as if by a new process."""
    for name, cls in list(ARCHITECTURES.items()):
        if getattr(sys.modules[cls.__module__], "__file__", None) == str(path):
            del ARCHITECTURES[name]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def speed(words: list[str], place: Place) -> None:
    from benchmark.speed import seed_speed

    (place.folder / "benchmark").mkdir(exist_ok=True)
    few = ["--lengths", "8", "--rounds", "1", "--no_peers", *([] if "--models" in words else ["--models", "mlp_mixer"])]
    with place.monkeypatch.context() as patch:
        patch.setattr(seed_speed, "measure_seeds", lambda *arguments: [])
        assert ended(benchmark, [*words[3:], *few]) == 0


def benchmark_command(*more: str) -> Check:
    """A command of `python -m benchmark` with more options."""

    def check(words: list[str], place: Place) -> None:
        if "leaderboard/results" in " ".join(words):
            place.copy("leaderboard/results")
        assert ended(benchmark, [*words[words[0] == "python" and 3 :], *more]) == 0

    return check


def of_kept_steps(words: list[str], place: Place) -> None:
    """On the run of one step that the page's fit has left, at its two steps, with one twin."""
    steps = {"--from": "1", "--into": "0", "--at": "0", "--twins": "1"}
    own = [steps.get(before, word) for before, word in zip(words, words[1:], strict=False)]
    assert ended(benchmark, own[2:]) == 0


def leaderboard_command(*more: str, codes: Iterable[int | str | None] = (0,)) -> Check:
    """A command of `python -m leaderboard` with more options; committed records stand in for those of a sweep."""

    def check(words: list[str], place: Place) -> None:
        place.copy("leaderboard/results")
        for word in words[4:]:
            if word == "runs":
                stand_in(place.folder / word)
        assert ended(leaderboard, [*words[3:], *more]) in codes

    return check


def simulate(words: list[str], place: Place) -> None:
    assert ended(leaderboard, [*words[3:], "--runs", "20"]) == 0


def build(words: list[str], place: Place) -> None:
    place.copy("README.md")
    few, entry = (
        place.folder / "few" / "lite" / "transformer",
        ROOT / "leaderboard" / "results" / "lite" / "transformer",
    )
    if not few.exists():
        for task in ("lm", "ca"):
            cell = min(path.name for path in entry.glob(f"{task}_*"))
            for seed in ("seed0", "seed1"):
                shutil.copytree(entry / cell / seed, few / cell / seed)
        shutil.copy(entry / "entry.yaml", few)
    assert ended(leaderboard, [*words[3:], "few", "--out", "board"]) == 0


def module(words: list[str], place: Place) -> None:
    assert callable(importlib.import_module(words[2]).main)


def make(words: list[str], place: Place) -> None:
    """Say what it would do."""
    done = subprocess.run(["make", "-n", "-C", ROOT, *words[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def ci_run(words: list[str], place: Place) -> None:
    assert os.access(ROOT / words[0], os.X_OK)
    subprocess.run(["bash", "-n", ROOT / words[0]], check=True)


def activate(words: list[str], place: Place) -> None:
    (environment,) = re.findall(r"^VENV +:= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words == ["source", f"{environment}/bin/activate"]


def export(words: list[str], place: Place) -> None:
    name, _, value = words[1].partition("=")
    ci = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert ci["jobs"]["check"]["env"] == {name: value}


def pip_install(words: list[str], place: Place) -> None:
    """Whatever is asked for exists; a package that a page has written is imported by its entry point."""
    asked = words[words.index("install") + 1 :]
    if "-c" in asked:
        at = asked.index("-c")
        assert (ROOT / asked[at + 1]).is_file()
        del asked[at : at + 2]
    (target,) = [word for word in asked if word != "-e"]
    match = re.fullmatch(r"([\w./-]+?)(?:\[(\w+)\])?", target)
    assert match is not None, target
    if match[1] in {".", "emergence-benchmark"}:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert match[1] in {".", project["name"]}
        assert match[2] is None or match[2] in project["optional-dependencies"]
        return
    folder = (place.folder / match[1]).resolve()
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    for group in project["entry-points"].values():
        for name in group.values():
            imported(folder / f"{name}.py")


def clone(words: list[str], place: Place) -> None:
    assert len(words) == 3 and words[2].startswith("https://")


def cd(words: list[str], place: Place) -> None:
    assert len(words) == 2


def ray_start(words: list[str], place: Place) -> None:
    from ray.scripts.scripts import start  # type: ignore[attr-defined, unused-ignore]

    start.make_context("ray start", words[2:])
