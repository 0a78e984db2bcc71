"""Entries: an architecture's records of one suite, read and gathered."""
