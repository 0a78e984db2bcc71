"""Neural cellular automata in whole numbers, one cell at a time."""

import math

N_HIDDEN = 16


def quarters(words: list[int]) -> list[int]:
    """Four numbers of 16 bits from each unsigned word, the lowest first."""
    return [word >> shift & 0xFFFF for word in words for shift in (0, 16, 32, 48)]


def next_cell(around: list[int], weights: list[int], n_colors: int, noise: list[int]) -> int:
    """The next colour of a cell.

    Args:
        around: colours of the 3 x 3 cells around it, row by row.
        weights: of the rule: from each (cell, colour) to the hidden units, their biases, from each of them to a colour.
        n_colors: C.
        noise: added to each logit.
    """
    hidden = []
    for unit in range(N_HIDDEN):
        total = weights[9 * n_colors * N_HIDDEN + unit]
        for place, color in enumerate(around):
            total += weights[(place * n_colors + color) * N_HIDDEN + unit]
        hidden.append(max(0, total))
    start = (9 * n_colors + 1) * N_HIDDEN
    logits = [
        noise[color] + sum(hidden[unit] * weights[start + unit * n_colors + color] for unit in range(N_HIDDEN))
        for color in range(n_colors)
    ]
    return logits.index(max(logits))


def next_frame(
    grid: list[list[int]], weights: list[int], n_colors: int, noise: list[list[int]] | None = None
) -> list[list[int]]:
    """The grid after one step; noise by cell in raster order and colour."""
    height, width = len(grid), len(grid[0])
    after = []
    for row in range(height):
        line = []
        for column in range(width):
            around = [grid[(row + i) % height][(column + j) % width] for i in (-1, 0, 1) for j in (-1, 0, 1)]
            added = [0] * n_colors if noise is None else noise[row * width + column]
            line.append(next_cell(around, weights, n_colors, added))
        after.append(line)
    return after


def tokens_of(grid: list[list[int]], patch: int, n_colors: int) -> list[int]:
    """The patches of a frame in raster order, each as a number in base C."""
    found = []
    for row in range(0, len(grid), patch):
        for column in range(0, len(grid[0]), patch):
            token = 0
            for i in range(patch):
                for j in range(patch):
                    token = token * n_colors + grid[row + i][column + j]
            found.append(token)
    return found


def candidate(
    words: list[int], n_tokens: int, height: int, width: int, n_colors: int, patch: int, burn_in: int, gumbel: float
) -> list[int]:
    """The tokens that the words of one candidate draw; `gumbel` is the scale of the noise, 0 for none."""
    n_cells = height * width
    n_state, n_rule = -(-n_cells // 2), -(-N_HIDDEN * (10 * n_colors + 1) // 4)
    halves = [word >> shift & 0xFFFF_FFFF for word in words[:n_state] for shift in (0, 32)]
    colors = [half * n_colors >> 32 for half in halves[:n_cells]]
    grid = [colors[row * width : (row + 1) * width] for row in range(height)]
    weights = [number - 2**15 for number in quarters(words[n_state : n_state + n_rule])]
    numbers = quarters(words[n_state + n_rule :])
    tokens: list[int] = []
    step = 0
    while len(tokens) < n_tokens:
        if step >= burn_in:
            tokens += tokens_of(grid, patch, n_colors)
        noise = None
        if gumbel:
            noise = []
            for cell in range(n_cells):
                at = (step * n_cells + cell) * n_colors
                ranks = [number >> 6 for number in numbers[at : at + n_colors]] or [0] * n_colors
                noise.append([round(-gumbel * math.log(-math.log((2 * i + 1) / 2048))) for i in ranks])
        grid = next_frame(grid, weights, n_colors, noise)
        step += 1
    return tokens[:n_tokens]
