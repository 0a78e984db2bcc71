"""The exact predictor of a finite, uniform collection of sequences, by counting prefixes: it knows nothing of tasks."""

from collections import Counter
from collections.abc import Sequence

import numpy as np


def losses(sequences: Sequence[tuple[int, ...]]) -> np.ndarray:
    """-ln p(token q+1 | tokens 0..q) in nats for every sequence and q: (number, length - 1).

    p is the share of the sequences with this prefix that go on with this token.
    """
    length = len(sequences[0])
    counts = [Counter(sequence[:n] for sequence in sequences) for n in range(length + 1)]
    return np.array(
        [[np.log(counts[q + 1][s[: q + 1]] / counts[q + 2][s[: q + 2]]) for q in range(length - 1)] for s in sequences]
    )
