"""Loops over time compiled for the CPU by numba, and what they are built with."""
