"""Counts of a campaign: attempts, and how each ended."""

from collections import Counter
from collections.abc import Callable

import pytest

COUNTED = "campaign"


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """A function that counts what became of an attempt: ``count("kill -9", "record whole")``."""
    return lambda campaign, end: record_property(COUNTED, f"{campaign}: {end}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts, of all processes of pytest together."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, []) if r.when == "call"]
    ends = Counter(end for r in reports for name, end in r.user_properties if name == COUNTED)
    if ends:
        terminalreporter.section("attacks")
        failed = sum(report.failed for report in reports)
        terminalreporter.write_line(f"{len(reports)} attempts, {len(reports) - failed} survived, {failed} did not")
        for end, n in sorted(ends.items()):
            terminalreporter.write_line(f"{n:5} {end}")
