"""What strangers send is checked here before anyone believes it: `python -m leaderboard validate PATH`."""

from leaderboard.validation.command import add_arguments, run, validate
from leaderboard.validation.report import Problem, Report

__all__ = ["Problem", "Report", "add_arguments", "run", "validate"]
