"""``python -m benchmark new NAME``: the files of a new architecture."""

from jsonargparse import ArgumentParser, Namespace

from benchmark.config.plugins import load_plugins
from leaderboard.paths import user_path


def add_arguments(parser: ArgumentParser) -> None:
    """Add name and folder."""
    parser.add_argument("name", metavar="NAME", help="of the architecture: lower case, digits, underscores")
    parser.add_argument(
        "--out", type=str | None, default=None, help="a new folder, for a package of your own outside the suite"
    )


def run(args: Namespace) -> int:
    """Write the files and print what to do next; the exit code is 0.

    Raises:
        ValueError: one line, if the name cannot be used or a file is there already; nothing is written then.
    """
    load_plugins()
    from benchmark.contract.scaffold import inside, package, require_name, write

    name: str = args.name
    require_name(name)
    if args.out is not None:
        folder = user_path(args.out, "--out")
        files, checked = package(name, folder), str(folder / f"{name}.py")
        trained = f"fit --config {folder / f'{name}.yaml'} --data lm"
        install = [f"python -m pip install -e {folder}"]
    else:
        files, checked = inside(name), name
        trained, install = f"fit --model {name} --data lm", list[str]()
    write(files)
    for path in files:
        print(f"wrote    {path}")
    for command in [f"python -m benchmark check {checked}", *install, f"python -m benchmark {trained}"]:
        print(f"next     {command}")
    return 0
