"""Which head learned which row, in tables made by hand."""

import numpy as np
import pytest

from benchmark.report.learned_rows import in_words, learned_rows, serving

STEPS = list(range(0, 100, 10))
CHANCE = 1.0
N, H, R = len(STEPS), 2, 3


def tables(
    loss: dict[int, int], mass: dict[tuple[int, int], int], entropy: dict[tuple[int, int], int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses that fall from chance to 0, masses from .1 to .9 and entropies from 2 to 1, at these evaluations."""
    losses, masses, entropies = np.full((N, R), CHANCE), np.full((N, H, R), 0.1), np.full((N, H, R), 2.0)
    for row, at in loss.items():
        losses[at:, row] = 0
    for (head, row), at in mass.items():
        masses[at:, head, row] = 0.9
    for (head, row), at in entropy.items():
        entropies[at:, head, row] = 1.0
    return losses, masses, entropies


def test_a_row_its_head_and_three_jumps_at_once() -> None:
    losses, masses, entropies = tables({0: 4, 1: 6}, {(1, 0): 4, (0, 1): 5}, {(1, 0): 4, (0, 1): 6})
    rows = learned_rows(STEPS, losses, CHANCE, STEPS, masses, entropies)
    first, second, third = rows
    assert (first.loss_step, first.heads, first.mass_step, first.entropy_step, first.together) == (
        40,
        (1,),
        40,
        40,
        True,
    )
    assert (first.mass_before, first.mass_after, first.mass_end) == pytest.approx((0.1, 0.9, 0.9))
    assert (second.loss_step, second.heads, second.mass_step, second.entropy_step) == (60, (0,), 50, 60)
    assert second.together is True, "one evaluation apart"
    assert (third.loss_step, third.heads, third.mass_step, third.together) == (None, (), None, None)
    assert serving(rows) == [1, 0], "in the order of learning"
    said = " ".join(in_words(rows, "cell", [7, 8, 9]))
    assert "jumped in 2 of 3 cells" in said and "in 2 of these." in said and "in 2 of these 2" in said


def test_jumps_two_evaluations_apart_are_not_together() -> None:
    losses, masses, entropies = tables({0: 6}, {(1, 0): 4}, {(1, 0): 4})
    assert learned_rows(STEPS, losses, CHANCE, STEPS, masses, entropies)[0].together is False


def test_a_mass_that_was_there_from_the_start_is_no_jump() -> None:
    losses, masses, entropies = tables({0: 4}, {(1, 0): 0}, {})
    row = learned_rows(STEPS, losses, CHANCE, STEPS, masses, entropies)[0]
    assert (row.heads, row.mass_step, row.entropy_step, row.together) == ((1,), None, None, None)


def test_a_row_that_no_head_serves_is_said() -> None:
    losses, masses, entropies = tables({0: 4}, {}, {})
    masses[:, 1, 0] = 0.31
    rows = learned_rows(STEPS, losses, CHANCE, STEPS, masses, entropies)
    assert (rows[0].heads, rows[0].best, rows[0].mass_end) == ((), 1, 0.31)
    said = " ".join(in_words(rows, "cell", [7, 8, 9]))
    assert "cell 7" in said and "no head has more than .31 of its attention" in said


def test_where_nothing_was_learned_the_most_is_said() -> None:
    losses, masses, entropies = tables({}, {}, {})
    said = " ".join(in_words(learned_rows(STEPS, losses, CHANCE, STEPS, masses, entropies), "cell", [0, 1, 2]))
    assert "jumped in 0 of 3 cells." in said and "No head has more than .10" in said


def test_all_heads_that_serve_a_row_are_named_the_best_first() -> None:
    losses, masses, entropies = tables({0: 4}, {(0, 0): 4, (1, 0): 4}, {(1, 0): 4})
    masses[-1, 0, 0], masses[-1, 1, 0] = 0.6, 0.8
    assert learned_rows(STEPS, losses, CHANCE, STEPS, masses, entropies)[0].heads == (1, 0)


def test_a_probe_that_looks_less_often_sees_the_jump_at_its_next_look() -> None:
    losses, masses, entropies = tables({0: 5}, {(1, 0): 6}, {(1, 0): 6})
    looks = STEPS[::3]  # 0, 30, 60, 90: the loss fell at 50
    row = learned_rows(STEPS, losses, CHANCE, looks, masses[::3], entropies[::3])[0]
    assert (row.loss_step, row.mass_step, row.together) == (50, 60, True)


def test_what_is_not_known_is_said() -> None:
    losses, masses, entropies = tables({0: 4}, {}, {})
    rows = learned_rows(STEPS, losses, CHANCE, STEPS, np.full_like(masses, np.nan), entropies)
    assert rows[0].best is None and rows[0].loss_step == 40
    assert "not known" in in_words(rows, "cell", [0, 1, 2])[0]
