"""``python -m benchmark``: train, evaluate, list, check, measure and begin."""

import importlib
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

from benchmark.lock import InUse

DESCRIPTION = """How fast, and how reliably over seeds, does an architecture learn a sparse attention pattern?

Other commands: `list` names architectures, tasks and suites; `resume RUN_FOLDER` goes on with an unfinished run;
`check NAME` runs an architecture's contract, `new NAME` writes a new one to start from, `speed` times them all;
`sweep` runs many seeds of many architectures on the cells of a suite, `replay RECORD` repeats a run's first steps."""
INTERRUPTED = 130
IN_USE = 4
LIGHTNING = ("fit", "validate", "test")
OWN = ("check", "new", "replay", "speed", "sweep")
"""Commands that a module of the same name runs: `benchmark.NAME.NAME_command`."""
DEBUG = "JSONARGPARSE_DEBUG"
"""Set this environment variable to true to see the traceback of a mistake."""


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code is 0 when it did its work (a censored run did), 1 after an error in it, 2 for a
    mistake of the caller, 3 for a run that diverged, 4 where another process works on the run, 128 + signal for one
    that was interrupted."""
    args = sys.argv[1:] if argv is None else argv
    try:
        return _run(args)
    except InUse as error:
        print(f"error: {error}", file=sys.stderr)
        return IN_USE
    except (ValueError, OSError) as error:
        if os.environ.get(DEBUG) == "true":
            raise
        from benchmark.messages import reason

        print(f"error: {reason(error)}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        print("interrupted before the run began", file=sys.stderr)
        return INTERRUPTED


def _run(args: list[str]) -> int:
    warnings.showwarning = _show_warning
    from benchmark.plugins import load_plugins

    load_plugins()
    if args[:1] == ["list"]:
        from benchmark.listing import print_list

        print_list()
        return 0
    if args[:1] == ["resume"]:
        return _resume(args[1:])
    if args and args[0] in OWN:
        code: int = getattr(importlib.import_module(f"benchmark.{args[0]}"), f"{args[0]}_command")(args[1:])
        return code
    if args and args[0] not in LIGHTNING and not args[0].startswith("-"):
        from benchmark.messages import unknown_command

        raise ValueError(unknown_command(args[0], [*LIGHTNING, "list", "resume", *OWN]))
    return _lightning(args or ["--help"])


def _lightning(args: list[str], folder: Path | None = None) -> int:
    if os.environ.get("LOCAL_RANK", "0") != "0":
        # The first process decides on a Ctrl-C: Lightning would kill it if another one ended while it starts.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    from benchmark.cli.train import BenchmarkCLI

    _quiet()
    cli = BenchmarkCLI(args, DESCRIPTION, folder)
    return 0 if cli.outcome is None else cli.outcome.exit_code


def _resume(args: list[str]) -> int:
    from benchmark.checkpoint import CHECKPOINT
    from benchmark.run import CONFIG, finished_record

    if len(args) != 1 or args[0].startswith("-"):
        print("usage: python -m benchmark resume RUN_FOLDER", file=sys.stderr)
        return 0 if args in (["-h"], ["--help"]) else 2
    folder = Path(args[0])
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: is not a run folder (it has no {CONFIG})")
    if finished := finished_record(folder):
        raise ValueError(f"{folder}: this run has ended ({finished.status}); there is nothing to resume")
    checkpoint = ["--ckpt_path", str(folder / CHECKPOINT)] if (folder / CHECKPOINT).exists() else []
    return _lightning(["fit", "--config", str(folder / CONFIG), *checkpoint], folder)


def _quiet() -> None:
    """Keep Lightning's advice away: what it says of devices and workers does not apply or stands in the record."""
    import lightning.pytorch  # noqa: F401  (importing it sets the level of its loggers)

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\.|torch\.utils\.tensorboard|tensorboard")


def _show_warning(message: Warning | str, category: type[Warning], *args: object, **kwargs: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
