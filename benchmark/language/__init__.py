"""Capabilities of language models over their checkpoints, the heads that carry them, and a small series to train."""
