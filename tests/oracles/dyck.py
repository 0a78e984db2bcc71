"""Shuffle Dyck, one token at a time."""

from collections.abc import Iterator


def depths_of(seen: list[int], n_types: int) -> list[int]:
    """How many brackets of each type are open after these tokens."""
    return [seen.count(kind) - seen.count(n_types + kind) for kind in range(n_types)]


def distribution(seen: list[int], n_types: int, max_depth: int) -> list[float]:
    """The probability of each token after those seen."""
    depths = depths_of(seen, n_types)
    total, open_types = sum(depths), [kind for kind in range(n_types) if depths[kind]]
    p_open = 1.0 if total == 0 else 0.0 if total == max_depth else 0.5
    closing = [(1 - p_open) / len(open_types) if kind in open_types else 0.0 for kind in range(n_types)]
    return [p_open / n_types] * n_types + closing


def strings(n_tokens: int, n_types: int, max_depth: int, seen: tuple[int, ...] = ()) -> Iterator[tuple[tuple, float]]:
    """Every sequence that can be, with its probability."""
    if len(seen) == n_tokens:
        yield seen, 1.0
        return
    for token, p in enumerate(distribution(list(seen), n_types, max_depth)):
        if p:
            for whole, rest in strings(n_tokens, n_types, max_depth, (*seen, token)):
                yield whole, p * rest


def sequence(words: list[int], n_types: int, max_depth: int) -> list[int]:
    """The tokens that these unsigned 64-bit words draw: the highest bit opens, the lower half is the type."""
    tokens: list[int] = []
    for word in words:
        depths = depths_of(tokens, n_types)
        total, low = sum(depths), word % 2**32
        if total == 0 or (total < max_depth and word >= 2**63):
            tokens.append(low * n_types >> 32)
        else:
            open_types = [kind for kind in range(n_types) if depths[kind]]
            tokens.append(n_types + open_types[low * len(open_types) >> 32])
    return tokens
