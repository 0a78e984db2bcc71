"""The files that all pages share: our style and scripts, DataTables from itables, Vega from vl-convert."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

OWN = Path(__file__).parent / "assets"
_BUNDLE = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())"


_made: list[bytes] = []  # the bundle, once this process has it


@contextmanager
def vega_bundle() -> Iterator[subprocess.Popen[bytes] | None]:
    """Vega, Vega-Lite and Vega-Embed as one script, being made: for `shared_files`.

    vl-convert takes seconds for it, one core, with Python's lock held; so another process does it meanwhile.
    """
    if _made:
        yield None
        return
    with subprocess.Popen([sys.executable, "-c", _BUNDLE], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def shared_files(bundle: subprocess.Popen[bytes] | None) -> dict[str, bytes]:
    """Scripts and styles by path within the site; nothing is fetched from anywhere, now or when a page is opened.

    Raises:
        ValueError: one line, when vl-convert could not make its bundle.
    """
    if bundle is not None:
        made, problem = bundle.communicate()
        if bundle.returncode:
            last = problem.decode(errors="replace").strip().splitlines()[-1:]
            raise ValueError(f"vl-convert made no bundle of Vega: {' '.join(last)}")
        _made[:] = [made]
    return {**_own(), "assets/vega.js": _made[0]}


def _itables() -> Path:
    """Where itables keeps its files. Not imported: that takes pandas along, and a second."""
    spec = find_spec("itables")
    if spec is None or spec.origin is None:
        raise ValueError("itables is not installed: the site's tables need it")
    return Path(spec.origin).parent


@lru_cache(maxsize=1)
def _own() -> dict[str, bytes]:
    module = _itables() / "html" / "dt_bundle.js"
    # The bundle is a module, which browsers refuse to import from file://, but not from memory.
    source = json.dumps(module.read_text(encoding="utf-8"))
    load = "URL.createObjectURL(new Blob([source], {type: 'text/javascript'}))"
    tables = f"(() => {{ const source = {source};\nwindow.itables = import({load}); }})();\n"
    own = {f"assets/{path.name}": path.read_bytes() for path in sorted(OWN.iterdir()) if path.suffix in {".css", ".js"}}
    return {
        **own,
        "assets/tables.css": module.with_suffix(".css").read_bytes(),
        "assets/tables.js": tables.encode(),
    }
