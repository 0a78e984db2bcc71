"""Counter-based random numbers: word number c of a stream is a pure function of (key, c).

No state is kept, so any process can make any part of the data in any order and get the same bits. All arithmetic is on
int64 tensors (two's complement wraps alike everywhere), so CPU and CUDA agree bit for bit.

The generator is two keyed rounds of the splitmix64 finaliser (Steele, Lea, Flood 2014, "Fast splittable pseudorandom
number generators"; Stafford's variant 13 constants): word(c) = mix(mix(K1 + GOLDEN * c) ^ K2). Each step is a bijection
of 64-bit integers, so disjoint counters of one stream never repeat a word.

Counter layout (bit 63 is always 0):
    bits 61-62  the split: train 00, floor 01, eval 10, test 11 (bit 62 = held out)
    bits 0-60   sequence index * words per sequence + word within the sequence
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal, Self, get_args

import torch
from torch import Tensor

Split = Literal["train", "floor", "eval", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
INDEX_BITS = 61
CHUNK_WORDS = 1 << 16  # 512 KiB: the rounds of the mixer then run in a core's cache

_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = 0x94D049BB133111EB
_MASK_32 = (1 << 32) - 1


def _signed(value: int) -> int:
    """The int64 with the bits of an unsigned 64-bit integer."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _xor_shift_(z: Tensor, shift: int) -> None:
    # torch shifts int64 arithmetically; the mask drops the copies of the sign bit
    z ^= (z >> shift).bitwise_and_((1 << (64 - shift)) - 1)


def _mix_(z: Tensor) -> Tensor:
    """splitmix64's finaliser, in place: a bijection of 64-bit integers."""
    _xor_shift_(z, 30)
    z *= _signed(_MULTIPLIER_1)
    _xor_shift_(z, 27)
    z *= _signed(_MULTIPLIER_2)
    _xor_shift_(z, 31)
    return z


class Stream:
    """A random stream named by its parts, for example `Stream("lm", 1, "data", seed)`.

    Streams of different parts are independent: the two 64-bit keys are a BLAKE2b hash of the parts with their types.

    A stack of E streams (`stack`) gives the words of all of them: whatever is (B, n) for one stream is (E, B, n).
    """

    def __init__(self, *parts: str | int) -> None:
        digest = blake2b(repr(parts).encode(), digest_size=16).digest()
        self._key_1 = torch.tensor(_signed(int.from_bytes(digest[:8], "little")), device="cpu")
        self._key_2 = torch.tensor(_signed(int.from_bytes(digest[8:], "little")), device="cpu")

    @classmethod
    def stack(cls, streams: Sequence[Self], device: torch.device) -> Self:
        """These streams as one, its keys (E, 1, 1) on the device."""
        stacked = cls()
        stacked._key_1 = torch.stack([stream._key_1 for stream in streams]).view(-1, 1, 1).to(device)
        stacked._key_2 = torch.stack([stream._key_2 for stream in streams]).view(-1, 1, 1).to(device)
        return stacked

    def words(self, counters: Tensor) -> Tensor:
        """64 uniform bits for each int64 counter: int64 of the same shape; (E, B, n) of (B, n) for a stack."""
        z = _mix_(torch.add(self._key_1, counters, alpha=_signed(_GOLDEN)))
        z ^= self._key_2
        return _mix_(z)

    def sequence_words(self, index_B: Tensor, n_words: int, split: Split = "train") -> Tensor:
        """The (B, n_words) words that belong to the sequences of these indices. The caller checks the range of the
        indices (`check_index_range`): a check here would make a GPU wait."""
        offset = SPLITS.index(split) << INDEX_BITS
        word = torch.arange(offset, offset + n_words, device=index_B.device)
        return self.words(torch.add(word, index_B[:, None], alpha=n_words))

    def bits(self, index_B: Tensor, n_bits: int, split: Split = "train") -> Tensor:
        """(B, n_bits) int64 of independent uniform bits, 64 a word."""
        words = self.sequence_words(index_B, bit_words(n_bits), split)
        shifts = torch.arange(min(n_bits, 64), device=words.device)
        return (words[..., None] >> shifts).bitwise_and_(1).flatten(-2)[..., :n_bits]

    def uniform_32(self, index_B: Tensor, n: int, split: Split = "train") -> Tensor:
        """(B, n) int64 of independent uniform integers below 2^32, two a word."""
        words = self.sequence_words(index_B, digit_words(n), split)
        halves = torch.stack((words, words >> 32), dim=-1).bitwise_and_(_MASK_32)
        return halves.flatten(-2)[..., :n]

    def digits(self, index_B: Tensor, n: int, base: int, split: Split = "train") -> Tensor:
        """(B, n) int64 of independent digits 0..base-1 (see `scale` for the bias)."""
        return scale(self.uniform_32(index_B, n, split), base)

    def subsets(self, n_rows: int, size: int, n: int) -> Tensor:
        """(n_rows, size) int64: in each row `size` distinct members of 0..n-1, ascending; every subset equally likely.

        The subset is where a row of n random words is smallest. Words never tie: their counters differ.
        """
        parts = []
        for row in torch.arange(n_rows).split(max(1, CHUNK_WORDS // n)):
            words = self.sequence_words(row, n)
            chosen = words <= words.kthvalue(size, keepdim=True).values
            parts.append(chosen.nonzero()[:, 1].view(-1, size))
        return torch.cat(parts)


def bit_words(n_bits: int) -> int:
    """Words a sequence that needs n_bits bits takes from its stream."""
    return -(-n_bits // 64)


def digit_words(n: int) -> int:
    """Words a sequence that needs n digits takes from its stream."""
    return -(-n // 2)


def scale(uniform_32: Tensor, base: int) -> Tensor:
    """Integers below 2^32 to digits 0..base-1 by multiply and shift (Lemire 2019): (u * base) >> 32.

    Exact when the base is a power of two; otherwise a digit's probability is off by less than 2^-32, a relative bias
    of at most base / 2^32. The base may be up to 2^31.
    """
    return (uniform_32 * base) >> 32


def check_index_range(first: int, last: int, n_words: int) -> None:
    """Refuse sequence indices whose counters would be negative or run into another split's.

    Raises:
        ValueError: if first < 0 or (last + 1) * n_words > 2^61.
    """
    if first < 0:
        raise ValueError(f"sequence index must not be negative, got {first}")
    if (last + 1) * n_words > 1 << INDEX_BITS:
        largest = (1 << INDEX_BITS) // n_words - 1
        raise ValueError(f"sequence index {last} is out of range: this task has sequences 0..{largest} in each split")
