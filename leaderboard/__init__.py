"""Leaderboard: what a run leaves behind (`record`), what many runs say (`statistics`), how it is shown (`table`).

No torch, no Lightning: reading results needs neither.
"""
