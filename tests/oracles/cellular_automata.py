"""Cellular automata, one cell at a time."""


def next_state(table: list[int], state: list[int], n_colors: int, window: int, steps: int) -> list[int]:
    """The state after `steps` applications of a rule to a ring."""
    reach = (window - 1) // 2
    for _ in range(steps):
        cells = []
        for i in range(len(state)):
            entry = 0
            for j in range(i - reach, i + reach + 1):
                entry = entry * n_colors + state[j % len(state)]
            cells.append(table[entry])
        state = cells
    return state


def trajectory(table: list[int], first: list[int], n_states: int, n_colors: int, window: int, steps: int) -> list[int]:
    """All tokens of a sequence."""
    tokens, state = list(first), list(first)
    for _ in range(n_states - 1):
        state = next_state(table, state, n_colors, window, steps)
        tokens += state
    return tokens
