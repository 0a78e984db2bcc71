"""The process that draws: the same text as vl-convert's own, errors in a line, and no process that is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import vl_convert

from leaderboard.render.charts.vega import Worker

pytestmark = pytest.mark.process
DOT: dict[str, Any] = {
    "data": {"values": [{"x": 1, "y": 2}]},
    "mark": "point",
    "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


def pid(worker: Worker) -> int:
    return worker._process.pid


def is_running(process: int) -> bool:
    """Whether there is such a process, and not only its entry in the table."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_it_draws_what_vl_convert_draws(shared: Worker) -> None:
    config = {"background": "#eee", "font": "serif"}
    assert shared.draw(DOT) == vl_convert.vegalite_to_svg(DOT)
    assert shared.draw(DOT, config) == vl_convert.vegalite_to_svg(DOT, config=config)


def test_what_cannot_be_drawn_is_a_line_and_the_next_one_is_drawn(shared: Worker) -> None:
    with pytest.raises(ValueError, match=r"^vl-convert: [^\n]+$"):
        shared.draw({"mark": "no such mark", "data": {"values": []}})
    assert shared.draw(DOT).startswith("<svg")


def test_long_texts_while_the_bundle_is_coming() -> None:
    """Longer than a pipe holds: whoever wrote before reading would wait for ever. Each thread gets what it asked."""
    worker = Worker()
    try:
        worker.prepare()
        counts = [2000, 2500, 10]

        def paths(count: int) -> int:
            values = [{"x": place, "y": place} for place in range(count)]
            return worker.draw({**DOT, "data": {"values": values}}).count("<path")

        with ThreadPoolExecutor(len(counts)) as threads:
            found = list(threads.map(paths, counts))
        axes = paths(1) - 1
        assert found == [axes + count for count in counts]
        bundle = worker.bundle()
        assert "vegaEmbed" in bundle and len(bundle) > 500_000
        assert worker.bundle() is bundle
    finally:
        worker.close()
    assert not is_running(pid(worker))


def test_a_process_that_was_killed_is_a_line() -> None:
    worker = Worker()
    os.kill(pid(worker), signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^vl-convert: its process ended with exit code -9$"):
            worker.draw(DOT)
    worker.close()


def test_ctrl_c_is_not_for_it(shared: Worker) -> None:
    shared.draw(DOT)  # it has begun
    os.kill(pid(shared), signal.SIGINT)
    assert shared.draw(DOT).startswith("<svg")


def test_it_does_not_outlive_the_one_that_asks() -> None:
    """Killed, or ended in the middle of the bundle."""
    for end in ("os.kill(os.getpid(), 9)", "vega.prepare()"):
        code = (
            f"import os; from leaderboard.render.charts import vega\nvega.draw({DOT!r}); "
            f"print(vega._worker()._process.pid, flush=True); {end}"
        )
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)
        assert done.stderr == ""
        deadline = time.monotonic() + 30
        while is_running(int(done.stdout)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_running(int(done.stdout))
