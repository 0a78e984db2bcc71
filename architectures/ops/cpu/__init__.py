"""Loops over time compiled for the CPU by numba, and the tools to write them."""
