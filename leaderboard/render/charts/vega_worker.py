"""The process behind `leaderboard.render.charts.vega`: draws charts, and makes the bundle.

Standard input and output hold one JSON object per line, in the same order: {"draw": specification, "config":
configuration}, {"pdf": SVG} or {"png": SVG} (answered in base64) or {"bundle": true} is answered by {"done": text} or
{"error": reason}. It ends with its input.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from typing import Any


def serve() -> None:
    """Answer every line of standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that asks, whose end closes the input
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what Vega prints must not get between the answers
    for line in sys.stdin.buffer:
        try:
            answer = {"done": _answer(json.loads(line))}
        except Exception as error:  # whatever it was, the one that asks must hear of it
            answer = {"error": f"{error}" or type(error).__name__}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _answer(request: dict[str, Any]) -> str:
    import vl_convert

    if "bundle" in request:
        bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub lacks the default
        return bundle
    if "pdf" in request:
        return base64.b64encode(vl_convert.svg_to_pdf(request["pdf"])).decode()
    if "png" in request:
        return base64.b64encode(vl_convert.svg_to_png(request["png"], scale=2)).decode()
    svg: str = vl_convert.vegalite_to_svg(request["draw"], config=request["config"])
    return svg


if __name__ == "__main__":
    serve()
