"""Maps as bytes: what comes back, and how little there is of it."""

import base64

import numpy as np

from benchmark.report.frames import MOST_SIDE, UNDEFINED, blocks, kept_frames, panel, quantised


def test_values_come_back_to_half_a_level_and_gaps_stay_gaps() -> None:
    values = np.random.default_rng(0).random((3, 5, 7)) * 2
    values[0, 0, 0] = np.nan
    found = np.frombuffer(base64.b64decode(quantised(values, 2.0)), dtype=np.uint8).reshape(values.shape)
    assert found[0, 0, 0] == UNDEFINED and (found == UNDEFINED).sum() == 1
    there = ~np.isnan(values)
    assert np.abs(found[there] / 254 * 2 - values[there]).max() <= 1 / 254 + 1e-9


def test_blocks_are_means_without_gaps() -> None:
    n = 2 * MOST_SIDE
    values = np.arange(n * 3, dtype=float).reshape(n, 3)
    values[0, 0] = np.nan
    found = blocks(values)
    assert found.shape == (MOST_SIDE, 3)
    np.testing.assert_array_equal(found[0], [values[1, 0], values[:2, 1].mean(), values[:2, 2].mean()])
    np.testing.assert_array_equal(found[1:], values.reshape(MOST_SIDE, 2, 3).mean(1)[1:])
    small = values[:10]
    assert blocks(small) is small


def test_frames_are_even_with_both_ends_and_those_needed() -> None:
    assert kept_frames(5, 10, [3]) == [0, 1, 2, 3, 4]
    kept = kept_frames(1000, 20, [333, 334])
    assert {0, 333, 334, 999} <= set(kept) and len(kept) <= 20 and kept == sorted(kept)
    assert max(np.diff(kept)) < 100
    assert kept_frames(1000, 2, [333]) == [0, 333, 999]


def test_a_panel_has_one_range_for_all_frames_and_its_truth() -> None:
    maps = [np.full((2, 2), 0.1), np.full((2, 2), 0.4)]
    truth = np.array([[0.5, np.nan], [0.0, 0.5]])
    found = panel("t", "attention", maps, truth, more=1)
    assert (found["top"], found["rows"], found["columns"], found["more"]) == (0.5, 2, 2, 1)
    assert list(base64.b64decode(found["frames"])) == [51] * 4 + [203] * 4
    assert list(base64.b64decode(found["truth"])) == [254, 255, 0, 254]
