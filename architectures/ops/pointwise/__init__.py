"""Operators of what surrounds RWKV's recurrence: elementwise, or within a position and the one before it."""
