"""The machine, the code and the launcher around a run."""
