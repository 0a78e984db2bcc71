"""The files that all pages share: our style and scripts, DataTables from itables, Vega from vl-convert."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from leaderboard.render.charts import vega

OWN = Path(__file__).parent / "assets"


def shared_files() -> dict[str, bytes]:
    """Scripts and styles by path within the site; nothing is fetched from anywhere, now or when a page is opened.

    Raises:
        ValueError: one line, when vl-convert could not make its bundle, or itables is not installed.
    """
    return {**_own(), "assets/vega.js": vega.bundle().encode()}


def _itables() -> Path:
    """The folder of itables' files. Not imported: that takes pandas along, and a second."""
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
