"""Leaderboard: records of runs, their statistics, the board, and its texts and pages.

No torch, no Lightning: reading results needs neither.
"""
