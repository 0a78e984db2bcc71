"""A small series of language models in which copying emerges, for anyone to train."""
