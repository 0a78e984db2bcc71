"""Commands of `python -m leaderboard`, one file each."""
