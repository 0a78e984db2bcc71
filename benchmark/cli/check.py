"""``python -m benchmark check NAME``: does an architecture keep the contract, and what does it cost?"""

from typing import TYPE_CHECKING, Any

from jsonargparse import SUPPRESS, ArgumentParser, Namespace

from benchmark.cli.command_parser import CommandParser
from benchmark.config.plugins import architecture, architectures_of_file, load_plugins, source_file
from leaderboard.paths import user_path

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from architectures import SequenceModel

STYLES = {"passed": "green", "failed": "bold red", "not offered": "yellow", "measured": "cyan"}


def add_arguments(parser: ArgumentParser) -> None:
    """Add NAME, and whatever follows it: which options there are depends on NAME."""
    parser.usage = f"{parser.prog} [--fast] NAME [--model.OPTION VALUE ...]"
    what = "a registered architecture, or a Python file that registers one; check NAME --help lists its options"
    parser.add_argument("name", metavar="NAME", help=what)
    parser.add_argument("options", nargs="...", help=SUPPRESS)
    _add_fast(parser)


def run(args: Namespace) -> int:
    """Check and print; the exit code is 1 if anything failed, otherwise 0."""
    from rich.console import Console

    from benchmark.training.measure import one_thread

    load_plugins()
    classes = (
        architectures_of_file(user_path(args.name, "NAME")) if args.name.endswith(".py") else [architecture(args.name)]
    )
    configs = [_parser(args.name, cls).parse(args.options, defaults=False) for cls in classes]
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console.width = 120
    with one_thread():
        return max(
            _check(cls, vars(config.get("model", Namespace())), args.fast or "fast" in config, console)
            for cls, config in zip(classes, configs, strict=True)
        )


def _parser(name: str, cls: "type[SequenceModel]") -> CommandParser:
    """The parser of what follows NAME."""
    parser = CommandParser(f"check {name}", description="Fix options of the architecture; the others vary.")
    _add_fast(parser)
    parser.add_class_arguments(cls, "model", skip={"vocab_size", "seq_len"}, instantiate=False)
    return parser


def _add_fast(parser: ArgumentParser) -> None:
    parser.add_argument("--fast", action="store_true", help="leave out the checks that train")


def _check(cls: "type[SequenceModel]", options: dict[str, Any], fast: bool, console: "Console") -> int:
    from rich.table import Column, Table
    from rich.text import Text

    from benchmark.contract.lines import cases_of, lines_of, typed

    cases, failures = cases_of(cls, options), 0
    _print(console, Text(f"{cls.__name__} ({source_file(cls)}) with {', '.join(typed(case) for case in cases)}"))
    for name, work in lines_of(cls, cases, training=not fast):
        with console.status(f"{cls.__name__}: {name}"):
            line = work()
        table = Table.grid(Column(width=25), Column(width=11), Column(), padding=(0, 2, 0, 0))
        table.add_row(Text(name), Text(line.outcome, STYLES[line.outcome]), Text(line.detail))
        console.print(table)
        failures += line.outcome == "failed"
    verdict = Text(f"{failures} failed", STYLES["failed"]) if failures else Text("nothing failed", STYLES["passed"])
    _print(console, Text(f"{cls.__name__}: ") + verdict)
    return 1 if failures else 0


def _print(console: "Console", text: "Text") -> None:
    console.print(text, soft_wrap=True)
