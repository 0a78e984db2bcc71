"""``python -m benchmark report RUN ...``: a page of what runs learned, and when."""

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from leaderboard.paths import user_path


def add_arguments(parser: ArgumentParser) -> None:
    """Add the runs, and where the page goes."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="*", help="a run folder; that of many seeds stands for each of them"
    )
    parser.add_argument("--out", type=str | None, default=None, help="HTML file; report.html in the first run's folder")
    parser.add_argument(
        "--pictures", action=ActionYesNo, default=True, help="PNG files of staircase and maps beside it"
    )


def run(args: Namespace) -> int:
    """Write the page and print its path; the exit code is 0.

    Raises:
        ValueError: one line, if there is no run or its files cannot be read.
        CannotWrite: if a file cannot be written.
    """
    if not args.runs:
        raise ValueError("RUN is missing: give the folder of a run, which fit prints at its end")
    folders = [user_path(text, "RUN") for text in args.runs]
    out = None if args.out is None else user_path(args.out, "--out")
    from benchmark.report.report_files import write_report

    print(f"report: {write_report(folders, out, pictures=args.pictures)}")
    return 0
