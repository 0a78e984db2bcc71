"""Cellular automata: the task, the application of rules, the exact floor of the loss."""
