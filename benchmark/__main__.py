"""``python -m benchmark``: finds the command and runs it."""

import sys
from importlib import import_module

from benchmark.config.signals import listen

# No command is imported before it is asked for, and nothing heavy before it runs: torch alone takes seconds.
COMMANDS = {
    "fit": "Train an architecture on a task; leaves one record for each seed",
    "validate": "Print the metrics of a checkpoint on the held-out evaluation set",
    "test": "Print the metrics of a checkpoint on the test set, which nothing in training has seen",
    "resume": "Go on with a run that has not ended, from its last checkpoint",
    "sweep": "Run many seeds of many architectures on the cells of a suite; it can be interrupted",
    "list": "Name architectures, tasks, metrics, probes and suites, those of installed plugins too",
    "check": "Run the contract on a tiny instance of an architecture, and measure what it costs",
    "new": "Write a new architecture, which trains and passes `check` as it is",
    "patch": "Put attention patterns of one kept checkpoint into another, or take heads their own",
    "fork": "Train a run again from one of its steps on, with one cause changed",
    "figure": "Run a figure of the paper, draw it beside the published one, and judge its claims",
    "capability": "Say when capabilities emerge in the checkpoints of language models",
    "head_patch": "Put attention patterns of a language model after emergence into it before, and ablate them",
    "language_series": "Train a small series of language models in which copying emerges",
    "report": "Make a page of what runs learned, and when: staircase, heads, maps over time",
    "replay": "Make the first steps of a run anew from its record, and compare",
    "speed": "Measure tokens per CPU-second and memory by length, and the speed of many seeds",
}
"""Every command, with what it does. All but those of LightningCLI have a file in `benchmark.cli`."""

LIGHTNING = ("fit", "validate", "test")
LANGUAGE = ("capability", "head_patch", "language_series")
"""Commands whose files are in `benchmark.cli.language`."""

HELP = ("-h", "--help", "help")


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code is 0 when it did its work (a censored run did), 1 after an error in it, 2 for a
    mistake of the caller, 3 for a run that diverged, 4 where another process works on the run, 128 + signal for one
    that was interrupted.

    Args:
        argv: words to take in the place of this process's, whose signals are left alone then.
    """
    if argv is None:
        listen()
    from benchmark.config.errors import reported

    words = sys.argv[1:] if argv is None else argv
    return reported(lambda: _run(words))


def _run(args: list[str]) -> int:
    command, *words = args or HELP
    if command in HELP:
        print(_overview())
        return 0
    if command in LIGHTNING:
        from benchmark.cli.train import run

        return run(args)
    if command not in COMMANDS:
        from benchmark.config.errors import unknown, unknown_option

        if command.startswith("-"):
            raise ValueError(f"{unknown_option(command, ['help'])} (options follow the command)")
        raise ValueError(unknown("command", command, COMMANDS))
    from benchmark.cli.command_parser import CommandParser

    module = import_module(f"benchmark.cli.{'language.' * (command in LANGUAGE)}{command}")
    parser = CommandParser(command, description=f"{COMMANDS[command]}.")
    module.add_arguments(parser)
    code: int = module.run(parser.parse(words))
    return code


def _overview() -> str:
    """All commands, a line each."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{summary}" for name, summary in COMMANDS.items()]
    usage = ["usage: python -m benchmark COMMAND [...]", "", "commands:", *lines, ""]
    return "\n".join([*usage, "python -m benchmark COMMAND --help lists the options of a command."])


if __name__ == "__main__":
    sys.exit(main())
