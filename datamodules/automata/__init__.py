"""Cellular automata: the tasks, the application of rules, the exact floor of the loss."""
