"""The machine around a run: its limits, and the launchers that may have started it."""
