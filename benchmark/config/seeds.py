"""Seeds as people write them: ``0-19``, ``3``, ``0-4,7,10-12``."""

import re

LARGEST = 2**63 - 1
"""Of a seed: what a record holds."""

LIMIT = 100_000
"""More seeds than this are a slip of the finger, and would fill the memory."""


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds of a list of numbers and ranges (both ends included), in the order in which they are written.

    Raises:
        ValueError: one line, if an item is neither a number nor a range, a range runs backwards or is far too long, or
            a seed is named twice.
    """
    seeds: dict[int, None] = {}
    for item in text.split(","):
        match = re.fullmatch(r"\s*([0-9]+)(?:-([0-9]+))?\s*", item)
        if match is None:
            raise ValueError(
                f"seeds {text!r}: {item.strip()!r} is neither a number nor a range: write like 0-4,7,10-12"
            )
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise ValueError(f"seeds {text!r}: {item.strip()} runs backwards: write {last}-{first}")
        if last - first >= LIMIT:
            raise ValueError(f"seeds {text!r}: {item.strip()} has more than {LIMIT:,} seeds")
        if last > LARGEST:
            raise ValueError(f"seeds {text!r}: {item.strip()} is larger than 2^63 - 1")
        for seed in range(first, last + 1):
            if seed in seeds:
                raise ValueError(f"seeds {text!r}: seed {seed} is named twice")
            seeds[seed] = None
    return tuple(seeds)
