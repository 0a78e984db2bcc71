"""``python -m benchmark speed``: what training costs each architecture: a token by length, and many seeds."""

from typing import Literal

from jsonargparse import ActionYesNo, ArgumentParser, Namespace
from jsonargparse.typing import PositiveFloat, PositiveInt

from benchmark.config.plugins import load_plugins
from leaderboard.paths import user_path


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to measure, how long, and where to keep the tables."""
    parser.add_argument("--models", type=str, default="", help="names with commas between; all, and transformer always")
    parser.add_argument("--lengths", type=str, default="128,512,2048", help="positions, with commas between")
    parser.add_argument("--d_model", type=PositiveInt, default=128, help="width of the models by length")
    parser.add_argument("--n_layers", type=PositiveInt, default=2, help="their layers")
    parser.add_argument("--tokens", type=PositiveInt, default=4096, help="per step, at every length")
    parser.add_argument("--rounds", type=PositiveInt, default=5, help="the fastest of so many counts")
    parser.add_argument("--peers", action=ActionYesNo, default=True, help="the transformers library's models too")
    parser.add_argument("--part", type=Literal["all", "lengths", "seeds"], default="all", help="tables to make")
    parser.add_argument("--suite", type=str, default="", help="of the cell for seeds; lite, on a GPU paper")
    parser.add_argument("--cell", type=str, default="", help="of that suite; its first one")
    parser.add_argument("--seconds", type=PositiveFloat, default=3.0, help="that each measurement of seeds takes")
    parser.add_argument("--out", type=str | None, default=None, help="write the tables into this Markdown file too")


def run(args: Namespace) -> int:
    """Measure and print; the exit code is 1 if a registered architecture could not be measured, otherwise 0.

    Raises:
        ValueError: a mistake in the command, in one line.
    """
    load_plugins()
    import torch

    from benchmark.speed import lengths, lengths_table, seed_speed_table
    from benchmark.speed.seed_speed import measure_seeds

    sizes = lengths.Sizes(args.d_model, args.n_layers, args.tokens)
    entries, asked = lengths.chosen(args.models, args.peers, sizes), lengths.parsed_lengths(args.lengths)
    cell = lengths.chosen_cell(args.suite, args.cell, args.models) if args.part != "lengths" else None
    out = None if args.out is None else user_path(args.out, "--out")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise ValueError(f"--out: {out} is not a file in a folder that exists")

    pages, failed = ["# Speed\n"], False
    if args.part != "seeds":
        lengths.measure(entries, asked, args.rounds, sizes.tokens)
        lengths_table.print_table(entries, asked, args.rounds, sizes)
        pages.append(lengths_table.markdown(entries, asked, args.rounds, sizes))
        failed = any(entry.ours and entry.error is not None for entry in entries)
    if cell is not None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        results = measure_seeds(cell.contents, args.seconds, device)
        seed_speed_table.print_table(results, cell.name, device)
        pages.append(seed_speed_table.markdown(results, cell.name, device))
        failed |= any(result.error is not None for result in results)
    if out is not None:
        out.write_text("\n".join(pages), encoding="utf-8")
    return int(failed)
