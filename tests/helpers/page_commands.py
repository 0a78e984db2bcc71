"""The check of each kind of command that a page shows: the table `KINDS`."""

from dataclasses import dataclass

from leaderboard.commands.check import EXIT
from tests.helpers.command_checks import (
    Check,
    activate,
    benchmark_command,
    build,
    capability,
    cd,
    ci_run,
    clone,
    export,
    figure,
    fit,
    head_patch,
    language_series,
    leaderboard_command,
    make,
    module,
    new,
    of_kept_steps,
    pip_install,
    ray_start,
    report,
    resume,
    simulate,
    speed,
    sweep,
)


@dataclass(frozen=True)
class Kind:
    """Commands that begin alike.

    Attributes:
        check: runs one, or what comes nearest; an assertion fails if it does not work.
        how: what is done in place of the command, and why; empty where it runs as it stands.
    """

    check: Check
    how: str = ""


def check_of(words: list[str]) -> Check:
    """The check of a command: that of the longest beginning in the table.

    Raises:
        ValueError: if it begins like none.
    """
    for n in range(len(words), 0, -1):
        if (begin := " ".join(words[:n])) in KINDS:
            return KINDS[begin].check
    raise ValueError(f"no check for the command {' '.join(words)!r}: add its kind to the table in {__name__}")


def begin_of(words: list[str]) -> str:
    """The row of the table that a command belongs to."""
    return max((begin for begin in KINDS if words[: len(begin.split())] == begin.split()), key=len)


KINDS = {
    "python -m benchmark fit": Kind(
        fit, "one step on one sequence: whole budgets take hours. With several devices the configuration alone is made"
    ),
    "python -m benchmark validate": Kind(benchmark_command()),
    "python -m benchmark test": Kind(benchmark_command()),
    "python -m benchmark resume": Kind(resume, "the run is made, and interrupted after its first step of two"),
    "python -m benchmark sweep": Kind(
        sweep, "planned, not run: --dry_run without its measurements, with the ends of each range of seeds and values"
    ),
    "python -m benchmark check": Kind(benchmark_command("--fast"), "without training; the tests of the contract train"),
    "python -m benchmark new": Kind(new, "into a copy of the checkout's files"),
    "python -m benchmark figure": Kind(
        figure, "planned, not run: --dry_run without its measurements; two simulations in place of hundreds"
    ),
    "python -m benchmark report": Kind(
        report, "without pictures; a run that a page has trained is made anew if need be"
    ),
    "python -m benchmark replay": Kind(benchmark_command()),
    "python -m benchmark patch": Kind(of_kept_steps, "at the steps of a run of one step"),
    "python -m benchmark fork": Kind(of_kept_steps, "at the beginning of a run of one step, with one twin"),
    "python -m benchmark language_series": Kind(language_series, "two steps of a narrow model, one seed"),
    "python -m benchmark capability": Kind(capability, "two prompts, without charts, on the series of two steps"),
    "python -m benchmark head_patch": Kind(head_patch, "two prompts, at steps 1 and 2, where nothing has emerged"),
    "python -m benchmark list": Kind(benchmark_command()),
    "python -m benchmark --help": Kind(benchmark_command()),
    "emergence-benchmark --help": Kind(lambda words, place: benchmark_command()(["python", "-m", *words], place)),
    "python -m benchmark speed": Kind(speed, "few and short sequences, no seeds: its own tests measure them"),
    "python -m benchmark.speed.generator_speed": Kind(module, "is there; its own tests run it, in a minute"),
    "python -m benchmark.speed.overhead": Kind(module, "is there; its own tests run it, in a minute"),
    "python -m benchmark.speed.probe_cost": Kind(module, "is there; its own tests measure one cell"),
    "python -m leaderboard show": Kind(leaderboard_command(), "committed records stand in for those of a sweep"),
    "python -m leaderboard compare": Kind(leaderboard_command()),
    "python -m leaderboard schema": Kind(leaderboard_command()),
    "python -m leaderboard tuning": Kind(
        leaderboard_command(codes=(0, 1)), "committed records stand in for those of a sweep"
    ),
    "python -m leaderboard check": Kind(
        leaderboard_command(codes=EXIT.values()), "committed records stand in for those of a sweep"
    ),
    "python -m leaderboard check --simulate": Kind(simulate, "twenty comparisons in place of two thousand"),
    "python -m leaderboard validate": Kind(leaderboard_command("--no_replay"), "without the replay, which has a kind"),
    "python -m leaderboard submit": Kind(
        leaderboard_command("--out", "leaderboard/results"), "into a copy of the results, of committed records"
    ),
    "python -m leaderboard build": Kind(build, "of four records, into another folder"),
    "make": Kind(make, "make -n: the targets exist. Set-up, tests and builds are what CI runs"),
    ".ci/run": Kind(ci_run, "its syntax: it is what CI runs, these tests included"),
    "source": Kind(activate, "the environment is the Makefile's: a shell's state has no effect here"),
    "export": Kind(export, "it is what CI exports"),
    "pip install": Kind(pip_install, "project and extra exist, without network"),
    "python -m pip install": Kind(pip_install, "project and extra exist, without network; a new package is imported"),
    "git clone": Kind(clone, "an address of the reader's"),
    "cd": Kind(cd, "a folder of the reader's"),
    "ray start": Kind(ray_start, "Ray's own parser takes the options; a cluster of several machines is not at hand"),
}
"""Kinds of commands by how they begin. A command that begins like none of them fails the tests."""
