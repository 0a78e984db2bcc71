"""The linear map, one bit at a time."""


def next_state(columns: list[list[int]], state: list[int]) -> list[int]:
    """A x mod 2, where columns[i] lists the ones of row i."""
    return [sum(state[j] for j in row) % 2 for row in columns]


def continuation(columns: list[list[int]], tokens: list[int], position: int) -> int:
    """The token at `position`, which lies after the first state, as the tokens before it determine it."""
    size = len(columns)
    t, cell = divmod(position, size)
    return next_state(columns, tokens[(t - 1) * size : t * size])[cell]
