"""In-context copying, one token at a time."""


def sequence(words: list[int], n_tokens: int, min_period: int, max_period: int) -> list[int]:
    """The tokens that these unsigned 64-bit words draw: the first gives the period, the order of the others the string.

    Words are ordered as two's complement integers.
    """
    period = min_period + ((words[0] % 2**32) * (max_period - min_period + 1) >> 32)
    signed = [word - 2**64 if word >= 2**63 else word for word in words[1:]]
    string = sorted(range(len(signed)), key=lambda symbol: signed[symbol])[:period]
    return [string[i % period] for i in range(n_tokens)]


def prediction(seen: list[int], n_symbols: int, min_period: int, max_period: int) -> list[float]:
    """The exact probability of each symbol after the tokens seen: Bayes' rule over the periods, all alike before."""
    joint = [0.0] * n_symbols
    for period in range(min_period, max_period + 1):
        likelihood = 1.0
        for i in range(len(seen)):
            likelihood *= _probability(seen[:i], seen[i], period, n_symbols)
        for symbol in range(n_symbols):
            joint[symbol] += likelihood * _probability(seen, symbol, period, n_symbols)
    return [p / sum(joint) for p in joint]


def _probability(seen: list[int], symbol: int, period: int, n_symbols: int) -> float:
    """Of a symbol after the tokens seen, when the period is known."""
    if len(seen) >= period:
        return float(symbol == seen[-period])
    return 0.0 if symbol in seen else 1 / (n_symbols - len(seen))


def key(tokens: list[int], query: int) -> int:
    """The position after the previous occurrence of the query's token; -1 if there is none."""
    for position in range(query - 1, -1, -1):
        if tokens[position] == tokens[query]:
            return position + 1
    return -1
