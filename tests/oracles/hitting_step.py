"""The hitting step by its definition, looked for in every pair of neighbouring evaluations."""

from collections.abc import Callable, Sequence


def hitting_step(
    steps: Sequence[int], values: Sequence[float], holds: Callable[[float], bool]
) -> tuple[int | None, int | None]:
    """The first step whose value holds together with the next one's, and the step before it."""
    pairs = [i for i in range(len(steps) - 1) if all(holds(value) for value in values[i : i + 2])]
    if not pairs:
        return None, None
    first = min(pairs)
    return steps[first], None if first == 0 else steps[first - 1]
