import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from datamodules import SPLITS, Split, Stream, stream
from datamodules.stream import INDEX_BITS, check_index_range, scale
from tests.oracles import splitmix64

PARTS = st.lists(st.one_of(st.integers(0, 2**63), st.text(max_size=4)), min_size=1, max_size=4)
COUNTERS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=9)


def chi_square_p(counts: torch.Tensor) -> float:
    return float(chisquare(counts.numpy()).pvalue)


def test_finaliser_matches_published_splitmix64() -> None:
    """The first outputs of splitmix64 with seed 1234567, as Rosetta Code lists them."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    golden = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64
    mixed = stream._mix_(1234567 + golden * torch.arange(1, 5))
    assert [z % 2**64 for z in mixed.tolist()] == published
    assert [splitmix64.finalise((1234567 + golden * n) % 2**64) for n in range(1, 5)] == published


@pytest.mark.slow
@given(PARTS, COUNTERS)
def test_words_match_unsigned_arithmetic(parts: list[str | int], counters: list[int]) -> None:
    words = Stream(*parts).words(torch.tensor(counters))
    assert [word % 2**64 for word in words.tolist()] == [splitmix64.word(tuple(parts), c) for c in counters]


@given(st.integers(0, 2**55), st.integers(1, 40), st.sampled_from(SPLITS))
def test_sequence_words_follow_the_counter_layout(index: int, n_words: int, split: Split) -> None:
    words = Stream("a").sequence_words(torch.tensor([index, index + 1]), n_words, split)
    split_bits = {"train": 0b00, "floor": 0b01, "eval": 0b10, "test": 0b11}[split] << 61
    counters = [split_bits | ((index + row) * n_words + word) for row in (0, 1) for word in range(n_words)]
    assert [w % 2**64 for w in words.flatten().tolist()] == [splitmix64.word(("a",), c) for c in counters]


@given(st.integers(1, 2**40))
def test_splits_share_no_counter(n_words: int) -> None:
    """Each split's counters, from its first sequence to the last that the range check lets through, are an interval of
    its own within 0..2^63-1."""
    last = 2**61 // n_words - 1
    check_index_range(0, last, n_words)
    with pytest.raises(ValueError, match=f"sequence index {last + 1} is out of range"):
        check_index_range(0, last + 1, n_words)
    intervals = sorted((number << INDEX_BITS, (number << INDEX_BITS) + (last + 1) * n_words) for number in range(4))
    assert all(end <= start for (_, end), (start, _) in zip(intervals, intervals[1:], strict=False))
    assert intervals[0][0] == 0
    assert intervals[-1][1] <= 2**63
    assert len(SPLITS) == len(set(SPLITS)) == 4


def test_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="sequence index must not be negative, got -1"):
        check_index_range(-1, 5, 1)


def test_streams_with_different_parts_differ() -> None:
    parts: list[tuple[str | int, ...]] = [("a", 1), ("a", 2), ("a", "1"), ("a1",), ("a", 1, 0), (1, "a"), ("b", 1)]
    firsts = {tuple(Stream(*p).words(torch.arange(4)).tolist()) for p in parts}
    assert len(firsts) == len(parts)


def test_bits_are_the_words_bits() -> None:
    index = torch.tensor([3, 9])
    bits = Stream("a").bits(index, 100)
    expected = [[splitmix64.word(("a",), 2 * i + n // 64) >> (n % 64) & 1 for n in range(100)] for i in index.tolist()]
    assert bits.tolist() == expected


def test_bits_are_fair_and_uncorrelated() -> None:
    bits = Stream("fair").bits(torch.arange(20_000), 64).numpy().astype(float)
    assert np.abs(bits.mean(0) - 0.5).max() < 5 * 0.5 / 20_000**0.5
    correlation = np.corrcoef(bits.T) - np.eye(64)
    assert np.abs(correlation).max() < 5.5 / 20_000**0.5
    successive = np.corrcoef(bits[:-1].ravel(), bits[1:].ravel())[0, 1]
    assert abs(successive) < 5 / bits.size**0.5


@pytest.mark.parametrize("base", [2, 3, 4, 7, 10, 256])
def test_digits_are_uniform(base: int) -> None:
    digits = Stream("digits").digits(torch.arange(1000), 99, base)
    assert digits.shape == (1000, 99)
    assert chi_square_p(torch.bincount(digits.flatten(), minlength=base)) > 1e-4


@given(st.integers(2, 2**31))
def test_scale_splits_the_range_evenly(base: int) -> None:
    """Digit d begins at the smallest u with u * base >= d * 2^32: so each gets floor or ceil of 2^32 / base values."""
    for digit in {1, base // 2, base - 1}:
        begin = -(-digit * 2**32 // base)
        assert scale(torch.tensor([begin - 1, begin]), base).tolist() == [digit - 1, digit]
    assert scale(torch.tensor([0, 2**32 - 1]), base).tolist() == [0, base - 1]


@given(st.integers(1, 40), st.integers(1, 30), st.data())
def test_subsets_are_distinct_and_ascending(n: int, n_rows: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, n))
    subsets = Stream("subsets").subsets(n_rows, size, n)
    assert subsets.shape == (n_rows, size)
    for row in subsets.tolist():
        assert row == sorted(set(row))
        assert 0 <= row[0] <= row[-1] < n


def test_every_subset_is_equally_likely() -> None:
    subsets = Stream("subsets").subsets(20_000, 2, 5)
    assert chi_square_p(torch.bincount(subsets[:, 0] * 5 + subsets[:, 1]).sort().values[-10:]) > 1e-4
    assert len(set(map(tuple, subsets.tolist()))) == 10


def test_subsets_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Stream("subsets").subsets(50, 7, 30)
    monkeypatch.setattr(stream, "CHUNK_WORDS", 1)
    assert torch.equal(Stream("subsets").subsets(50, 7, 30), whole)
