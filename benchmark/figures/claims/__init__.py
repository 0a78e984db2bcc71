"""Tests that claims are made of: each takes runs and gives a `Finding`."""
