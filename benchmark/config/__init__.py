"""Configurations of runs: options, registered names, plugins, and one line for every mistake."""
