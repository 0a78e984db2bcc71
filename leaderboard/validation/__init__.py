"""Validation of untrusted results: `python -m leaderboard validate PATH`."""

from leaderboard.validation.report import Problem, Report
from leaderboard.validation.validator import validate

__all__ = ["Problem", "Report", "validate"]
