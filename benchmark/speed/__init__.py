"""Measurements of training: cost per token by length, many seeds, the harness, the tasks' tokens."""
