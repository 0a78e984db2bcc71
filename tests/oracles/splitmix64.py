"""The random stream in unsigned Python integers: https://prng.di.unimi.it/splitmix64.c gives the finaliser."""

import hashlib

MASK = 2**64 - 1


def finalise(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def word(parts: tuple[str | int, ...], counter: int) -> int:
    """The unsigned 64-bit word of a stream at a counter."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
    key_1, key_2 = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
    return finalise(finalise((key_1 + 0x9E3779B97F4A7C15 * counter) & MASK) ^ key_2)
