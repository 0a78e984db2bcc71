"""Sweeps: many seeds of many architectures on many cells, one run folder and one record each."""
